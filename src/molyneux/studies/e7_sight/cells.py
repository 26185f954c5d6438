"""E7's rows as photos x partners: what its tables, and any other interval, start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from molyneux.statistics.bootstrap import Estimate
from molyneux.statistics.crossed import crossed_difference, crossed_mean, crossed_ratio
from molyneux.studies.results import DRAWS, NONE, Number

NO_GAIN = "these photos add nothing to these words"

Cells = Float[np.ndarray, "photos partners"]


@dataclass(frozen=True)
class Coded:
    """A table whose texts are numbers, so that many choices of its rows are quick.

    Attributes:
        codes: of each column of texts, its values and each row's place among them; -1 for null.
    """

    table: pa.Table
    codes: dict[str, tuple[list[object], Int[np.ndarray, " rows"]]]

    @classmethod
    def of(cls, table: pa.Table) -> Coded:
        """Return a table so."""
        codes: dict[str, tuple[list[object], Int[np.ndarray, " rows"]]] = {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            if name != "said" and name != "fraction" and not pa.types.is_string(column.type):
                continue
            if isinstance(column, pa.ChunkedArray):  # of an empty table
                column = pa.array([], column.type)
            if name == "said":
                column = column.cast(pa.int8())
            coded = column.dictionary_encode()
            places = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            codes[name] = (coded.dictionary.to_pylist(), np.asarray(places, dtype=np.int64))
        return cls(table, codes)

    def values(self, name: str) -> list[object]:
        """Return the different values of a column."""
        return self.codes[name][0]

    def where(self, **wanted: object) -> Bool[np.ndarray, " rows"]:
        """Return which rows have these values; None for any."""
        found = np.ones(self.table.num_rows, dtype=bool)
        for name, value in wanted.items():
            if value is not None:
                values, places = self.codes[name]
                found &= places == (values.index(value) if value in values else -2)
        return found

    def numbers(self, name: str) -> Float[np.ndarray, " rows"]:
        """Return a column of numbers; NaN for null."""
        column = self.table[name].to_numpy(zero_copy_only=False)
        return np.asarray(column, dtype=float)

    def cells(
        self,
        rows: Bool[np.ndarray, " rows"],
        values: Float[np.ndarray, " rows"],
        n_photos: int,
        n_partners: int,
    ) -> Cells:
        """Return each photo's mean over its words, by partner; NaN where it has none.

        A table without partners gives one column.
        """
        chosen = rows & ~np.isnan(values)
        photo = self.table["photo"].to_numpy(zero_copy_only=False)[chosen]
        crossed = "partner" in self.table.column_names
        width = n_partners if crossed else 1
        partner = np.zeros(len(photo), dtype=int)
        if crossed:
            partner = self.table["partner"].to_numpy(zero_copy_only=False)[chosen]
        place = np.asarray(photo, dtype=int) * width + partner
        total = np.bincount(place, weights=values[chosen], minlength=n_photos * width)
        count = np.bincount(place, minlength=n_photos * width)
        found = np.full(n_photos * width, np.nan)
        np.divide(total, count, out=found, where=count > 0)
        return np.asarray(found.reshape(n_photos, width))


def crossed(estimate: Callable[[], Estimate], why: str = NONE) -> Number:
    """Return an estimate as a table's number; missing where no photo has what it takes."""
    try:
        found = estimate()
    except ValueError:
        return Number.missing(why)
    low, high = (end if np.isfinite(end) else None for end in (found.low, found.high))
    return Number(found.value, low, high, found.n)


def flat(cells: Cells) -> np.ndarray:
    """Return cells of one column as one number for each photo, which no partner is drawn for."""
    return np.asarray(cells[:, 0] if cells.shape[1] == 1 else cells)


def mean(cells: Cells) -> Number:
    """Return the mean over photos of means over partners; its interval draws both."""
    return crossed(lambda: crossed_mean(flat(cells), draws=DRAWS))


def difference(own: Cells, beside: Cells) -> Number:
    """Return the difference of two such means, of the photos that have both."""
    return crossed(lambda: crossed_difference(flat(own), flat(beside), draws=DRAWS))


def fraction(part: Float[np.ndarray, "photos _"], gain: Cells) -> Number:
    """Return the ratio of two such means; missing where that of the gain is not above 0."""
    return crossed(lambda: crossed_ratio(flat(part), flat(gain), draws=DRAWS), NO_GAIN)
