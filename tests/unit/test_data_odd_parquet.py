"""Parquet files of strangers: however they hold photos, texts and labels."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from odd_data import P, photo, png, refused

from molyneux.data.dataset import left_out_of
from molyneux.data.open import open_dataset
from molyneux.data.selection import select


def parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


@pytest.mark.parametrize("as_text", [False, True])
def test_a_parquet_s_photos_may_be_files(
    tmp_path: Path, as_text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "set/images/ä b.png")
    monkeypatch.chdir(tmp_path)  # the names start at the file, wherever one is
    for name in ("images/ä b.png", r"images\ä b.png", "images/%C3%A4%20b.png"):
        image = name if as_text else {"bytes": None, "path": name}
        file = parquet(tmp_path / "set/0.parquet", [{"image": image, "caption": "x"}])
        for item in (*open_dataset(file), *open_dataset("set")):
            assert item.read().size == (16, 8)
    photo(tmp_path / "a.png")
    for name in ("../a.png", str(tmp_path / "a.png"), r"..\a.png", "%2e%2e/a.png"):
        image = name if as_text else {"bytes": None, "path": name}
        file = parquet(tmp_path / "set/0.parquet", [{"image": image}])
        said = refused(partial(list, open_dataset(file)))
        assert "0.parquet, row 0: " in said
        assert "outside the data set" in said
    image = "https://example.org/a.png" if as_text else {"path": "https://example.org/a.png"}
    file = parquet(tmp_path / "set/0.parquet", [{"image": image}])
    assert "addresses are not fetched" in refused(lambda: list(open_dataset(file)))


@pytest.mark.parametrize("key", ["caption", "captions", "text", "sentences_raw"])
@pytest.mark.parametrize("wrong", [5, 1.5, True, float("nan"), [1], {"raw": 5}, {"x": "y"}])
def test_a_number_is_no_caption_in_a_parquet(tmp_path: Path, key: str, wrong: Any) -> None:
    file = parquet(tmp_path / "0.parquet", [{"image": {"bytes": P}, key: wrong}])
    said = refused(lambda: list(open_dataset(file)))
    assert f"0.parquet, row 0: `{key}` is" in said


def test_texts_of_a_parquet_however_they_are_held(tmp_path: Path) -> None:
    for value in (
        ["one", "two"],
        [{"raw": "one"}, {"raw": "two"}],
        {"raw": ["one", "two"]},
        [{"caption": "one", "id": 1}, {"caption": "two", "id": 2}],
        "one\u2028",
        None,
    ):
        file = parquet(tmp_path / "0.parquet", [{"image": {"bytes": P}, "caption": value}])
        (item,) = open_dataset(file)
        assert item.captions == ("one", "two")[: {str: 1, type(None): 0}.get(type(value), 2)]


@pytest.mark.parametrize(
    ("label", "read"),
    [(5, "5"), (5.0, "5"), (float("nan"), None), (None, None), ("Dog", "Dog"), (True, "true")],
)
def test_labels_of_a_parquet(tmp_path: Path, label: Any, read: str | None) -> None:
    rows = [{"image": {"bytes": P}, "label": label}, {"image": {"bytes": P}, "label": None}]
    first, second = open_dataset(parquet(tmp_path / "0.parquet", rows))
    assert (first.label, second.label) == (read, None)


def parquet_described(file: Path, label: int, features: str) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"image": [png()], "label": [label]})
    pq.write_table(table.replace_schema_metadata({"huggingface": features}), file)
    return file


@pytest.mark.parametrize(("label", "read"), [(1, "dog"), (-1, None), (2, "2")])
def test_a_class_of_minus_one_is_none(tmp_path: Path, label: int, read: str | None) -> None:
    features = json.dumps({"info": {"features": {"label": {"names": ["cat", "dog"]}}}})
    (item,) = open_dataset(parquet_described(tmp_path / "0.parquet", label, features))
    assert item.label == read


@pytest.mark.parametrize(
    "features",
    [
        '{"info": {"features": {"label": ["cat", "dog"]}}}',
        '{"info": {"features": {"label": {"names": 5}}}}',
        "[" * 100_000,
        "{",
    ],
    ids=["a list", "a number", "deep", "cut"],
)
def test_what_a_parquet_says_of_its_columns_need_not_read(tmp_path: Path, features: str) -> None:
    (item,) = open_dataset(parquet_described(tmp_path / "0.parquet", 1, features))
    assert (item.label, len(item.sha256())) == ("1", 64)


def test_a_damaged_page_of_a_parquet_is_named(tmp_path: Path) -> None:
    file = parquet_described(tmp_path / "0.parquet", 1, "{}")
    data = bytearray(file.read_bytes())
    data[4:40] = b"\xff" * 36  # the header of the first page
    file.write_bytes(data)
    said = refused(lambda: [item.sha256() for item in open_dataset(file)])
    assert said.startswith(f"cannot read {file}: ")


@pytest.mark.parametrize("wrong", [5, 10**12, 1.5, True, [1, 2], [[0, 0], [0, 0]]])
def test_a_photo_of_a_parquet_is_bytes_or_a_name(tmp_path: Path, wrong: Any) -> None:
    file = parquet(tmp_path / "0.parquet", [{"image": wrong}])
    assert "row 0: " in refused(lambda: list(open_dataset(file)))


def test_categories_that_are_numbers_are_counted(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": P}, "categories": [1, 2]}, {"image": {"bytes": P}}]
    dataset = open_dataset(parquet(tmp_path / "0.parquet", rows))
    select(dataset)
    assert left_out_of(dataset)[0].startswith("rows whose categories are numbers and name nothing")
