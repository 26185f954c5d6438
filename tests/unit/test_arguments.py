"""Arguments that make no sense are refused at the door, in one line; none is another's in silence.

What a wrong call gave before each was looked at is said beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_captioner, tiny_model, tiny_photos, tiny_projection, tiny_tokenizer
from typechecker import unchecked

import molyneux as mx
from molyneux.models.captioner import Captioner
from molyneux.neurons.attribution import Attribution
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.projection import load_projection, save_projection

SEEING = tiny_captioner()
MODEL = SEEING.language_model
PHOTOS = tiny_photos(2)
PROMPT = SEEING.see(PHOTOS[:1])
TARGET = mx.Target(5, PROMPT.n_positions - 1)
FOUND = mx.attribute_units(MODEL, PROMPT, [TARGET])

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "patch for patches": (  # meant patches, as anything did that is not "all"
        lambda: mx.ablate_units(MODEL, PROMPT, [["L1.u5"]], positions="patch"),
        "positions is 'all' or 'patches'",
    ),
    "probability": (  # gave log-probability
        lambda: mx.attribute_units(MODEL, PROMPT, [TARGET], of="probability"),
        "of is 'logit' or 'logprob', not 'probability'",
    ),
    "gate": (  # KeyError
        lambda: mx.attribute_units(MODEL, PROMPT, [TARGET], site="gate"),
        "site is 'activation' or 'preactivation'",
    ),
    "a position before the first": (lambda: mx.Target(5, -1), "at least 0"),  # position 0
    "a position behind the last": (
        lambda: mx.attribute_units(MODEL, PROMPT, [mx.Target(5, PROMPT.n_positions)]),
        "a target's position is from 0",
    ),
    "no such token": (
        lambda: mx.attribute_units(MODEL, PROMPT, [mx.Target(MODEL.d_vocab, 3)]),
        "a token id is from 0 to",
    ),
    "a layer before the first": (  # the last layer
        lambda: mx.ablate_units(MODEL, PROMPT, [[mx.Unit(-1, 5)]]),
        "there is no unit L-1.u5: this model has layers L0 to L2",
    ),
    "a layer behind the last": (lambda: mx.decode_units(MODEL, [mx.Unit(3, 0)]), "no unit L3.u0"),
    "a direction to ablate": (
        lambda: mx.ablate_units(MODEL, PROMPT, [["L1.u5-"]]),
        "is a direction, and a unit is asked for",
    ),
    "a set for sets": (lambda: mx.ablate_units(MODEL, PROMPT, ["L1.u5"]), "lists of units"),
    "no set": (lambda: mx.ablate_units(MODEL, PROMPT, []), "at least one"),
    "all targets' scores": (  # layers that the model lacks
        lambda: mx.top_units(FOUND.patches.score, 3),
        r"give attribution\.patches\.score\[0\]",
    ),
    "scores of NaN": (lambda: mx.top_units(torch.full((3, 4), torch.nan), 3), "NaN"),
    "a sign too many": (lambda: mx.decode_units(MODEL, ["L1.u5"], [1, 1]), "1 units and 2 signs"),
    "no photo": (lambda: SEEING.caption_all([]), "no photo was given"),
    "no such photo": (lambda: PROMPT.photo(1), "a photo's number"),  # an empty prompt
    "two photos": (
        lambda: mx.attribute_units(MODEL, SEEING.see(PHOTOS), [TARGET]),
        r"one photo, and holds 2; give prompt\.photo\(0\)",
    ),
    "another model's prompt": (
        lambda: SEEING.write(ImagePrompt(torch.zeros(1, 20, 7), slice(1, 17))),
        "7 wide and the model takes 32",
    ),
    "no tokens": (lambda: SEEING.write(PROMPT, 0), "max_tokens is from 1"),
    "more tokens than positions": (lambda: SEEING.write(PROMPT, 10**6), "max_tokens is from 1"),
    "narrow features": (
        lambda: SEEING.projection.project(torch.zeros(1, 16, 7)),
        "photos x patches x 24 numbers",
    ),
    "a model of another kind": (lambda: mx.adapt(3, tiny_tokenizer()), "PreTrainedModel, not 3"),
    "a text for texts": (  # "lla" is in "llama"
        lambda: mx.Family("Mine", "llama", "model.layers", "mlp.down_proj", "mlp.up_proj", None),
        "model_types takes a list",
    ),
    "a value that no float32 holds": (
        lambda: mx.Intervention(["L1.u5"], value=1e300),
        r"1e\+300, more than float32 holds",
    ),
    "half a character": (lambda: MODEL.encode("a\ud83d"), "not UTF-8 text"),
    "a scorer's class": (lambda: mx.Settings(scorer=mx.GradientActivation), "not its class"),
    "no projection": (lambda: mx.save_projection(Path("a"), 5), "Projection, not 5"),
    "a folder that is not there": (
        lambda: mx.save_projection("/gone/away.safetensors", SEEING.projection),
        "could not be written: No such file",
    ),
    "a layer's rows from the end": (lambda: MODEL.output_rows(-1), "a layer is from 0 to 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_in_one_line(case: str) -> None:
    call, said = WRONG[case]
    with unchecked(), pytest.raises(mx.MolyneuxError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_unit_may_be_given_by_its_name() -> None:
    by_name = mx.ablate_units(MODEL, PROMPT, [["L1.u5", mx.Unit(0, 3)], []])
    by_unit = mx.ablate_units(MODEL, PROMPT, [[mx.Unit(1, 5), mx.Unit(0, 3)], []])
    assert torch.equal(by_name, by_unit)
    named = mx.decode_units(MODEL, ["L1.u5-", "l0.u3", mx.Unit(2, 7)])
    assert named == mx.decode_units(
        MODEL, [mx.Unit(1, 5), mx.Unit(0, 3), mx.Unit(2, 7)], [-1, 1, 1]
    )
    grid = SEEING.encoder.grid
    fields = mx.receptive_fields(FOUND.activation, ["L1.u5"], [1], grid)
    assert torch.equal(fields, mx.receptive_fields(FOUND.activation, [mx.Unit(1, 5)], [1], grid))
    assert mx.receptive_fields(FOUND.activation, [], [], grid).shape == (0, 4, 4)
    assert mx.decode_units(MODEL, []) == []


@pytest.mark.parametrize(
    "value", [FOUND, FOUND.patches, PROMPT, MODEL, SEEING], ids=lambda value: type(value).__name__
)
def test_what_is_printed_of_large_things_is_short(value: object) -> None:
    """Of an attribution it was 49,000 characters."""
    said = repr(value)
    assert said.startswith(f"{type(value).__name__}(")
    assert len(said) < 200
    assert "\n" not in said


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _same(found: Attribution) -> bool:
    return torch.equal(found.patches.score, FOUND.patches.score)


@pytest.mark.usefixtures("double")
def test_numbers_do_not_hang_on_the_default_dtype() -> None:
    assert SEEING.caption(PHOTOS[0]) == _caption()
    assert torch.equal(SEEING.see(PHOTOS[:1]).embeddings, PROMPT.embeddings)
    assert _same(mx.attribute_units(MODEL, PROMPT, [TARGET]))
    mx.find_writers(MODEL, 5)
    mx.adapt(tiny_model("gemma2"), tiny_tokenizer())


def _caption() -> str:
    torch.set_default_dtype(torch.float32)
    try:
        return SEEING.caption(PHOTOS[0])
    finally:
        torch.set_default_dtype(torch.float64)


def test_attribution_under_inference_mode() -> None:
    with torch.inference_mode():
        assert _same(mx.attribute_units(MODEL, SEEING.see(PHOTOS[:1]), [TARGET]))
        inside = tiny_captioner()
    with pytest.raises(mx.MolyneuxError, match=r"loaded under torch\.inference_mode\(\)"):
        mx.attribute_units(inside.language_model, PROMPT, [TARGET])


def test_places_of_training_may_be_texts(tmp_path: Path) -> None:
    run: Any = str(tmp_path / "run")
    given: Any
    with unchecked():
        for given, said in ((str(tmp_path), "no captions in"), (None, "takes a path, not None")):
            with pytest.raises(mx.MolyneuxError, match=said):
                mx.load_examples(given)
        assert mx.open_training_run(run).folder == tmp_path / "run"


def test_a_model_set_to_answer_in_tuples() -> None:
    model = tiny_model("llama")
    model.config.return_dict = False
    made = Captioner.from_parts(model, tiny_tokenizer(), SEEING.encoder, SEEING.projection)
    assert made.caption(PHOTOS[0]) == SEEING.caption(PHOTOS[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w, b: (w.T.contiguous(), b), "the weight is transposed"),
        (lambda w, b: (w[:0], b[:0]), "no matrix and vector"),
        (lambda w, b: (w * torch.nan, b), "NaN"),
        (lambda w, b: (w.long(), b), "no floating-point numbers"),
    ],
)
def test_a_projection_that_is_no_linear_map_is_refused(
    change: Callable[..., Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "projection.safetensors"
    made = tiny_projection()
    save_projection(path, made)
    assert load_projection(path).hash() == made.hash()
    weight, bias = change(made.linear.weight, made.linear.bias)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = file.metadata()
    save_file({"weight": weight, "bias": bias}, path, metadata=header)
    with pytest.raises(mx.MolyneuxError, match=said):
        load_projection(path)
