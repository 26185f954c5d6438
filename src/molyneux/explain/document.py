"""The document of `molyneux explain`: what it holds, how it is written and read back.

Everything that reads a document (the page, a notebook, a script) reads these classes; the JSON, its
schema and its page in the docs are made from them. Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from molyneux.checks import path_of
from molyneux.errors import RunError, UsageError
from molyneux.explain.sight_record import Sight
from molyneux.explain.text import (
    heading,
    photo_html,
    photo_text,
    units_html,
    units_text,
    word_html,
    word_text,
)
from molyneux.explain.why_record import Why
from molyneux.models.trust import Trust
from molyneux.neurons.unit_sets import DEFAULT, LISTED, Listed
from molyneux.parquet import import_pandas
from molyneux.records import ABSENT, from_json, to_plain

View = Literal["patches", "last"]
Ranking = Listed
SCHEMA: Literal[2] = 2
"""1 had two rankings, each under a name of its own; it is read as well (`_upgraded`)."""
LISTED_PHOTOS = 20
VIEWS: tuple[View, ...] = ("patches", "last")
LISTS: tuple[tuple[Ranking, View], ...] = tuple((r, v) for r in LISTED for v in VIEWS)
"""A word's lists, in the order in which tables have them."""


@dataclass(frozen=True, kw_only=True)
class UnitRow:
    """A unit in a list.

    Attributes:
        layer: its layer, from 0.
        unit: its place among the layer's units, from 0.
        score: gradient x activation, in logits (nats for `of="logprob"`), or another scorer's: the
            largest over the patches, or at the last position.
        total: its sum over the patches, in the same unit.
        share: `total` over the sum of all units' |total|.
        specific: how far the score exceeds what it is on reference photos, in standard deviations;
            null where it does not rank, of nouns after the first, and without a reference table.
        contrast: how far `total` exceeds its mean behind partners: other photos, with the same text
            and word; absent without partners.
        change: how far its mean activation over the photo's patches is from what it is at reference
            photos, in standard deviations; only in the patch view, and absent where the reference
            table holds no activations.
        sign: of what it adds to its output row, at the peak patch or the last position: -1, 0, 1.
            In the list `change`, of `change`.
        sink: whether it is near the top for at least half of the reference photos; null without a
            reference table.
        tokens: the 10 tokens it raises most, in the direction it writes; none where the lens does
            not read its layer.
        suppressed: the 10 it lowers most.
        interpretable: whether at least 7 of its 10 `tokens` are dictionary words; no verdict: ten
            random ones are so with the model's `words_by_chance`.
        peak_patch: `[row, column]` of the patch with its score; only in the patch view, and absent
            where the encoder has no patch grid.
    """

    layer: int
    unit: int
    score: float
    total: float
    share: float
    specific: float | None
    contrast: Annotated[float | None, ABSENT] = None
    change: Annotated[float | None, ABSENT] = None
    sign: int
    sink: bool | None
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]
    interpretable: bool
    peak_patch: Annotated[tuple[int, int] | None, ABSENT] = None

    @property
    def name(self) -> str:
        """What `molyneux decode` takes: `L12.u905`, with `-` where it writes negatively."""
        return f"L{self.layer}.u{self.unit}{'-' if self.sign < 0 else ''}"


class UnitList(Sequence[UnitRow]):
    """The units of one ranking in one view, the first first; it prints as a short table.

    Attributes:
        title: says in words what they are ordered by.
    """

    def __init__(self, rows: Iterable[UnitRow], title: str) -> None:
        self._rows = tuple(rows)
        self.title = title

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> UnitRow: ...

    @overload
    def __getitem__(self, place: slice) -> UnitList: ...

    def __getitem__(self, place: int | slice) -> UnitRow | UnitList:
        if isinstance(place, slice):
            return UnitList(self._rows[place], self.title)
        return self._rows[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnitList) and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(self._rows)

    def __repr__(self) -> str:
        return units_text(self._rows, self.title)

    def _repr_html_(self) -> str:
        return units_html(self._rows, self.title)

    @property
    def names(self) -> list[str]:
        """What `molyneux decode` takes for each."""
        return [row.name for row in self._rows]

    def to_pandas(self) -> Any:
        """Return the list as a `pandas.DataFrame`, a row for each unit.

        Raises:
            UsageError: pandas is not installed.
        """
        rows = [{"name": row.name, **to_plain(row)} for row in self._rows]
        names = ["name", *(each.name for each in fields(UnitRow))]
        return import_pandas().DataFrame(rows, columns=names)


