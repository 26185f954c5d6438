"""What `study`, `compare-scorers`, `transfer`, `report`, `table` and `units` print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ReportWritten:
    """The page of a run.

    Attributes:
        report: where it lies.
    """

    report: str


@dataclass(frozen=True, kw_only=True)
class UnreadPhoto:
    """A photo that could not be read.

    Attributes:
        id: which one.
        error: why.
    """

    id: str
    error: str


@dataclass(frozen=True, kw_only=True)
class StudyDone:
    """A study.

    Attributes:
        run: the run folder.
        photos: how many could be measured.
        bad: those that could not be read.
        report: where its page lies.
    """

    run: str
    photos: int
    bad: tuple[UnreadPhoto, ...]
    report: str


@dataclass(frozen=True, kw_only=True)
class ScorerRow:
    """How a scorer's numbers go together with what units do exactly.

    Attributes:
        scorer: its name, with the choices that differ from the usual ones.
        ranking: `total`, the sum over patches, or `score`, the largest.
        word: `word`, the caption's first noun, or `absent`, one that nobody named in the photo.
        sample: of units: `uniform` (drawn from all alike), `strong`, `top` (every scorer's first
            20) or `all`.
        truth: what units are put to: `zero`, their `mean` over reference photos, or `resample`,
            their values at another photo's patches; of the logit if nothing else is said.
        spearman: correlation of ranks over a photo's units, the mean over photos; null where
            there is none.
        low: lower end of its 95 % interval over photos.
        high: its upper end.
        pearson: correlation, the mean over photos.
        slope: of the line of effects on scores, the mean over photos; 1 where a score is the
            effect.
        sign_agreement: the share of units that do something whose score has their sign.
        seconds: that scoring both words of a photo took, the mean over photos.
        n: photos.
    """

    scorer: str
    ranking: Literal["total", "score"]
    word: Literal["word", "absent"]
    sample: Literal["uniform", "strong", "top", "all"]
    truth: str
    spearman: float | None
    low: float | None
    high: float | None
    pearson: float | None
    slope: float | None
    sign_agreement: float | None
    seconds: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class ComparedScorers:
    """Scorers beside exact effects.

    Attributes:
        run: the run folder; `molyneux table` prints its tables.
        photos: how many have a word.
        all_units_photos: of how many of them every unit was measured.
        effects: the folder of the data set of effects, with its card.
        rows: a row for each scorer, ranking, word, sample and truth.
    """

    run: str
    photos: int
    all_units_photos: int
    effects: str
    rows: tuple[ScorerRow, ...]


@dataclass(frozen=True, kw_only=True)
class NumberCell:
    """A number with its 95 % interval.

    Attributes:
        value: null where there is none; then all but `why` are null.
        low: lower end of the interval.
        high: its upper end.
        n: how many photos are behind it.
        why: why there is no number.
        few: whether the interval is over fewer than 20 photos, which makes it too narrow.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int | None
    why: str | None
    few: bool


@dataclass(frozen=True, kw_only=True)
class TableRecord:
    """A study's table.

    Attributes:
        name: as in `E6.word`.
        title: what it shows.
        columns: in order.
        rows: a cell for each column that the row fills: text, a number, null, or a number with its
            interval.
        notes: sentences to be read with it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, NumberCell | str | int | float | None], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeftOutConcept:
    """A concept of which there are too few photos.

    Attributes:
        concept: its word.
        found_on: how many photos its units were found on; 0 where there are no units.
        here: how many photos the data set has of it.
    """

    concept: str
    found_on: int
    here: int


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """What was found of a claim.

    Attributes:
        claim: in a sentence.
        verdict: `holds`, `does not hold` or `open`.
    """

    claim: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class TransferDone:
    """Frozen units, measured on another data set.

    Attributes:
        run: the run folder.
        photos: how many could be measured.
        bad: those that could not be read.
        concepts: those that were measured.
        left_out: the others that have units or photos.
        tables: `E9.transfer`: a row for each measure and set, with every control.
        verdicts: of each claim.
        report: where its page lies.
    """

    run: str
    photos: int
    bad: tuple[UnreadPhoto, ...]
    concepts: tuple[str, ...]
    left_out: tuple[LeftOutConcept, ...]
    tables: tuple[TableRecord, ...]
    verdicts: tuple[ClaimVerdict, ...]
    report: str


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A study's tables.

    Attributes:
        tables: those asked for. `molyneux table` prints the same as Markdown, CSV or LaTeX.
    """

    tables: tuple[TableRecord, ...]


@dataclass(frozen=True, kw_only=True)
class StudiedUnit:
    """A unit of a study; what the study left untested is null.

    Attributes:
        unit: its name; it ends with `-` where it writes negatively.
        n_top: in how many photos it is listed by score.
        n_specific: in how many by specific score.
        specific: its mean specific score where it is listed.
        sign: the direction it writes.
        tokens: those it writes.
        sink: whether it is near the top for at least half of the reference photos.
        interpretable: whether at least 7 of its 10 tokens are words; random ones often are.
        selective: whether it responds to a class, from confirmation photos.
        n_classes: to how many.
        effect: the mean logit that the word loses without the unit.
        n_effect: over how many photos.
        above_other: whether that is more than what another photo's word loses.
        apart: whether it passes every step somewhere, be it for different photos.
        n_multimodal: for how many photos, and their word, it passes every step at once.
        multimodal: whether there is one.
    """

    unit: str
    n_top: int
    n_specific: int
    specific: float | None
    sign: int
    tokens: str | tuple[str, ...]
    sink: bool | None
    interpretable: bool | None
    selective: bool | None
    n_classes: int | None
    effect: float | None
    n_effect: int | None
    above_other: bool | None
    apart: bool | None
    n_multimodal: int | None
    multimodal: bool | None


@dataclass(frozen=True, kw_only=True)
class StudiedUnits:
    """The units of a study.

    Attributes:
        run: the run folder.
        passing: the step that they pass.
        total: how many pass it.
        units: the first `--top` of them.
    """

    run: str
    passing: str
    total: int
    units: tuple[StudiedUnit, ...]
