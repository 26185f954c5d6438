"""What sets of units at a photo's patches carry of what the photo adds to words.

Three steps, in this order, so that what is asked for is settled before the photo is looked at:
`read_partners` (the text behind other photos), `read_photo` (the same behind the photo, and its
activations, from which sets are chosen), `measure_sets` (what editing each set does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import several
from molyneux.errors import UsageError
from molyneux.neurons.ablation import Intervention
from molyneux.neurons.sight.edits import (
    Values,
    edit_norm,
    require_same_patches,
    scrambled,
    written,
)
from molyneux.neurons.sight.gain import Gain, gain_of
from molyneux.neurons.sight.patch_sets import PatchSet, SetName
from molyneux.neurons.sight.reading import Text, read_behind
from molyneux.vision.layout import ImagePrompt

TRANSPLANTS = 8
MIN_PARTNERS = 16


@dataclass(frozen=True, eq=False)
class PartnerPrompt:
    """Another photo that a photo is compared with.

    Attributes:
        prompt: as the photo's: with the same text ahead of what is read.
        name: what it is called where it is refused.
    """

    prompt: ImagePrompt
    name: str

    @property
    def n_patches(self) -> int:
        """How many patches it has."""
        return n_patches(self.prompt)


def n_patches(prompt: ImagePrompt) -> int:
    """Return how many patches a prompt has."""
    return int(prompt.patches.stop - prompt.patches.start)


def in_order(names: Sequence[str], seed: str) -> list[int]:
    """Return the places of partners in the order of a hash of the seed and their names.

    The order is another one for each photo (its hash is the seed), and the same in each run.
    """
    digests = [hashlib.sha256(f"{seed} {name}".encode()).digest() for name in names]
    return sorted(range(len(names)), key=digests.__getitem__)


@dataclass(frozen=True, eq=False)
class BehindPartners:
    """A text read behind partners.

    Attributes:
        text: with what is asked for.
        fits: which partners each asked token is compared with.
        log_p: nats; of every partner, whether it fits or not.
        means: the partners' mean activations that each asked token has as its baseline, by
            `baseline`: at each patch, or over patches where their counts differ.
        baseline: of each asked token, the number of its mean.
        receivers: of each mean, the partners that a photo's values are written into.
        kept: activations at the patches, of all receivers and of the third photos.
        third: of each mean, a partner that is none of its receivers; None where all are.
    """

    partners: tuple[PartnerPrompt, ...]
    text: Text
    fits: Bool[Tensor, "asked partners"]
    log_p: Float[Tensor, "partners asked"]
    means: tuple[Tensor, ...]
    baseline: tuple[int, ...]
    receivers: tuple[tuple[int, ...], ...]
    kept: Mapping[int, Values]
    third: tuple[int | None, ...]

    @property
    def behind(self) -> Float[Tensor, "asked partners"]:
        """Log-probabilities (nats) behind the partners that fit; NaN behind the others."""
        return self.log_p.T.masked_fill(~self.fits, torch.nan)

    @property
    def by_patch(self) -> tuple[bool, ...]:
        """Of each mean, whether it is one for each patch."""
        return tuple(mean.dim() == 3 for mean in self.means)

    def asking(self, places: Sequence[int]) -> BehindPartners:
        """Return what is known of some of the asked tokens, in this order."""
        chosen = list(places)
        return replace(
            self,
            text=self.text.asking([self.text.asked[place] for place in chosen]),
            fits=self.fits[chosen],
            log_p=self.log_p[:, chosen],
            baseline=tuple(self.baseline[place] for place in chosen),
        )


def read_partners(
    model: LanguageModel,
    partners: Sequence[PartnerPrompt],
    text: Text,
    *,
    patches: int,
    fits: Bool[Tensor, "asked partners"] | None = None,
    edits_of: Sequence[int] | None = None,
    transplants: int = TRANSPLANTS,
) -> BehindPartners:
    """Return a text's log-probabilities behind partners, and their activations.

    The photo itself is not looked at: absent words may be chosen from what comes back.

    Args:
        partners: in the order in which they are taken (`in_order`).
        patches: how many the photo has.
        fits: partners that show what is asked for are left out of it; none are if None.
        edits_of: of each asked token, the place of the one whose edits are read for it: an absent
            word is read under those of the word that it stands beside. Its own each if None.
        transplants: into how many of those that fit, the first, the photo's values are written.

    Raises:
        UsageError: there are no partners, or none fits an asked token.
    """
    given = tuple(several("partners", partners, "[PartnerPrompt(prompt, name)]", least=1))
    if fits is None:
        fits = torch.ones(len(text.asked), len(given), dtype=torch.bool)
    if tuple(fits.shape) != (len(text.asked), len(given)) or not bool(fits.any(dim=1).all()):
        raise UsageError(
            "each asked token takes at least one partner, of truth values tokens x partners; "
            "give more partners"
        )
    whose = list(range(len(fits))) if edits_of is None else list(edits_of)
    each, baseline = torch.unique(fits[whose], dim=0, return_inverse=True)
    groups = [row.nonzero().flatten().tolist() for row in each]
    receivers = tuple(tuple(group[:transplants]) for group in groups)
    third = tuple(next(iter(group[transplants:]), None) for group in groups)
    wanted = {number for group in receivers for number in group} | {*third} - {None}
    alike = [all(given[k].n_patches == patches for k in group) for group in groups]
    sums: list[Tensor | float] = [0.0] * len(groups)
    kept: dict[int, Values] = {}

    def keep(number: int, activation: Values) -> None:
        if number in wanted:
            kept[number] = activation
        for group, members in enumerate(groups):
            if number in members:
                own = activation if alike[group] else activation.mean(dim=1)
                sums[group] = sums[group] + own / len(members)

    log_p = read_behind(model, [partner.prompt for partner in given], text, keep=keep)
    means = tuple(total for total in sums if isinstance(total, Tensor))
    return BehindPartners(
        given, text, fits, log_p, means, tuple(baseline.tolist()), receivers, kept, third
    )


@dataclass(frozen=True, eq=False)
class BehindPhoto:
    """A text read behind the photo.

    Attributes:
        log_p: of each asked token, in nats.
        activation: its units' at the patches.
    """

    prompt: ImagePrompt
    log_p: Float[Tensor, " asked"]
    activation: Values


def read_photo(model: LanguageModel, prompt: ImagePrompt, text: Text) -> BehindPhoto:
    """Return a text's log-probabilities behind the photo, and its activations at the patches."""
    kept: dict[int, Values] = {}
    log_p = read_behind(model, [prompt], text, keep=kept.__setitem__)[0]
    return BehindPhoto(prompt, log_p, kept[0])


