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

PAPERS = "gradient-activation:site=preactivation"
"""The paper's site, compared beside the default one."""
AREA_PHOTOS = 20
Told = Callable[[Progress], None]
_NOUN = pa.schema([PHOTO.field("noun")])


@dataclass(frozen=True)
class ComparisonSettings:
    """What of a comparison may grow when it is gone on with.

    Attributes:
        scorers: as `find_scorer` takes them; all that are known, and the paper's, if none.
        all_units: on how many photos every unit is measured.
        areas: on how many photos sets are put to the mean.
    """

    scorers: tuple[str, ...] = ()
    all_units: int = 0
    areas: int = AREA_PHOTOS

    def __post_init__(self) -> None:
        for name in ("all_units", "areas"):
            whole_number(name, getattr(self, name), least=0)


def chosen_scorers(names: Sequence[str] = ()) -> dict[str, Scorer]:
    """Return scorers by their one text, in the order given.

    Raises:
        UsageError: there is no such scorer.
    """
    asked = list(names) or [*scorer_names(), PAPERS]
    found = [find_scorer(name) for name in asked]
    return {scorer_text(scorer.record()): scorer for scorer in found}


def compare_scorers(
    model: SeeingModel | Sees | ModelChoice,
    data: Data,
    *,
    out: str | PathLike[str] | None = None,
    seed: int = 0,
    settings: ComparisonSettings | None = None,
    on_photo: Told = lambda progress: None,
    note: Note = lambda line: None,
) -> Run:
    """Return the run folder of a comparison carried to its end, from wherever it stands.

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
        UsageError: an argument makes no sense, or the model has no reference table.
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
    for name, scorer in list(scorers.items()):
        try:
            over(score_phase(run.folder, scorer, opened), selection)
        except (UsageError, WeightsError) as error:  # it lacks what this model has not
            if settings.scorers:
                raise
            note(f"molyneux: no {name}: {error}")
            del scorers[name]
    some = _with_words(run, selection, settings.areas)
    for scorer in scorers.values():
        over(area_phase(run.folder, scorer, opened), some)
    some = _with_words(run, selection, settings.all_units)
    model_of = captioner.language_model
    phases = list(layer_phases(opened, model_of.n_layers, model_of.d_mlp)) if len(some) else []
    for place, phase in enumerate(phases):
        over(phase, some, _of_all(on_photo, place, len(phases)))
    process.leave()
    return run


class _Opened:
    """Opens photos, and keeps the last one: the next phase may begin with it."""

    def __init__(self, facts: ModelFacts, settings: StudySettings) -> None:
        self._facts, self._settings = facts, settings
        self._last: tuple[str, ComparedPhoto] | None = None

    def __call__(self, item: Item, sha256: str) -> ComparedPhoto:
        if self._last is None or self._last[0] != sha256:
            self._last = sha256, ComparedPhoto(self._facts, self._settings, item, sha256)
        return self._last[1]


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


def _of_all(tell: Told, place: int, phases: int) -> Told:
    """Return what tells of one of several phases as a part of all of them."""

    def told(progress: Progress) -> None:
        own = progress.total
        tell(
            replace(
                progress,
                phase=EVERY,
                done=place * own + progress.done,
                total=phases * own,
                before=place * own + progress.before,
            )
        )

    return told