@dataclass(frozen=True, kw_only=True)
class UnitLists:
    """The units of one ranking, for each view.

    Attributes:
        patches: by their scores over the photo's patches.
        last: by their scores where the word is predicted.
        others_in_patches: the share of other photos' lists that stands in this one as well: the
            mean over up to eight reference photos that show something else, whose lists are as
            long; absent of rankings that a reference table does not keep for them.
        others_in_last: the same of `last`.
    """

    patches: tuple[UnitRow, ...] = ()
    last: tuple[UnitRow, ...] = ()
    others_in_patches: Annotated[float | None, ABSENT] = None
    others_in_last: Annotated[float | None, ABSENT] = None

    def view(self, view: View) -> tuple[UnitRow, ...]:
        """Return the units of one view."""
        return self.patches if view == "patches" else self.last

    def others_in(self, view: View) -> float | None:
        """Return which share of other photos' lists stands in that of one view."""
        return self.others_in_patches if view == "patches" else self.others_in_last


@dataclass(frozen=True, kw_only=True)
class OtherLeft:
    """What another photo's units leave of a word.

    Attributes:
        noun: what the other photo was captioned as.
        left: probability of the word over its probability with nothing off.
    """

    noun: str
    left: float


@dataclass(frozen=True, kw_only=True)
class OwnMinusOthers:
    """What own specific units leave of a word minus what other photos' leave.

    Fractions of the probability with nothing off. The interval is over the other photos, narrow
    for so few; it is not one over photos like this one.

    Attributes:
        units: how many units of each photo were switched off.
        specific: what this photo's leave.
        others: what those of up to eight other photos leave.
        difference: `specific` minus the mean of `others`.
        low: lower end of the 95 % interval of `difference`.
        high: its upper end.
    """

    units: int = 100
    specific: float | None = None
    others: tuple[OtherLeft, ...]
    difference: float
    low: float
    high: float