def gains(photo: BehindPhoto, partners: BehindPartners) -> list[Gain]:
    """Return what the photo adds to each asked token."""
    pairs = zip(photo.log_p.tolist(), partners.behind, strict=True)
    return [gain_of(clean, behind) for clean, behind in pairs]


@dataclass(frozen=True, eq=False)
class Effect:
    """What editing one set does, in nats; of what is drawn at random, the mean over draws.

    Attributes:
        units: how many the set has.
        mediated: clean log-probability behind the photo minus that with the set put to the
            partners' mean (of controls: to their values).
        transplanted: log-probability behind each partner with the photo's values of the set (of
            controls: their values) minus its clean one; NaN for partners not written into.
        mediated_norm: of the edits in the photo, the mean (`edit_norm`).
        edit_norm: of the edits in the partners, the mean; NaN where there were none.
    """

    name: SetName
    fraction: float
    layers: tuple[int, ...] | None
    units: int
    mediated: Float[Tensor, " asked"]
    transplanted: Float[Tensor, "asked partners"]
    mediated_norm: float
    edit_norm: float

    @property
    def transplant(self) -> Float[Tensor, " asked"]:
        """The mean of `transplanted` over partners."""
        return self.transplanted.nanmean(dim=1)


def measure_sets(
    model: LanguageModel,
    photo: BehindPhoto,
    partners: BehindPartners,
    sets: Sequence[PatchSet],
    *,
    draws_in_turn: bool = False,
    seed: int = 0,
) -> list[Effect]:
    """Return what editing each set does to each asked token.

    Sets that differ in their draw alone are one effect.

    Args:
        partners: what was asked for behind the photo, behind them (`BehindPartners.asking`).
        draws_in_turn: whether each partner is written into with one draw, in turn, instead of
            with all: a third of the time for three of them.
        seed: of permutations.

    Raises:
        UsageError: there is no set, or a partner has more or fewer patches than the photo.
    """
    chosen = several("sets", sets, "[change_set(z, 0.05)]", least=1)
    into = sorted({k for group in {*partners.baseline} for k in partners.receivers[group]})
    for k in into:
        partner = partners.partners[k]
        require_same_patches(n_patches(photo.prompt), partner.n_patches, partner.name)
    kinds: dict[tuple[object, ...], list[PatchSet]] = {}
    for one in chosen:
        kinds.setdefault((one.name, one.fraction, one.layers), []).append(one)
    found = []
    for draws in kinds.values():
        each = [
            _measure(
                model,
                photo,
                partners,
                one,
                into[number :: len(draws)] if draws_in_turn else into,
                seed,
            )
            for number, one in enumerate(draws)
        ]
        found.append(_mean_effect(each))
    return found


