"""A row of one's own for a vision-language model, and rows that contradict themselves."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos
from tiny_vlms import tiny_vlm, tiny_vlm_parts

from molyneux.adapters.vlm_families import VISION_FAMILIES, VisionFamily
from molyneux.errors import AdapterError
from molyneux.models.vlm import VisionLanguageModel
from molyneux.models.vlm_proof import prove_patches

PAGE = Path(__file__).parents[2] / "docs" / "vlms.md"


@pytest.fixture
def mine() -> Iterator[VisionFamily]:
    """The page's own example, registered, and gone after the test."""
    before = list(VISION_FAMILIES)
    (example,) = re.findall(
        r"```python\n(from molyneux import VisionFamily.*?)```", PAGE.read_text("utf-8"), re.S
    )
    assert len(example.strip().splitlines()) < 20
    names: dict[str, Any] = {}
    exec(example, names)
    yield names["mine"]
    VISION_FAMILIES[:] = before


def parts_named(kind: str, model_type: str) -> tuple[Any, Any, Any]:
    """Return a tiny model whose configuration says that it is of another architecture."""
    model, tokenizer, processor = tiny_vlm_parts(kind)
    model.config.model_type = model_type
    return model, tokenizer, processor


def test_the_page_s_example_sees(mine: VisionFamily) -> None:
    seeing = VisionLanguageModel.from_parts(*parts_named("llava", "my_vlm"))
    assert seeing.family is mine
    photo = tiny_photos(1)[0]
    assert seeing.caption(photo) == tiny_vlm("llava").caption(photo) != ""
    assert all(check.holds for check in prove_patches(seeing))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # Its image processor crops; a row that says otherwise is noticed.
        ({"view": "whole"}, "does not show My VLM the part of a photo that its row says"),
        ({"side": lambda config: 3}, "makes 16 image tokens of a photo, not the 3 x 3"),
        ({"text": "model.text"}, "no module 'model.text', where the row of My VLM says"),
    ],
)
def test_a_wrong_row_is_refused(mine: VisionFamily, change: dict[str, Any], said: str) -> None:
    VISION_FAMILIES[0] = dataclasses.replace(mine, **change)
    with pytest.raises(AdapterError) as error:
        VisionLanguageModel.from_parts(*parts_named("llava", "my_vlm"))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"view": "middle"}, "`view` is 'middle', none of crop, whole, centre"),
        ({"side": None}, "`side` is missing"),
        ({"view": "centre"}, "needs `cell` and `centre`"),
        ({"image": "<image>"}, "`image` must hold {tokens} once"),
        ({"prompt": "A picture of"}, "`prompt` must hold {image} once"),
        ({"positions": "position_ids"}, "`positions` needs `marks`"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused_when_it_is_written(
    mine: VisionFamily, change: dict[str, Any], said: str
) -> None:
    row: Any = copy.copy(mine)
    for name, value in change.items():  # past the tests' own check of types
        object.__setattr__(row, name, value)
    with pytest.raises(AdapterError) as error:
        row.__post_init__()
    assert str(error.value).startswith("in the row of My VLM, ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_architecture_is_told_how_to_be_described() -> None:
    from molyneux.adapters.registry import find_vision_family

    with pytest.raises(AdapterError, match="register_vision_family") as error:
        find_vision_family("llava_sextus")
    said = str(error.value)
    (line,) = re.findall(r"`(from molyneux import .*?)`", said)
    before = list(VISION_FAMILIES)
    try:
        exec(line, {})
        assert find_vision_family("llava_sextus").name == "My model"
    finally:
        VISION_FAMILIES[:] = before