Curve = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What is left of a word as ever more units are set to zero.

    A curve has one value for each number in `grid`: the word's probability over its probability
    with nothing off. A value is null where a set has too few units, or there is no reference table.

    Attributes:
        positions: where units were set to zero: `all` positions, or the `patches`.
        view: whose scores chose the units.
        grid: numbers of units.
        total: this photo's units, ranked `total`.
        top: ranked `raw`, by score.
        specific: ranked `specific`.
        contrast: ranked `contrast`, at the largest number up to 100 and the last alone; null
            without partners.
        change: ranked `change`, whatever the word, at the same numbers; null in the last view.
        interpretable: the `top` of whose 10 tokens at least 7 are words.
        other: another photo's `top`.
        other_specific: another photo's `specific`.
        matched: as strong as the specific units and of their layers, in none of the lists.
        random: mean over draws of as many units in each layer as `top` has, never one of it.
        random_std: standard deviation over the draws.
        absent_word: a word that nobody named here, about as likely behind partners; null where
            there is none, and the next five are empty then.
        absent_total: what its own units leave of it, ranked `total` by its own scores: units picked
            by a word's gradient take any word, seen or not. Tried, as the next four are, at what
            claims are made of: the largest number up to 100.
        absent_top: its own, ranked `raw`.
        absent_specific: its own, ranked `specific`.
        absent_contrast: its own, ranked `contrast`.
        absent_interpretable: of its `raw`, those of whose 10 tokens at least 7 are words.
        unrelated_total: with `total` off, the geometric mean over the unrelated nouns.
        unrelated_top: the same with `top` off.
        unrelated_specific: the same with `specific` off.
        unrelated_random: the same with random units off, the mean over draws.
        seeds: how many random draws.
        other_noun: what the other photo was captioned as; null without one.
        own_minus_others: what own specific units leave minus what several other photos' leave, at
            100 units; null with fewer than three.
    """

    positions: Literal["all", "patches"]
    view: View
    grid: tuple[int, ...]
    total: Curve = ()
    top: Curve = ()
    specific: Curve = ()
    contrast: Curve = ()
    change: Curve = ()
    interpretable: Curve = ()
    other: Curve = ()
    other_specific: Curve = ()
    matched: Curve = ()
    random: Curve = ()
    random_std: Curve = ()
    absent_word: str | None = None
    absent_total: Curve = ()
    absent_top: Curve = ()
    absent_specific: Curve = ()
    absent_contrast: Curve = ()
    absent_interpretable: Curve = ()
    unrelated_total: Curve = ()
    unrelated_top: Curve = ()
    unrelated_specific: Curve = ()
    unrelated_random: Curve = ()
    seeds: int | None = None
    other_noun: str | None = None
    own_minus_others: OwnMinusOthers | None = None


@dataclass(frozen=True, kw_only=True)
class AblatedCaptions:
    """The caption written again with units off throughout; null where a set is too small.

    Attributes:
        units: how many units of each set were switched off, chosen at the patches.
        total: with this photo's `total` off.
        top: with its `raw` off.
        specific: with this photo's `specific` off.
        other_specific: with another photo's `specific` off.
        random: with random units off.
    """

    units: int
    total: str | None = None
    top: str | None = None
    specific: str | None = None
    other_specific: str | None = None
    random: str | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Word:
    """A word of the caption, or one that was asked for, and the units behind it.

    Attributes:
        word: as written, lower case.
        token: its first token, which is what is scored.
        token_id: that token's number.
        position: the position, counted from 0 at the begin token, whose output predicts the token.
        probability: of that token there.
        logit: of that token there.
        span: `[start, end]` in `caption`; null for a word asked for.
        n_tokens: how many tokens the word is.
        note: a line saying so if more than one, if it is a noun after the first, or if the
            caption's own first noun was asked for as well.
        unrelated: the unrelated nouns used.
        rankings: the first units of each view, for each ranking: `total` by total, `raw` by score,
            `specific`, `contrast` and `change` by those; a ranking that cannot be made is not
            there, as `specific` of nouns after the first, which reference tables do not hold.
        ablation: the curves of the patch view's units; null if not ablated.
        ablation_last: the curves of the last view's.
        ablated_caption: the caption with the patch view's units off; null if not ablated.
        trust: how often such a word is right; null for later nouns, which were not measured, and
            without a trust scale of the model that holds on photos that set none of it.
        sight: what this photo adds to the word and what carries it; null if it was not measured.
        sight_note: why not; absent where it was, or was not asked for.
        why: why the model says it, or nearly, compared with photos that people say show it: of
            words asked for, and of the caption's that nobody who described the photo named;
            absent of others, with `--sight none`, and without partners.
    """

    word: str
    token: str
    token_id: int
    position: int
    probability: float
    logit: float
    span: tuple[int, int] | None = None
    n_tokens: int = 1
    note: str | None = None
    unrelated: tuple[str, ...] = ()
    rankings: dict[Ranking, UnitLists]
    ablation: Curves | None = None
    ablation_last: Curves | None = None
    ablated_caption: AblatedCaptions | None = None
    trust: Trust | None = None
    sight: Sight | None = None
    sight_note: Annotated[str | None, ABSENT] = None
    why: Annotated[Why | None, ABSENT] = None

    @property
    def warning(self) -> str | None:
        """What has to be said instead of the word's claims, where it is under the floor."""
        return None if self.trust is None else self.trust.warning(self.probability)

    @property
    def curves(self) -> tuple[Curves, ...]:
        """The curves there are: the patch view's, then the last view's."""
        return tuple(each for each in (self.ablation, self.ablation_last) if each is not None)

    @property
    def compared(self) -> bool:
        """Whether any list of it is specific."""
        lists = self.rankings.get("specific", UnitLists())
        return bool(lists.patches or lists.last)

    @property
    def units(self) -> UnitList:
        """The units to look at first: of the largest totals over the patches.

        Of documents of schema 1, which list no totals, the most specific, else the raw ones.
        """
        there = (ranking for ranking in LISTED if self.ranked(ranking=ranking))
        return self.ranked(ranking=next(there, DEFAULT))

    def ranked(self, *, view: View = "patches", ranking: Ranking = DEFAULT) -> UnitList:
        """Return the units of one list; none where the run has not that ranking.

        Raises:
            UsageError: there is no such view or ranking.
        """
        for name, value, known in (("view", view, VIEWS), ("ranking", ranking, LISTED)):
            if value not in known:
                raise UsageError(f"{name} is {value!r}; give {' or '.join(map(repr, known))}")
        lists = self.rankings.get(ranking, UnitLists())
        return UnitList(lists.view(view), heading(ranking, view))

    def __repr__(self) -> str:
        return word_text(self)

    def _repr_html_(self) -> str:
        return word_html(self)


