"""Proving a family's row by intervention: does the model do what the row says?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.adapters.proof.clean_pass import Check, finiteness, pass_clean
from molyneux.adapters.proof.norms import direction, scales, strongest
from molyneux.adapters.proof.units import (
    conservation,
    conservation_everywhere,
    head_conservation,
    one_each,
    silencing,
)
from molyneux.checks import is_a, whole_number
from molyneux.errors import AdapterError

__all__ = ["Check", "prove", "require_row"]

UNITS = "`down`, `rows_stored`, `gated`, `preactivation` and `preactivation_part`"
UNLIKE = (
    "something there is not what its weight says, as an adapter (LoRA) or a hook makes it: merge "
    "adapters into the weights first (peft: `merge_and_unload()`)"
)
READING = "`final_norm`, `after_mlp_norm`, `stream_norms`, `norm_offset` and `project_out`"


@torch.no_grad()
def prove(model: LanguageModel, n_layers: int = 3, n_units: int = 8) -> list[Check]:
    """Return the checks of some layers (first, middle, last), on a fixed random input.

    The units' writes must sum to the MLP's output; each value of the pre-activation must make one
    unit, at its own position; silencing units in a hook must give the same logits as zeroing their
    output rows, and other logits than leaving them on. Where that holds, every norm between a write
    and the head must scale by what the row says, and a small write by a unit of the last layer must
    move the head's output as its decoded direction predicts, to first order. Weights are restored
    bit for bit.

    Raises:
        UsageError: an argument is of another kind, or out of range.
    """
    model = is_a("model", model, LanguageModel, "what adapt(model, tokenizer) returns")
    n_layers = whole_number("n_layers", n_layers, least=1)
    n_units = min(whole_number("n_units", n_units, least=1), model.d_mlp)
    generator = torch.Generator().manual_seed(0)
    embeddings = _some_tokens(model, 12, generator)
    last = model.n_layers - 1
    passes = {
        layer: pass_clean(model, layer, embeddings)
        for layer in sorted({0, model.n_layers // 2, last})[:n_layers]
    }
    checks = [finiteness(model, next(reversed(passes.values())))]
    if not checks[0].holds:
        return checks
    for layer, seen in passes.items():
        units = torch.randperm(model.d_mlp, generator=generator)[:n_units]
        checks.append(conservation(model, seen, layer))
        checks.append(one_each(model, seen, n_units))
        checks.append(silencing(model, layer, embeddings, units))
    seen = next(reversed(passes.values()))
    checks += [conservation_everywhere(model, seen), head_conservation(model, seen)]
    if not all(check.holds for check in checks):
        return checks  # the rest takes for granted that rows are the units' writes
    seen = passes.get(last) or pass_clean(model, last, embeddings)
    checks += scales(model, seen)
    checks.append(direction(model, seen, strongest(model, last, n_units)))
    return checks


@torch.no_grad()
def require_row(model: LanguageModel) -> None:
    """Prove the row in brief: three passes of four tokens, two of them with nudges.

    In every layer the units' writes must sum to the MLP's output, and the head's output must be
    its weight times what it reads: adapters and hooks may sit anywhere. In the last layer, each
    value of the pre-activation must make one unit, and a small write by two units must move the
    head's output as their decoded directions predict, through every norm between.

    Raises:
        AdapterError: one of that does not hold, so the family's row does not describe this model;
            or the model overflows in its dtype.
    """
    embeddings = _some_tokens(model, 4, torch.Generator().manual_seed(0))
    last = model.n_layers - 1
    seen = pass_clean(model, last, embeddings)
    if not finiteness(model, seen).holds:
        raise AdapterError(_not_finite(model))
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        (_correct(UNITS), lambda: conservation(model, seen, last)),
        (_correct(UNITS), lambda: one_each(model, seen, n_units=2)),
        (UNLIKE, lambda: conservation_everywhere(model, seen)),
        (UNLIKE, lambda: head_conservation(model, seen)),
        (_correct(READING), lambda: direction(model, seen, strongest(model, last, 2))),
    )
    for advice, check in checks:
        found = check()
        if not found.holds:
            raise AdapterError(
                f"the row {model.family.name!r} does not describe this "
                f"{type(model.model).__name__}: not true that {found.claim} ({found.measured}); "
                f"{advice}"
            )


def _correct(fields: str) -> str:
    return f"correct {fields} of the row in molyneux.adapters.families"


def _some_tokens(
    model: LanguageModel, n: int, generator: torch.Generator
) -> Float[Tensor, "1 pos d_model"]:
    return model.embed(torch.randint(0, model.d_vocab, (1, n), generator=generator))


def _not_finite(model: LanguageModel) -> str:
    name = type(model.model).__name__
    if model.dtype == torch.float16:
        return (
            f"{name} overflows in float16, whose numbers end at 65504: its residual stream is not "
            "finite; load it in bfloat16 or float32"
        )
    return (
        f"{name} gives numbers that are not finite in {str(model.dtype).removeprefix('torch.')}, "
        "on four tokens of its own; its weights are damaged, so fetch them anew"
    )
