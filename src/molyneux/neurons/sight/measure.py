"""What sets of units at a photo's patches carry of what the photo adds to words.

Three steps, in this order, so that what is asked for is settled before the photo is looked at:
`read_partners` (the text behind other photos), `read_photo` (the same behind the photo, and its
activations, from which sets are chosen), `measure_sets` (what editing each set does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import several
from molyneux.errors import UsageError
from molyneux.neurons.ablation import Intervention, batches
from molyneux.neurons.checks import as_model, as_prompt
from molyneux.neurons.sight.edits import (
    Values,
    edit_norms,
    require_same_patches,
    scrambled,
    written,
)
from molyneux.neurons.sight.gain import Gain, gain_of
from molyneux.neurons.sight.passes import Passed, Passes, first_layer
from molyneux.neurons.sight.patch_sets import PatchSet, SetName
from molyneux.neurons.sight.reading import Text, read_after, read_behind, require_readable
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
        members: of each mean, the names of the partners that it is of.
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
    members: tuple[tuple[str, ...], ...]

    @property
    def behind(self) -> Float[Tensor, "asked partners"]:
        """Log-probabilities (nats) behind the partners that fit; NaN behind the others."""
        return self.log_p.T.masked_fill(~self.fits, torch.nan)

    def source(self, group: int, *, third: bool = False) -> Hashable:
        """Return what a mean's values are of, or those of its third photo: the photos' names."""
        if third:
            number = self.third[group]
            return None if number is None else self.partners[number].name
        return self.members[group]

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
    passes: Passes | None = None,
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
        passes: partners' that are kept for other texts, and other photos.

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
    sums: list[Tensor | None] = [None] * len(groups)
    kept: dict[int, Values] = {}

    require_readable(as_model(model), text)
    known = Passes(0) if passes is None else passes
    log_p = []
    for part in batches(range(len(given)), max(one.prompt.n_positions for one in given)):
        passed = []
        for number in part:
            one = known.clean(model, given[number].prompt)
            activation = one.activation
            assert activation is not None
            if number in wanted:
                kept[number] = activation
            for group, members in enumerate(groups):
                if number in members:
                    own = activation if alike[group] else activation.mean(dim=1)
                    sums[group] = _plus(sums[group], own, 1 / len(members))
            passed.append(replace(one, activation=None))
        log_p.append(read_after(model, passed, text))
    means = tuple(total for total in sums if total is not None)
    return BehindPartners(
        given,
        text,
        fits,
        torch.cat(log_p),
        means,
        tuple(baseline.tolist()),
        receivers,
        kept,
        third,
        tuple(tuple(given[k].name for k in group) for group in groups),
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


def _plus(total: Tensor | None, values: Tensor, weight: float) -> Tensor:
    """Add to a total in its own memory: activations are large."""
    return values * weight if total is None else total.add_(values, alpha=weight)


def read_photo(
    model: LanguageModel, prompt: ImagePrompt, text: Text, *, passes: Passes | None = None
) -> BehindPhoto:
    """Return a text's log-probabilities behind the photo, and its activations at the patches.

    Args:
        passes: where the photo's is found, or kept for other texts.
    """
    model = as_model(model)
    require_readable(model, text)
    passed = (Passes(0) if passes is None else passes).clean(model, as_prompt(model, prompt))
    assert passed.activation is not None
    return BehindPhoto(prompt, read_after(model, [passed], text)[0], passed.activation)


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
    passes: Passes | None = None,
) -> list[Effect]:
    """Return what editing each set does to each asked token.

    Sets that differ in their draw alone are one effect.

    Args:
        partners: what was asked for behind the photo, behind them (`BehindPartners.asking`).
        draws_in_turn: whether each partner is written into with one draw, in turn, instead of
            with all: a third of the time for three of them.
        seed: of permutations.
        passes: edited ones that are kept for other texts behind the same photo, under the same
            sets.

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
    planned = [
        [
            _plan(
                model,
                photo,
                partners,
                one,
                into[number :: len(draws)] if draws_in_turn else into,
                seed,
            )
            for number, one in enumerate(draws)
        ]
        for draws in kinds.values()
    ]
    edits = [edit for draws in planned for plan in draws for edit in plan.edits]
    read = torch.empty(0, len(partners.text.asked))
    if edits:
        read = read_behind(
            model,
            [edit.prompt for edit in edits],
            partners.text,
            [edit.made for edit in edits],
            keys=[edit.key for edit in edits],
            passes=passes,
            clean=_streams(model, edits),
        )
    found, start = [], 0
    for draws in planned:
        each = []
        for plan in draws:
            stop = start + len(plan.edits)
            each.append(_effect(photo, partners, plan, read[start:stop]))
            start = stop
        found.append(_mean_effect(each))
    return found


