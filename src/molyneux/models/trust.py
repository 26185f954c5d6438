"""The scale of trust: how often a word of this probability is right of a photo, as measured.

A file holds the photos' rows, without captions or names, and what follows from them, so that
every number can be derived again (`measured_scale`). Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from molyneux.checks import path_of
from molyneux.errors import RunError, WeightsError
from molyneux.neurons.provenance import require_same
from molyneux.records import from_json, to_plain
from molyneux.statistics.calibration import (
    MOST_RIGHT,
    STEPS,
    AskedBin,
    Bin,
    Check,
    asked_bins,
    check_bins,
    equal_bins,
    floor_of,
    place_in,
)
from molyneux.statistics.permutations import derangement
from molyneux.store import write_at_once

Part = Literal["scale", "check"]
DRAWS = 2000
_ADVICE = "make one for this model with `molyneux trust DATA --check DATA2`"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How far a word of this probability is to be trusted, as measured on other photos.

    Attributes:
        rate: how often such a word is right: it, or a synonym, is in a human caption of the photo;
            null where nothing was measured, as for a word of several tokens that was asked for.
        low: lower end of the rate's 95 % interval.
        high: its upper end.
        photos: how many photos are behind it.
        asked: whether it is of nouns that were asked for, and not of captions' first nouns.
        under_floor: whether the word was asked for and its probability is under the floor.
        floor: the probability under which fewer than 1 in 10 nouns asked for is right; null
            without one.
    """

    rate: float | None
    low: float | None
    high: float | None
    photos: int
    asked: bool
    under_floor: bool
    floor: float | None

    @property
    def short(self) -> str | None:
        """Say in a few words how often such a word is right; None where nothing is claimed."""
        if self.under_floor:
            return f"under the floor of {self.floor:.2g}"
        if self.rate is None:
            return None
        tenths = round(10 * self.rate)
        often = {0: "fewer than 1", 10: "more than 9"}.get(tenths, str(tenths))
        what = " where it is asked for" if self.asked else ""
        return f"right on {often} of 10 photos at this probability{what}"

    @property
    def interval(self) -> str | None:
        """Say the rate with its interval and the photos behind it."""
        if self.rate is None or self.low is None or self.high is None:
            return None
        rate, low, high = (f"{100 * value:.0f}" for value in (self.rate, self.low, self.high))
        return f"{rate} %, 95 % interval {low} to {high} %, {self.photos} photos"

    def warning(self, probability: float) -> str | None:
        """Say of a word under the floor that its numbers mean nothing; None of any other."""
        if not self.under_floor:
            return None
        return (
            f"p = {probability:.2g}, under the floor of {self.floor:.2g}: of nouns asked for at "
            "such a probability fewer than 1 in 10 is what people saw in the photo. The word is "
            "not one that the model is about to say, and what switching units off leaves of it "
            "says nothing."
        )


@dataclass(frozen=True, kw_only=True)
class PhotoRow:
    """A photo that was captioned and read.

    Attributes:
        photo: sha256 of its file's bytes.
        part: whether it sets the scale or checks it.
        probability: of the first token of the caption's first noun; null without a noun.
        right: whether the noun, or a synonym, is in a human caption; null without a noun.
        asked: by half-decade of probability, how many nouns of the list had such a one.
        asked_right: how many of those are in a human caption.
        right_elsewhere: `right` against the human captions of another photo, the control.
    """

    photo: str
    part: Part
    probability: float | None
    right: bool | None
    asked: tuple[int, ...]
    asked_right: tuple[int, ...]
    right_elsewhere: bool | None


@dataclass(frozen=True, kw_only=True)
class PhotosUsed:
    """Where the photos of a part come from.

    Attributes:
        part: whether they set the scale or check it.
        data: the data set's record: its name, the hashes of its annotation files.
        photos: how many were read.
        without_noun: of how many the caption has no noun; they are asked for nouns all the same.
        left_out: how many could not be read, or have no human caption.
    """

    part: Part
    data: dict[str, Any]
    photos: int
    without_noun: int
    left_out: int


