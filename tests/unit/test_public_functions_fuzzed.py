"""Every public function, with wrong and right arguments: a `MolyneuxError`, or a right answer.

Each is called with right arguments of which some are put in others' places: another type, out of
range, another shape or dtype, empty, huge, NaN, unicode. A wrong number of arguments is Python's
own affair. The cases are the same in every run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_models import tiny_captioner, tiny_model, tiny_photos, tiny_tokenizer
from typechecker import unchecked

import molyneux as mx
from molyneux.errors import MolyneuxError
from molyneux.models.transplant import Transplanted
from molyneux.neurons.attribution import Attribution
from molyneux.neurons.decoding import Decoded
from molyneux.neurons.targets import Sentence
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.projection import Projection

SEEING = tiny_captioner()
MODEL = SEEING.language_model
PHOTO, OTHER = tiny_photos(2)
PROMPT = SEEING.see([PHOTO])
LAST = PROMPT.n_positions - 1
FOUND = mx.attribute_units(MODEL, PROMPT, [mx.Target(5, LAST)])
WIDTH, DEEP = MODEL.d_mlp, MODEL.n_layers
SHORT = mx.Model(SEEING)
FAMILY = MODEL.family


@dataclass(frozen=True)
class Door:
    """A public function, arguments that are right, and what a right answer is.

    Attributes:
        is_right: whether an answer is one, for the arguments it was given.
    """

    call: Callable[..., Any]
    right: dict[str, Any]
    is_right: Callable[[Any, dict[str, Any]], bool]
    answers: bool = True
    kept: tuple[str, ...] = field(default=())


def _units(found: Any, given: dict[str, Any]) -> bool:
    return all(0 <= unit.layer < DEEP and 0 <= unit.unit < WIDTH for unit in found)


def _normalised(found: Any, given: dict[str, Any]) -> bool:
    total = found.exp().sum(dim=1)
    return len(found) == len(list(given["sets"])) and bool((total <= 1 + 1e-4).all())


def _effects(found: Any, given: dict[str, Any]) -> bool:
    shape = (len(list(given["units"])), len(list(given["token_ids"])))
    return tuple(found.logit.shape) == shape and bool(found.log_probability.isfinite().all())


def _attribution(found: Any, given: dict[str, Any]) -> bool:
    n = len(list(given["targets"]))
    return isinstance(found, Attribution) and found.last.score.shape == (n, DEEP, WIDTH)


def _writers(found: Any, given: dict[str, Any]) -> bool:
    return _units([unit for unit, _, _ in found], given) and len(found) <= int(given["top"])


def _decoded(found: Any, given: dict[str, Any]) -> bool:
    found = found if isinstance(found, list) else [found]
    return all(isinstance(one, Decoded) for one in found) and _units(
        [one.unit for one in found], given
    )


def _captions(found: Any, given: dict[str, Any]) -> bool:
    return all(isinstance(text, str) for text in found)


def _tokens(found: Any, given: dict[str, Any]) -> bool:
    return all(0 <= token < MODEL.d_vocab for row in found for token in row)


def _a(kind: type) -> Callable[[Any, dict[str, Any]], bool]:
    return lambda found, given: isinstance(found, kind)


def _fields(found: Any, given: dict[str, Any]) -> bool:
    return tuple(found.shape[1:]) == (4, 4) and bool(torch.isfinite(found).all())


PROJECTION = {"language_model": "x", "encoder": "y"}
UNITS = [mx.Unit(0, 1), "L1.u5"]
DOORS = {
    "ablate_units": Door(
        mx.ablate_units,
        {"model": MODEL, "prompt": PROMPT, "sets": [UNITS, []], "positions": "all"},
        _normalised,
    ),
    "unit_effects": Door(
        mx.unit_effects,
        {
            "model": MODEL,
            "prompt": PROMPT,
            "token_ids": [5, 7],
            "units": UNITS,
            "value": 0.0,
            "positions": "patches",
            "rows": 4,
        },
        _effects,
    ),
    "attribute_units": Door(
        mx.attribute_units,
        {
            "model": MODEL,
            "prompt": PROMPT,
            "targets": [mx.Target(5, LAST)],
            "of": "logit",
            "site": "activation",
            "patches": None,
            "sinks": None,
        },
        _attribution,
    ),
    "decode_units": Door(
        mx.decode_units,
        {"model": MODEL, "units": UNITS, "signs": [1, -1], "top": 3, "bias": False},
        _decoded,
    ),
    "intervened_logits": Door(
        mx.intervened_logits,
        {"model": MODEL, "prompt": PROMPT, "interventions": [mx.Intervention(UNITS)]},
        _a(torch.Tensor),
    ),
    "find_writers": Door(mx.find_writers, {"model": MODEL, "token_id": 5, "top": 3}, _writers),
    "top_units": Door(mx.top_units, {"score": FOUND.patches.score[0], "n": 3}, _units),
    "receptive_fields": Door(
        mx.receptive_fields,
        {
            "activation": FOUND.activation,
            "units": UNITS,
            "signs": [1, 1],
            "grid": SEEING.encoder.grid,
        },
        _fields,
    ),
    "read_sentence": Door(
        mx.read_sentence, {"model": MODEL, "prompt": PROMPT, "token_ids": [9, 10]}, _a(Sentence)
    ),
    "adapt": Door(
        mx.adapt,
        {"model": tiny_model("llama"), "tokenizer": tiny_tokenizer(), "check": False},
        _a(mx.LanguageModel),
    ),
    "adapt by a row": Door(
        mx.adapt,
        {"model": tiny_model("llama"), "tokenizer": tiny_tokenizer(), "family": FAMILY},
        _a(mx.LanguageModel),
    ),
    "prove": Door(mx.prove, {"model": MODEL, "n_layers": 1, "n_units": 2}, _a(list)),
    "Target": Door(mx.Target, {"token_id": 5, "position": 3}, _a(mx.Target)),
    "Decoding": Door(mx.Decoding, {"final_norm": True, "bias": False}, _a(mx.Decoding)),
    "Decoding.parse": Door(mx.Decoding.parse, {"text": "plain"}, _a(mx.Decoding)),
    "Scaled": Door(mx.Scaled, {"factor": 0.5}, _a(mx.Scaled)),
    "Intervention": Door(
        mx.Intervention, {"units": UNITS, "positions": "all", "value": 0.0}, _a(mx.Intervention)
    ),
    "Family": Door(
        mx.Family,
        {
            "name": "Mine",
            "model_types": ("mine",),
            "layers": "model.layers",
            "down": "mlp.down_proj",
            "preactivation": "mlp.gate_proj",
            "final_norm": "model.norm",
            "preactivation_part": (0, 1),
        },
        _a(mx.Family),
    ),
    "VisionFamily": Door(
        mx.VisionFamily,
        {"name": "Mine", "model_types": ("mine",), "towers": ("clip",), "side": lambda config: 4},
        _a(mx.VisionFamily),
    ),
    "EncoderFamily": Door(
        mx.EncoderFamily,
        {"name": "Mine", "model_types": ("mine",), "network": "a.B", "processor": "C"},
        _a(mx.EncoderFamily),
    ),
    # Right ones would be known to every later test.
    "register_family": Door(mx.register_family, {"family": 3}, _a(type(None)), answers=False),
    "register_vision_family": Door(
        mx.register_vision_family, {"family": 3}, _a(type(None)), answers=False
    ),
    "register_encoder_family": Door(
        mx.register_encoder_family, {"family": 3}, _a(type(None)), answers=False
    ),
    # Files and names of nothing: what is there is for other tests to load.
    "load_projection": Door(mx.load_projection, {"path": "nowhere"}, _a(Projection), answers=False),
    "load_reference": Door(mx.load_reference, {"path": "nowhere"}, _a(object), answers=False),
    "load_trust": Door(mx.load_trust, {"path": "nowhere"}, _a(object), answers=False),
    "load_vlm": Door(
        mx.load_vlm,
        {"source": "./nowhere", "dtype": "float32", "device": None},
        _a(object),
        answers=False,
    ),
    "load_language_model": Door(
        mx.load_language_model,
        {"source": "./nowhere", "dtype": "float32", "device": None},
        _a(object),
        answers=False,
    ),
    "load_encoder": Door(
        mx.load_encoder, {"source": "./nowhere", "device": "cpu"}, _a(object), answers=False
    ),
    "load": Door(
        mx.load,
        {"preset": "nothing", "dtype": "float32", "device": "cpu", "decoding": None},
        _a(object),
        answers=False,
        kept=("preset",),
    ),
    "Captioner.load": Door(
        mx.Captioner.load,
        {"preset": "nothing", "dtype": "float32", "device": "cpu"},
        _a(object),
        answers=False,
    ),
    "Captioner.from_sources": Door(
        mx.Captioner.from_sources,
        {"language_model": "./nowhere", "encoder": "./nowhere", "projection": "nowhere"},
        _a(object),
        answers=False,
    ),
    "Captioner.from_parts": Door(
        mx.Captioner.from_parts,
        {
            "model": tiny_model("llama"),
            "tokenizer": tiny_tokenizer(),
            "encoder": SEEING.encoder,
            "projection": SEEING.projection,
        },
        _a(mx.Captioner),
    ),
    "open_dataset": Door(
        mx.open_dataset, {"spec": "nowhere", "kind": None}, _a(object), answers=False
    ),
    "open_atlas": Door(mx.open_atlas, {"source": "nowhere"}, _a(object), answers=False),
    "read_document": Door(mx.read_document, {"run": "nowhere"}, _a(object), answers=False),
    "see": Door(SEEING.see, {"photos": [PHOTO]}, _a(ImagePrompt)),
    "encode": Door(SEEING.encode, {"photos": [PHOTO]}, _a(torch.Tensor)),
    "image_prompts": Door(SEEING.image_prompts, {"photos": [PHOTO]}, _a(torch.Tensor)),
    "write": Door(SEEING.write, {"prompt": PROMPT, "max_tokens": 2}, _tokens),
    "caption": Door(SEEING.caption, {"photo": PHOTO}, _a(str)),
    "caption_all": Door(SEEING.caption_all, {"photos": [PHOTO, OTHER]}, _captions),
    "with_reference": Door(
        SEEING.with_reference, {"reference": 3}, _a(mx.Captioner), answers=False
    ),
    "Model.caption_all": Door(SHORT.caption_all, {"photos": [PHOTO]}, _captions),
    "Model.decode": Door(SHORT.decode, {"units": UNITS, "top": 3}, _decoded),
    "Model.find": Door(SHORT.find, {"word": "dog", "top": 3}, _decoded),
    "Model.without": Door(
        lambda **given: SHORT.without(**given).caption(PHOTO),
        {"units": UNITS, "value": 0.0, "positions": "all"},
        _a(str),
    ),
    "Model.transplant": Door(
        SHORT.transplant,
        {"from_photo": PHOTO, "into": OTHER, "units": UNITS, "patches": [0, 3]},
        _a(Transplanted),
    ),
}

# What is public and no function to be called with wrong arguments: kinds of things, which hold
# what others give them, and what needs a data set or a trained run (their own tests refuse wrong
# ones).
ELSEWHERE = {
    "Atlas",  # what open_atlas gives
    "Effects",  # what unit_effects gives
    *("AnnotatedPhotos", "Item", "LanguageModel", "Layout", "Loader", "Model", "MolyneuxError"),
    *("Parts", "Recipe", "Settings", "Unit", "VisionLanguageModel", "explain_photo"),
    *("explain_photos", "in_folder", "load_examples", "measure_reference", "open_training_run"),
    *("measure_trust", "TrustPhotos", "TrustScale"),
    *("register_dataset", "run_study", "save_projection", "select", "train_projection"),
    *("Experiment", "Needs", "Result", "ResultTable", "Study", "StudySettings", "over_photos"),
    "register_experiment",
    *("Context", "Cost", "GradientActivation", "Ranked", "Scorer", "UnitSet"),
    *("attribute_products", "find_scorer", "rank_units", "register_scorer"),
}


def junk() -> st.SearchStrategy[Any]:
    """Return what a caller may give by mistake."""
    whole = st.integers(-3, 60)
    unit = st.builds(mx.Unit, st.integers(-2, 4), st.integers(-2, 60))
    tensors = st.builds(
        lambda shape, dtype: torch.ones(shape, dtype=dtype),
        st.lists(st.integers(0, 3), max_size=4),
        st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int64, torch.bool]),
    )
    fixed = st.sampled_from(
        [
            *(None, True, False, 0, -1, 10**30, -(10**30), 0.0, 1.5, float("nan"), float("inf")),
            *("", " ", "\n", "all", "patches", "L1.u5", "L1.u5-", "L-1.u5", "L1.u99", "nowhere"),
            *(
                "L" + "9" * 5000 + ".u1",
                "\0",
                "🐶\u2028日本",
                "\ud800",
                b"L1.u5",
                [],
                {},
                set(),
                (),
            ),
            *([None], [[]], [[[]]], ["L1.u5"], [["L1.u5"]], "L1.u5 L1.u6", mx.Unit(0, 1)),
            *(mx.Unit(-1, 5), mx.Unit(1.5, "a"), mx.Target(5, LAST), [mx.Target(5, 10**9)]),
            *(
                [mx.Target(10**9, 3)],
                [mx.Target(5, LAST)] * 2,
                object(),
                type,
                len,
                Path("nowhere"),
            ),
            *(Path(), Image.new("L", (1, 1)), Image.new("RGBA", (300, 2)), np.zeros((4, 4, 3))),
            *(
                np.full((3, 4), np.nan),
                np.int64(1),
                np.float32(1),
                np.zeros((2, 8, 8, 3), np.uint8),
            ),
            *(torch.full((3, 48), torch.nan), torch.tensor(1), torch.zeros(0), iter([1]), range(2)),
            *(
                MODEL,
                PROMPT,
                SEEING,
                FOUND,
                SEEING.projection,
                SEEING.encoder,
                SEEING.see([PHOTO] * 2),
            ),
            *(ImagePrompt(torch.zeros(1, 20, 7), slice(1, 17)), slice(1, 3), 1j, NotImplemented),
        ]
    )
    simple = st.one_of(whole, st.floats(), st.text(max_size=4), st.binary(max_size=3), unit)
    return st.one_of(
        fixed,
        fixed,
        simple,
        tensors,
        st.lists(simple, max_size=3),
        st.lists(st.lists(unit), max_size=2),
    )


@pytest.fixture(scope="module", autouse=True)
def _as_users_run_it() -> Iterator[None]:
    with unchecked(), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_every_public_name_is_tried_or_said_to_be_elsewhere() -> None:
    tried = {name.split(".")[0].split(" ")[0] for name in DOORS}
    assert set(mx.__all__) == (tried & set(mx.__all__)) | ELSEWHERE
    assert not tried & ELSEWHERE - {"Model"}


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.answers])
def test_right_arguments_have_a_right_answer(name: str) -> None:
    door = DOORS[name]
    assert door.is_right(door.call(**door.right), door.right)


@pytest.mark.parametrize("name", DOORS)
@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_wrong_arguments_are_refused_by_our_own_errors(name: str, data: st.DataObject) -> None:
    door = DOORS[name]
    open_to = sorted(set(door.right) - set(door.kept))
    wrong = data.draw(st.sets(st.sampled_from(open_to), min_size=1, max_size=2))
    given_ = door.right | {key: data.draw(junk()) for key in sorted(wrong)}
    try:
        found = door.call(**given_)
    except MolyneuxError as error:
        said = str(error)
        assert said
        assert "\n" not in said
    else:
        assert door.is_right(found, given_)
