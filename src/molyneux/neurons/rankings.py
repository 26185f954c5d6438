"""The units of one word in one view, in every order of the table of rankings and controls.

Controls are random units, units matched by how strongly they act, and another photo's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, UnitScores, View
from molyneux.neurons.change import change_scores
from molyneux.neurons.contrast import Behind
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.reference import ActivationMoments, Reference
from molyneux.neurons.unit import Unit, top_units
from molyneux.neurons.unit_sets import UNIT_SETS, UnitSet

Units = Sequence[Unit | None]
"""In descending order; None where a control's layer had no unit left."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """One target of a photo in one view: what every ranking and control is made from.

    Attributes:
        target: its row in the attribution.
        row_norms: of what every unit writes (`row_norms`), asked for where strength is matched.
        seed_of: the seed of a draw, by its number.
        reference: the table that the scorer's scores can be compared with, where there is one.
        other: the reference photo that serves as the control, where there is one.
        at_first_noun: whether the word stands where a caption's first noun does. The table holds
            first nouns there: a later noun's scores at the last position are those of the words
            before it, and its gradient at the patches is another position's, so that neither is
            compared with the table, and no list of it is specific.
        behind: the same targets' totals behind partners, where there are any.
        sink_patches: patches whose activations do not count as change.
    """

    attribution: Attribution
    target: int
    view: View
    row_norms: Callable[[], Float[Tensor, "layers d_mlp"]]
    seed_of: Callable[[int], int]
    reference: Reference | None = None
    other: OtherPhoto | None = None
    behind: Behind | None = None
    sink_patches: Bool[Tensor, " patches"] | None = None
    over_sinks: bool = True
    at_first_noun: bool = True
    _made: dict[tuple[str, int, int], Units] = field(default_factory=dict)

    def has(self, name: str | UnitSet) -> bool:
        """Return whether there is what a set needs, and the view is one of its own."""
        row = _row(name)
        there = all(getattr(self, need) is not None for need in row.needs)
        return there and row.view in (None, self.view)

    def score(self, name: str | UnitSet) -> Float[Tensor, "layers d_mlp"]:
        """Return what a photo's own ranking sorts by; -inf for units that it leaves out."""
        score = _row(name).score
        assert score is not None
        return score(self)

    def units(self, name: str | UnitSet, n: int, draw: int = 0) -> Units | None:
        """Return up to `n` units of a ranking or control, in order; None if it cannot be made.

        Args:
            name: a set of the table, or a row that is not in it.
            draw: which, of one that is drawn.
        """
        if not self.has(name):
            return None
        row = _row(name)
        key = (row.name, n, draw)
        if key not in self._made:
            if row.units is None:
                self._made[key] = top_units(self.score(row), n)
            else:
                self._made[key] = row.units(self, n, draw)
        return self._made[key]

    @property
    def scores(self) -> UnitScores:
        """The scores of the view, without sink patches where they are left out and were scored."""
        without = self.attribution.without_sinks
        if self.view == "patches" and not self.over_sinks and without is not None:
            return without
        return self.attribution.view(self.view)

    @property
    def totals(self) -> Reference | None:
        """The table of first nouns, if it holds moments of totals."""
        table = self.first_nouns
        return None if table is None or table.total_mean is None else table

    @property
    def usual(self) -> ActivationMoments | None:
        """How active units are at reference photos; None where the table does not hold it."""
        sinks = self.sink_patches
        if self.reference is None or (sinks is not None and bool(sinks.all())):
            return None
        return self.reference.activation

    @property
    def lent(self) -> Float[Tensor, "layers d_mlp"]:
        """What each unit gives the target here beyond its mean behind partners (`Behind`)."""
        assert self.behind is not None
        here = self.attribution.view(self.view).total[self.target].cpu()
        return here - self.behind.total[self.view][self.target]

    @property
    def change(self) -> Float[Tensor, "layers d_mlp"]:
        """How far the photo moves each unit at its patches, in deviations (`change_scores`)."""
        usual = self.usual
        assert usual is not None
        there = self.attribution.activation.cpu()
        return change_scores(there, usual.mean, usual.deviation, self.sink_patches)

    def signs(self, name: str | UnitSet) -> Int[Tensor, "layers d_mlp"]:
        """Return in which direction each unit of a ranking writes: -1, 0 or 1.

        Of `change`, what sets its activation apart from other photos'.
        """
        if not _row(name).by_gradient:
            return self.change.sign().to(torch.int8)
        return self.scores.sign[self.target].cpu()

    @property
    def without_sinks(self) -> Ranked:
        """The same without sink patches."""
        return replace(self, over_sinks=False, _made={})

    @property
    def first_nouns(self) -> Reference | None:
        """The reference table, where the word's scores can be compared with it."""
        return self.reference if self.at_first_noun else None

    @property
    def table(self) -> Reference:
        """The reference table, where a set needs one."""
        assert self.reference is not None
        return self.reference

    @property
    def other_photo(self) -> OtherPhoto:
        """The other photo, where a set needs one."""
        assert self.other is not None
        return self.other

    def first(self, name: str | UnitSet, n: int) -> list[Unit]:
        """Return the first units of a ranking, which a control stands beside."""
        return [unit for unit in self.units(name, n) or () if unit is not None]

    def matched(self, units: Sequence[Unit], excluded: Sequence[Unit]) -> list[Unit | None]:
        """Return, for each unit, one of its layer nearest in |activation| x norm of its write."""
        strength = self.attribution.magnitude(self.view, self.target).cpu() * self.row_norms()
        return matched_units(units, strength, {*units, *excluded})

    def drawn(self, units: Sequence[Unit], draw: int) -> list[Unit | None]:
        """Return, for each unit, a random one of its layer that is none of them."""
        d_mlp = self.attribution.activation.shape[-1]
        return random_units(units, d_mlp, set(units), seed=self.seed_of(draw))


