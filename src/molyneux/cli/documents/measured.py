"""What commands print that measure or train something for a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from molyneux.models.trust import PhotosUsed
from molyneux.records import ABSENT
from molyneux.statistics.calibration import AskedBin, Bin, Check


@dataclass(frozen=True, kw_only=True)
class SinkUnits:
    """Units near the top for at least half of the reference photos.

    Attributes:
        patches: in the patch view.
        last: in the last view.
    """

    patches: tuple[str, ...]
    last: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ControlPhotos:
    """Photos whose units are controls for another photo's.

    Attributes:
        photos: how many.
        animals: how many of them are captioned as an animal.
    """

    photos: int
    animals: int


@dataclass(frozen=True, kw_only=True)
class PartnerPhotos:
    """Photos that can be shown instead of another one.

    Attributes:
        photos: how many.
        with_human_nouns: of how many people named something.
    """

    photos: int
    with_human_nouns: int


@dataclass(frozen=True, kw_only=True)
class MeasuredReference:
    """A reference table.

    Attributes:
        reference: where it lies.
        photos: how many it was measured on.
        controls: its control photos.
        partners: its partner photos; none without `--partners`.
        left_out: photos that were not, each with its reason.
        sinks: units near the top for at least half of the photos.
    """

    reference: str
    photos: int
    controls: ControlPhotos
    partners: PartnerPhotos
    left_out: tuple[str, ...]
    sinks: SinkUnits


@dataclass(frozen=True, kw_only=True)
class MeasuredTrust:
    """A trust scale.

    Attributes:
        trust: where it lies.
        verified: whether it holds on the photos that set no bin, and fails on wrong captions.
        floor_verified: whether nouns under the floor are right as seldom on those photos.
        provenance: the model's parts, and hashes of the lists of nouns and synonyms.
        data: where the photos come from.
        bins: of first nouns.
        asked: of nouns asked for.
        floor: the probability under which fewer than 1 in 10 nouns asked for is right.
        check: the bins held against photos that set none.
        control: the same photos, each with another photo's human captions.
        floor_check: the nouns asked for within a decade under the floor, on the photos that did
            not set it.
        left_out: photos that were not measured, each with its reason.
    """

    trust: str
    verified: bool
    floor_verified: bool
    provenance: dict[str, Any]
    data: tuple[PhotosUsed, ...]
    bins: tuple[Bin, ...]
    asked: tuple[AskedBin, ...]
    floor: float | None
    check: Check | None
    control: Check | None
    floor_check: AskedBin | None
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MeasuredLens:
    """A Jacobian lens.

    Attributes:
        lens: where it lies.
        of: whose stream was shifted, `patches` or `tokens`.
        measured: on how many photos or sentences it was.
        left_out: those that it was not measured on, each with its reason.
        layers: how many it reads; all but the last.
    """

    lens: str
    of: Literal["patches", "tokens"]
    measured: int
    left_out: tuple[str, ...]
    layers: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained projection.

    Attributes:
        run: the run folder.
        projection: where the projection lies.
        card: where its model card lies.
        held_out: its `loss` (nats per token) and `hit` on held-out photos.
        evaluation: the same once more, with intervals and controls.
        last: the last evaluation's line of the log.
        pushed: only with `--push-to-hub`: where it is.
    """

    run: str
    projection: str
    card: str
    held_out: dict[str, Any]
    evaluation: dict[str, Any]
    last: dict[str, Any]
    pushed: Annotated[str | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class ScoredPair:
    """A pair of texts that the paper prints with its BERTScore.

    Attributes:
        candidate: the text compared.
        reference: what it is compared with.
        paper: the F1 printed.
    """

    candidate: str
    reference: str
    paper: float


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """A hidden layer against the paper's pairs.

    Attributes:
        layer: the hidden layer.
        f1: of every pair, in their order.
        distance: mean absolute difference from the printed F1.
        agrees: whether all its digits are met.
    """

    layer: int
    f1: tuple[float, ...]
    distance: float
    agrees: bool


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A BERTScore backbone against the pairs that the paper prints.

    Attributes:
        backbone: its name.
        default_layer: the layer that studies take.
        pairs: the pairs.
        layers: each layer.
        closest_layer: the one of least distance.
    """

    backbone: str
    default_layer: int
    pairs: tuple[ScoredPair, ...]
    layers: tuple[LayerRecord, ...]
    closest_layer: int


@dataclass(frozen=True, kw_only=True)
class WrittenAtlas:
    """An atlas.

    Attributes:
        atlas: its folder.
        units: how many it holds.
        lenses: what each was read through.
        chance: how often ten random tokens of the vocabulary pass as words.
    """

    atlas: str
    units: int
    lenses: tuple[str, ...]
    chance: float


@dataclass(frozen=True, kw_only=True)
class JoinedRun:
    """A run that was joined to an atlas.

    Attributes:
        run: its folder's name.
        kind: explain or study.
        photos: how many it has.
    """

    run: str
    kind: str
    photos: int


@dataclass(frozen=True, kw_only=True)
class JoinedAtlas:
    """An atlas to which runs were joined.

    Attributes:
        atlas: its folder.
        runs: those that were joined.
        units: of how many units they say something.
        tried: how many of those were switched off by themselves.
    """

    atlas: str
    runs: tuple[JoinedRun, ...]
    units: int
    tried: int
