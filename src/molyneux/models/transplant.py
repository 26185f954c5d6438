"""One photo's units in another photo's patches: what is written then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.checks import several, whole_number
from molyneux.errors import UsageError
from molyneux.models.captioned import Answer, Captioned, answer, caption_photo
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Intervention
from molyneux.neurons.change import change_scores
from molyneux.neurons.checks import as_units
from molyneux.neurons.contrast import stand_ins
from molyneux.neurons.partners import Partner
from molyneux.neurons.sight.edits import edit_norm, require_same_patches
from molyneux.neurons.sight.forms import FRACTION
from molyneux.neurons.sight.measure import n_patches
from molyneux.neurons.sight.patch_sets import PatchSet, all_units, change_set, random_set
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.photo import Photo, photo_name


@dataclass(frozen=True)
class Beside:
    """What is written with another edit of the same patches, as large as it happens to be.

    Attributes:
        answer: the caption, and how likely the words asked for are.
        edit_norm: how much the edit changes what the units write.
        name: of a third photo, the SHA-256 of its file.
        shows: of a third photo, its own caption.
    """

    answer: Answer
    edit_norm: float
    name: str | None = None
    shows: str | None = None


@dataclass(frozen=True)
class Transplanted:
    """What is written behind a photo into whose patches another photo's units were put.

    Attributes:
        caption: with them, without the prompt's text.
        before: of the photo as it is.
        units: how many were put there.
        edit_norm: how much that changes what they write (`neurons.sight.edits.edit_norm`).
        asked: the words asked for.
        as_it_is: how likely they are behind the photo as it is.
        answer: how likely they are with the units.
        random: with as many random units of each layer instead, and the same photo's values; None
            without controls.
        third: with the same units, and a third photo's values; None without controls, or partners
            in the reference table that show neither photo's nouns.
    """

    caption: str
    before: str
    units: int
    edit_norm: float
    asked: tuple[str, ...]
    as_it_is: Answer
    answer: Answer
    random: Beside | None = None
    third: Beside | None = None

    def __repr__(self) -> str:
        return f"<{self.units} units: {self.before!r} becomes {self.caption!r}>"


@dataclass(frozen=True, eq=False)
class _Edit:
    """Units that are given values at some patches."""

    mask: Bool[Tensor, "layers d_mlp"]
    values: Float[Tensor, "layers patches d_mlp"]

    def at(self, places: tuple[int, ...]) -> Intervention:
        return Intervention(self.mask, places, self.values)


def transplant(
    seeing: SeeingModel,
    from_photo: Photo | Captioned,
    into: Photo | Captioned,
    units: str | Sequence[Unit | str] = "change",
    patches: Sequence[int] | None = None,
    *,
    ask: Sequence[str] = (),
    controls: bool = False,
    seed: int = 0,
) -> Transplanted:
    """Return what is written behind `into` with the values that units have at `from_photo`.

    They are written at every layer at once, into the same patches, sinks included; nothing is
    changed at the text.

    Args:
        from_photo: a photo, or one that was captioned already (`caption_photo`).
        into: likewise.
        units: `change`, the 5 % whose activation in `from_photo` is farthest from reference
            photos'; `all` of all layers but the last; or a list.
        patches: the numbers of those to be written into, row by row; all if None.
        ask: words whose probability is wanted, where the caption of `into` has its first noun.
        controls: whether random units, and a third photo's values, are put there as well. The
            third is a partner of the reference table (`neurons.contrast.stand_ins`).
        seed: of the random units.

    Raises:
        PhotoError: a photo cannot be read.
        UsageError: there is no such unit or patch, the photos have different numbers of patches,
            `change` is asked for without a reference table that holds activations, or a word
            begins with a blank token.
    """
    model, asked = seeing.language_model, several("ask", ask, "['dog']")
    source, there = _captioned(seeing, from_photo), _captioned(seeing, into)
    count = n_patches(there.prompt)
    require_same_patches(n_patches(source.prompt), count, _name(into))
    numbers = range(count) if patches is None else several("patches", patches, "[0, 8]", least=1)
    chosen = [whole_number("a patch's number", one, least=0, below=count) for one in numbers]
    values, clean = source.activations(model), there.activations(model)
    mask = _mask(seeing, source, values, units)
    edits = [_Edit(mask, values)]
    third = None
    if controls:
        edits.append(_Edit(random_set(_as_set(mask), 0, seed=seed).mask, values))
        third = _third(seeing, source, there)
    if third is not None:
        other = patch_activations(model, third.instead_of(there.prompt))
        edits.append(_Edit(mask, other))
    places = tuple(there.prompt.patches.start + patch for patch in chosen)
    as_it_is = there.answer(model, asked)
    answers = answer(seeing, there, [edit.at(places) for edit in edits], asked)
    norms = [_norm(seeing, edit, clean, chosen) for edit in edits]
    beside = [Beside(*pair) for pair in zip(answers[1:], norms[1:], strict=True)]
    return Transplanted(
        answers[0].caption,
        there.caption,
        int(mask.sum()),
        norms[0],
        tuple(asked),
        as_it_is,
        answers[0],
        beside[0] if controls else None,
        None
        if third is None
        else Beside(beside[1].answer, beside[1].edit_norm, third.name, third.caption),
    )


def _captioned(seeing: SeeingModel, photo: Photo | Captioned) -> Captioned:
    return photo if isinstance(photo, Captioned) else caption_photo(seeing, photo)


def _name(photo: Photo | Captioned) -> str:
    return "the other photo" if isinstance(photo, Captioned) else photo_name(photo)


def _mask(
    seeing: SeeingModel, source: Captioned, values: Tensor, units: str | Sequence[Unit | str]
) -> Bool[Tensor, "layers d_mlp"]:
    """Return which units are asked for."""
    model = seeing.language_model
    if isinstance(units, str) and units == "change":
        table = seeing.reference
        if table is None or table.activation is None:
            raise UsageError(
                "units that a photo changes are known by a reference table with activations; "
                "measure one with `molyneux reference DATA`, or give units or 'all'"
            )
        usual = table.activation
        z = change_scores(values, usual.mean, usual.deviation, source.sinks)
        return change_set(z, FRACTION).mask
    if isinstance(units, str) and units == "all":
        return all_units(model.n_layers, model.d_mlp).mask
    return unit_mask(as_units(model, units), model.n_layers, model.d_mlp)


def _as_set(mask: Bool[Tensor, "layers d_mlp"]) -> PatchSet:
    return PatchSet("change", float(mask.float().mean()), None, mask)


def _third(seeing: SeeingModel, source: Captioned, there: Captioned) -> Partner | None:
    """Return a photo of the reference table that shows neither photo's nouns; None without one."""
    nouns = {word.lemma for each in (source, there) for word in each.sentence.words}
    seed = f"{source.caption} {there.caption}"  # the same two photos have the same third
    return next(iter(stand_ins(seeing.reference, there.prompt, nouns, seed, 1)), None)


def _norm(seeing: SeeingModel, edit: _Edit, clean: Tensor, chosen: Sequence[int]) -> float:
    change = torch.zeros_like(clean)
    change[:, chosen] = (edit.values - clean)[:, chosen]
    return edit_norm(seeing.language_model, edit.mask, change)
