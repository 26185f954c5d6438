"""Conditions, samples, and the nouns that name categories."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from molyneux.cli.app import app
from molyneux.data.dataset import Item
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import UsageError
from molyneux.words.categories import category_of, table


class Many:
    """A set that is made up as it is asked for."""

    name = "many"

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Item:
        odd = position % 2
        return Item(
            self.ids[position],
            Path("/data") / f"{self.ids[position]}.jpg",
            captions=("one",) if odd else (),
            categories=("dog",) if odd else ("cat", "dog"),
            split="a" if position < 10 else "b",
            label=f"L{position % 3}",
        )

    def __iter__(self) -> Iterator[Item]:
        return (self[position] for position in range(len(self)))

    def record(self) -> dict[str, Any]:
        return {"name": self.name}


IDS = [f"p{i:02d}" for i in range(20)]


def test_conditions() -> None:
    many = Many(IDS)
    assert select(many).ids == IDS
    assert select(many, ["split=b"]).ids == IDS[10:]
    assert select(many, ["split=a", "split=b"]).ids == IDS
    assert select(many, ["split=b", "category=Cat"]).ids == IDS[10::2]
    assert select(many, ["captions"]).ids == IDS[1::2]
    assert select(many, ["label=l0"]).ids == IDS[::3]
    for where, message in (
        (["masks"], "none of the 20"),
        (["split=c"], "it has a, b"),
        (["category=cow"], "it has cat, dog"),
        (["present"], "none of the 20"),
        (["colour=red"], "split=NAME"),
        (["split"], "split=NAME"),
        (["masks=yes"], "split=NAME"),
    ):
        with pytest.raises(UsageError, match=message):
            select(many, where)


def test_sample_ignores_the_order_and_a_small_one_begins_a_large_one() -> None:
    forward, backward = Many(IDS), Many(IDS[::-1])
    ten = select(forward, images=10, seed=3)
    assert ten.ids == select(backward, images=10, seed=3).ids
    assert ten.ids[:4] == select(forward, images=4, seed=3).ids
    assert ten.ids != select(forward, images=10, seed=4).ids
    assert sorted(select(forward, images=10**9).ids) == IDS
    assert [item.id for _, item in ten.items()] == ten.ids
    assert [index for index, _ in ten.items(1, 3, lambda index: index == 4)] == [1, 7]
    assert ten.record()["chosen"] == 10
    with pytest.raises(UsageError, match="cannot choose 0"):
        select(forward, images=0)
    with pytest.raises(UsageError, match="have the id p00"):
        select(Many([*IDS, "p00"]))


def test_lists(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("p01\n/data/p02.jpg\n p03.jpg\n./data/p04.jpg\nnone.jpg\n\n")
    many = Many(IDS)
    chosen = select(many, [f"listed={listed}"])
    assert chosen.ids == ["p01", "p02", "p03", "p04"]
    assert chosen.unmatched == 1
    rest = select(many, [f"not-listed={listed}"]).ids
    assert rest == [one for one in IDS if one not in chosen.ids]
    relative = tmp_path / "relative.txt"
    relative.write_text(os.path.relpath("/data/p05.jpg", tmp_path))
    assert select(many, [f"listed={relative}"]).ids == ["p05"]
    with pytest.raises(UsageError, match="cannot read"):
        select(many, [f"listed={tmp_path / 'gone.txt'}"])


CATEGORIES = ["person", "hot dog", "dog", "sports ball", "stop sign", "airplane", "fire hydrant"]


@pytest.mark.parametrize(
    ("noun", "category"),
    [
        ("Man", "person"),
        ("tennis player", "person"),
        ("plane", "airplane"),
        ("hotdog", "hot dog"),
        ("dog", "dog"),
        ("ball", "sports ball"),
        ("hydrant", "fire hydrant"),
        ("sign", None),
        ("bike", None),
        ("", None),
        ("tree", None),
    ],
)
def test_nouns(noun: str, category: str | None) -> None:
    assert category_of(noun, CATEGORIES) == category


def test_a_last_word_of_two_categories_names_neither() -> None:
    assert category_of("glove", ["baseball glove"]) == "baseball glove"
    assert category_of("hat", ["sun hat", "top hat"]) is None
    assert category_of("kitten", ["Cat"]) == "Cat"


def test_the_table_is_thorough() -> None:
    assert len(table()) > 300
    assert len(set(table().values())) > 70


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images}))
    run = CliRunner().invoke
    assert "coco2014" in run(app, ["data"]).stdout
    assert "val2017.zip" in run(app, ["data", "coco"]).stdout
    found = run(app, ["data", "coco", str(tmp_path), "--json"], standalone_mode=False)
    assert found.return_value == 1
    document = json.loads(found.stdout)
    assert (document["photos"], document["missing"]) == (2, 1)
    assert document["lacks"] == ["captions", "categories", "masks"]
    assert select(open_dataset(tmp_path), ["present"]).ids == ["1"]
