"""Every layout, whole and broken, in sets of two or three photos."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molyneux.data.copies import check_copy
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import UsageError


def photo(path: Path, colour: str = "red", size: tuple[int, int] = (16, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


LEFT = [[0, 0, 8, 0, 8, 8, 0, 8]]
RIGHT = {"counts": "P2P2", "size": [8, 16]}  # 64 outside, 64 inside: packed in two groups each


def coco(root: Path, split: str = "val2017") -> Path:
    images = [{"id": i, "file_name": f"00{i}.jpg", "width": 16, "height": 8} for i in (1, 2, 3)]
    captions = [
        {"id": 1, "image_id": 2, "caption": " a  dog\n"},
        {"image_id": "2", "caption": "2nd"},
    ]
    objects = [
        {"image_id": 2, "category_id": "18", "iscrowd": "0", "segmentation": LEFT},
        {"image_id": "2", "category_id": 18, "iscrowd": 0, "segmentation": json.dumps(RIGHT)},
        {"image_id": 2, "category_id": 1, "iscrowd": 0, "segmentation": LEFT},
        {"image_id": 2, "category_id": 1, "iscrowd": 1, "segmentation": RIGHT},
        {"image_id": 3, "category_id": 1, "iscrowd": 0, "segmentation": None},
        {"image_id": 3, "category_id": 18, "segmentation": LEFT},
        {"image_id": 3, "category_id": 18},
        {"image_id": 99, "category_id": 1},
    ]
    names = [{"id": 1, "name": "Person"}, {"id": "18", "name": "dog"}]
    write(root / f"annotations/captions_{split}.json", {"images": images, "annotations": captions})
    write(
        root / f"annotations/instances_{split}.json",
        {"images": images, "annotations": objects, "categories": names},
    )
    for i in (1, 2, 3):
        photo(root / split / f"00{i}.jpg")
    return root


def test_coco(tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path))
    one, two, three = dataset
    assert (one.id, two.id, three.id) == ("1", "2", "3")
    assert two.captions == ("a dog", "2nd")
    assert two.split == "val2017"
    assert two.categories == ("dog", "person")
    assert two.instances == {"dog": 2}  # persons have a crowd: nobody counted them
    assert np.asarray(two.mask("dog")).all()
    person = two.mask("person")
    assert person is not None
    assert person[:, :8].all()
    assert not person[:, 8:].any()  # the crowd is left out
    assert three.instances == {"person": 1, "dog": 2}
    assert not three.has_masks  # a box only, and a dog of two outlined
    assert set(dataset.record()["annotations"]) == {
        "captions_val2017.json",
        "instances_val2017.json",
    }
    assert two.read().size == (16, 8)


def test_coco_in_one_folder_and_a_split_without_photos(tmp_path: Path) -> None:
    coco(tmp_path)
    coco(tmp_path, "train2017")
    # The same ids again under another split name are one entry each.
    for file in (tmp_path / "train2017").iterdir():
        file.unlink()
    document = json.loads((tmp_path / "annotations/captions_train2017.json").read_text())
    for entry in document["images"]:
        entry["id"] += 10
        entry["file_name"] = "t" + entry["file_name"]
    write(tmp_path / "annotations/captions_train2017.json", document)
    (tmp_path / "annotations/instances_train2017.json").unlink()
    dataset = open_dataset(tmp_path)
    assert len(list(dataset)) == 3
    assert dataset.record()["splits_without_photos"] == ["train2017"]
    flat = tmp_path / "flat"
    write(flat / "captions.json", {"images": [{"id": 5, "file_name": "ü 5.jpg", "split": "x"}]})
    photo(flat / "images/ü 5.jpg")
    (item,) = open_dataset(flat)
    assert (item.id, item.split) == ("5", "x")
    item.read()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is no JSON"),
        ([], "no list named images"),
        ({"images": [{"id": 1}]}, "not written as COCO"),
        ({"images": [{"id": 1, "file_name": "../a.jpg"}]}, "outside"),
        ({"images": [{"id": 1, "file_name": n} for n in "ab"]}, "two photos have the id 1"),
        ({"images": [{"id": 1, "file_name": "a_val2017.jpg"}]}, "zips/val2017.zip"),
        ({"images": []}, "list no photo"),
    ],
)
def test_broken_coco(tmp_path: Path, document: Any, message: str) -> None:
    file = tmp_path / "captions.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(UsageError, match=message):
        open_dataset(tmp_path)


def test_coco_with_an_unlisted_category(tmp_path: Path) -> None:
    entry = {"id": 1, "file_name": "a.jpg"}
    write(
        tmp_path / "instances.json",
        {"images": [entry], "annotations": [{"image_id": 1, "category_id": 7}], "categories": []},
    )
    with pytest.raises(UsageError, match="category 7"):
        open_dataset(tmp_path)


def test_class_folders(tmp_path: Path) -> None:
    photo(tmp_path / "val/n01/b.JPEG")
    photo(tmp_path / "val/n02/a.JPEG")
    photo(tmp_path / "train/n01/images/c.JPEG")
    (tmp_path / "words.txt").write_text("n01\tgoldfish, Carassius\n", encoding="utf-8")
    items = list(open_dataset(tmp_path))
    assert [(i.id, i.label, i.split) for i in items] == [
        ("train/n01/images/c.JPEG", "goldfish", "train"),
        ("val/n01/b.JPEG", "goldfish", "val"),
        ("val/n02/a.JPEG", "n02", "val"),
    ]
    assert items[0].categories == ("goldfish",)
    items[0].read()


def test_labels(tmp_path: Path) -> None:
    photo(tmp_path / "images/é/1.png")
    (tmp_path / "labels.tsv").write_text('file\twnid\tname\né/1.png\tn1\tGreat "shark\n', "utf-8")
    (item,) = open_dataset(tmp_path)
    assert (item.label, item.categories) == ('Great "shark', ('great "shark',))
    item.read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\tname\n", "no column `file`"),
        ("file\tname\na.png\n", "line 2"),
        ("file\tname\na.png\tx\na.png\ty\n", "listed twice"),
        ("file\tname\n", "no photos"),
    ],
)
def test_broken_labels(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(UsageError, match=message):
        open_dataset(tmp_path)


def test_folder_with_captions(tmp_path: Path) -> None:
    photo(tmp_path / "b.png")
    photo(tmp_path / "sub/a.png")
    assert [i.id for i in open_dataset(tmp_path)] == ["b.png", "sub/a.png"]
    lines = [
        {"file": "sub/a.png", "captions": ["one", "two", "one"], "categories": ["Dog"]},
        {"file_name": "./sub/a.png", "caption": "three", "split": "x"},
        {"file": "gone.png", "caption": "four"},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "captions.jsonl").write_text(text + "\n\n", "utf-8")
    dataset = open_dataset(tmp_path)
    item = list(dataset)[1]
    assert item.captions == ("one", "two", "three")
    assert (item.categories, item.split) == (("dog",), "x")
    assert dataset.record()["captions_without_photo"] == 1
    (tmp_path / "captions.jsonl").write_text('{"caption": "x"}')
    with pytest.raises(UsageError, match="line 1: no photo"):
        open_dataset(tmp_path)
    (tmp_path / "captions.jsonl").write_text('{"file": "b.png"}\n{')
    with pytest.raises(UsageError, match="line 2: no JSON"):
        open_dataset(tmp_path)
    (tmp_path / "captions.jsonl").unlink()
    with (tmp_path / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "caption"], ["b.png", "a, b"], ["b.png", "c"]])
    assert next(iter(open_dataset(tmp_path))).captions == ("a, b", "c")
    (tmp_path / "captions.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UsageError, match="no column `file`"):
        open_dataset(tmp_path)


def test_list_of_photos(tmp_path: Path) -> None:
    photo(tmp_path / "b.png")
    photo(tmp_path / "a.png")
    listed = tmp_path / "some.txt"
    listed.write_text("b.png\na.png\n")
    assert [i.id for i in open_dataset(listed)] == ["b.png", "a.png"]
    listed.write_text("b.png\nb.png\n")
    with pytest.raises(UsageError, match=r"lists b\.png twice"):
        open_dataset(listed)


def test_caption_file_that_is_named_itself(tmp_path: Path) -> None:
    photo(tmp_path / "photos/b.png")
    photo(tmp_path / "photos/a.png")
    (tmp_path / "lists").mkdir()
    listed = tmp_path / "lists/mine.jsonl"
    rows = [
        {"file": "../photos/b.png", "captions": ["a bee."]},
        {"file": str(tmp_path / "photos/a.png"), "caption": "an ant.", "split": "train"},
        {"file": "../photos/b.png", "caption": "a bee again."},
        {"file": "../photos/gone.png", "caption": "gone."},
    ]
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = open_dataset(listed)
    first, second = dataset
    assert (first.id, first.captions) == ("../photos/b.png", ("a bee.", "a bee again."))
    assert (second.captions, second.split) == (("an ant.",), "train")
    assert first.read().size
    assert second.read().size
    assert dataset.record()["captions_without_photo"] == 1
    assert list(dataset.record()["annotations"]) == ["mine.jsonl"]
    listed.write_text('{"file": "gone.png", "caption": "gone."}\n')
    with pytest.raises(UsageError, match="no photos in"):
        open_dataset(listed)


def test_flickr30k(tmp_path: Path) -> None:
    photo(tmp_path / "flickr30k-images/1.jpg")
    token = tmp_path / "results_20130124.token"
    token.write_text("1.jpg#0\tA  dog .\n1.jpg#1\tA cat .\n2.jpg#0\tGone .\n", "utf-8")
    first, second = open_dataset(tmp_path)
    assert (first.id, first.captions, first.split) == ("1.jpg", ("A dog .", "A cat ."), None)
    assert not Path(str(second.source)).exists()
    assert check_copy(tmp_path)["missing"] == 1
    entry = {"filename": "1.jpg", "split": "test", "sentences": [{"raw": "A dog."}]}
    write(tmp_path / "dataset_flickr30k.json", {"images": [entry]})
    (item,) = open_dataset(tmp_path)
    assert (item.captions, item.split) == (("A dog.",), "test")
    write(tmp_path / "dataset_flickr30k.json", {"images": [entry, entry]})
    with pytest.raises(UsageError, match="listed twice"):
        open_dataset(tmp_path)
    (tmp_path / "dataset_flickr30k.json").unlink()
    token.write_text("no tab here\n")
    with pytest.raises(UsageError, match="line 1"):
        open_dataset(tmp_path)
    token.write_text("9.jpg#0\tx\n")
    with pytest.raises(UsageError, match="flickr30k-images"):
        open_dataset(tmp_path)
    with pytest.raises(UsageError, match=r"caption_datasets\.zip"):
        open_dataset(tmp_path / "flickr30k-images", kind="flickr30k")


def test_open_images(tmp_path: Path) -> None:
    photo(tmp_path / "validation/a1.jpg")
    (tmp_path / "masks").mkdir()
    for name, box in (("m1.png", (0, 0, 4, 4)), ("m2.png", (4, 0, 8, 4))):
        mask = Image.new("1", (8, 4))
        mask.paste(1, box)
        mask.save(tmp_path / "masks" / name)
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/1,Dog\n/m/2,Person\n")
    boxes = tmp_path / "validation-annotations-bbox.csv"
    boxes.write_text("ImageID,LabelName,IsGroupOf\na1,/m/1,0\na1,/m/1,0\na1,/m/2,1\na1,/m/2,0\n")
    segments = tmp_path / "validation-annotations-object-segmentation.csv"
    segments.write_text("MaskPath,ImageID,LabelName\nm1.png,a1,/m/1\nm2.png,a1,/m/1\n")
    narrative = {"image_id": "a1", "caption": "In this picture we see a dog."}
    write(tmp_path / "open_images_validation_localized_narratives.jsonl", narrative)
    (item,) = open_dataset(tmp_path)
    assert item.instances == {"dog": 2}
    assert item.categories == ("dog", "person")
    assert np.asarray(item.mask("dog")).all()
    assert item.mask("person") is None
    assert item.captions == ("In this picture we see a dog.",)
    boxes.write_text("ImageID,LabelName,IsGroupOf\n" + "a1,/m/1,0\n" * 3)
    assert not next(iter(open_dataset(tmp_path))).has_masks  # a third dog has no mask
    boxes.unlink()
    (tmp_path / "masks/m2.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match=r"m2\.png"):
        next(iter(open_dataset(tmp_path))).mask("dog")
    (tmp_path / "validation/a1.jpg").unlink()
    with pytest.raises(UsageError, match=r"validation\.tar\.gz"):
        open_dataset(tmp_path)
    segments.unlink()
    (tmp_path / "open_images_validation_localized_narratives.jsonl").unlink()
    with pytest.raises(UsageError, match="object-segmentation"):
        open_dataset(tmp_path)
    (tmp_path / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(UsageError, match="class-descriptions-boxable"):
        open_dataset(tmp_path, kind="open-images")


def shard(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_webdataset(tmp_path: Path) -> None:
    data = photo(tmp_path / "p.png").read_bytes()
    said = json.dumps({"captions": ["c"], "label": "Dog", "split": "val"}).encode()
    members = {"a/1.png": data, "a/1.txt": b"one\ntwo\n", "a/2.json": said, "a/2.png": data}
    shard(tmp_path / "s-00.tar", members)
    shard(tmp_path / "s-01.tar.gz", {"a/1.png": data, "x.txt": b"alone", "3.png": b"bad"}, "w:gz")
    (tmp_path / "p.png").unlink()
    dataset = open_dataset(tmp_path)
    items = list(dataset)
    assert [i.id for i in items] == [
        "s-00.tar/a/1",
        "s-00.tar/a/2",
        "s-01.tar.gz/a/1",
        "s-01.tar.gz/3",
    ]
    assert items[0].captions == ("one", "two")
    assert (items[1].captions, items[1].label, items[1].split) == (("c",), "Dog", "val")
    assert items[2].read().size == (16, 8)
    chosen = select(dataset, images=3, seed=1)
    read = dict(chosen.items(skip=lambda index: index == 1))
    assert sorted(read) == [0, 2]
    assert all(read[index].id == chosen.ids[index] for index in read)
    assert all(item.source for item in read.values())
    pattern = open_dataset(str(tmp_path / "s-{00..00}.tar"))
    assert len(list(pattern)) == 2
    with pytest.raises(UsageError, match=r"s-01\.tar;"):
        open_dataset(str(tmp_path / "s-{00..02}.tar"), kind="webdataset")
    whole = (tmp_path / "s-00.tar").read_bytes()
    (tmp_path / "s-00.tar").write_bytes(whole[:600])
    with pytest.raises(UsageError, match=r"s-00\.tar"):
        list(open_dataset(tmp_path))
    at = whole.index(b"a/2.png")  # a damaged header in the middle is no end of the archive
    (tmp_path / "s-00.tar").write_bytes(whole[:at] + b"\xff" * 512 + whole[at + 512 :])
    with pytest.raises(UsageError, match=r"s-00\.tar"):
        list(open_dataset(tmp_path))
    shard(tmp_path / "s-00.tar", {"x.txt": b"alone"})
    with pytest.raises(UsageError, match="no photo in"):
        list(open_dataset(tmp_path / "s-00.tar"))


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    data = photo(tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").unlink()
    rows = [
        {"image": {"bytes": data, "path": None}, "caption_0": "a", "caption_1": f"n{i}", "label": i}
        for i in range(5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test-00000.parquet", row_group_size=2)
    dataset = open_dataset(tmp_path)
    items = list(dataset)
    assert items[3].id == "test-00000.parquet/3"
    assert (items[3].captions, items[3].split, items[3].label) == (("a", "n3"), "test", "3")
    assert items[3].read().size == (16, 8)
    read = list(select(dataset, ["split=test"], images=2, seed=0).items())
    assert len(read) == 2
    pq.write_table(pa.table({"x": [1]}), tmp_path / "test-00000.parquet")
    with pytest.raises(UsageError, match="no column of images"):
        open_dataset(tmp_path)
    (tmp_path / "test-00000.parquet").write_bytes(b"no")
    with pytest.raises(UsageError, match="download it again"):
        open_dataset(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_rows_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    names = [str(photo(tmp_path / f"{i}.png")) for i in range(3)]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["Cat", "Dog"]),
        }
    )
    rows = {"image": names, "caption": ["a", "b", "c"], "label": [0, 1, 1]}
    made = datasets.Dataset.from_dict(rows, features=features)
    datasets.disable_progress_bars()
    made.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict({"val": made}).save_to_disk(str(tmp_path / "both"))
    (one, *_) = open_dataset(tmp_path / "saved")
    assert (one.id, one.captions, one.label) == ("rows/0", ("a",), "Cat")
    assert one.read().size == (16, 8)
    dataset = open_dataset(tmp_path / "both")
    chosen = select(dataset, ["label=dog", "split=val"])
    assert chosen.ids == ["val/1", "val/2"]
    assert [item.source != b"" for _, item in chosen.items()] == [True, True]
    streams = {"val": made.to_iterable_dataset(), "test": made.to_iterable_dataset()}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: streams)
    remote = open_dataset("hf:some/set")
    chosen = select(remote, ["label=dog"])
    assert chosen.ids == ["val/1", "val/2", "test/1", "test/2"]
    read = list(chosen.items(1, 2))
    assert [(index, item.id) for index, item in read] == [(1, "val/2"), (3, "test/2")]
    assert read[1][1].read().size == (16, 8)
    fails: Any = lambda *_, **__: [][0]  # noqa: E731
    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(UsageError, match="cannot get hf:some/set"):
        open_dataset("hf:some/set")


def test_hub_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'datasets>=4'"):
        open_dataset("hf:some/set")


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing in"):
        open_dataset(tmp_path)
    with pytest.raises(UsageError, match="there is no"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(UsageError, match="molyneux data coco"):
        open_dataset("coco")
    with pytest.raises(UsageError, match="there are coco"):
        open_dataset(tmp_path, kind="cocoa")
    with pytest.raises(UsageError, match="is no data set"):
        open_dataset(photo(tmp_path / "a.png"))
