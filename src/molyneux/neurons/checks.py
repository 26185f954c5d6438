"""What is said of a model's units, tokens and positions, looked at where it comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import is_a, several, shown, whole_number
from molyneux.errors import UsageError
from molyneux.neurons.unit import Unit, parse_unit, require_units
from molyneux.vision.layout import ImagePrompt

if TYPE_CHECKING:
    from molyneux.neurons.attribution import Target

UNITS = "['L12.u905', Unit(3, 7)]"
SETS = "[[], ['L12.u905', Unit(3, 7)]]"
MODEL = "what adapt(model, tokenizer) returns, or captioner.language_model"
PROMPT = "what captioner.see([photo]) returns"


def as_model(model: Any) -> LanguageModel:
    """Return a language model.

    Raises:
        UsageError: it is something else.
    """
    return is_a("model", model, LanguageModel, MODEL)


def as_prompt(model: LanguageModel, prompt: Any, *, one_photo: bool = True) -> ImagePrompt:
    """Return an image prompt that a model can be given.

    Args:
        one_photo: whether it has to hold one photo only.

    Raises:
        UsageError: it is something else, of another model's width, longer than the model has
            positions for, or holds more photos.
    """
    found = is_a("prompt", prompt, ImagePrompt, PROMPT)
    n, positions, width = found.embeddings.shape
    if width != model.d_model:
        raise UsageError(
            f"the prompt's embeddings are {width} wide and the model takes {model.d_model}: it was "
            "made for another model; give what this model's captioner.see([photo]) returns"
        )
    limit = getattr(model.model.config, "max_position_embeddings", None)
    if isinstance(limit, int) and positions > limit:
        raise UsageError(
            f"the prompt takes {positions} positions and the model has {limit}; shorten its text"
        )
    if one_photo and n != 1:
        raise UsageError(f"prompt takes one photo, and holds {n}; give prompt.photo(0)")
    return found


def as_unit(model: LanguageModel, unit: Any) -> Unit:
    """Return the unit that a name, as `L12.u905`, or a pair of layer and number is.

    Raises:
        UsageError: it is none, or the model has no such unit.
    """
    return as_units(model, [unit])[0]


def as_units(model: LanguageModel, units: Any) -> list[Unit]:
    """Return the units of a list of names or units.

    Raises:
        UsageError: it is no list, the model has no such unit, or a name has a direction.
    """
    units = several("units", units, UNITS)
    for unit in units:
        if isinstance(unit, str) and unit.strip().endswith("-"):
            raise UsageError(f"{shown(unit)} is a direction, and a unit is asked for; omit the -")
    return [unit for unit, _ in as_signed_units(model, units)]


def as_signed_units(model: LanguageModel, units: Any, signs: Any = None) -> list[tuple[Unit, int]]:
    """Return a model's units with the directions asked for (`signed_units`)."""
    return signed_units(model.n_layers, model.d_mlp, units, signs)


def signed_units(
    n_layers: int, d_mlp: int, units: Any, signs: Any = None
) -> list[tuple[Unit, int]]:
    """Return units with the directions asked for, 1 or -1: a name may carry it, as `L12.u905-`.

    Args:
        signs: -1, 0 or 1 for each; 0 is read as positive, and None as what the name says.

    Raises:
        UsageError: there is no such unit, or there are more or fewer signs than units.
    """
    given = several("units", units, UNITS)
    signs = [None] * len(given) if signs is None else several("signs", signs, "[1, -1]")
    if len(signs) != len(given):
        raise UsageError(f"there are {len(given)} units and {len(signs)} signs; give one for each")
    if all(type(unit) is Unit for unit in given):  # of many, all at once
        require_units(given, n_layers, d_mlp)
        return [(unit, _sign(sign)) for unit, sign in zip(given, signs, strict=True)]
    return [_signed(n_layers, d_mlp, unit, sign) for unit, sign in zip(given, signs, strict=True)]


def as_sets(model: LanguageModel, sets: Any) -> list[list[Unit]]:
    """Return sets of units, at least one; each may be empty.

    Raises:
        UsageError: it is no list of lists, or the model has no such unit.
    """
    given = several("sets", sets, SETS, least=1)
    for each in given:
        if isinstance(each, str | Unit):
            raise UsageError(f"sets takes a list of lists of units, as in {SETS}; give [[{each}]]")
    return [as_units(model, each) for each in given]


def _signed(n_layers: int, d_mlp: int, unit: Any, sign: Any) -> tuple[Unit, int]:
    if isinstance(unit, str):
        named, direction = parse_unit(unit, n_layers, d_mlp)
        return named, direction if sign is None else _sign(sign)
    if not isinstance(unit, tuple | list) or len(unit) != 2:
        raise UsageError(f"{shown(unit)} is no unit; give a name or a Unit, as in {UNITS}")
    layer, number = (whole_number("a unit's layer and number", part) for part in unit)
    require_units([Unit(layer, number)], n_layers, d_mlp)
    return Unit(layer, number), _sign(sign)


def _sign(sign: Any) -> int:
    if sign is None:
        return 1
    return whole_number("a sign", sign, least=-1, below=2) or 1


def as_token(model: LanguageModel, token_id: Any) -> int:
    """Return a token of the vocabulary, without padding rows.

    Raises:
        UsageError: it is no whole number, or there is no such token.
    """
    return whole_number("a token id", token_id, least=0, below=model.d_vocab)


def as_token_ids(model: LanguageModel, token_ids: Any) -> list[int]:
    """Return tokens that a model can read.

    Raises:
        UsageError: it is no list, or there is no such token.
    """
    given = several("token_ids", token_ids, "[12, 7]")
    return [whole_number("a token id", one, least=0, below=model.n_embedded) for one in given]


def as_targets(model: LanguageModel, prompt: ImagePrompt, targets: Any) -> list[Target]:
    """Return targets whose tokens the model has, and whose positions the prompt has.

    Raises:
        UsageError: there is none, or one of them is none.
    """
    example = "[Target(token_id, position)]"
    found = several("targets", targets, example, least=1)
    for target in found:
        if not (hasattr(target, "token_id") and hasattr(target, "position")):
            raise UsageError(f"{shown(target)} is no target; give targets as in {example}")
        as_token(model, target.token_id)
        whole_number("a target's position", target.position, least=0, below=prompt.n_positions)
    return found


def as_patches(name: str, mask: Any, prompt: ImagePrompt) -> Bool[Tensor, " patches"] | None:
    """Return which patches are meant: True for each that is, or None for all.

    Raises:
        UsageError: it is not one truth value for every patch.
    """
    if mask is None:
        return None
    n = prompt.patches.stop - prompt.patches.start
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != (n,):
        raise UsageError(
            f"{name} takes a tensor of {n} truth values, one for each patch, not {shown(mask)}"
        )
    return mask


def require_gradients(model: LanguageModel) -> None:
    """Refuse a model through which no gradient can pass.

    Raises:
        UsageError: its weights were made under `torch.inference_mode()`.
    """
    if any(parameter.is_inference() for parameter in model.model.parameters()):
        raise UsageError(
            "the model was loaded under torch.inference_mode(), so that no gradient passes it, and "
            "attribution takes gradients; load it outside, or under torch.no_grad()"
        )
