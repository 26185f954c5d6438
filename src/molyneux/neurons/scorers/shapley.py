"""Shapley values of the few units that another score puts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import (
    Attribution,
    Target,
    UnitScores,
    attribute_units,
    with_shares,
)
from molyneux.neurons.coalitions import MOST_PLAYERS, shapley_of_sets
from molyneux.neurons.scorers.choices import record_of, require_number
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.neurons.unit import Unit, top_units
from molyneux.statistics.shapley import ShapleyValues
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class Shapley:
    """What silencing each of a few units takes from a word, over orders of silencing them.

    The players are the units of the largest |total| of gradient x activation, in each view their
    own, silenced at the patches that count or where the word is predicted (`shapley_of_sets`). A
    unit's score is its total, since it is silenced at all patches at once; its peak is where
    gradient x activation has it, and all other units have 0.

    Attributes:
        players: at most 24.
        pairs: of orders that are sampled.
        seed: of the orders.
    """

    name: ClassVar[str] = "shapley"

    players: int = MOST_PLAYERS
    pairs: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        require_number(self.name, "players", self.players, 2, MOST_PLAYERS)
        require_number(self.name, "pairs", self.pairs, 2, 10_000)
        require_number(self.name, "seed", self.seed, 0, 2**31 - 1)

    @property
    def cost(self) -> Cost:
        """Rows of passes for one target: both views are games of their own."""
        return Cost(forward=1 + 2 * (2 * self.pairs * (self.players - 1) + 2), backward=1)

    def score(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        targets: Sequence[Target],
        *,
        context: Context,
        patches: Bool[Tensor, " patches"] | None = None,
        sinks: Bool[Tensor, " patches"] | None = None,
    ) -> Attribution:
        """Return the values as scores, in logits; the context is not looked at."""
        first = attribute_units(model, prompt, targets, patches=patches, sinks=sinks)
        there = range(prompt.patches.start, prompt.patches.stop)
        counted = [at for n, at in enumerate(there) if patches is None or bool(patches[n])]
        without = None
        if first.without_sinks is not None and sinks is not None:
            others = [at for n, at in enumerate(there) if not bool(sinks[n])]
            without = self._view(model, prompt, targets, first.without_sinks, others)
        return replace(
            first,
            patches=self._view(model, prompt, targets, first.patches, counted),
            last=self._view(model, prompt, targets, first.last, None),
            without_sinks=without,
            of_patches=None,
        )

    def estimate(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        target: Target,
        total: Float[Tensor, "layers d_mlp"],
        positions: Sequence[int] | None = None,
    ) -> tuple[list[Unit], ShapleyValues]:
        """Return the players and their values, with standard errors.

        Args:
            total: whose largest absolute values choose the players.
            positions: where they are silenced; the patches if None.
        """
        units = top_units(total.abs(), self.players)
        groups = [[unit] for unit in units]
        return units, shapley_of_sets(
            model, prompt, target, groups, positions=positions, pairs=self.pairs, seed=self.seed
        )

    def _view(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        targets: Sequence[Target],
        scores: UnitScores,
        positions: Sequence[int] | None,
    ) -> UnitScores:
        """Return the scores of one view.

        Args:
            positions: where units are silenced; where each target is predicted if None.
        """
        table = torch.zeros_like(scores.total)
        for number, target in enumerate(targets):
            at = [target.position] if positions is None else positions
            if not at:
                continue
            units, found = self.estimate(model, prompt, target, scores.total[number], at)
            for unit, value in zip(units, found.value.tolist(), strict=True):
                table[number, unit.layer, unit.unit] = value
        return with_shares(table, table, scores.sign, scores.peak_patch)

    def record(self) -> dict[str, Any]:
        """Return name, `players`, `pairs` and `seed`."""
        return record_of(self)
