"""Folders of strangers: what is hidden is nobody's, and every layout is read as it is marked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from odd_data import CAPTIONED, every_reader, photo, png, refused, tar

from molyneux.data.copies import check_copy
from molyneux.data.dataset import left_out_of
from molyneux.data.open import kind_of, open_dataset
from molyneux.data.selection import select
from molyneux.errors import UsageError
from molyneux.training.caption_files import read_examples
from molyneux.training.data import Wanted
from molyneux.vision.photo import SUFFIXES

NOBODYS = [
    "._a.png",
    ".hidden.png",
    ".thumbs/a.png",
    "__MACOSX/a.png",
    "__MACOSX/._a.png",
    ".ipynb_checkpoints/a-checkpoint.png",
    "@eaDir/a.png",
    "sub/@eaDir/a.png/SYNOPHOTO_THUMB.png",
    "~$a.png",
    "$RECYCLE.BIN/a.png",
]


LEFT_BEHIND = [".DS_Store", "Thumbs.db", "desktop.ini", "sub/.DS_Store", "sub/Thumbs.db"]


def litter(folder: Path) -> None:
    for name in (*NOBODYS, *LEFT_BEHIND):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07")


def test_hidden_files_of_a_folder_are_nobodys(two: Path) -> None:
    photo(two / "sub/deep/c.PNG")
    litter(two)
    assert [item.id for item in open_dataset(two)] == ["a.png", "b.png", "sub/deep/c.PNG"]
    found = check_copy(two)
    assert (found["photos"], found["missing"], found["left_out"]) == (3, 0, [])
    (two / "some.txt").write_text(".hidden.png\n")  # unless somebody asks for one
    photo(two / ".hidden.png")
    assert len(list(open_dataset(two / "some.txt"))) == 1


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png"):
        photo(tmp_path / name)
    for folder in (tmp_path, tmp_path / "train", tmp_path / "train/cat"):
        litter(folder)
    items = list(open_dataset(tmp_path, kind="imagenet"))
    assert {item.label for item in items} == {"cat", "dog"}
    assert len(items) == 3
    assert kind_of(tmp_path / "train") == "imagenet"


def test_a_hidden_folder_may_be_the_data_set(tmp_path: Path) -> None:
    photo(tmp_path / ".cache/photos/a.png")
    assert len(list(open_dataset(tmp_path / ".cache/photos"))) == 1
    with pytest.raises(UsageError, match="nothing in"):
        open_dataset(tmp_path)


def test_hidden_annotations_are_nobodys(two: Path) -> None:
    for name in ("._captions.json", "._a.parquet", "._0.tar", "._val-annotations-bbox.csv"):
        (two / name).write_bytes(b"\0\x05\x16\x07")
    (two / "._results.token").write_bytes(b"\0")
    assert kind_of(two) == "folder"
    (two / "captions.json").write_text('{"images": [{"id": 1, "file_name": "a.png"}]}')
    assert len(list(open_dataset(two))) == 1


def test_links_to_folders_are_not_followed_and_counted(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere/deep/c.png")
    here = tmp_path / "here"
    here.mkdir()
    (here / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert "linked is a link to a folder, which is not followed" in refused(
        lambda: open_dataset(here)
    )
    photo(here / "a.png")
    dataset = open_dataset(here)
    assert [item.id for item in dataset] == ["a.png"]
    (said,) = left_out_of(dataset)
    assert said.startswith("links to folders, which are not followed: 1, such as ")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_every_suffix_in_every_loader(tmp_path: Path, suffix: str, case: Any) -> None:
    photo(tmp_path / f"flat/a{case(suffix)}")
    assert len(list(open_dataset(tmp_path / "flat"))) == 1
    for label in ("cat", "dog"):
        photo(tmp_path / f"classes/{label}/a{case(suffix)}")
    assert len(list(open_dataset(tmp_path / "classes", kind="imagenet"))) == 2
    tar(tmp_path / "0.tar", {f"a{case(suffix)}": png(), "a.txt": b"x"})
    assert len(list(open_dataset(tmp_path / "0.tar"))) == 1


def test_what_is_read_is_said_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "a.HEIC").write_bytes(b"x")
    for opens in (
        lambda: open_dataset(tmp_path),
        lambda: open_dataset(tmp_path, kind="folder"),
        lambda: open_dataset(tmp_path, kind="imagenet"),
    ):
        message = refused(opens)
        assert "it has files that end in .heic" in message
        assert all(suffix in message for suffix in SUFFIXES)
    photo(tmp_path / "b.png")
    (said,) = left_out_of(open_dataset(tmp_path))
    assert said.startswith("pictures that end in .heic, which is not read: 1, such as ")


@every_reader
@pytest.mark.parametrize("name", ["Captions.jsonl", "CAPTIONS.JSONL"])
def test_a_caption_file_s_name_in_either_case(two: Path, read: Any, name: str) -> None:
    (two / name).write_text(CAPTIONED["jsonl"])
    assert read(two) == {"a.png": ("a cat.",), "b.png": ("a dog.",)}


def test_upper_case_names_of_lists_and_shards(two: Path) -> None:
    (two / "LIST.TXT").write_text("a.png\n")
    assert len(list(open_dataset(two / "LIST.TXT"))) == 1
    (two / "SOME.JSONL").write_text('{"file": "a.png", "caption": "x"}\n')
    assert Wanted(str(two / "SOME.JSONL")).is_list
    assert len(read_examples(two / "SOME.JSONL")[0]) == 1
    tar(two / "shards/0.TAR", {"a.png": png()})
    assert kind_of(two / "shards") == kind_of(two / "shards/0.TAR") == "webdataset"


def test_labels_tsv_is_read_as_every_other_table(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    labels = tmp_path / "labels.tsv"
    labels.write_bytes(b"\xef\xbb\xbffile\tname\r\na.png\tGreat \x22shark\r\n\r\n")
    (item,) = open_dataset(tmp_path)
    assert item.label == 'Great "shark'
    for text, said in (
        ("file\tname\na.png\tcat\tx\n", "line 2: 3 fields"),
        ("file\tname\tsplit\na.png\tcat\n", "line 2: 2 fields"),
        ("file,name\na.png,cat\n", "no column `file`"),
    ):
        labels.write_text(text)
        assert said in refused(lambda: open_dataset(tmp_path))
    labels.write_bytes("file\tname\na.png\tcat\n".encode("utf-16"))
    assert "UTF-16" in refused(lambda: open_dataset(tmp_path))


def test_names_of_classes_may_be_marked(tmp_path: Path) -> None:
    photo(tmp_path / "train/n01/a.png")
    photo(tmp_path / "train/n02/b.png")
    (tmp_path / "words.txt").write_bytes(
        b"\xef\xbb\xbfn01\tgoldfish\x0c, Carassius\r\nn02\tshark\r\n"
    )
    assert [item.label for item in open_dataset(tmp_path, kind="imagenet")] == ["goldfish", "shark"]


def test_flickr_s_files_may_be_marked_and_hold_no_numbers(tmp_path: Path) -> None:
    photo(tmp_path / "flickr30k-images/1.jpg")
    token = tmp_path / "results.token"
    token.write_bytes("\ufeff1.jpg#0\tA\u2028dog .\r\n1.jpg#1\tA\x85cat .\r\n".encode())
    (item,) = open_dataset(tmp_path)
    assert (item.id, item.captions) == ("1.jpg", ("A dog .", "A cat ."))
    for sentence in (5, None, ["x"], {"en": "x"}, True):
        entry = {"filename": "1.jpg", "sentences": [{"raw": sentence}]}
        (tmp_path / "dataset_flickr30k.json").write_text(json.dumps({"images": [entry]}))
        if sentence in (None, ["x"]):
            assert len(list(open_dataset(tmp_path))) == 1
        else:
            assert "`raw` is" in refused(lambda: open_dataset(tmp_path))
    token.write_bytes("1.jpg#0\tx\n".encode("utf-16"))
    (tmp_path / "dataset_flickr30k.json").unlink()
    assert "UTF-16" in refused(lambda: open_dataset(tmp_path))


def test_open_images_tables_may_be_marked_and_are_whole(tmp_path: Path) -> None:
    photo(tmp_path / "validation/a1.jpg")
    classes = tmp_path / "class-descriptions-boxable.csv"
    classes.write_bytes(b"\xef\xbb\xbf/m/1,Dog\r\n")
    boxes = tmp_path / "validation-annotations-bbox.csv"
    boxes.write_bytes(b"\xef\xbb\xbfImageID,LabelName,IsGroupOf\r\na1,/m/1,0\r\n")
    (item,) = open_dataset(tmp_path)
    assert (item.id, item.instances) == ("a1", {"dog": 1})
    boxes.write_text("ImageID,LabelName,IsGroupOf\na1,/m/1,0,1\n")
    assert "line 2: 4 fields" in refused(lambda: open_dataset(tmp_path))
    boxes.write_text("ImageID,LabelName\n../a1,/m/1\n")
    assert "outside the data set" in refused(lambda: open_dataset(tmp_path))
    boxes.write_bytes("ImageID,LabelName\na1,/m/1\n".encode("utf-16"))
    assert "UTF-16" in refused(lambda: open_dataset(tmp_path))
    boxes.unlink()
    narratives = tmp_path / "open_images_validation_localized_narratives.jsonl"
    for caption, image in (("5", '"a1"'), ('"x"', "5"), ('"x"', "null"), ("[1]", '"a1"')):
        narratives.write_text(f'{{"image_id": {image}, "caption": {caption}}}')
        assert "line 1" in refused(lambda: open_dataset(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_lists_of_another_encoding_are_named(two: Path, encoding: str) -> None:
    listed = two / "some.txt"
    listed.write_bytes("é.png\n".encode(encoding))
    for opens in (
        lambda: open_dataset(listed),
        lambda: select(open_dataset(two), [f"listed={listed}"]),
    ):
        assert "UTF-8" in refused(opens)
    assert encoding == "latin-1" or encoding.upper() in refused(lambda: open_dataset(listed))


def test_lists_may_be_marked_and_hold_every_character(tmp_path: Path) -> None:
    names = ["a\u2028b.png", "c\x0bd.png", "e\x85f.png", "g.png"]
    for name in names:
        photo(tmp_path / name)
    listed = tmp_path / "some.txt"
    listed.write_bytes(("\ufeff" + "\r\n".join(names)).encode())
    assert [item.id for item in open_dataset(listed)] == names
    chosen = select(open_dataset(tmp_path), [f"listed={listed}"])
    assert sorted(chosen.ids) == sorted(names)
    assert chosen.unmatched == 0