@dataclass(frozen=True, kw_only=True)
class ReadWord:
    """A noun of the list of everyday nouns, in what a set of units writes.

    Attributes:
        word: the noun.
        score: what the set adds to its logit at the patches, beyond what it does in reference
            photos, to first order.
        percentile: the share of the list's other nouns that it is above.
        in_other_photos: the mean of that share in what is read of eight partners, those that
            effects are compared with; absent without them.
    """

    word: str
    score: float
    percentile: float
    in_other_photos: Annotated[float | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class WordEffect:
    """What a set of units gives a noun, exactly.

    Attributes:
        word: the noun.
        nats: what its log-probability loses when the set's units are put to the mean over eight
            partners, patch by patch, where the caption's first noun is predicted; these do not
            show that noun.
    """

    word: str
    nats: float


@dataclass(frozen=True, kw_only=True)
class PatchWords:
    """What a set of units says at one patch.

    Attributes:
        words: the 5 nouns of highest score there, the first first.
        scores: theirs.
    """

    words: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a set of units at the patches says, before any word is asked for.

    Attributes:
        lens: what it is read through, `none`, `norm` or `jacobian`.
        set: how its units were chosen: `change`, those whose activation is farthest from other
            photos'.
        fraction_of_units: of the layers' units.
        layers: that they are of, `all` but the last, or some.
        words: the nouns of highest score, and those of the caption.
        effects_up: the nouns that the set gives most, exactly; none without enough partners.
        effects_down: those that it takes most from.
        at_patches: what it says at each patch, row by row; only through the Jacobian lens, and
            absent where the encoder has no patch grid (and of some layers in earlier documents).
    """

    lens: Literal["none", "norm", "jacobian"]
    set: str
    fraction_of_units: float
    layers: Literal["all"] | tuple[int, ...]
    words: tuple[ReadWord, ...]
    effects_up: tuple[WordEffect, ...] = ()
    effects_down: tuple[WordEffect, ...] = ()
    at_patches: Annotated[tuple[PatchWords, ...] | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Image:
    """A photo: its caption and the words in it.

    Attributes:
        path: as given if relative; of absolute paths, what is below their common folder.
        sha256: of the file's bytes; null if it could not be read.
        caption: without "A picture of"; null if the photo could not be read.
        note: null, or that the caption has no noun (`words` is then empty).
        error: null, or one line that says why the photo could not be read; `words` is then empty,
            `grid` and `sink_patches` are absent.
        credit: who took it, on what terms; absent where that is not known.
        known: the nouns people said of the photo, singular; absent where none are known.
        agrees: whether the caption's first noun, or a synonym of it, is one of `known`; absent
            where nothing is known or the caption has no noun.
        grid: `[rows, columns]` of patches.
        sink_patches: `[row, column]` of patches with huge activations about nothing.
        words: in caption order; words asked for with `--word` come last.
        reading: what sets of units at the patches say; absent without a Jacobian lens, or a
            reference table that holds mean activations.
    """

    path: str
    sha256: str | None = None
    caption: str | None = None
    note: str | None = None
    error: str | None = None
    credit: Annotated[str | None, ABSENT] = None
    known: Annotated[tuple[str, ...] | None, ABSENT] = None
    agrees: Annotated[bool | None, ABSENT] = None
    grid: Annotated[tuple[int, int] | None, ABSENT] = None
    sink_patches: Annotated[tuple[tuple[int, int], ...] | None, ABSENT] = None
    words: tuple[Word, ...] = ()
    reading: Annotated[tuple[Reading, ...] | None, ABSENT] = None

    def __repr__(self) -> str:
        return photo_text(self)

    def _repr_html_(self) -> str:
        return photo_html(self)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What produced the numbers.

    Attributes:
        preset: its name, or null.
        language_model: what the language model is called.
        encoder: what the encoder is called.
        projection: its provenance record.
        layout: `begin` (token or null) and `text` ("A picture of"); of a vision-language model
            `text`, `prompt`, `image`, `begins`, `tiles`, `pixels`.
        decoding: how units are decoded: `final_norm`, `bias`, and whether in the direction
            `written`.
        dtype: of the language model, `float32`.
        device: where it ran, `cpu` or `cuda`.
        hashes: sha256 of the published weights of `language_model` and `encoder`; of weight and
            bias of `projection`.
        n_layers: number of layers.
        d_mlp: units of a layer.
        n_units: units in all.
        words_by_chance: how often 7 of 10 random tokens of the vocabulary are dictionary words:
            what `interpretable` is to be read beside.
        limits: sentences to be stated wherever its results are shown.
        reference: null, or the reference table's record: `language_model`, `encoder`, `projection`
            (hash), `data`, `photos` (how many); of newer tables also `layout` and `dtype`, and of
            those that hold them `controls` and `partners`, each with its `photos` and `data`.
        trust: the trust scale's record: what it was measured on, `photos` (how many), the `floor`,
            whether it is `verified`, its `sha256`; absent without one.
        lens: what units are decoded through at the patches, where it is not as `decoding` has it:
            its `name`, and of one that was measured on what.
    """

    preset: str | None
    language_model: str
    encoder: str
    projection: dict[str, Any]
    layout: Any
    decoding: Annotated[dict[str, bool] | None, ABSENT] = None
    dtype: str
    device: Annotated[str | None, ABSENT] = None
    hashes: dict[str, str]
    n_layers: int
    d_mlp: int
    n_units: int
    words_by_chance: Annotated[float | None, ABSENT] = None
    limits: tuple[str, ...] = ()
    reference: dict[str, Any] | None
    trust: Annotated[dict[str, Any] | None, ABSENT] = None
    lens: Annotated[dict[str, Any] | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class SettingsRecord:
    """What was asked: the options as they were in force.

    Attributes:
        grid: numbers of units that were switched off.
        top: how many units are listed in each ranking and view.
        words: the words asked for with `--word`.
        ablate: whose units were switched off: those of the `first` noun (and of words asked for),
            of `all` words, or of `none`.
        sight: how much of it was measured: `none`, the `short` form or the `full` one; absent in
            older documents.
        positions: where units were switched off: at `all` positions, or the `patches`.
        seeds: how many random draws.
        seed: of the random draws.
        of: what was attributed, `logit` or `logprob`; null with another scorer.
        site: where, `activation` or `preactivation`; null with another scorer.
        scorer: the record of another scorer than gradient x activation: its `name`, and what was
            chosen; absent with that one.
        note: only where the reference table was left aside: why.
    """

    grid: tuple[int, ...]
    top: int
    words: tuple[str, ...] = ()
    ablate: Literal["first", "all", "none"]
    sight: Annotated[Literal["none", "short", "full"] | None, ABSENT] = None
    positions: Literal["all", "patches"]
    seeds: int
    seed: int
    of: Literal["logit", "logprob"] | None
    site: Literal["activation", "preactivation"] | None
    scorer: Annotated[dict[str, Any] | None, ABSENT] = None
    note: Annotated[str | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Document:
    """What `molyneux explain` found of some photos.

    Attributes:
        schema: 2.
        model: what produced the numbers.
        settings: what was asked.
        images: one entry for each photo, in the order given.
        run: the run folder, as given if relative, else its name.
    """

    schema: Literal[2]
    model: ModelRecord
    settings: SettingsRecord
    images: tuple[Image, ...]
    run: str

    def __repr__(self) -> str:
        shown = [
            f"  {image.path}: {image.error or image.caption} "
            f"({', '.join(word.word for word in image.words) or 'no word'})"
            for image in self.images[:LISTED_PHOTOS]
        ]
        more = len(self.images) - len(shown)
        lines = [f"{len(self.images)} photos explained, {self.run}", *shown]
        return "\n".join([*lines, *([f"  … and {more} more"] if more else [])])


@dataclass(frozen=True)
class _Version:
    """What of a document can be read whatever its version."""

    schema: Any = None


def read_document(run: Path) -> Document:
    """Return the document of a run folder.

    Raises:
        RunError: the folder is no run of `molyneux explain`, is of another version, or is damaged.
    """
    run = path_of("a run", run)
    path = run / "explain.json"
    if not path.is_file():
        raise RunError(
            f"{run} is not a run of `molyneux explain`: it has no explain.json; give the folder "
            "that `molyneux explain` named"
        )
    try:
        text = path.read_bytes()
        if b"NaN" in text or b"Infinity" in text:
            # Python's own, which no other reader of JSON takes.
            text = json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror}); check its permissions") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); make the run anew") from error
    made = from_json(_Version, text, str(path))
    if made.schema == 1:
        text = json.dumps(_upgraded(json.loads(text))).encode()
    elif made.schema != SCHEMA:
        raise RunError(
            f"{path} has schema {made.schema!r}, this molyneux reads 1 and {SCHEMA}; use the "
            "version that made it (manifest.json names it), or make the run anew"
        )
    return from_json(Document, text, str(path))


def _upgraded(found: dict[str, Any]) -> dict[str, Any]:
    """Return a document of schema 1 as one of schema 2.

    It had `units` (now `raw`) and `specific_units`, and the comparison with several other photos
    was called `contrast`.
    """
    try:
        for image in found.get("images", ()):
            for word in image.get("words", ()):
                lists = {"raw": word.pop("units"), "specific": word.pop("specific_units", {})}
                word["rankings"] = {name: units for name, units in lists.items() if units}
                for curves in (word.get("ablation"), word.get("ablation_last")):
                    if curves and "contrast" in curves:
                        curves["own_minus_others"] = curves.pop("contrast")
    except (AttributeError, KeyError, TypeError):
        pass  # it is no such document: what is wrong is named where it is read
    return {**found, "schema": SCHEMA}
