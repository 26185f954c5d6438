"""The short way from Python: load, caption, explain, decode, find, switch off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import count_hooks, tiny_captioner, tiny_photos

import molyneux as mx
from molyneux import MolyneuxError, Unit
from molyneux.model import Changed, Model

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(tiny_captioner())


def every_unit(model: Model) -> list[Unit]:
    language = model.language_model
    return [Unit(layer, k) for layer in range(language.n_layers) for k in range(language.d_mlp)]


def zeroed(model: Model) -> str:
    """The caption of a copy whose output rows are zero: no hook takes part."""
    captioner = tiny_captioner()
    for layer in range(captioner.language_model.n_layers):
        with torch.no_grad():
            captioner.language_model.down_projection(layer).weight.zero_()
    return captioner.caption(tiny_photos(1)[0])


def test_a_photo_is_captioned_as_the_captioner_does(model: Model) -> None:
    photos = tiny_photos(3)
    assert model.caption_all(photos) == tiny_captioner().caption_all(photos)
    assert model.caption(photos[1]) == model.caption_all(photos)[1]
    assert model.caption_all(photos[1]) == [model.caption(photos[1])]


def test_without_all_units_it_writes_what_it_writes_with_zeroed_weights(model: Model) -> None:
    photo, before = tiny_photos(1)[0], count_hooks(model.language_model.model)
    without = model.without(every_unit(model)).caption(photo)
    assert without == zeroed(model)
    assert without != model.caption(photo)
    assert count_hooks(model.language_model.model) == before


def test_units_are_named_as_text_or_as_units(model: Model) -> None:
    photo = tiny_photos(1)[0]
    mixed = model.without(["L1.u7", Unit(2, 3)])
    assert mixed.intervention.units == [Unit(1, 7), Unit(2, 3)]
    assert isinstance(mixed.caption(photo), str)
    assert model.without("L1.u7").intervention.units == [Unit(1, 7)]
    assert model.without(Unit(1, 7)).intervention.units == [Unit(1, 7)]


def test_scaling_by_one_changes_nothing_and_another_value_does(model: Model) -> None:
    photo, units = tiny_photos(1)[0], every_unit(model)
    assert model.without(units, mx.Scaled(1.0)).caption(photo) == model.caption(photo)
    assert model.without(units, 5.0).caption(photo) != model.caption(photo)
    assert isinstance(model.without(units, "mean", positions="patches").caption(photo), str)


def test_units_are_decoded_in_the_direction_asked_for(model: Model) -> None:
    plus, minus = model.decode(["L1.u7", "L1.u7-"])
    assert plus.tokens == minus.suppressed
    assert model.decode("L1.u7").tokens == plus.tokens
    assert len(model.decode("L1.u7", top=3).tokens) == 3


def test_what_finds_a_word_writes_it(model: Model) -> None:
    best = model.find("water", top=2)[0]
    assert best.tokens[0].strip() == "water"


WRONG: list[Any] = [
    lambda m: m.without([]),
    lambda m: m.without("L99.u0"),
    lambda m: m.without(Unit(-1, 5)),
    lambda m: m.decode("unit 7"),
    lambda m: m.decode("L1.u7", top=0),
    lambda m: m.find(""),
    lambda m: m.find("river", top=-1),
    lambda m: m.caption("no-such.jpg"),
    lambda m: m.explain("no-such.jpg"),
    lambda m: m.explain("no-such.jpg", tops=3),
    lambda m: mx.load("no-such-preset"),
    lambda m: mx.load(vlm="a", preset="smollm2-effnet"),
    lambda m: mx.load(language_model="a"),
    lambda m: mx.load(prompt="a photo of"),
    lambda m: mx.load(dtype="float12"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_goes_wrong_is_one_line(wrong: Any, model: Model) -> None:
    with pytest.raises(MolyneuxError) as raised:
        wrong(model)
    assert "\n" not in str(raised.value)


# Of another type than annotated, which the checks that tests run under would refuse first.
MISTYPED = """
import molyneux as mx
from molyneux.model import Model
from tiny_models import tiny_captioner

m = Model(tiny_captioner())
calls = [
    lambda: m.without(7),
    lambda: m.without("L1.u7", "median"),
    lambda: m.without("L1.u7", positions="patch"),
    lambda: m.decode(None),
    lambda: m.decode([None]),
    lambda: m.decode("L1.u7", top="3"),
    lambda: m.find(7),
    lambda: m.find("mountain", top=True),
    lambda: m.caption(7),
    lambda: m.caption_all("no-such.jpg"),
    lambda: m.caption_all([]),
    lambda: m.caption_all(7),
    lambda: m.explain(None),
    lambda: mx.load(7),
    lambda: mx.load(reference=7),
]
for number, call in enumerate(calls):
    try:
        call()
    except mx.MolyneuxError as error:
        assert "\\n" not in str(error), number
    except Exception as error:
        print(number, type(error).__name__, error)
    else:
        print(number, "nothing was raised")
"""


def test_arguments_of_another_type_are_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISTYPED],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_messages_call_arguments_by_their_names() -> None:
    with pytest.raises(MolyneuxError, match="vlm brings its own") as raised:
        mx.load(vlm="a", preset="b")
    assert "--" not in str(raised.value)


def test_it_prints_in_one_line(model: Model) -> None:
    assert "units" in repr(model)
    assert len(repr(model)) < 200
    assert repr(model.without("L1.u7")) == "<1 units set to 0.0 at all>"
    assert isinstance(model.without("L1.u7"), Changed)


def test_a_photo_is_explained_in_memory(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    tiny_photos(1)[0].save(path)
    explained = model.explain(path, ablate="none", top=5)
    assert explained.image.caption == model.caption(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png"]
