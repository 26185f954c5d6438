"""Every family's row by its `model_type`: looked up, added, and told from the other kinds'."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from molyneux.adapters.encoder_families import ENCODER_FAMILIES, EncoderFamily
from molyneux.adapters.families import FAMILIES, Family
from molyneux.adapters.vlm_families import VISION_FAMILIES, VisionFamily
from molyneux.checks import is_a
from molyneux.errors import AdapterError

LANGUAGE_MODEL, ENCODER, VISION_LANGUAGE = "language model", "encoder", "vision-language model"


def known_as_another(model_type: str, wanted: str) -> str | None:
    """Return one line that says what a `model_type` is and where to give it, else None.

    A folder given in the wrong place is the likelier mistake than an architecture without a row.

    Args:
        wanted: which of the three kinds it was given as.
    """
    rows: dict[str, Sequence[Family | EncoderFamily | VisionFamily]]
    rows = {LANGUAGE_MODEL: FAMILIES, ENCODER: ENCODER_FAMILIES, VISION_LANGUAGE: VISION_FAMILIES}
    where = {
        LANGUAGE_MODEL: "as --language-model, or with load_language_model",
        ENCODER: "as --encoder, or with load_encoder",
        VISION_LANGUAGE: "as --vlm, or with load_vlm",
    }
    for kind, families in rows.items():
        for family in families:
            if kind != wanted and model_type in family.model_types:
                article = "an" if kind == ENCODER else "a"
                return (
                    f"a model of type {model_type!r} ({family.name}) is {article} {kind}, and was "
                    f"given as {'an' if wanted == ENCODER else 'a'} {wanted}; give it {where[kind]}"
                )
    return None


def register_family(family: Family) -> None:
    """Make a family known; it takes precedence over rows already there.

    Raises:
        UsageError: it is no row of this kind.
    """
    FAMILIES.insert(0, is_a("family", family, Family, "a row, Family(...)"))


def find_family(model_type: str, config: Any = None) -> Family:
    """Return the row for a configuration's `model_type`.

    Args:
        config: the configuration itself, where several rows or conditions depend on its values.

    Raises:
        AdapterError: no row names this `model_type`, or none admits the configuration's other
            values; near matches are listed, none is guessed. Encoders and vision-language models
            are called what they are.
    """
    named = [family for family in FAMILIES if model_type in family.model_types]
    for family in named:
        if config is None or all(
            getattr(config, key, None) == value for key, value in family.where.items()
        ):
            return family
    if named:
        needs = " or ".join(
            " and ".join(f"{key}={value!r}" for key, value in family.where.items())
            for family in named
        )
        raise AdapterError(
            f"the adapter for {model_type!r} needs a configuration with {needs}, which this "
            f"model's has not; {_how_to_register(model_type)}"
        )
    elsewhere = known_as_another(model_type, LANGUAGE_MODEL)
    if elsewhere is not None:
        raise AdapterError(elsewhere)
    known = sorted({name for family in FAMILIES for name in family.model_types})
    near = difflib.get_close_matches(model_type, known, n=3, cutoff=0.4)
    listed = ", ".join(known)
    hint = f"near matches: {', '.join(near)}" if near else f"known: {listed}"
    raise AdapterError(
        f"no adapter for the architecture {model_type!r} ({hint}); {_how_to_register(model_type)}"
    )


def _how_to_register(model_type: str) -> str:
    return (
        "describe it, here as Llama's places are called: `from molyneux import Family, "
        f'register_family; row = Family("My model", ("{model_type}",), "model.layers", '
        '"mlp.down_proj", "mlp.gate_proj", "model.norm", gated=True); register_family(row)`'
    )


def register_encoder_family(family: EncoderFamily) -> None:
    """Make a family known; it takes precedence over rows already there.

    Raises:
        UsageError: it is no row of this kind.
    """
    ENCODER_FAMILIES.insert(0, is_a("family", family, EncoderFamily, "a row, EncoderFamily(...)"))


def find_encoder_family(model_type: str) -> EncoderFamily:
    """Return the row for a configuration's `model_type`.

    Raises:
        AdapterError: no row names this `model_type`; near matches are listed, none is guessed.
    """
    for family in ENCODER_FAMILIES:
        if model_type in family.model_types:
            return family
    elsewhere = known_as_another(model_type, ENCODER)
    if elsewhere is not None:
        raise AdapterError(elsewhere)
    known = [name for family in ENCODER_FAMILIES for name in family.model_types]
    near = difflib.get_close_matches(model_type, known, n=3, cutoff=0.4)
    hint = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
    raise AdapterError(
        f"no image encoder for the architecture {model_type!r} ({hint}); describe it with "
        "molyneux.adapters.encoder_families.EncoderFamily(...) and register_encoder_family(...)"
    )


def register_vision_family(family: VisionFamily) -> None:
    """Make a family known; it takes precedence over rows already there.

    Raises:
        UsageError: it is no row of this kind.
    """
    VISION_FAMILIES.insert(0, is_a("family", family, VisionFamily, "a row, VisionFamily(...)"))


def find_vision_family(model_type: str, config: Any = None) -> VisionFamily:
    """Return the row for a configuration's `model_type`.

    Args:
        config: the configuration itself, whose vision network is then looked at too.

    Raises:
        AdapterError: no row names this `model_type`, or it is not known with this vision network;
            near matches are listed, none is guessed.
    """
    for family in VISION_FAMILIES:
        if model_type not in family.model_types:
            continue
        tower = None if config is None else config.vision_config.model_type
        if tower is not None and tower not in family.towers:
            raise AdapterError(
                f"{family.name} is not known here with the vision network {tower!r}, only with "
                f"{', '.join(family.towers)}: where its patches are is not guessed"
            )
        return family
    elsewhere = known_as_another(model_type, VISION_LANGUAGE)
    if elsewhere is not None:
        raise AdapterError(elsewhere)
    known = sorted({name for family in VISION_FAMILIES for name in family.model_types})
    near = difflib.get_close_matches(model_type, known, n=3, cutoff=0.5)
    hint = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(known)}"
    raise AdapterError(
        f"no adapter for the vision-language architecture {model_type!r} ({hint}); describe it: "
        "`from molyneux import VisionFamily, register_vision_family; row = VisionFamily("
        f'"My model", ("{model_type}",), ("clip_vision_model",), side=lambda config: 24); '
        "register_vision_family(row)`"
    )


def text_family(family: VisionFamily, config: Any) -> Family:
    """Return the row of the language model inside, with its paths from the whole model.

    Raises:
        AdapterError: the language model's architecture has no row.
    """
    text = config.text_config
    row = find_family(family.text_type or text.model_type, None if family.text_type else text)

    def inside(path: str | None) -> str | None:
        # A causal LM keeps its body under one name; here the body itself stands at `text`.
        return None if path is None else f"{family.text}.{path.partition('.')[2]}"

    layers = inside(row.layers)
    assert layers is not None
    return replace(
        row,
        name=f"{family.name}: {row.name}",
        model_types=family.model_types,
        layers=layers,
        final_norm=inside(row.final_norm),
        project_out=inside(row.project_out),
        where={},
    )
