"""What every command prints with `--json`: names, kinds and meanings.

The schemas that are shipped in `molyneux/schemas`, and the tables of docs/document.md, are made
from these classes and from `molyneux.explain.document`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from molyneux.explain.document import Document, ModelRecord
from molyneux.models.trust import PhotosUsed, Trust
from molyneux.records import ABSENT
from molyneux.statistics.calibration import AskedBin, Bin, Check


@dataclass(frozen=True, kw_only=True)
class FirstNoun:
    """A caption's first noun, and how often such a one is right.

    Attributes:
        word: as written, lower case.
        probability: of its first token.
        trust: how often such a noun is right; null if the scale was not verified.
        said: the same in a few words.
    """

    word: str
    probability: float
    trust: Trust | None
    said: str | None


@dataclass(frozen=True, kw_only=True)
class CaptionedPhoto:
    """A photo and its caption.

    Attributes:
        path: as given.
        caption: without "A picture of"; null if the photo could not be read.
        error: null, or one line that says why.
        first_noun: with a trust scale: the caption's first noun, absent where it has none.
    """

    path: str
    caption: str | None
    error: str | None
    first_noun: Annotated[FirstNoun | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The captions of photos.

    Attributes:
        schema: 1.
        model: what produced them, as in the document of `explain`.
        images: one entry for each photo, in the order given.
    """

    schema: Literal[1]
    model: ModelRecord
    images: tuple[CaptionedPhoto, ...]


