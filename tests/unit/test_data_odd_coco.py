"""COCO files of strangers: ids and outlines however they are written."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from odd_data import coco, refused

from molyneux.data.coco import Coco
from molyneux.data.dataset import left_out_of


def with_ids(folder: Path, first: str, second: str, spoken_of: str) -> dict[str, tuple[str, ...]]:
    """Return the captions by file of a set whose annotation speaks of an id."""
    dataset = coco(
        folder,
        f'{{"images": [{{"id": {first}, "file_name": "a.png"}}, '
        f'{{"id": {second}, "file_name": "b.png"}}], '
        f'"annotations": [{{"id": 1, "image_id": {spoken_of}, "caption": "first."}}]}}',
    )
    return {Path(str(item.source)).name: item.captions for item in dataset}


@pytest.mark.parametrize(
    ("first", "second", "spoken_of"),
    [
        ("9007199254740993", "9007199254740992", '"9007199254740993"'),
        ('"9007199254740993"', '"9007199254740992"', "9007199254740993"),
        ("1" + "0" * 400, "1" + "0" * 399, "1" + "0" * 400),
        ("-5", "5", "-5"),
        ('"-5"', "5", "-5"),
        ("0", "1", "0.0"),
        ("7", "8", '"7.0"'),
        ('"a7"', '"a8"', '"a7"'),
        ('"007"', '"7"', '"007"'),
        ('"1e400"', '"1e401"', '"1e400"'),
        ('"ü"', '"NaN"', '"ü"'),
        ('"true"', '"x"', '"true"'),
    ],
)
def test_an_id_is_whatever_is_written(two: Path, first: str, second: str, spoken_of: str) -> None:
    assert with_ids(two, first, second, spoken_of) == {"a.png": ("first.",), "b.png": ()}


@pytest.mark.parametrize(
    "wrong",
    ["1e400", "NaN", "Infinity", "-Infinity", "true", "null", "1.5", "1e300", '""', "[1]", "{}"],
)
def test_what_is_no_id_is_refused(two: Path, wrong: str) -> None:
    assert (
        "is no id" in (said := refused(lambda: with_ids(two, wrong, "2", "2"))) or "exact" in said
    )
    assert "not written as COCO's" in refused(lambda: with_ids(two, "1", "2", wrong))


def test_annotations_of_photos_that_are_not_listed_are_counted(two: Path) -> None:
    assert with_ids(two, "1", "2", "9") == {"a.png": (), "b.png": ()}
    assert left_out_of(Coco(two)) == [
        "annotations of photos that are not listed: 1, such as photo 9 in instances.json"
    ]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("width", "NaN"), ("height", "1e400"), ("file_name", "5"), ("file_name", "true")],
)
def test_a_photo_that_is_no_photo_is_refused(two: Path, key: str, wrong: str) -> None:
    text = f'{{"images": [{{"id": 1, "file_name": "a.png", "{key}": {wrong}}}]}}'
    assert "not written as COCO's" in refused(lambda: coco(two, text))


def test_entries_that_are_no_objects_are_refused(two: Path) -> None:
    for images in ("[5]", '["a.png"]', "[null]", "[[1]]"):
        assert "not written as COCO's" in refused(partial(coco, two, f'{{"images": {images}}}'))
    for more in ('"annotations": [5]', '"categories": {"id": 1}', '"annotations": 5'):
        text = f'{{"images": [{{"id": 1, "file_name": "a.png"}}], {more}}}'
        assert "not written as COCO's" in refused(partial(coco, two, text))


def outlined(folder: Path, *segmentations: str, crowd: str = "0") -> Coco:
    annotations = ", ".join(
        f'{{"id": {n}, "image_id": 1, "category_id": 1, "iscrowd": {crowd}, "segmentation": {s}}}'
        for n, s in enumerate(segmentations, 1)
    )
    return coco(
        folder,
        '{"images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 8}], "categories": '
        f'[{{"id": 1, "name": "cat"}}], "annotations": [{annotations}]}}',
    )


LEFT = "[[0, 0, 8, 0, 8, 8, 0, 8]]"


@pytest.mark.parametrize(
    "left",
    [
        LEFT,
        "[0, 0, 8, 0, 8, 8, 0, 8]",
        "[[0, 0], [8, 0], [8, 8], [0, 8]]",
        "[[[0, 0], [8, 0], [8, 8], [0, 8]]]",
        "[[[0, 0], [8, 0], [8, 4], [0, 4]], [[0, 4], [8, 4], [8, 8], [0, 8]]]",
        '[["0", "0"], ["8", "0"], ["8", "8"], ["0", "8"]]',
        json.dumps(LEFT),
        '{"counts": [0, 64, 64], "size": [8, 16]}',
        '{"counts": "0P2P2", "size": [8, 16]}',
        "[[-9, -9, 8, -9, 8, 99, -9, 99]]",
    ],
)
def test_an_outline_is_drawn_however_it_is_written(two: Path, left: str) -> None:
    dataset = outlined(two, left)
    assert not left_out_of(dataset)
    mask = next(iter(dataset)).mask("cat")
    assert mask is not None
    assert mask[:, :8].all()
    assert not mask[:, 8:].any()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("[[NaN, 1, 2, 3, 4, 5]]", "a corner lies at nan"),
        ("[[0, 0, Infinity, 0, 8, 8]]", "a corner lies at inf"),
        ("[[0, 0, 1e400, 0, 8, 8]]", "a corner lies at inf"),
        ("[[0, 0, 1e300, 0, 8, 8]]", "a corner lies at inf"),
        ("[[0, 0, 1e9, 0, 8, 8]]", r"a corner lies at 1e\+09"),
        (f"[[0, 0, {10**400}, 0, 8, 8]]", "too large"),
        ("[[[NaN, 0], [8, 0], [8, 8]]]", "a corner lies at nan"),
        ("[[0, 0, 8, 0, 8, 8, 0]]", "7 numbers"),
        ("[[0, 0, 8, 0, 8, true]]", "true or false"),
        ('[["a", 0, 8, 0, 8, 8]]', "could not convert"),
        ("[[0, 0, 8, 0, 8, null]]", "NoneType"),
        ("7", "cannot be a int"),
        ("true", "cannot be a bool"),
        ('"no json"', "Expecting value"),
        ('{"counts": [0, 64, 64]}', "size"),
        ('{"counts": [0, 64], "size": [8, 16]}', "fill 64 pixels"),
        ('{"counts": [0, NaN], "size": [8, 16]}', "is no id"),
        ('{"counts": [-1, 129], "size": [8, 16]}', "fill 128 pixels"),
        ('{"counts": "P2P", "size": [8, 16]}', "within a number"),
        ('{"counts": "é", "size": [8, 16]}', "which the packing does not use"),
        ('{"counts": [0, 64, 64], "size": [1e9, 1e9]}', "pixels"),
        ('{"counts": [], "size": [0, 0]}', "pixels"),
        ('{"counts": 5, "size": [8, 16]}', "not iterable"),
    ],
)
def test_an_outline_that_cannot_be_drawn_is_named_and_left_out(
    two: Path, broken: str, said: str
) -> None:
    dataset = outlined(two, LEFT, broken)
    (item,) = dataset
    assert item.categories == ("cat",)
    assert item.instances == {"cat": 2}
    assert item.mask("cat") is None  # half a mask would be a wrong one
    (line,) = left_out_of(dataset)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(line)
    assert "outlines that cannot be drawn: 1, such as annotation 2 in instances.json" in line
    assert dataset.record()["left_out"]["outlines that cannot be drawn"]["count"] == 1


@pytest.mark.parametrize("nothing", ["null", "[]", "[[]]", '""', "[[1, 2, 3, 4]]", "[[1, 2]]"])
def test_an_outline_without_an_inside_is_a_box(two: Path, nothing: str) -> None:
    dataset = outlined(two, nothing)
    assert not next(iter(dataset)).has_masks
    assert not left_out_of(dataset)


@pytest.mark.parametrize("crowd", ["1", "true", '"1"', "1.0"])
def test_a_crowd_however_it_is_said(two: Path, crowd: str) -> None:
    assert next(iter(outlined(two, LEFT, crowd=crowd))).instances == {}


@pytest.mark.parametrize("crowd", ["0", "false", '"0"', "0.0", "null", '""'])
def test_no_crowd_however_it_is_said(two: Path, crowd: str) -> None:
    assert next(iter(outlined(two, LEFT, crowd=crowd))).instances == {"cat": 1}