def _streams(model: LanguageModel, edits: Sequence[_Edit]) -> dict[int, Passed]:
    """Return clean passes with their streams, of the rows that are edited in later layers alone."""
    streams = Passes()
    later = [n for n, edit in enumerate(edits) if first_layer(model, edit.made)]
    return {n: streams.clean(model, edits[n].prompt, streams=True) for n in later}


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


@dataclass(frozen=True, eq=False)
class _Edit:
    """One row: a set that is written into a prompt.

    Attributes:
        into: the partner it is written into; None for the photo.
        group: the mean that it is for.
        key: what else is the same for other texts, which is read on from this row's pass.
    """

    prompt: ImagePrompt
    made: Intervention
    into: int | None
    group: int
    key: Hashable


@dataclass(frozen=True, eq=False)
class _Plan:
    """The rows of one set, and the norms of its edits in the photo and in partners."""

    chosen: PatchSet
    edits: Sequence[_Edit]
    mediated_norm: float
    edit_norm: float


def _plan(
    model: LanguageModel,
    photo: BehindPhoto,
    partners: BehindPartners,
    chosen: PatchSet,
    into: Sequence[int],
    seed: int,
) -> _Plan:
    """Return what is to be read of one set, written into some of the partners."""
    groups = sorted({*partners.baseline})
    edits: list[_Edit] = []
    changes: list[tuple[Values, Values]] = []
    other = chosen.name == "other_values"

    def add(k: int | None, group: int, there: Values, new: Values | None, of: Hashable) -> None:
        if new is not None:
            prompt = photo.prompt if k is None else partners.partners[k].prompt
            name = None if k is None else partners.partners[k].name
            made = written(chosen, new)
            edits.append(_Edit(prompt, made, k, group, (chosen, name, of)))
            changes.append((new, there))

    for group in groups:
        new = values_instead(photo, partners, chosen, group, seed=seed)
        add(None, group, photo.activation, new, partners.source(group, third=other))
    n_photo = len(edits)
    for k in into:
        # One edit serves all that is asked for, but that a third photo is not one for all.
        for group in groups if other else groups[:1]:
            if not other or k in partners.receivers[group]:
                new = values_into(photo, partners, chosen, k, group, seed=seed)
                of = partners.source(group, third=True) if other else None
                add(k, group, partners.kept[k], new, of)
    norms = edit_norms(model, chosen.mask, changes)
    return _Plan(chosen, edits, _mean(norms[:n_photo]), _mean(norms[n_photo:]))


def _effect(
    photo: BehindPhoto,
    partners: BehindPartners,
    plan: _Plan,
    read: Float[Tensor, "rows asked"],
) -> Effect:
    """Return the effect of one set from what was read of its rows."""
    n_asked, chosen = len(partners.text.asked), plan.chosen
    other = chosen.name == "other_values"
    mediated = torch.full((n_asked,), torch.nan, dtype=torch.float32)
    shape = (n_asked, len(partners.partners))
    transplanted = torch.full(shape, torch.nan, dtype=torch.float32)
    for number, asked_group in enumerate(partners.baseline):
        for edit, log_p in zip(plan.edits, read[:, number], strict=True):
            k, own = edit.into, edit.group == asked_group
            if k is None:
                if own:
                    mediated[number] = photo.log_p[number] - log_p
            elif (
                k in partners.receivers[asked_group]
                and partners.fits[number, k]
                and (not other or own)
            ):
                transplanted[number, k] = log_p - partners.log_p[k, number]
    return Effect(
        chosen.name,
        chosen.fraction,
        chosen.layers,
        chosen.n_units,
        mediated,
        transplanted,
        plan.mediated_norm,
        plan.edit_norm,
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
