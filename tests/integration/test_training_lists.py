"""Caption lists that are named, and photos that must not be on both sides or slip through."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos

from molyneux.errors import UsageError
from molyneux.training.caption_files import load_examples
from molyneux.training.data import Data, Wanted, open_data
from molyneux.training.hold_out import leave_out


def write_list(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a caption list and the photos it names."""
    file.parent.mkdir(exist_ok=True)
    photos = tiny_photos(12)
    for row in rows:
        photos[int(Path(row["file"]).stem)].save(file.parent / row["file"])
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def rows_of(numbers: range, caption: str = "a dog.", **more: Any) -> list[dict[str, Any]]:
    return [{"file": f"{n}.png", "caption": caption, **more} for n in numbers]


@pytest.fixture
def training(tmp_path: Path) -> Wanted:
    write_list(tmp_path / "train" / "captions.jsonl", rows_of(range(6)))
    return Wanted(str(tmp_path / "train"))


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A list in a folder whose own list says something else."""
    write_list(tmp_path / "other" / "captions.jsonl", rows_of(range(6), "a wrong one."))
    return write_list(tmp_path / "other" / "special.jsonl", rows_of(range(6, 12), "a right one."))


def numbers(examples: Any) -> list[int]:
    return [int(example.file.stem) for example in examples]


@pytest.mark.parametrize("most", [1000, 6, 2, None])
def test_the_validation_list_that_is_named_is_the_one_read(
    training: Wanted, beside: Path, most: int | None
) -> None:
    held = open_data(training, Wanted(str(beside), images=most)).validation
    assert {example.captions for example in held} == {("a right one.",)}
    assert len(held) == min(most or 6, 6)
    assert numbers(held) == sorted(numbers(held))


def test_a_sample_of_a_list_is_of_the_list(beside: Path) -> None:
    data = open_data(Wanted(str(beside), images=4, seed=1), None)
    assert {e.captions[0] for e in (*data.training, *data.validation)} == {"a right one."}
    assert len(data.training) + len(data.validation) == 4
    assert data.record["training"]["images"] == 4
    again = open_data(Wanted(str(beside), images=4, seed=1), None)
    other = open_data(Wanted(str(beside), images=4, seed=2), None)
    assert numbers(data.training) == numbers(again.training) != numbers(other.training)


def test_a_validation_list_keeps_its_crops(training: Wanted, tmp_path: Path) -> None:
    """Two crops of a photo count as one, and both are taken."""
    rows = rows_of(range(6, 9), crop=[0, 0, 9, 9]) + rows_of(range(6, 9), crop=[5, 5, 20, 20])
    file = write_list(tmp_path / "crops" / "captions.jsonl", rows)
    for spec in (file, file.parent):
        held = open_data(training, Wanted(str(spec), images=2)).validation
        assert len(held) == 4
        assert len(set(numbers(held))) == 2
        assert {example.crop for example in held} == {(0, 0, 9, 9), (5, 5, 20, 20)}


def test_no_condition_chooses_from_a_list(training: Wanted, beside: Path) -> None:
    with pytest.raises(UsageError, match=r"special\.jsonl is a list .* leave out category=dog"):
        open_data(training, Wanted(str(beside), ("category=dog",)))


def test_photos_that_held_out_jsonl_shares_are_refused(training: Wanted) -> None:
    write_list(Path(training.spec) / "held_out.jsonl", rows_of(range(5, 8)))
    with pytest.raises(UsageError, match=r"1 photos are both .* such as .*5\.png"):
        open_data(training, None)


def test_links_to_a_photo_are_that_photo(training: Wanted, tmp_path: Path) -> None:
    held = tmp_path / "linked"
    held.mkdir()
    (held / "9.png").symlink_to(Path(training.spec) / "2.png")
    (held / "captions.jsonl").write_text(json.dumps({"file": "9.png", "caption": "a dog."}))
    with pytest.raises(UsageError, match="1 photos are both"):
        open_data(training, Wanted(str(held)))


@pytest.mark.parametrize("where", [(), ("captions",)], ids=["a list", "a data set"])
def test_a_photo_of_two_names_falls_on_one_side(tmp_path: Path, where: tuple[str, ...]) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    rows = []
    for number, photo in enumerate(tiny_photos(30)):
        photo.save(folder / f"{number}.png")
        (folder / f"also-{number}.png").symlink_to(folder / f"{number}.png")
        rows += [{"file": f"{n}{number}.png", "caption": "a dog."} for n in ("", "also-")]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = open_data(Wanted(str(folder), where), None)
    trained, held = (
        {Path(str(example.file)).resolve().name for example in part}
        for part in (data.training, data.validation)
    )
    assert len(trained) + len(held) == 30
    assert 0 < len(held) < len(trained)
    assert not trained & held
    assert len(data.training) + len(data.validation) == 60


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_shards_that_both_sets_name_are_noticed(tmp_path: Path, ending: str) -> None:
    photos = tiny_photos(6)
    for shard in range(3):
        mode = "w:gz" if ending == "tar.gz" else "w"
        with tarfile.open(tmp_path / f"{shard}.{ending}", mode) as tar:  # type: ignore[call-overload]
            for number in (2 * shard, 2 * shard + 1):
                data = io.BytesIO()
                photos[number].save(data, "PNG")
                for name, said in ((f"{number}.png", data.getvalue()), (f"{number}.txt", b"a dog")):
                    info = tarfile.TarInfo(name)
                    info.size = len(said)
                    tar.addfile(info, io.BytesIO(said))
    both, last = str(tmp_path / f"{{0..1}}.{ending}"), str(tmp_path / f"2.{ending}")
    assert len(open_data(Wanted(both), Wanted(last)).validation) == 2
    with pytest.raises(UsageError, match=f"2 photos are both .* such as 1.{ending}/"):
        open_data(Wanted(both), Wanted(str(tmp_path / f"{{1..2}}.{ending}")))


def test_all_of_a_photo_that_shows_a_category_is_left_out(tmp_path: Path) -> None:
    """One crop shows the dog; the other row of the same photo, by another path, does not say so."""
    rows = [
        {"file": "0.png", "caption": "a dog.", "crop": [0, 0, 9, 9]},
        {"file": "0.png", "caption": "a man on a beach."},
        {"file": "1.png", "caption": "a boat."},
        {"file": "2.png", "caption": "a boat.", "categories": ["dog"]},
        {"file": "2.png", "caption": "a dog on a boat."},
        {"file": "3.png", "caption": "a bench."},
    ]
    file = write_list(tmp_path / "list" / "captions.jsonl", rows)
    rows.append({"file": "../list/0.png", "caption": "the sea."})
    file.write_text("\n".join(map(json.dumps, rows)))
    held = write_list(tmp_path / "held" / "captions.jsonl", rows_of(range(8, 9), "a boat."))
    left, record = leave_out(open_data(Wanted(str(file)), Wanted(str(held))), ("dog",))
    assert numbers(left.training) == [1, 3]
    assert record["training"] == {
        "left_out": 2,
        "by_annotation": {"dog": 1},
        "by_caption": {"dog": 2},
    }


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """COCO's layout with `split` in each image's entry, as Karpathy's files have it."""
    place = tmp_path / "coco"
    place.mkdir()
    for number, photo in enumerate(tiny_photos(8)):
        photo.save(place / f"{number}.png")
    images = [
        {"id": n, "file_name": f"{n}.png", "split": "val" if n > 5 else "train"} for n in range(8)
    ]
    said = [{"id": n, "image_id": n, "caption": "someone outside."} for n in range(8)]
    boxes = [{"id": n, "image_id": n, "category_id": 1} for n in (1, 7)]
    (place / "captions.json").write_text(json.dumps({"images": images, "annotations": said}))
    categories = [{"id": 1, "name": "dog"}]
    document = {"images": images, "annotations": boxes, "categories": categories}
    (place / "instances.json").write_text(json.dumps(document))
    return place


