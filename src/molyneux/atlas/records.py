"""What is told of a unit: what it writes, and what runs say of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Writes:
    """What a unit writes through one lens.

    Attributes:
        tokens: those it raises most when active, highest first.
        suppressed: those it lowers most, lowest first: what it raises when active negatively.
        words: whether 7 of the 10 in `tokens` are dictionary words; to be read beside
            `Atlas.chance`.
        suppressed_words: likewise of `suppressed`.
    """

    lens: str
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]
    words: bool
    suppressed_words: bool


@dataclass(frozen=True)
class Neighbour:
    """A unit that writes in nearly the same direction."""

    unit: str
    cosine: float


@dataclass(frozen=True)
class Taken:
    """What words lost by one unit that was switched off, exactly, over photos.

    Attributes:
        mean: of the logit that each photo's word lost.
        low: of the 95 % bootstrap interval over photos; None of fewer than five.
        high: likewise.
        n: photos.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class WordCount:
    """A word for which a unit counted.

    Attributes:
        word: the first noun of photos' captions.
        n_top: of how many such photos the unit was among the top 100 by score.
        n_specific: likewise by specific score.
        effect: the mean logit that the word lost without the unit; None if it was not tried.
        n_effect: on how many photos it was tried.
    """

    word: str
    n_top: int
    n_specific: int
    effect: float | None
    n_effect: int


@dataclass(frozen=True)
class StrongestPhoto:
    """A photo on which a unit scored highly.

    Attributes:
        run: the run's place in `Atlas.runs`.
        photo: its name in the run.
        word: the first noun of its caption.
        score: gradient x activation at the patch, in logits.
        patch: the patch's place in reading order, from 0; None where the run does not say it.
    """

    run: int
    photo: str
    word: str
    score: float
    patch: int | None


@dataclass(frozen=True)
class Measured:
    """What runs say of a unit, at patches.

    Attributes:
        n_top: photos among whose top 100 by score it is.
        n_specific: photos among whose top 100 by specific score it is.
        words: those for which it counted, most often first.
        photos: those on which it scored highest.
        effect: what its own photos' words lost without it; None if it was not tried.
        mismatched_effect: what the same words lost without other photos' units.
        elsewhere_effect: what other photos' words lost without it.
        iou: how well its receptive field fits a mask, where it was the best of its list.
        random_iou: the best of as many random units of the same layers, on the same masks.
        n_iou: masks.
        selective: whether it is more active on a class it was found on than on others, on photos
            it was not found on; None if it was not tried.
        selective_for: those classes.
        control_selective: how often random units in its place are.
    """

    n_top: int
    n_specific: int
    words: tuple[WordCount, ...]
    photos: tuple[StrongestPhoto, ...]
    effect: Taken | None
    mismatched_effect: Taken | None
    elsewhere_effect: Taken | None
    iou: float | None
    random_iou: float | None
    n_iou: int
    selective: bool | None
    selective_for: tuple[str, ...]
    control_selective: float | None


@dataclass(frozen=True)
class AtlasUnit:
    """A unit as the atlas has it.

    Attributes:
        unit: its name, as L12.u905.
        output_norm: the norm of what it writes at activation 1.
        writes: through each lens that reads its layer.
        neighbours: the units nearest in direction, nearest first.
        fake: the other unit of its layer nearest in `output_norm`, which has nothing else to do
            with it: what is said of the unit should not hold of this one. None where it is alone.
        measured: what runs say of it; None where none was joined, or none lists it.
        fake_measured: what they say of its fake.
    """

    unit: str
    layer: int
    number: int
    output_norm: float
    writes: tuple[Writes, ...]
    neighbours: tuple[Neighbour, ...]
    fake: str | None
    measured: Measured | None
    fake_measured: Measured | None


@dataclass(frozen=True)
class Found:
    """A unit that was looked for.

    Attributes:
        unit: its name; `L12.u905-` where it writes so when active negatively.
        layer: its layer, from 0.
        number: its place among the layer's units, from 0.
        sign: 1, or -1 where it writes so when active negatively.
        token: what it writes of what was looked for; null where photos' nouns were.
        rank: the token's place among the ten it raises most, 0 the first.
        tokens: those ten, in the direction of `sign`.
        suppressed: the ten it lowers most.
        words: whether 7 of `tokens` are dictionary words.
        output_norm: the norm of what it writes at activation 1.
        n_top: among the top 100 of how many photos it is; null where no run was joined.
        n_specific: likewise by specific score.
        effect: the mean logit that its photos' words lost without it; null if it was not tried.
        effect_low: of the 95 % interval over photos; null of fewer than five.
        effect_high: likewise.
        n_effect: photos.
        mismatched_effect: the mean logit that the same words lost without other photos' units.
    """

    unit: str
    layer: int
    number: int
    sign: int
    token: str | None
    rank: int | None
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]
    words: bool
    output_norm: float
    n_top: int | None
    n_specific: int | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    n_effect: int | None
    mismatched_effect: float | None
