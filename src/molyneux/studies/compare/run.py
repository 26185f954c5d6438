"""Scorers held against exact effects over a data set: measured photo by photo, gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike

import pyarrow as pa

from molyneux.checks import path_of, whole_number
from molyneux.data.dataset import Item
from molyneux.data.selection import Selection
from molyneux.errors import UsageError, WeightsError
from molyneux.models.choice import ModelChoice
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing, describe_model
from molyneux.neurons.scorers import Scorer, find_scorer, restore_scorer, scorer_names, scorer_text
from molyneux.processes import Process
from molyneux.store import Run
from molyneux.studies.compare.areas import area_phase
from molyneux.studies.compare.conclude import Comparison, conclude
from molyneux.studies.compare.design import EVERY
from molyneux.studies.compare.every_unit import layer_phases
from molyneux.studies.compare.photo import ComparedPhoto
from molyneux.studies.compare.scored import score_phase
from molyneux.studies.compare.truth import TRUTH, truth_phase
from molyneux.studies.manifest import COMPARED, MANIFEST, begin_folder, require_beginnings
from molyneux.studies.parts import PHOTO, Phase, Progress, finished_parts, read_some, run_phase
from molyneux.studies.plan import Data, Note, photos_of
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts

CHOICES: dict[str, tuple[str, ...]] = {
    # The default site, and the paper's.
    "gradient-activation": ("", "site=preactivation"),
    # The position that predicts the word is not compared, and costs as much again.
    "integrated-gradients": ("last=false", "baseline=mean,last=false", "baseline=blank,last=false"),
    "grad-drop": ("", "signed=true"),
}
"""What is compared of scorers with several forms, where none is named."""
AREA_PHOTOS = 20
PASSES = 20_000
"""Of the model that a scorer may take in all; one back counts as two."""
Told = Callable[[Progress], None]
_NOUN = pa.schema([PHOTO.field("noun")])


@dataclass(frozen=True)
class ComparisonSettings:
    """What of a comparison may grow when it is gone on with.

    Attributes:
        scorers: as `find_scorer` takes them; all that are known, and the paper's, if none.
        all_units: on how many photos every unit is measured.
        areas: on how many photos sets are put to the mean.
        passes: how many passes of the model a scorer may take over all photos, one back counting
            as two: one that takes many is measured on the first photos alone.
    """

    scorers: tuple[str, ...] = ()
    all_units: int = 0
    areas: int = AREA_PHOTOS
    passes: int = PASSES

    def __post_init__(self) -> None:
        for name in ("all_units", "areas", "passes"):
            whole_number(name, getattr(self, name), least=0)


def chosen_scorers(names: Sequence[str] = ()) -> dict[str, Scorer]:
    """Return scorers by their one text: those named in the order given, or all that are known.

    Raises:
        UsageError: there is no such scorer.
    """
    asked = list(names) or [
        f"{name}:{choice}" for name in scorer_names() for choice in CHOICES.get(name, ("",))
    ]
    found = [find_scorer(name) for name in asked]
    return {scorer_text(scorer.record()): scorer for scorer in found}


def passes_of(scorer: Scorer, n_layers: int) -> float:
    """Return how many passes of the model a scorer takes for a photo; one back counts as two."""
    cost = scorer.cost
    forward = cost.forward + cost.forward_each_layer * n_layers
    return forward + 2 * (cost.backward + cost.backward_each_layer * n_layers)


def compare_scorers(
    model: SeeingModel | Sees | ModelChoice,
    data: Data,
    *,
    out: str | PathLike[str] | None = None,
    seed: int = 0,
    settings: ComparisonSettings | None = None,
    on_photo: Told = lambda progress: None,
    note: Note = lambda line: None,
) -> Comparison:
    """Return a comparison carried to its end, from wherever its folder stands.

    Its tables and data set are written when all scorers are measured, after the sets, and at the
    end.

    What a photo's units do hangs on the model, the photo and the seed; scorers, photos of which
    every unit is measured, and those of areas may be added to a folder later.

    Args:
        model: a model that sees and has a reference table, or the choice of one.
        data: the photos, as `run_study` takes them.
        out: the run folder, begun or gone on with; `molyneux-runs/<time>` if None.
        seed: of the sampled units.
        on_photo: told after every photo of every phase.
        note: told what is done, a line at a time.

    Raises:
        UsageError: an argument makes no sense, the model has no reference table, or not one
            photo could be compared.
        RunError: the folder holds something else, or photos or a model of another kind.
        WeightsError: the model cannot be had, or its table holds no mean activations.
    """
    settings = settings or ComparisonSettings()
    scorers = chosen_scorers(settings.scorers)
    process = Process.join()
    if process.world > 1 and out is None:
        raise UsageError("several processes need one folder; give it with --out")
    selection = photos_of(data, seed)
    folder = None if out is None else path_of("out", out)
    if folder is not None and not (folder / MANIFEST).exists() and process.is_first:
        require_beginnings(folder)
    captioner = model.load() if isinstance(model, ModelChoice) else as_seeing(model)
    facts = _facts(captioner)
    record = {
        "settings": {"seed": seed},
        "data": {**selection.record(), "photos": len(selection)},
        "hashes": captioner.hashes,
        "model": describe_model(captioner),
    }
    if not process.is_first:
        process.wait()  # until the first process has begun the folder
    run, changed = begin_folder(folder, record, COMPARED)
    if process.is_first:
        process.wait()
        if changed:
            note(f"molyneux: the folder was begun with other versions: {', '.join(changed)}")
        note(f"{len(selection)} photos, {len(scorers)} scorers, into {run.folder}")
    opened = _Opened(facts, StudySettings(seed=seed))

    def over(phase: Phase, photos: Selection, tell: Told = on_photo) -> None:
        run_phase(run.folder, phase, photos, process, tell)

    over(truth_phase(opened), selection)
    n_layers, d_mlp = captioner.language_model.n_layers, captioner.language_model.d_mlp
    ascending = sorted(scorers.items(), key=lambda one: passes_of(one[1], n_layers))
    photos_of_scorer: dict[str, int] = {}
    for name, scorer in ascending:
        most = max(1, int(settings.passes // passes_of(scorer, n_layers)))
        photos_of_scorer[name] = min(most, len(selection))
        if most < len(selection):
            note(f"{name} takes many passes: measured on the first {most} photos with a word")
        some = selection if most >= len(selection) else _with_words(run, selection, most)
        try:
            over(score_phase(run.folder, scorer, opened), some)
        except (UsageError, WeightsError) as error:  # it lacks what this model has not
            if settings.scorers:
                raise
            note(f"molyneux: no {name}: {error}")
            del scorers[name]
    found = _concluded(run, process, note)
    for name, scorer in ascending:
        if name in scorers:
            some = _with_words(run, selection, min(settings.areas, photos_of_scorer[name]))
            over(area_phase(run.folder, scorer, opened), some)
    if scorers and settings.areas:
        found = _concluded(run, process, note)
    some = _with_words(run, selection, settings.all_units)
    phases = list(layer_phases(opened, n_layers, d_mlp)) if len(some) else []
    tell = _as_one(on_photo, phases, run, process, len(some))
    for phase in phases:
        over(phase, some, tell)
    if phases:
        found = _concluded(run, process, note)
    process.leave()
    return found


class _Opened:
    """Opens photos, and keeps the last one: the next phase may begin with it."""

    def __init__(self, facts: ModelFacts, settings: StudySettings) -> None:
        self._facts, self._settings = facts, settings
        self._last: tuple[str, ComparedPhoto] | None = None

    def __call__(self, item: Item, sha256: str) -> ComparedPhoto:
        if self._last is None or self._last[0] != sha256:
            self._last = sha256, ComparedPhoto(self._facts, self._settings, item, sha256)
        return self._last[1]


def _concluded(run: Run, process: Process, note: Note) -> Comparison:
    """Return what is known so far: tables can be read while what takes long goes on."""
    if process.is_first:
        note("summarising what there is (intervals are bootstraps over photos)")
    return conclude(run.folder, writes=process.is_first)


def _facts(captioner: SeeingModel) -> ModelFacts:
    """Return what is the same for every photo; the reference table may be of any scorer."""
    if captioner.reference is None:
        raise UsageError(
            "a comparison needs a reference table (mean activations, other photos); measure one "
            "with `molyneux reference` and give it with --reference"
        )
    captioner.reference.require_activation()
    return ModelFacts.of(captioner, restore_scorer(captioner.reference.scorer))


def _with_words(run: Run, selection: Selection, n: int) -> Selection:
    """Return the photos up to the n-th that has a word: each keeps its number."""
    last = 0
    for index in finished_parts(run.folder, TRUTH):
        if n <= 0:
            break
        if read_some(run.folder, TRUTH, index, _NOUN)["noun"] is not None:
            n, last = n - 1, index + 1
    return selection.only(selection.ids[:last])


def _as_one(tell: Told, phases: Sequence[Phase], run: Run, process: Process, photos: int) -> Told:
    """Return what tells of several phases over the same photos as if they were one."""
    own = range(process.rank, photos, process.world)
    before = done = sum(
        len(set(finished_parts(run.folder, phase.name)) & set(own)) for phase in phases
    )

    def told(progress: Progress) -> None:
        nonlocal done
        done += 1
        total = len(phases) * len(own)
        tell(replace(progress, phase=EVERY, done=done, total=total, before=before))

    return told
