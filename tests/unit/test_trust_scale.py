"""The scale of trust: what follows from its rows, what it claims, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from trust_rows import FLOOR_STEP, rows, scale, used

from molyneux.errors import WeightsError
from molyneux.models.trust import PhotoRow, Trust, load_trust, measured_scale, save_trust
from molyneux.statistics.calibration import STEPS

PARTS = {"language_model": "toy", "encoder": "eye", "projection": "ab" * 32}
FLOOR = 10 ** ((FLOOR_STEP - STEPS) / 2)


def test_every_number_of_a_file_follows_from_its_rows(tmp_path: Path) -> None:
    made = scale(PARTS)
    save_trust(tmp_path / "trust.json", made)
    found = load_trust(tmp_path / "trust.json")
    assert found == made
    assert measured_scale(found.provenance, found.data, found.photos) == made
    moved = [*made.photos[:-1], replace(made.photos[-1], right=not made.photos[-1].right)]
    assert measured_scale(found.provenance, found.data, moved).check != made.check


def test_a_file_says_nothing_of_photos_but_hashes_and_numbers(tmp_path: Path) -> None:
    save_trust(tmp_path / "trust.json", scale(PARTS))
    (row, *_) = json.loads((tmp_path / "trust.json").read_text())["photos"]
    assert set(row) == {
        *("photo", "part", "probability", "right", "asked", "asked_right", "right_elsewhere")
    }
    assert len(row["photo"]) == 64


def test_a_scale_that_holds_says_how_often_a_first_noun_is_right() -> None:
    made = scale(PARTS)
    assert made.is_verified
    assert all(each.photos >= 50 for each in made.bins)
    rates = [trust.rate for p in (0.1, 0.5, 0.9) if (trust := made.of_first_noun(p))]
    assert rates == sorted(rates)
    assert rates == pytest.approx([0.1, 0.5, 0.9], abs=0.15)
    said = made.of_first_noun(0.9)
    assert said is not None
    assert said.short == f"right on {round(10 * rates[-1])} of 10 photos at this probability"
    assert str(said.photos) in (said.interval or "")
    assert said.warning(0.9) is None


def test_a_source_that_breaks_its_word_is_not_verified_and_claims_nothing() -> None:
    made = scale(PARTS, truth=lambda p: p**4)
    assert made.check is not None
    assert not made.check.fits
    assert not made.is_verified
    assert made.of_first_noun(0.9) is None


def test_a_scale_that_wrong_captions_fit_as_well_is_not_verified() -> None:
    blind = [*rows("scale", 320, 1, lambda p: 0.1), *rows("check", 200, 2, lambda p: 0.1)]
    made = measured_scale(PARTS, [used("scale", 320), used("check", 200)], blind)
    assert made.check is not None
    assert made.control is not None
    assert made.check.fits
    assert made.control.fits
    assert not made.is_verified


def test_a_word_asked_for_under_the_floor_is_flagged() -> None:
    made = scale(PARTS)
    assert made.floor == pytest.approx(FLOOR)
    assert made.floor_is_verified
    said = made.of_asked(3e-8, n_tokens=5)
    assert said is not None
    assert said.under_floor
    assert said.rate is None
    warning = said.warning(3e-8) or ""
    assert warning.startswith("p = 3e-08, under the floor of 0.0001: ")
    assert "fewer than 1 in 10" in warning
    likely, pieces = made.of_asked(0.5), made.of_asked(0.5, n_tokens=2)
    assert likely is not None
    assert not likely.under_floor
    assert likely.rate == pytest.approx(0.4, abs=0.05)
    assert "where it is asked for" in (likely.short or "")
    assert pieces is not None
    assert pieces.rate is pieces.short is None


def test_a_floor_that_other_photos_do_not_keep_flags_nothing() -> None:
    made = scale(PARTS)
    assert made.floor_check is not None
    assert made.floor_check.pairs == 200 * 20  # of the two half-decades under it

    def near_floor_right(row: PhotoRow) -> PhotoRow:
        right = [5 if n == FLOOR_STEP - 1 else count for n, count in enumerate(row.asked_right)]
        return row if row.part == "scale" else replace(row, asked_right=tuple(right))

    wrong = [near_floor_right(row) for row in made.photos]
    found = measured_scale(PARTS, made.data, wrong)
    assert found.floor == made.floor
    assert not found.floor_is_verified
    assert found.of_asked(3e-8) is None
    assert found.record()["floor"] is None


@pytest.mark.parametrize(
    ("rate", "said"), [(0.02, "fewer than 1"), (0.97, "more than 9"), (0.66, "7")]
)
def test_no_rate_is_rounded_to_never_or_always(rate: float, said: str) -> None:
    trust = Trust(rate=rate, low=0, high=1, photos=50, asked=False, under_floor=False, floor=None)
    assert trust.short == f"right on {said} of 10 photos at this probability"


def test_another_model_is_refused_by_name() -> None:
    made = scale({**PARTS, "layout": {"begin": None, "text": "A picture of"}})
    made.require({**PARTS, "layout": {"begin": None, "text": "A picture of"}})
    for name, other, said in (
        ("projection", "cd" * 32, "projection"),
        ("language_model", "another", "language_model"),
        ("layout", {"begin": "<s>", "text": "A picture of"}, "begin"),
    ):
        with pytest.raises(WeightsError, match=f"another {said}") as error:
            made.require({**PARTS, name: other})
        assert "molyneux trust DATA --check DATA2" in str(error.value)


def test_what_is_no_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no trust scale at"):
        load_trust(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"schema": 1}')
    with pytest.raises(WeightsError, match="is not a trust scale"):
        load_trust(tmp_path / "other.json")