def values_instead(
    photo: BehindPhoto, partners: BehindPartners, chosen: PatchSet, group: int, *, seed: int = 0
) -> Values | None:
    """Return what a set is given at the photo's patches in the place of its own values.

    Args:
        group: the number of a mean (`BehindPartners.baseline`).

    Returns:
        the partners' mean, or the control's values; None where there is no third photo.
    """
    there = photo.activation
    if chosen.name == "other_values":
        return _third(partners, group)
    mean = partners.means[group]
    if chosen.name == "scrambled":
        return scrambled(chosen, there, mean, seed=seed)
    return mean if mean.dim() == 3 else mean[:, None].expand_as(there)


def values_into(
    photo: BehindPhoto,
    partners: BehindPartners,
    chosen: PatchSet,
    k: int,
    group: int,
    *,
    seed: int = 0,
) -> Values | None:
    """Return what a set is given at a partner's patches: the photo's values, or the control's.

    Args:
        k: the partner's number, one of those that receive.
        group: the number of a mean (`BehindPartners.baseline`), for its third photo.

    Returns:
        the values; None where there is no third photo.
    """
    if chosen.name == "other_values":
        return _third(partners, group)
    if chosen.name == "scrambled":
        return scrambled(chosen, partners.kept[k], photo.activation, seed=seed)
    return photo.activation


def _third(partners: BehindPartners, group: int) -> Values | None:
    number = partners.third[group]
    return None if number is None else partners.kept[number]


def _measure(
    model: LanguageModel,
    photo: BehindPhoto,
    partners: BehindPartners,
    chosen: PatchSet,
    into: Sequence[int],
    seed: int,
) -> Effect:
    """Return the effect of one set, written into some of the partners."""
    groups = sorted({*partners.baseline})
    n_asked, text = len(partners.text.asked), partners.text
    mediated = torch.full((n_asked,), torch.nan, dtype=torch.float32)
    shape = (n_asked, len(partners.partners))
    transplanted = torch.full(shape, torch.nan, dtype=torch.float32)
    rows: list[tuple[ImagePrompt, Intervention]] = []
    norms: dict[str, list[float]] = {"photo": [], "partners": []}

    def add(prompt: ImagePrompt, there: Values, new: Values | None, where: str) -> bool:
        if new is not None:
            rows.append((prompt, written(chosen, new)))
            norms[where].append(edit_norm(model, chosen.mask, new - there))
        return new is not None

    other = chosen.name == "other_values"
    baselines = [
        group
        for group in groups
        if add(
            photo.prompt,
            photo.activation,
            values_instead(photo, partners, chosen, group, seed=seed),
            "photo",
        )
    ]
    receiving = [
        (k, group)
        for k in into
        # One edit serves all that is asked for, but that a third photo is not one for all.
        for group in (groups if other else groups[:1])
        if (not other or k in partners.receivers[group])
        and add(
            partners.partners[k].prompt,
            partners.kept[k],
            values_into(photo, partners, chosen, k, group, seed=seed),
            "partners",
        )
    ]
    if rows:
        read = read_behind(model, [row for row, _ in rows], text, [edit for _, edit in rows])
        for number, asked_group in enumerate(partners.baseline):
            for row, group in enumerate(baselines):
                if group == asked_group:
                    mediated[number] = photo.log_p[number] - read[row, number]
            for row, (k, group) in enumerate(receiving, start=len(baselines)):
                fitting = k in partners.receivers[asked_group] and partners.fits[number, k]
                if fitting and (not other or group == asked_group):
                    transplanted[number, k] = read[row, number] - partners.log_p[k, number]
    return Effect(
        chosen.name,
        chosen.fraction,
        chosen.layers,
        chosen.n_units,
        mediated,
        transplanted,
        _mean(norms["photo"]),
        _mean(norms["partners"]),
    )


def _mean(values: Iterable[float]) -> float:
    there = [value for value in values if value == value]
    return sum(there) / len(there) if there else float("nan")


def _mean_effect(draws: Sequence[Effect]) -> Effect:
    """Return the mean of one set's draws; of partners that took some, over those."""
    if len(draws) == 1:
        return draws[0]
    return replace(
        draws[0],
        mediated=torch.stack([draw.mediated for draw in draws]).nanmean(dim=0),
        transplanted=torch.stack([draw.transplanted for draw in draws]).nanmean(dim=0),
        mediated_norm=_mean(draw.mediated_norm for draw in draws),
        edit_norm=_mean(draw.edit_norm for draw in draws),
    )
