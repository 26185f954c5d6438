"""What is claimed of every model that sees, each claim measured as one figure.

The package's result stands against one had by another route: weights set to zero, central
differences, Hugging Face's `generate`, or `reference/slow.py`, which shares no code with the
package. A figure is a distance: 0 is equality, infinity says that there was nothing to compare.
Figures vary between processors, so the docs show the bound that every model is held to.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from subjects import Subject
from tiny_models import PADDING_ROWS, RELU
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture
from molyneux.models.generation import MAX_TOKENS, continue_greedily
from molyneux.neurons.ablation import Positions, ablate_units, silenced
from molyneux.neurons.attribution import Objective, Site, Target, attribute_units
from molyneux.neurons.unit import Unit, unit_mask

sys.path.insert(0, str(Path(__file__).parent / "reference"))
import slow

DOG = 20
UNITS = [Unit(0, 31), Unit(1, 7), Unit(2, 29)]
LOOKED_AT = (0, 6, 15)  # patches: the slow implementation takes two passes for each
# Rotary, softmax and RMS code computes in float32 even in a float64 model: logits of size 10 are
# good to some 1e-6, so that a smaller step would drown in rounding. A larger one leaves its square,
# or takes other units over ReLU's kink.
STEP, RELU_STEP = 5e-3, 5e-4


def logits_of(subject: Subject, network: nn.Module | None = None) -> Tensor:
    """Return Hugging Face's logits of the prompt, or those of a changed copy of the model."""
    with torch.no_grad():
        run = subject.network if network is None else network
        logits: Tensor = run(inputs_embeds=subject.prompt.embeddings, use_cache=False).logits
    return logits


def conservation(subject: Subject) -> float:
    """How far units' activations times output rows, plus bias, are from what the MLP puts out.

    In parts of the largest output; the largest of all layers and positions.
    """
    model, kind = subject.model, subject.kind
    output: dict[int, Tensor] = {}

    def keep(module: nn.Module, _: Any, out: Tensor) -> None:
        output[modules.index(module)] = out.clone()  # Falcon adds to it in place

    layers = range(model.n_layers)
    modules = [
        getattr(slow.mlp_of(kind, subject.network, layer), slow.down_name(kind)) for layer in layers
    ]
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        with capture({layer: model.down_projection(layer) for layer in layers}) as activation:
            logits_of(subject)
    finally:
        for handle in handles:
            handle.remove()
    off = 0.0
    for layer in layers:
        rows, out = model.output_rows(layer), output[layer]
        values = activation[layer].reshape(*out.shape[:-1], -1)
        written = torch.zeros_like(out)
        for unit in range(model.d_mlp):
            written += values[..., unit : unit + 1] * rows[unit]
        bias = getattr(model.down_projection(layer), "bias", None)
        written = written if bias is None else written + bias
        largest = float(out.abs().max())
        if largest < 0.1:
            return math.inf
        off = max(off, float((written - out).abs().max()) / largest)
    return off


def every(n: int, model: LanguageModel) -> list[Unit]:
    """Return every n-th unit of every layer."""
    return [Unit(layer, k) for layer in range(model.n_layers) for k in range(0, model.d_mlp, n)]


def surgery(subject: Subject) -> float:
    """How far (logits) silencing units in a hook is from zeroing their weights in a copy.

    Or how far the model is from what it was once the hook is gone, where that is more.
    """
    model, prompt = subject.model, subject.prompt
    units = every(3, model)
    masks = unit_mask(units, model.n_layers, model.d_mlp)[None]
    intact = logits_of(subject)
    with silenced(model, masks, prompt.patches, "all"):
        hooked = logits_of(subject)
    without = slow.without_units(subject.kind, subject.network, pairs(units))
    if (hooked - intact).abs().max() <= 1e-2:
        return math.inf
    left = (logits_of(subject) - intact).abs().max()
    return float(max((hooked - logits_of(subject, without)).abs().max(), left))


