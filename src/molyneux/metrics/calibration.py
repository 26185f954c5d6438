"""The text pairs whose BERTScore the paper prints: they tell its unnamed backbone apart."""

from __future__ import annotations

from dataclasses import dataclass

from molyneux.metrics.bertscore import Backbone, BertScorer

PAPER = "Schwettmann et al. 2023"
# (candidate, reference) -> F1 as printed; two digits.
PAIRS = (
    ("a dog with a cat", "a dog and a cat", 0.83),
    ("a dog with a cat", "a tiger", 0.67),
    ("a dog with a cat", "a lion and a lioness", 0.64),
    ("the bridge at night", "the bridge", 0.70),
)
_PRINTED_DIGITS = 2


@dataclass(frozen=True)
class LayerCalibration:
    """One hidden layer against the paper's pairs.

    Attributes:
        layer: the hidden layer.
        f1: of every pair, in the order of `PAIRS`.
        distance: mean absolute difference from the printed F1.
        agrees: whether every F1, rounded, is the printed one.
    """

    layer: int
    f1: tuple[float, ...]
    distance: float
    agrees: bool


def calibrate_layer(backbone: Backbone, layer: int) -> LayerCalibration:
    """Return the F1 of the paper's pairs on a hidden layer.

    Raises:
        UsageError: the backbone has no such layer.
    """
    scorer = BertScorer(backbone, layer)
    # Pair by pair: what other texts share a batch shall not move a digit.
    found = tuple(float(scorer.f1([left], [right])[0, 0]) for left, right, _ in PAIRS)
    printed = [f1 for _, _, f1 in PAIRS]
    distances = [abs(ours - theirs) for ours, theirs in zip(found, printed, strict=True)]
    agrees = all(
        round(ours, _PRINTED_DIGITS) == theirs for ours, theirs in zip(found, printed, strict=True)
    )
    return LayerCalibration(layer, found, sum(distances) / len(distances), agrees)