def rank_units(
    model: LanguageModel,
    attribution: Attribution,
    target: int = 0,
    view: View = "patches",
    *,
    reference: Reference | None = None,
    other: OtherPhoto | None = None,
    behind: Behind | None = None,
    sinks: Bool[Tensor, " patches"] | None = None,
    seed: int = 0,
    at_first_noun: bool = True,
) -> Ranked:
    """Return every ranking of a target's units in one view, and the sets they are compared with.

    Args:
        target: its place among the attribution's.
        reference: of the scorer that made the attribution; without one there are only raw
            rankings and random controls.
        other: a reference photo that shows something else (`Reference.other_than`).
        behind: the same targets behind partners (`score_behind`); without it there is no
            `contrast`.
        sinks: sink patches, which do not count in `change`; none are left out if None.
        seed: of the random controls.
        at_first_noun: whether the target stands where a caption's first noun does; of later words
            nothing is specific.
    """
    return Ranked(
        attribution,
        target,
        view,
        row_norms=lambda: row_norms(model),
        seed_of=lambda draw: 1000 * seed + draw,
        reference=reference,
        other=other,
        at_first_noun=at_first_noun,
        behind=behind,
        sink_patches=sinks,
    )


def _row(name: str | UnitSet) -> UnitSet:
    return name if isinstance(name, UnitSet) else UNIT_SETS[name]


def row_norms(model: LanguageModel) -> Float[Tensor, "layers d_mlp"]:
    """Return the norm of what every unit writes at activation 1.

    That is its output row's, through the scale of a norm after the MLP where there is one.
    """
    found = []
    for layer in range(model.n_layers):  # which may lie on several devices
        rows, scale = model.output_rows(layer).float(), model.write_scale(layer)
        written = rows if scale is None else rows * scale.float().to(rows.device)
        found.append(written.norm(dim=1).cpu())
    return torch.stack(found)


def random_units(
    units: Sequence[Unit], d_mlp: int, excluded: set[Unit], seed: int
) -> list[Unit | None]:
    """Return a random unit of the same layer for each unit, in its order.

    Without replacement and never an excluded unit, so that the first n of the result are a
    control for the first n units. None where a layer has no unit left.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn: list[Unit | None] = [None] * len(units)
    forbidden = _by_layer(excluded)
    for layer, places in sorted(_places(units).items()):
        order = torch.randperm(d_mlp, generator=generator).numpy()
        pool = order[~np.isin(order, forbidden.get(layer, []))]
        for place, number in zip(places, pool.tolist(), strict=False):
            drawn[place] = Unit(layer, number)
    return drawn


def matched_units(
    units: Sequence[Unit], strength: Float[Tensor, "layers d_mlp"], excluded: set[Unit]
) -> list[Unit | None]:
    """Return, for each unit, the free unit of its layer nearest in strength, in its order.

    Strength is |activation| x the norm of the output row: how much a unit writes. Without
    replacement; None where a layer has no unit left.
    """
    matched: list[Unit | None] = [None] * len(units)
    forbidden = _by_layer(excluded)
    for layer, places in _places(units).items():
        taken = forbidden.get(layer, [])
        own = np.minimum(strength[layer].double().cpu().numpy(), np.finfo(float).max)
        free = own.copy()
        free[taken] = np.inf  # farther from every unit than any that is free
        for place in places[: len(free) - len(taken)]:
            # The first of the nearest is the lowest unit, so that a rerun gives the same control.
            nearest = int(np.abs(free - own[units[place].unit]).argmin())
            free[nearest] = np.inf
            matched[place] = Unit(layer, nearest)
    return matched


def _places(units: Sequence[Unit]) -> dict[int, list[int]]:
    """Return where in a list each layer's units stand."""
    places: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        places.setdefault(unit.layer, []).append(place)
    return places


def _by_layer(units: Iterable[Unit]) -> dict[int, list[int]]:
    """Return the numbers of the units of each layer."""
    numbers: dict[int, list[int]] = {}
    for unit in units:
        numbers.setdefault(unit.layer, []).append(unit.unit)
    return numbers


def complete_prefix(units: Sequence[Unit | None], n: int) -> list[Unit] | None:
    """Return the first n units, or None where fewer than n are there."""
    prefix = list(units[:n])
    if len(prefix) < n or any(unit is None for unit in prefix):
        return None
    return [unit for unit in prefix if unit is not None]