@dataclass(frozen=True, kw_only=True, repr=False)
class TrustScale:
    """How often first nouns, and nouns asked for, are right at each probability.

    Attributes:
        schema: 1.
        provenance: plain data: `language_model`, `encoder`, `projection` (hash), `layout`,
            `dtype`, and which lists of nouns and synonyms (hashes).
        data: where the photos come from.
        bins: of first nouns.
        asked: of nouns asked for.
        floor: the probability under which fewer than 1 in 10 nouns asked for is right.
        check: the bins held against photos that set none.
        control: the same photos, each with another photo's human captions.
        floor_check: the nouns asked for within a decade under the floor, on the photos that did
            not set it; null without a floor, or with too few photos.
        photos: a row for each photo.
    """

    schema: Literal[1] = 1
    provenance: dict[str, Any]
    data: tuple[PhotosUsed, ...]
    bins: tuple[Bin, ...]
    asked: tuple[AskedBin, ...]
    floor: float | None
    check: Check | None
    control: Check | None
    floor_check: AskedBin | None
    photos: tuple[PhotoRow, ...]

    def __repr__(self) -> str:
        state = "verified" if self.is_verified else "not verified"
        return f"TrustScale({len(self.photos)} photos, {len(self.bins)} bins, {state})"

    @property
    def is_verified(self) -> bool:
        """Whether the scale holds on photos that set none of it, and fails on wrong captions."""
        return (
            self.check is not None
            and self.control is not None
            and self.check.fits
            and not self.control.fits
        )

    @property
    def floor_is_verified(self) -> bool:
        """Whether nouns under the floor are right as seldom on photos that did not set it."""
        return self.floor_check is not None and self.floor_check.high < MOST_RIGHT

    def record(self) -> dict[str, Any]:
        """Return what documents say of it: where it comes from, the floor, whether it holds."""
        return {
            **self.provenance,
            "photos": len(self.photos),
            "verified": self.is_verified,
            "floor": self.floor if self.floor_is_verified else None,
            "sha256": self.sha256(),
        }

    def sha256(self) -> str:
        """Return the sha256 of its rows and provenance, as its file writes them."""
        return hashlib.sha256(_text(self)).hexdigest()

    def of_first_noun(self, probability: float) -> Trust | None:
        """Return how far a caption's first noun is to be trusted; None if nothing is known."""
        if not self.is_verified:
            return None
        found = self.bins[place_in(self.bins, probability)]
        return Trust(
            rate=found.rate,
            low=found.low,
            high=found.high,
            photos=found.photos,
            asked=False,
            under_floor=False,
            floor=self.floor if self.floor_is_verified else None,
        )

    def of_asked(self, probability: float, n_tokens: int = 1) -> Trust | None:
        """Return how far a word that was asked for is to be trusted; None if nothing is known.

        A word of several tokens is no likelier than its first: it may be under the floor by it,
        and has no rate.
        """
        if not self.floor_is_verified or self.floor is None:
            return None
        under = probability < self.floor
        has_rate = n_tokens == 1 and bool(self.asked)
        found = self.asked[place_in(self.asked, probability)] if has_rate else None
        return Trust(
            rate=None if found is None else found.rate,
            low=None if found is None else found.low,
            high=None if found is None else found.high,
            photos=0 if found is None else found.photos,
            asked=True,
            under_floor=under,
            floor=self.floor,
        )

    def require(self, expected: Mapping[str, Any]) -> None:
        """Refuse to be used with parts it was not measured on.

        Raises:
            WeightsError: names the part that differs.
        """
        # As JSON has it, where a list stands for a tuple.
        plain = json.loads(json.dumps(dict(expected)))
        require_same("the trust scale", self.provenance, plain, _ADVICE)


def measured_scale(
    provenance: Mapping[str, Any], data: Sequence[PhotosUsed], photos: Sequence[PhotoRow]
) -> TrustScale:
    """Return the scale that follows from photos' rows: all of its numbers, from these alone."""
    named = {
        part: [row for row in photos if row.part == part and row.probability is not None]
        for part in ("scale", "check")
    }
    probability = {part: [row.probability or 0.0 for row in rows] for part, rows in named.items()}
    bins = equal_bins(probability["scale"], [bool(row.right) for row in named["scale"]])
    checked = named["check"]
    asked, other = (_asked([row for row in photos if row.part == p]) for p in ("scale", "check"))
    found = asked_bins(*asked, draws=DRAWS)
    floor = floor_of(found)
    return TrustScale(
        provenance=dict(provenance),
        data=tuple(data),
        bins=bins,
        asked=found,
        floor=floor,
        check=check_bins(bins, probability["check"], [bool(row.right) for row in checked]),
        control=check_bins(
            bins, probability["check"], [bool(row.right_elsewhere) for row in checked]
        ),
        floor_check=None if floor is None else _under(floor, *other),
        photos=tuple(photos),
    )


def _asked(rows: Sequence[PhotoRow]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array([row.asked for row in rows], dtype=int).reshape(-1, STEPS)
    right = np.array([row.asked_right for row in rows], dtype=int).reshape(-1, STEPS)
    return pairs, right


def _under(floor: float, pairs: np.ndarray, right: np.ndarray) -> AskedBin | None:
    """Return the nouns within a decade under the floor as one bin; None with too few photos.

    The many far below it would hide those near it, of which the floor may not hold.
    """
    at = round(2 * float(np.log10(floor))) + STEPS
    start = max(0, at - 2)
    together = [np.zeros_like(each) for each in (pairs, right)]
    for each, counts in zip(together, (pairs, right), strict=True):
        each[:, 0] = counts[:, start:at].sum(axis=1)
    found = asked_bins(together[0], together[1], draws=DRAWS)
    if not found:
        return None
    return replace(found[0], least=floor / 10 if start else 0.0, below=floor)


def deranged(n: int, seed: int = 0) -> list[int]:
    """Return for each of `n` photos another one; of one alone, itself."""
    return derangement(n, seed) if n > 1 else list(range(n))


def _text(scale: TrustScale) -> bytes:
    return json.dumps(
        to_plain(scale), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def save_trust(path: Path, scale: TrustScale) -> None:
    """Write a scale as one JSON file."""
    write_at_once(path, _text(scale))


def load_trust(path: Path) -> TrustScale:
    """Return a scale written by `save_trust`.

    Raises:
        UsageError: it is no path.
        WeightsError: the file is missing or is not such a scale.
    """
    path = path_of("a trust scale", path)
    advice = "`molyneux trust DATA --check DATA2` makes one"
    try:
        return from_json(TrustScale, path.read_bytes(), str(path))
    except OSError as error:
        raise WeightsError(f"no trust scale at {path} ({error.strerror}); {advice}") from error
    except RunError as error:
        raise WeightsError(f"{path} is not a trust scale ({error}); {advice}") from error
