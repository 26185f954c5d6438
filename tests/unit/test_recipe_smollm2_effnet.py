"""The recipe of the default preset: what it sets aside, what it draws, what it leaves out."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "smollm2_effnet"


@pytest.fixture
def recipe() -> Iterator[Any]:
    """The recipe's modules, which are scripts in a folder."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPE)
        import build_data

        yield build_data
    for name in set(sys.modules) - before:
        if str(RECIPE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_captioned(folder: Path, n: int) -> Path:
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(n):
        (folder / "images" / f"{number}.jpg").touch()
        captions = [f"A man with {number} dogs.", "There is a dog on a very " + "long " * 12]
        lines.append(json.dumps({"file": f"images/{number}.jpg", "captions": captions}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


def test_parts_are_disjoint_and_stay_when_a_source_is_missing(recipe: Any, tmp_path: Path) -> None:
    flickr = write_captioned(tmp_path / "flickr8k", 2000)
    coco = write_captioned(tmp_path / "coco", 300)
    both = recipe.build({"flickr8k": flickr, "coco_1cap": coco}, tmp_path / "both")
    alone = recipe.build({"flickr8k": flickr}, tmp_path / "alone")
    rows = read(tmp_path / "alone/captions.jsonl")
    aside = alone["set_aside"]
    parts = [set(aside[part]) for part in alone["for"]]
    parts.append({Path(row["file"]).name for row in rows})
    assert sum(map(len, parts)) == len(set.union(*parts)) == 2000
    assert len(parts[-1]) / 2000 == pytest.approx(1 - 0.175, abs=0.03)
    listed = (tmp_path / "both/trust.txt").read_text().splitlines()
    assert [Path(file).name for file in listed if "flickr8k" in file] == [
        row["id"].split("/")[1] for row in read(tmp_path / "alone/trust.jsonl")
    ]
    assert both["set_aside"]["lens"]


def test_sources_are_drawn_as_their_shares_say(recipe: Any, tmp_path: Path) -> None:
    """Of what is there, in proportion; a cut caption is left to the whole ones."""
    flickr = write_captioned(tmp_path / "flickr8k", 200)
    coco = write_captioned(tmp_path / "coco", 300)
    recipe.build({"flickr8k": flickr, "coco_1cap": coco}, tmp_path / "out")
    rows = read(tmp_path / "out/captions.jsonl")
    drawn: Counter[str] = Counter()
    for row in rows:
        drawn[row["source"]] += row["weight"]
        assert row["captions"] == [f"a man with {Path(row['file']).stem} dogs."]
    assert drawn == pytest.approx({"flickr8k_human": 0.8, "coco_1cap_human": 0.2})


@pytest.mark.parametrize(
    ("captions", "crop", "left"),
    [
        (["a man with a dog.", "a dog."], None, None),
        (["a dog.", "a dog with people."], None, ["a dog."]),
        (["a dog.", "a man with a dog."], [0, 0, 9, 9], None),
        (["a dog on a bed."], [0, 0, 9, 9], ["a dog on a bed."]),
    ],
)
def test_boxes_name_no_people(
    recipe: Any, captions: list[str], crop: list[int] | None, left: list[str] | None
) -> None:
    found = recipe.without_people({"captions": captions, "crop": crop})
    assert (found and found["captions"]) == left


def test_a_source_that_is_missing_is_left_out_with_a_line(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    flickr = write_captioned(tmp_path / "flickr8k", 20)
    options = ["--flickr8k", str(flickr), "--tiny", str(tmp_path / "no"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["build_data.py", *options])
    recipe.main()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 6
    assert f"left out: tiny ({tmp_path / 'no'} is not there)" in said
    assert "left out: coco (no folder was given)" in said


def test_publishing_moves_the_projection_and_its_table_to_the_next_number(
    recipe: Any, tmp_path: Path
) -> None:
    import publish

    run, projections = tmp_path / "run", tmp_path / "projections"
    run.mkdir()
    projections.mkdir()
    (projections / "smollm2-effnet.safetensors").write_bytes(b"first")
    (projections / "smollm2-effnet.reference.safetensors").write_bytes(b"its table")
    (run / "projection.safetensors").write_bytes(b"second")
    assert publish.publish(run, projections) == "smollm2-effnet@1"
    # Without a table of its own, the second has none to leave behind.
    (run / "projection.safetensors").write_bytes(b"third")
    assert publish.publish(run, projections) == "smollm2-effnet@2"
    assert {file.name: file.read_bytes() for file in projections.iterdir()} == {
        "smollm2-effnet.safetensors": b"third",
        "smollm2-effnet@1.safetensors": b"first",
        "smollm2-effnet@1.reference.safetensors": b"its table",
        "smollm2-effnet@2.safetensors": b"second",
    }


def test_what_is_not_a_finished_run_of_the_recipe_is_not_published(
    recipe: Any, tmp_path: Path
) -> None:
    import publish

    record = {"recipe": {"name": "long"}, "encoder": "efficientnet-lite0", "terms": "Code MIT"}
    assert ["not finished" in fault for fault in publish.faults(tmp_path, record)] == [True]
    (tmp_path / "MODEL_CARD.md").touch()
    assert publish.faults(tmp_path, record) == []
    for wrong, said in (
        ({"recipe": {"name": "default"}}, "of the recipe 'default'"),
        ({"captions_permuted": 1}, "blind control"),
        ({"encoder": "random:efficientnet-lite0 seed 0"}, "blind control"),
        ({"on_the_way": True}, "kept on the way"),
        ({"terms": None}, "no terms"),
    ):
        (fault,) = publish.faults(tmp_path, record | wrong)
        assert said in fault