@dataclass(frozen=True, kw_only=True)
class PatchPrompt:
    """The input embeddings nearest to one image prompt.

    Attributes:
        patch: `[row, column]`.
        tokens: the nearest, nearest first.
        cosine: of each with the image prompt.
        lens_tokens: with `--lens`, those that the patch's position raises most after `--layer`;
            absent without.
    """

    patch: tuple[int, int]
    tokens: tuple[str, ...]
    cosine: tuple[float, ...]
    lens_tokens: Annotated[tuple[str, ...] | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class PromptedPhoto:
    """A photo's image prompts as tokens.

    Attributes:
        path: as given.
        patches: one entry for each patch.
        random_cosine: mean cosine of the token nearest to random vectors of the same norms; absent
            if the photo could not be read.
        error: null, or one line that says why.
    """

    path: str
    patches: tuple[PatchPrompt, ...]
    random_cosine: Annotated[float | None, ABSENT] = None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The image prompts of photos.

    Attributes:
        schema: 1.
        model: what produced them, as in the document of `explain`.
        images: one entry for each photo, in the order given.
    """

    schema: Literal[1]
    model: ModelRecord
    images: tuple[PromptedPhoto, ...]


@dataclass(frozen=True, kw_only=True)
class DecodedUnit:
    """A unit and the tokens it writes.

    Attributes:
        layer: its layer, from 0.
        unit: its place among the layer's units, from 0.
        sign: the direction decoded, -1 or 1.
        rank: the place of the word asked for among the tokens the unit writes, 0 the first; null
            where units were asked for.
        tokens: those it raises most, at least 10 unless `--top` asks for fewer; none where the lens
            does not read its layer.
        suppressed: those it lowers most.
    """

    layer: int
    unit: int
    sign: int
    rank: int | None
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PartToFetch:
    """A part that is not here.

    Attributes:
        part: which one.
        source: where it is published.
        mb: its size in MB.
        get: how to get it.
    """

    part: str
    source: str
    mb: int
    get: str


@dataclass(frozen=True, kw_only=True)
class PresetPart:
    """A part of a preset.

    Attributes:
        part: which one.
        source: where it is published.
        mb: its size in MB.
        here: whether it is in the cache.
        get: how to get it.
    """

    part: str
    source: str
    mb: int
    here: bool
    get: str


@dataclass(frozen=True, kw_only=True)
class PresetRecord:
    """A preset.

    Attributes:
        preset: its name.
        language_model: what it reads and writes with.
        encoder: what it sees through.
        layout: how its prompt is laid out.
        download_mb: what is fetched at most, in MB.
        missing_mb: what is still to be fetched.
        cache_mb: what it keeps in the cache.
        cached: whether everything is here.
        pieces: its parts.
        licences: of each part.
        limits: sentences to be stated wherever its results are shown.
    """

    preset: str
    language_model: str
    encoder: str
    layout: str
    download_mb: int
    missing_mb: int
    cache_mb: int
    cached: bool
    pieces: tuple[PresetPart, ...]
    licences: dict[str, str]
    limits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FetchedProjection:
    """A preset's projection, fetched.

    Attributes:
        projection: where it lies.
        git_blob: its hash, as published.
        missing: the parts that are still to come.
    """

    projection: str
    git_blob: str
    missing: tuple[PartToFetch, ...]


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """A claim that was checked.

    Attributes:
        claim: what ought to hold.
        holds: whether it does.
        measured: what was found.
    """

    claim: str
    holds: bool
    measured: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """Whether everything is what it claims to be.

    Attributes:
        healthy: whether all checks hold.
        checks: each claim.
        versions: of Python, the platform and the packages.
    """

    healthy: bool
    checks: tuple[CheckRecord, ...]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PartsMissing:
    """What `doctor` says where parts are missing; nothing is fetched.

    Attributes:
        healthy: false.
        missing: those parts.
    """

    healthy: Literal[False]
    missing: tuple[PartToFetch, ...]


@dataclass(frozen=True, kw_only=True)
class PrintedUnit:
    """A unit whose tokens the paper prints.

    Attributes:
        unit: its name.
        printed: the tokens printed.
        tokens: those found.
    """

    unit: str
    printed: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DecodingOption:
    """One way of decoding, against the units that the paper prints.

    Attributes:
        final_norm: whether the scale of the final norm takes part.
        bias: whether the head's bias does.
        sign: of the output row, 1 or -1.
        passes: whether this way agrees with the paper.
        hold: how many units have all printed tokens among their ten.
        in_order: how many have them first and in order.
        undecodable: which of the units said to be undecodable are.
        units: each unit.
    """

    final_norm: bool
    bias: bool
    sign: int
    passes: bool
    hold: int
    in_order: int
    undecodable: tuple[str, ...]
    units: tuple[PrintedUnit, ...]


@dataclass(frozen=True, kw_only=True)
class PrintedPhoto:
    """What the paper prints of a photo, and what was found.

    Attributes:
        what: of the photo.
        printed: as printed.
        found: as found.
        holds: whether they agree; null where they are only shown side by side.
    """

    what: str
    printed: str
    found: str
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class FixturesHealth:
    """What `doctor --fixtures` found.

    Attributes:
        healthy: whether the units, and the photos if given, agree with the paper.
        verdict: the same in a sentence.
        options: each way of decoding.
        photos: what is printed of photos, with `--coco`.
    """

    healthy: bool
    verdict: str
    options: tuple[DecodingOption, ...]
    photos: tuple[PrintedPhoto, ...]


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


@dataclass(frozen=True, kw_only=True)
class CachedFolderRecord:
    """A folder of the cache.

    Attributes:
        name: what it is called there.
        made_of: the package and version whose weights it holds.
        bytes: its size.
    """

    name: str
    made_of: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CacheContents:
    """What the cache holds, or held.

    Attributes:
        cache: where it lies.
        bytes: the size of these folders.
        removed: whether they were removed just now.
        folders: each of them.
    """

    cache: str
    bytes: int
    removed: bool
    folders: tuple[CachedFolderRecord, ...]


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """How large the weights of a model or of a preset's part are.

    Attributes:
        part: which one; `model` where no preset was named.
        where: what was looked at.
        here: whether the weights are on this machine.
        parameters: how many; null if they could not be counted.
        stored: how many by the type in which they are stored.
        disk_bytes: size of the weight files.
        memory_bytes: of the weights alone, by the dtype they are loaded in.
        error: null, or one line that says why it could not be known.
    """

    part: str
    where: str
    here: bool
    parameters: int | None
    stored: dict[str, int]
    disk_bytes: int | None
    memory_bytes: dict[str, int]
    error: str | None


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What a model needs.

    Attributes:
        model: as named.
        download_mb: what a preset fetches at most, in MB; null for any other model.
        cache_mb: what a preset keeps in the cache, in MB; null for any other model.
        parts: each with weights.
    """

    model: str
    download_mb: int | None
    cache_mb: int | None
    parts: tuple[PartSize, ...]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run folder.

    Attributes:
        run: where it lies.
        kind: of the command that made it: `explain`, `study`, `train`, `reference` or
            `trust`.
        created: when.
        state: text to read: for a study how many photos are measured.
    """

    run: str
    kind: str
    created: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Run folders.

    Attributes:
        runs: by the time they were begun.
    """

    runs: tuple[RunRecord, ...]


@dataclass(frozen=True, kw_only=True)
class DownloadRecord:
    """A file of a data set.

    Attributes:
        url: where it is.
        size: how large.
        what: what it holds.
    """

    url: str
    size: str
    what: str


@dataclass(frozen=True, kw_only=True)
class KnownSetRecord:
    """A data set that molyneux knows.

    Attributes:
        name: what commands call it.
        kind: its layout on disk.
        title: what it is.
        photos: how many, by split.
        has: what there is beside photos.
        licence: of the photos and annotations.
        downloads: its files.
        layout: how they are unpacked.
    """

    name: str
    kind: str
    title: str
    photos: dict[str, int]
    has: tuple[str, ...]
    licence: str
    downloads: tuple[DownloadRecord, ...]
    layout: str


@dataclass(frozen=True, kw_only=True)
class CheckedCopy:
    """A folder, list or shard that holds a data set.

    Attributes:
        set: which known one it was said to be; null of any other.
        data: the record of the copy, as manifests hold it.
        photos: how many are listed.
        missing: how many of them have no file.
        missing_first: up to ten of those.
        left_out: what is there and in no photo's item, a line for each reason.
        with_captions: photos with captions.
        captions: captions in all.
        with_categories: photos with categories.
        categories: categories in all.
        with_masks: photos with masks.
        masks: masks in all, one for each category in a photo.
        labels: classes.
        splits: photos by split.
        full: photos of the full set by split; empty of a set that is not known.
        lacks: what the full set has and the copy has nothing of.
    """

    set: str | None
    data: dict[str, Any]
    photos: int
    missing: int
    missing_first: tuple[str, ...]
    left_out: tuple[str, ...]
    with_captions: int
    captions: int
    with_categories: int
    categories: int
    with_masks: int
    masks: int
    labels: int
    splits: dict[str, int]
    full: dict[str, int]
    lacks: tuple[str, ...]


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


DOCUMENTS: dict[str, Any] = {
    "explain": Document,
    "demo": Document,
    "caption": Captions,
    "prompts": Prompts,
    "decode": list[DecodedUnit],
    "models": list[PresetRecord],
    "models fetch": FetchedProjection,
    "doctor": Health | PartsMissing | FixturesHealth,
    "reference": MeasuredReference,
    "lens": MeasuredLens,
    "train": Trained,
    "trust": MeasuredTrust,
    "report": ReportWritten,
    "study": StudyDone,
    "table": Tables,
    "units": StudiedUnits,
    "runs": Runs,
    "cache": CacheContents,
    "size": ModelSize,
    "data": list[KnownSetRecord] | KnownSetRecord,
    "data NAME FOLDER": CheckedCopy,
    "calibrate-bertscore": Calibration,
}
"""What each command prints; where it prints several things, any of these."""


def schema_file(command: str) -> str:
    """Return the name of a command's schema in `molyneux/schemas`."""
    name = {"demo": "explain", "data NAME FOLDER": "data-copy"}.get(command, command)
    return f"{name.replace(' ', '-')}.schema.json"
