"""What a set of units says together: the sum of what it writes at a photo's patches, as words.

A unit's activation at a patch, less its mean over reference photos, times its output row: summed
over a set, this is what the set writes there for this photo. Through a lens it becomes a score
(logits) for every word of a list, before any word is asked for: of one layer, of one patch, or of
the whole photo. Single units say little of a photo; what they write adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import shown
from molyneux.errors import UsageError
from molyneux.neurons.ablation import Intervention, intervened_logits
from molyneux.neurons.checks import as_units
from molyneux.neurons.decoding import written
from molyneux.neurons.lens import Lens
from molyneux.neurons.targets import word_tokens
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

Units = Sequence[Unit | str] | Bool[Tensor, "layers d_mlp"]
"""Units, or a table that is True for them."""


@dataclass(frozen=True)
class WordList:
    """Words of one token each, all different."""

    words: tuple[str, ...]
    tokens: tuple[int, ...]


def word_list(model: LanguageModel, words: Sequence[str]) -> WordList:
    """Return those words of a list that are one token of the model's, each once.

    Of the others a part would be read, whatever word goes on from it.
    """
    tokens: dict[int, str] = {}
    for word in words:
        ids = word_tokens(model, word)
        if len(ids) == 1:
            tokens.setdefault(ids[0], word)
    return WordList(tuple(tokens.values()), tuple(tokens))


@dataclass(frozen=True)
class SetReading:
    """The scores of words (logits) in what a set writes.

    Attributes:
        scores: of each word, in what each layer writes at each patch; 0 of a layer that the lens
            does not read.
    """

    words: tuple[str, ...]
    scores: Float[Tensor, "layers patches words"]

    def whole(
        self, layers: Sequence[int] | None = None, patches: Bool[Tensor, " patches"] | None = None
    ) -> Float[Tensor, " words"]:
        """Return the scores of the whole photo, of some layers or of some patches: their sum.

        Args:
            layers: those that count; all if None.
            patches: True for those that count; all if None.
        """
        chosen = self.scores if layers is None else self.scores[list(layers)]
        return (chosen if patches is None else chosen[:, patches]).sum(dim=(0, 1))

    def by_layer(self) -> Float[Tensor, "layers words"]:
        """Return the scores of each layer, the sum over patches."""
        return self.scores.sum(dim=1)

    def by_patch(self) -> Float[Tensor, "patches words"]:
        """Return the scores of each patch, the sum over layers."""
        return self.scores.sum(dim=0)


@torch.no_grad()
def set_writes(
    model: LanguageModel,
    activation: Float[Tensor, "layers patches d_mlp"],
    mean: Float[Tensor, "layers d_mlp"],
    units: Units,
) -> Float[Tensor, "layers patches d_stream"]:
    """Return what a set writes to the stream at each patch, beyond what it does on average.

    Args:
        activation: of every unit at the photo's patches.
        mean: of every unit over patches of reference photos.
        units: the set.

    Raises:
        UsageError: a tensor is of another model's shape, or there is no such unit.
    """
    size = (model.n_layers, model.d_mlp)
    given = {"activation": (activation.shape[0], activation.shape[-1]), "mean": mean.shape}
    for name, shape in given.items():
        if tuple(shape) != size:
            raise UsageError(
                f"{name} is of {size[0]} layers x {size[1]} units, not {tuple(shape)}; give this "
                "model's own"
            )
    chosen = _mask(model, units)
    place = activation.device
    shape = (*activation.shape[:2], model.d_stream)
    found = torch.zeros(shape, dtype=torch.float32, device=place)
    for layer in chosen.any(dim=1).nonzero().flatten().tolist():
        own = chosen[layer].to(place)
        change = activation[layer][:, own].float() - mean[layer].to(place)[own].float()
        rows = model.output_rows(layer)[own.to(model.output_rows(layer).device)]
        found[layer] = written(model, layer, change @ rows.to(place, torch.float32))
    return found


@torch.no_grad()
def read_writes(
    model: LanguageModel,
    lens: Lens,
    writes: Float[Tensor, "layers patches d_stream"],
    words: WordList,
) -> SetReading:
    """Return the scores of words in what is written, through a lens."""
    rows = model.unembedding()[list(words.tokens)].float().to(writes.device)
    shape = (*writes.shape[:2], len(words.tokens))
    scores = torch.zeros(shape, dtype=torch.float32, device=writes.device)
    for layer in range(len(writes)):
        if lens.reads(layer):
            scores[layer] = lens(layer, writes[layer]) @ rows.T
    return SetReading(words.words, scores.cpu())


def effects_on_words(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[Units],
    mean: Float[Tensor, "layers patches d_mlp"] | Float[Tensor, "layers d_mlp"],
    words: WordList,
) -> Float[Tensor, "sets words"]:
    """Return what each set gives each word's log-probability (nats), exactly, where one is next.

    It is what the word loses when the set's units are put to other photos' mean at the photo's
    patches: of the word, what sight calls mediated (`Effect.mediated`).

    Args:
        prompt: one photo's, ending where the word is predicted.
        mean: of every unit over partners, at each patch or over patches.

    Raises:
        UsageError: there is no such unit, or a tensor is of another model's shape.
    """
    edits = [Intervention(_mask(model, units), "patches", mean.float()) for units in sets]
    logits = intervened_logits(model, prompt, [Intervention([]), *edits])
    log_p = logits.log_softmax(dim=-1)[:, list(words.tokens)]
    return log_p[0] - log_p[1:]


def percentiles(scores: Float[Tensor, "*any words"]) -> Float[Tensor, "*any words"]:
    """Return the share of the other words that each word is above, one that is level as half."""
    n = scores.shape[-1]
    if n < 2:
        raise UsageError(f"a percentile is among other words, not among {n}; give a longer list")
    below = (scores[..., :, None] > scores[..., None, :]).sum(dim=-1)
    level = (scores[..., :, None] == scores[..., None, :]).sum(dim=-1) - 1
    return (below + 0.5 * level) / (n - 1)


def own_minus_others(
    percentile: Float[Tensor, "photos words"], own: Bool[Tensor, "photos words"]
) -> Float[Tensor, "photos words"]:
    """Return each word's percentile in a photo that has it, minus its mean over those that do not.

    A word that photos in general rank high gains nothing by it. NaN where a photo does not have
    the word, or all do.

    Args:
        percentile: of every word in every photo's reading.
        own: whether a photo has a word.
    """
    if percentile.shape != own.shape:
        raise UsageError(f"own is of the shape of percentile, not {shown(own)}; give one for each")
    percentile = percentile.double()
    others = (~own).sum(dim=0)
    mean = torch.where(own, 0.0, percentile).sum(dim=0) / others  # 0 / 0 is NaN
    return torch.where(own, percentile - mean, torch.nan)


def _mask(model: LanguageModel, units: Units) -> Bool[Tensor, "layers d_mlp"]:
    if not isinstance(units, Tensor):
        return unit_mask(as_units(model, units), model.n_layers, model.d_mlp)
    if units.dtype != torch.bool or tuple(units.shape) != (model.n_layers, model.d_mlp):
        raise UsageError(
            f"units takes a list, or {model.n_layers} x {model.d_mlp} truth values, not "
            f"{shown(units)}"
        )
    return units.cpu()
