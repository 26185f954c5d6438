"""Shards of strangers: however they were packed."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from odd_data import P, packed, tar

from molyneux.data.copies import check_copy
from molyneux.data.dataset import left_out_of
from molyneux.data.selection import select
from molyneux.data.webdataset import Shards
from molyneux.errors import MolyneuxError, UsageError
from molyneux.training.data import Wanted, open_data


def of_shards(place: Path) -> dict[str, tuple[str, ...]]:
    """Return captions by id, having seen that every way of reading gives the same items."""
    dataset = Shards(place)
    said = {item.id: item.captions for item in dataset}
    assert {item.id: item.captions for item in dataset.entries()} == said
    chosen = select(dataset)
    assert [item.id for _, item in chosen.items()] == chosen.ids == list(said)
    for _, item in chosen.items(skip=lambda index: index % 2 == 1):
        assert item.read().size == (16, 8)
    return said


both = pytest.mark.parametrize("ending", ["tar", "tar.gz"])


def save(place: Path, ending: str, data: bytes) -> Path:
    file = place / f"0.{ending}"
    file.write_bytes(gzip.compress(data) if ending == "tar.gz" else data)
    return file


@both
@pytest.mark.parametrize(
    "files",
    [
        ["a.png", "b.png", "a.txt", "b.txt"],
        ["a.txt", "b.txt", "a.png", "b.png"],
        ["a.png", "b.png", "b.txt", "a.txt"],
        ["a.png", "b.txt", "a.txt", "b.png"],
    ],
)
def test_shards_that_are_not_sorted_are_read(tmp_path: Path, ending: str, files: list[str]) -> None:
    data = packed([(f, P if f.endswith("png") else f"of {f[0]}".encode()) for f in files])
    file = save(tmp_path, ending, data)
    assert of_shards(file) == {
        f"{file.name}/a": ("of a",),
        f"{file.name}/b": ("of b",),
    }


@both
def test_what_a_mac_leaves_in_a_shard_is_nobodys(tmp_path: Path, ending: str) -> None:
    names = ["./._a.png", "./a.png", "./._a.txt", "./a.txt", "__MACOSX/a.png", "./.DS_Store"]
    names += ["./._b.png", "./b.png", "./._b.txt", "./b.txt", "Thumbs.db"]
    data = packed([(n, P if n in ("./a.png", "./b.png") else b"said") for n in names])
    file = save(tmp_path, ending, data)
    assert of_shards(file) == {f"{file.name}/a": ("said",), f"{file.name}/b": ("said",)}
    (tmp_path / f"._0.{ending}").write_bytes(b"\0\x05")
    assert len(Shards(tmp_path).shards) == len(Shards(str(tmp_path / "*")).shards) == 1


@both
@pytest.mark.parametrize("joined", ["cat", "cat, and more zeros", "tar -A"])
def test_joined_archives_are_read_to_the_end(tmp_path: Path, ending: str, joined: str) -> None:
    first = packed({"a.png": P, "a.txt": b"one", "b.png": P, "b.txt": b"two"})
    second = packed({"a.txt": b"three", "a.png": P, "c.json": b'{"caption": "four"}', "c.png": P})
    if joined == "tar -A":
        first = first[: -10240 if len(first) > 10240 else None].rstrip(b"\0")
        first += b"\0" * (-len(first) % 512)
    elif joined != "cat":
        first += b"\0" * 512 * 21
    file = save(tmp_path, ending, first + second)
    name = file.name
    assert of_shards(file) == {
        f"{name}/a": ("one",),
        f"{name}/b": ("two",),
        f"{name}#2/a": ("three",),
        f"{name}#2/c": ("four",),
    }
    origins = {Shards(file).origin(one) for one in of_shards(file)}
    assert len(origins) == 4
    assert f"{file.resolve()}#2/a" in origins


@pytest.mark.skipif(not hasattr(gzip, "compress"), reason="gzip is missing")
def test_joined_compressed_archives(tmp_path: Path) -> None:
    one, two = packed({"a.png": P}), packed({"a.png": P})
    (tmp_path / "0.tgz").write_bytes(gzip.compress(one) + gzip.compress(two))
    assert list(of_shards(tmp_path / "0.tgz")) == ["0.tgz/a", "0.tgz#2/a"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_folders_and_every_form_of_archive(tmp_path: Path, form: int) -> None:
    deep = "/".join(["folder" * 4] * (5 if form == tarfile.USTAR_FORMAT else 20))
    files = [("x/", b""), (f"{deep}/", b""), (f"{deep}/ü.PNG", P), (f"{deep}/ü.TXT", b"said")]
    file = tar(tmp_path / "0.tar", files, form)
    assert of_shards(file) == {f"0.tar/{deep}/ü": ("said",)}
    assert not left_out_of(Shards(file))


@both
def test_what_a_shard_has_and_nobody_gets_is_counted(tmp_path: Path, ending: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in (
            ("a.png", P),
            ("a.jpg", P),
            ("a.cls", b"3"),
            ("a.txt", b"said"),
            ("b.txt", b"alone"),
            ("c.png", P),
            ("c.txt", "caf\u00e9".encode("latin-1")),
            ("d.png", P),
            ("d.json", b"[1]"),
            ("e.v2.png", P),
            ("e.txt", b"x"),
            ("f.png", P),
            ("f.txt", "\ufeffmarked\u2028still one\nanother".encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("g.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        archive.addfile(link)
    file = save(tmp_path, ending, data.getvalue())
    chosen = select(dataset := Shards(file))
    name = file.name
    assert chosen.ids == [f"{name}/{key}" for key in "acdf"]
    assert of_shards(file)[f"{name}/f"] == ("marked still one", "another")
    lines = left_out_of(dataset)
    assert lines == [
        f"JSON files that hold no object: 1, such as {name}/d.json",
        f"captions that are not UTF-8 text: 1, such as {name}/c.txt (not UTF-8 text, at byte 3)",
        f"files that are neither photos nor their texts: 2, such as {name}/a.cls",
        f"links, which no shard's reader follows: 1, such as {name}/g.png",
        f"second photos of one name: 1, such as {name}/a.jpg",
        f"texts without a photo: 2, such as {name}/b.txt",
    ]
    assert len(chosen.record()["left_out"]) == 6
    list(dataset.entries())
    assert left_out_of(dataset) == lines  # what is read again is not counted again
    assert check_copy(file)["left_out"] == lines
    notes: list[str] = []
    open_data(Wanted(str(file)), None, notes.append)
    assert f"left out of {file}: {lines[0]}" in notes


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"caption": 5}', "`caption` is 5"),
        (b'{"label": 1.5}', "`label` is 1.5"),
        (b'{"label": NaN}', "`label` is NaN"),
        (b'{"split": []}', r"`split` is \[\]"),
        (b'{"categories": [1]}', "`categories` is"),
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_shard_s_json_is_read_as_every_other(tmp_path: Path, said: bytes, message: str) -> None:
    file = tar(tmp_path / "0.tar", {"a.png": P, "a.json": said})
    with pytest.raises(UsageError, match=message):
        list(Shards(file))


def test_labels_of_a_shard(tmp_path: Path) -> None:
    for label, read in (("5", "5"), ("5.0", "5"), ("true", "true"), ('"Dog"', "Dog"), ("-1", "-1")):
        file = tar(tmp_path / "0.tar", {"a.png": P, "a.json": f'{{"label": {label}}}'.encode()})
        (item,) = Shards(file)
        assert (item.label, item.categories) == (read, (read.lower(),))


@pytest.mark.parametrize("ending", ["tar.gz", "tar"])
def test_damaged_shards_are_named(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).bytes(60_000)
    file = save(tmp_path, ending, packed({"a.png": noise, "b.png": noise}))
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:9000] + b"\xff" * 9000 + whole[18000:], b"x"):
        file.write_bytes(broken)
        if ending == "tar" and len(broken) == len(whole):
            continue  # the bytes of a photo, which the photo's reader judges
        with pytest.raises(MolyneuxError, match=r"shard .*0\.tar"):
            list(Shards(file))
    file.write_bytes(whole + b"no archive" * 99 if ending == "tar" else whole)
    if ending == "tar":
        with pytest.raises(UsageError, match="the header at byte 122880 is damaged"):
            list(Shards(file))