@pytest.mark.parametrize("named", ["", "captions.json"])
def test_a_coco_file_is_read_as_its_folder_is(coco: Path, named: str) -> None:
    data = open_data(Wanted(str(coco / named)), Wanted(str(coco / named), ("split=val",)))
    assert (numbers(data.training), numbers(data.validation)) == (list(range(6)), [6, 7])
    left, record = leave_out(data, ("dog",))
    assert (numbers(left.training), numbers(left.validation)) == ([0, 2, 3, 4, 5], [6])
    assert record["training"]["by_annotation"] == {"dog": 1}
    assert set(data.record["training"]["annotations"]) == {"captions.json", "instances.json"}


def test_other_files_of_a_coco_folder_are_not_read(coco: Path) -> None:
    document = json.loads((coco / "captions.json").read_text())
    for number, annotation in enumerate(document["annotations"]):
        annotation["caption"] = f"caption {number}"
    (coco / "captions_mine.json").write_text(json.dumps(document))
    data = open_data(Wanted(str(coco / "captions_mine.json"), images=3), None)
    said = [example.captions for example in (*data.training, *data.validation)]
    assert len(said) == 3
    assert all(len(captions) == 1 and captions[0].startswith("caption ") for captions in said)


def test_examples_of_a_coco_file_have_its_categories_and_training_split(coco: Path) -> None:
    training, held_out = load_examples(coco)
    rows = sorted([*training, *held_out], key=lambda example: str(example.file))
    assert numbers(rows) == list(range(6))
    assert [example.categories for example in rows] == [(), ("dog",), (), (), (), ()]


CHANGES: list[Callable[[list[dict[str, Any]]], None]] = [
    lambda rows: rows[0].update(weight=2.0),
    lambda rows: rows[0].update(source="stamps"),
    lambda rows: rows[0].update(categories=["dog"]),
    lambda rows: rows[0].update(crop=[0, 0, 5, 5]),
    lambda rows: rows[0].update(caption="a cat."),
    lambda rows: rows[0].update(file="sub/0.png"),
]


@pytest.mark.parametrize("change", CHANGES, ids=("weight", "source", "categories", "crop", "", "f"))
def test_the_record_of_a_list_is_of_all_it_says(training: Wanted, change: Any) -> None:
    """It is a setting of the run, so that none of these resumes it."""

    def hashes(data: Data) -> Any:
        return [data.record[part]["list_sha256"] for part in ("training", "validation")]

    before = hashes(open_data(training, None))
    rows = rows_of(range(6))
    file = Path(training.spec) / "captions.jsonl"
    moved = file.parent.with_name("moved")
    write_list(moved / "captions.jsonl", rows)
    assert hashes(open_data(replace(training, spec=str(moved)), None)) == before
    (file.parent / "sub").mkdir()
    (file.parent / "sub" / "0.png").write_bytes((file.parent / "0.png").read_bytes())
    change(rows)
    file.write_text("\n".join(map(json.dumps, rows)))
    assert hashes(open_data(training, None)) != before