def differences(subject: Subject, *, of: Objective = "logit", site: Site = "activation") -> float:
    """How far units' totals are from central differences, in parts of the largest total.

    Scaling a unit by 1 + e at all patches changes the target by e x total; measured on the
    strongest units and on some others. To be asked of a float64 model.
    """
    model, prompt = subject.model, subject.prompt
    at = prompt.n_positions - 1
    found = attribute_units(model, prompt, [Target(DOG, at)], of=of, site=site).patches.total[0]
    largest = float(found.abs().max())
    if largest < 0.05:
        return math.inf
    strongest = found.abs().flatten().topk(6).indices.tolist()
    chosen = [divmod(i, model.d_mlp) for i in strongest] + [(0, 3), (1, 11), (2, 19)]
    patches = list(range(prompt.patches.start, prompt.patches.stop))
    step = RELU_STEP if subject.kind in RELU else STEP
    off = 0.0
    for layer, unit in chosen:
        slope = slow.relative_difference(
            subject.kind,
            subject.network,
            prompt.embeddings,
            layer,
            unit,
            patches,
            DOG,
            at,
            of=of,
            site=site,
            step=step,
        )
        off = max(off, abs(float(found[layer, unit]) - slope))
    return off / largest


def caption(subject: Subject) -> float:
    """How many tokens of greedy captions are not those that Hugging Face's `generate` writes.

    Of the model as it is, and with half of its units silenced: zeroed in the copy that generates.
    """
    model, prompt = subject.model, subject.prompt
    half = every(2, model)
    masks = unit_mask(half, model.n_layers, model.d_mlp)[None]
    intact = continue_greedily(model, prompt)[0]
    with silenced(model, masks, prompt.patches, "all"):
        silent = continue_greedily(model, prompt)[0]
    if max(len(intact), len(silent)) < 3 or silent == intact:
        return math.inf
    without = slow.without_units(subject.kind, subject.network, pairs(half))
    return float(unequal(intact, generated(subject)) + unequal(silent, generated(subject, without)))


def attribution(subject: Subject) -> float:
    """How far (logits) units' scores and totals are from those of the slow implementation.

    It differentiates by one unit at one patch at a time. Infinite if a peak patch or the sign of
    what is written there differs. To be asked of a float64 model.
    """
    model, prompt, kind = subject.model, subject.prompt, subject.kind
    at = prompt.n_positions - 1
    looked_at = torch.zeros(prompt.patches.stop - prompt.patches.start, dtype=torch.bool)
    looked_at[list(LOOKED_AT)] = True
    found = attribute_units(model, prompt, [Target(DOG, at)], patches=looked_at)
    off = 0.0
    for layer, unit in pairs(UNITS):
        products = [
            slow.gradient_times_activation(
                kind, subject.network, prompt.embeddings, layer, unit, position, DOG, at
            )
            for position in [*(prompt.patches.start + patch for patch in LOOKED_AT), at]
        ]
        score, total, sign, peak = slow.scores_of_unit(products[:-1])
        place = (0, layer, unit)
        found_at = int(found.patches.peak_patch[place]), int(found.patches.sign[place])
        # Patches of the last layer cannot reach the prediction: every patch is a peak of 0.
        if layer < model.n_layers - 1 and found_at != (LOOKED_AT[peak], sign):
            return math.inf
        off = max(
            off,
            abs(float(found.patches.score[place]) - score),
            abs(float(found.patches.total[place]) - total),
            abs(float(found.last.score[place]) - products[-1][0]),
        )
    return off if found.patches.score.abs().max() > 1e-2 else math.inf


