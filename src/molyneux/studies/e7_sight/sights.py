"""The rows of a finished study of E7, chosen by word, set and pixels, as photos x partners."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from molyneux.neurons.sight.forms import FRACTION
from molyneux.studies.e7_sight.cells import Cells, Coded, difference
from molyneux.studies.e7_sight.tables import BESIDE, OWN, PERMUTED
from molyneux.studies.finished import Finished
from molyneux.studies.results import Number

Quantity = Literal["gain", "transplant", "mediated"]
ALL = "all"
"""Of the layers: all but the last."""


@dataclass(frozen=True)
class Words:
    """Some of a study's words, with the kind of those beside them.

    Attributes:
        label: as people read it.
        said: only those that the caption says, or does not; all for None.
    """

    label: str
    kind: str
    said: bool | None = None


PEOPLE = Words("people's nouns", "human")
SAID = Words("people's nouns, said", "human", True)
NOT_SAID = Words("people's nouns, not said", "human", False)
CAPTION = Words("the caption's first noun", "caption")
WORDS = (PEOPLE, SAID, NOT_SAID, CAPTION)


@dataclass(frozen=True)
class Units:
    """A set, as rows name it."""

    name: str
    fraction: float = FRACTION
    layers: str = ALL


CHANGE, RANDOM = Units("change"), Units("random")


class Sights:
    """The rows of a finished study, as photos x partners."""

    def __init__(self, study: Finished) -> None:
        self.study = study
        self.gains = Coded.of(study.measured["e7_gain"])
        self.sets = Coded.of(study.measured["e7_sets"])
        self.transplants = Coded.of(study.measured["e7_transplants"])
        numbers = self.gains.numbers("partner")
        self.n_partners = 1 + int(numbers.max()) if len(numbers) else 1
        self._values = {
            "gain": self.gains.numbers("clean") - self.gains.numbers("behind"),
            "transplant": self.transplants.numbers("value"),
            "mediated": self.sets.numbers("mediated"),
        }
        self.cells = cache(self._cells)

    def _cells(
        self,
        what: Quantity,
        words: Words,
        units: Units | None = None,
        pixels: str = OWN,
        beside: bool = False,
    ) -> Cells:
        """Return a quantity of some words, or of those beside them, of each photo and partner.

        The mediated share, which is of all partners at once, has one column.
        """
        table = {"gain": self.gains, "transplant": self.transplants, "mediated": self.sets}[what]
        wanted: dict[str, object] = {
            "pixels": pixels,
            "kind": BESIDE[words.kind] if beside else words.kind,
            "said": None if words.said is None else int(words.said),
        }
        if units is not None:
            wanted |= {"set": units.name, "fraction": units.fraction, "layers": units.layers}
        rows, values = table.where(**wanted), self._values[what]
        return table.cells(rows, values, self.study.n_photos, self.n_partners)

    def pair(
        self, what: Quantity, words: Words, units: Units | None = None, pixels: str = OWN
    ) -> tuple[Cells, Cells]:
        """Return a quantity of words and of those beside them."""
        own, beside = (self.cells(what, words, units, pixels, other) for other in (False, True))
        return own, beside

    def minus_beside(
        self, what: Quantity, words: Words, units: Units | None = None, pixels: str = OWN
    ) -> Number:
        """Return a quantity of words minus that of those beside them."""
        return difference(*self.pair(what, words, units, pixels))

    def minus_permuted(self, what: Quantity, words: Words, units: Units | None = None) -> Number:
        """Return `minus_beside` minus what it is behind another photo's pixels."""
        pairs = (self.pair(what, words, units, pixels) for pixels in (OWN, PERMUTED))
        (own, beside), (wrong, wrong_beside) = pairs
        return difference(own - wrong, beside - wrong_beside)

    def minus_random(self, words: Words, *, over_beside: bool = False) -> Number:
        """Return the transplant of the 5 % that change most minus that of random units.

        Args:
            over_beside: each of the two minus what the words beside gain.
        """
        change, random = (self.pair("transplant", words, units) for units in (CHANGE, RANDOM))
        if over_beside:
            return difference(change[0] - random[0], change[1] - random[1])
        return difference(change[0], random[0])

    def measured(self) -> list[Units]:
        """Return the sets there are, in order."""
        names = ("set", "fraction", "layers")
        columns = [self.sets.codes[name] for name in names]
        if not self.sets.table.num_rows:
            return []
        rows = np.stack([places for _, places in columns], axis=1)
        _, first = np.unique(rows, axis=0, return_index=True)
        found = []
        for row in sorted(first.tolist()):
            name, share, layers = (values[int(places[row])] for values, places in columns)
            found.append(Units(str(name), float(str(share)), str(layers)))
        return found
