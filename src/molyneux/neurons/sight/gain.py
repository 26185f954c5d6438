"""What a photo adds to a word, and what share of it units carry."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from molyneux.errors import UsageError


@dataclass(frozen=True)
class Gain:
    """What a photo adds to a word.

    Attributes:
        value: log-probability behind the photo minus its mean behind partners, in nats.
        standard_error: of that mean, over partners; NaN for one.
        partners: how many.
    """

    value: float
    standard_error: float
    partners: int

    @property
    def is_there(self) -> bool:
        """Whether the photo adds anything: more than 0, and than two standard errors."""
        return self.value > 0 and self.value > 2 * self.standard_error

    def fraction(self, effect: float) -> float | None:
        """Return an effect (nats) as a fraction of the gain; None if the photo adds nothing.

        Over photos, take the ratio of their means (`crossed_ratio`), never the mean of these.
        """
        return effect / self.value if self.is_there else None


def gain_of(clean: float, behind: Float[Tensor, " partners"]) -> Gain:
    """Return the gain of a word from its log-probabilities.

    Args:
        clean: behind the photo.
        behind: behind each partner, after the same text; NaN for partners that are left out.

    Raises:
        UsageError: there are no partners.
    """
    there = behind[~behind.isnan()].double()
    if not len(there):
        raise UsageError("a gain is measured against other photos, and there are none; give some")
    error = float(there.std() / len(there) ** 0.5) if len(there) > 1 else float("nan")
    return Gain(clean - float(there.mean()), error, len(there))