def ablation(subject: Subject) -> float:
    """How far (nats) sets of units silenced in one batch are from zeroed weights, one by one.

    At all positions, and at the patches alone.
    """
    model, prompt = subject.model, subject.prompt
    sets = [[], UNITS[:1], UNITS, [Unit(1, unit) for unit in range(0, model.d_mlp, 2)]]
    patches = list(range(prompt.patches.start, prompt.patches.stop))
    off = 0.0
    both: tuple[Positions, Positions] = ("all", "patches")
    for positions in both:
        together = ablate_units(model, prompt, sets, positions=positions)
        for row, units in zip(together, sets, strict=True):
            if positions == "all":
                silent = slow.without_units(subject.kind, subject.network, pairs(units))
            else:
                silent = slow.without_units_at(subject.kind, subject.network, pairs(units), patches)
            logits = logits_of(subject, silent)[0, -1].double()
            expected = logits.log_softmax(dim=-1)[: model.d_vocab]
            off = max(off, float((row - expected).abs().max()))
        if any((row - together[0]).abs().max() < 1e-3 for row in together[2:]):
            return math.inf
    return off


def pairs(units: list[Unit]) -> list[tuple[int, int]]:
    """Return units as the slow implementation takes them."""
    return [(unit.layer, unit.unit) for unit in units]


def until_stop(model: LanguageModel, ids: list[int]) -> list[int]:
    """Return the tokens of a caption out of what Hugging Face writes."""
    written: list[int] = []
    for token in ids:
        text = model.token_text(token)
        if token in model.tokenizer.all_special_ids or "\n" in text:
            break
        written.append(token)
        if text.rstrip().endswith("."):
            break
    return written


def generated(subject: Subject, network: Any = None) -> list[int]:
    """Return what Hugging Face's own greedy search writes, padding rows ruled out."""
    model: Any = subject.model
    run: Any = subject.network if network is None else network
    ids = run.generate(
        **subject.inputs,
        do_sample=False,
        max_new_tokens=MAX_TOKENS,
        suppress_tokens=list(range(model.d_vocab, model.d_vocab + PADDING_ROWS)),
        pad_token_id=1,
    )
    ahead = subject.inputs["input_ids"].shape[1] if "input_ids" in subject.inputs else 0
    return until_stop(model, ids[0, ahead:].tolist())


def unequal(one: list[int], other: list[int]) -> int:
    """Return how many tokens of two captions differ."""
    same = sum(a == b for a, b in zip(one, other, strict=False))
    return max(len(one), len(other)) - same


@dataclass(frozen=True)
class Claim:
    """A claim, how it is measured, and how far off a model may be.

    Attributes:
        title: what the column of a table is called.
        measure: gives the figure, mostly of a `Subject`.
        bound: figures must be below it; 0 asks for equality.
        said: how the docs say that it holds.
        dtype: of the models that are measured.
    """

    title: str
    measure: Callable[..., float]
    bound: float
    said: str
    dtype: torch.dtype = torch.float32

    def holds(self, figure: float) -> bool:
        """Return whether a figure is what is claimed."""
        return figure < self.bound or figure == self.bound == 0

    def cell(self, figures: Iterable[float]) -> str:
        """Return what a table says of some models."""
        worst = max(figures)
        return self.said if self.holds(worst) else f"**no**: {worst:.0e}"


CONSERVATION = Claim("conservation", conservation, 1e-6, "< 1e-6")
# A copy's weights may lie otherwise in memory, and a kernel sum in another order.
SURGERY = Claim("zeroed weights", surgery, 1e-5, "< 1e-5")
DIFFERENCES = Claim("central differences", differences, 1e-3, "< 1e-3", torch.float64)
CAPTION = Claim("caption", caption, 0, "equal")
ATTRIBUTION = Claim("attribution", attribution, 1e-6, "< 1e-6", torch.float64)
ABLATION = Claim("ablation", ablation, 1e-4, "< 1e-4")
CLAIMS = (CONSERVATION, SURGERY, DIFFERENCES, CAPTION, ATTRIBUTION, ABLATION)


@functools.cache
def figure(claim: Claim, make: Callable[[str, torch.dtype], Subject], kind: str) -> float:
    """Return a claim's figure for a tiny model, measured once for the tests and the tables."""
    return claim.measure(make(kind, claim.dtype))
