"""Methods that say how much each unit contributes to a word: one file each, behind one door."""

from __future__ import annotations

from molyneux.neurons.scorers.gradient_activation import GradientActivation
from molyneux.neurons.scorers.registry import (
    DEFAULT_SCORER,
    find_scorer,
    register_scorer,
    restore_scorer,
    scorer_names,
    scorer_text,
)
from molyneux.neurons.scorers.scorer import (
    NO_CONTEXT,
    Context,
    Cost,
    Need,
    Needs,
    Scorer,
    ScoresTogether,
    needs_of,
)

__all__ = [
    "DEFAULT_SCORER",
    "NO_CONTEXT",
    "Context",
    "Cost",
    "GradientActivation",
    "Need",
    "Needs",
    "Scorer",
    "ScoresTogether",
    "find_scorer",
    "needs_of",
    "register_scorer",
    "restore_scorer",
    "scorer_names",
    "scorer_text",
]
