"""A whole study: planned, begun, measured photo by photo, and concluded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import torch

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.models.choice import ModelChoice
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing, describe_model
from molyneux.neurons.ablation import ablation_grid
from molyneux.neurons.reference import load_reference
from molyneux.neurons.scorers import find_scorer
from molyneux.processes import Process
from molyneux.store import Run
from molyneux.studies import texts
from molyneux.studies.experiment import Experiment, TextScorers, experiment_names, load_experiments
from molyneux.studies.finished import (
    MODEL,
    bad_photos,
    good_photos,
    read_study,
    write_kept,
    write_model_tables,
    write_tables,
)
from molyneux.studies.folder import RESULTS, Study
from molyneux.studies.forecast import expected, measured_first
from molyneux.studies.manifest import begin_folder
from molyneux.studies.parts import MEASURED, SCORERS, Phase, Progress, Underway, run_phase
from molyneux.studies.plan import Data, Note, Plan, plan_study
from molyneux.studies.results import Result
from molyneux.studies.settings import DEFAULT_SCORER, NO_SCORER, StudySettings
from molyneux.studies.subject import ModelFacts, Subject


def run_study(
    model: SeeingModel | Sees | ModelChoice,
    data: Data,
    experiments: str | Sequence[str] | None = None,
    *,
    labelled: Data | None = None,
    out: str | PathLike[str] | None = None,
    settings: StudySettings | None = None,
    text_scorers: TextScorers | None = None,
    on_photo: Callable[[Progress], None] = lambda progress: None,
    note: Note = lambda line: None,
) -> Study:
    """Return a study carried to its end, from wherever its folder stands.

    All that can be checked without a model is checked before one is loaded. Called again with
    the same arguments it goes on; an interruption leaves nothing half-written. Every process that
    torchrun starts calls it with the same arguments, and the first one writes the tables.

    Args:
        model: a model that sees and has a reference table, as `molyneux.load` returns it, or the
            choice of one, which is loaded once all else is checked.
        data: the photos: a data set's name or folder, what `open_dataset` returns, or some of
            its photos, chosen with `select`.
        experiments: names such as `["E2", "E6"]` or `"E2,E6"`; None: the package's, without those
            that lack what they need.
        labelled: the photos with a class, for experiments that need such; given as `data` is.
        out: the run folder, begun or gone on with; `molyneux-runs/<time>` if None.
        settings: all other choices that change numbers; `StudySettings()` if None. Experiments
            named in them are overruled by `experiments`.
        text_scorers: what compares texts; what the settings name is loaded if None.
        on_photo: told after every photo.
        note: told, one line at a time, what is left out, and what takes long.

    Raises:
        UsageError: an argument makes no sense, a data set is not there or has no such photo, an
            experiment lacks what it needs, the model has no reference table, or not one photo
            could be read.
        RunError: the folder holds something else or a study with other settings, cannot be
            written, or a part of it is damaged.
        WeightsError: the model or the BERTScore backbone cannot be had.
    """
    process = Process.join()
    if process.world > 1 and out is None:
        raise UsageError("several processes need one folder; give it with --out")
    speak = note if process.is_first else _silent
    model = _seeing(model)
    _require_reference(model)
    plan = plan_study(data, experiments, labelled, out, settings, speak, partners=_partners(model))
    _require_scorer(model, plan.settings.scorer)
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.settings.threads or threads)
    try:
        scorers = text_scorers or load_needed_scorers(plan, speak)
        captioner = model.load() if isinstance(model, ModelChoice) else model
        if not process.is_first:
            process.wait()  # until the first process has begun the folder
        run, plan = begin(captioner, plan, speak)
        if process.is_first:
            process.wait()
        names = " ".join(plan.settings.experiments)
        speak(f"{len(plan.selection)} photos, experiments {names}, into {run.folder}")
        speak(expected(plan, captioner, run.folder, process.world))
        measure(captioner, plan, run, process, scorers, measured_first(speak, on_photo))
        if process.is_first:
            speak("summarising (intervals are bootstraps over photos)")
            conclude(run)
        process.wait()
    finally:
        torch.set_num_threads(threads)
    process.leave()
    return Study(run.folder)


def begin(captioner: SeeingModel, plan: Plan, note: Note = lambda line: None) -> tuple[Run, Plan]:
    """Return the study's run folder, begun or resumed, and the plan with the model's grid.

    Raises:
        RunError: the folder holds something else, or a study with other settings.
        UsageError: the model has no reference table.
    """
    _require_reference(captioner)
    _require_scorer(captioner, plan.settings.scorer)
    if not plan.settings.grid:
        grid = tuple(ablation_grid("full", captioner.language_model.n_units))
        plan = replace(plan, settings=replace(plan.settings, grid=grid))
    model = {"hashes": captioner.hashes, "model": describe_model(captioner)}
    run, changed = begin_folder(plan.out, {**plan.record(), **model})
    if changed:
        note(f"molyneux: the folder was begun with other versions: {', '.join(changed)}")
    if not (run.folder / MODEL).exists():
        write_model_tables(run, captioner)
    return run, plan


def load_needed_scorers(plan: Plan, note: Note = lambda line: None) -> TextScorers | None:
    """Return what compares the texts of a study's experiments, or None if they have none.

    Called before a study begins, so that a wrong name costs nothing.

    Raises:
        WeightsError: the BERTScore backbone cannot be had.
    """
    if not any(experiment.text_tables() for experiment in plan.experiments):
        return None
    scorers = texts.load_scorers(plan.settings, note)
    if scorers.no_clip and plan.settings.clip != NO_SCORER:
        note(f"molyneux: {scorers.no_clip}")
    return scorers


def measure(
    captioner: SeeingModel,
    plan: Plan,
    run: Run,
    process: Process,
    scorers: TextScorers | None,
    on_photo: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Carry every pass over photos to its end: the study's own, then the experiments'.

    Raises:
        RunError: the folder cannot be written, or a part is damaged.
        UsageError: not one photo could be read.
    """
    folder, settings, selection = run.folder, plan.settings, plan.selection
    facts = ModelFacts.of(captioner, find_scorer(settings.scorer))
    experiments = [each for each in plan.experiments if each.sees_photos]
    for experiment in experiments:
        experiment.begin(facts, selection)
    if experiments:
        run_phase(folder, photo_phase(facts, settings, experiments), selection, process, on_photo)
        good = good_photos(folder)
        if not good:
            raise UsageError(f"not one photo could be read; the first: {bad_photos(folder)[0][1]}")
        if scorers is not None:
            if process.is_first:
                run.write_json(SCORERS, scorers.record())
            phase = texts.text_phase(folder, settings, experiments, good, scorers)
            run_phase(folder, phase, selection, process, on_photo)
    underway = Underway(facts, settings, selection, plan.labelled, run, process.is_first)
    for experiment in plan.experiments:
        for phase, photos in experiment.phases(underway):
            run_phase(folder, phase, photos, process, on_photo)


def photo_phase(
    facts: ModelFacts, settings: StudySettings, experiments: Sequence[Experiment]
) -> Phase:
    """Return the phase that captions, attributes and ablates."""
    tables = {name: schema for e in experiments for name, schema in e.tables().items()}

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        subject = Subject(facts, settings, item, item.read(), sha256)
        row: dict[str, Any] = {
            "caption": subject.sentence.caption,
            "noun": subject.word.lemma if subject.word else None,
            "human_nouns": sorted(subject.human_nouns),
        }
        for experiment in experiments:
            row |= experiment.measure(subject)
        return row

    return Phase(MEASURED, tables, measure)


def conclude(run: Run) -> list[Result]:
    """Return the study's results, all written to its folder: tables, results, units.

    Raises:
        RunError: a part is damaged, or the folder cannot be written.
    """
    study = read_study(run.folder)
    if study.n_photos:
        write_tables(run, study)
    results = []
    for experiment in load_experiments(experiment_names()):
        if experiment.name not in study.settings.experiments and not experiment.derived:
            continue
        if experiment.sees_photos and not study.n_photos:
            continue
        if all(map(study.has, experiment.needs.tables)):
            result = experiment.summarise(study)
            if result is not None:
                results.append(replace(result, verdicts=tuple(experiment.verdicts(result))))
    write_kept(run, study)
    results.sort(key=lambda result: result.experiment)
    for result in results:
        run.write_json(f"{RESULTS}/{result.experiment}.json", result.document())
    return results


def _seeing(model: SeeingModel | Sees | ModelChoice) -> SeeingModel | ModelChoice:
    return model if isinstance(model, ModelChoice) else as_seeing(model)


def _require_reference(model: SeeingModel | ModelChoice) -> None:
    if isinstance(model, ModelChoice):
        model.require_reference()
        model.require_ready()
    elif model.reference is None:
        raise UsageError(
            "a study needs a reference table (specific scores, sinks, other photos); measure one "
            "with `molyneux reference` and give it with --reference"
        )


def _partners(model: SeeingModel | ModelChoice) -> int | None:
    """Return how many partner photos the model's reference table has."""
    if not isinstance(model, ModelChoice):
        return len(model.reference.partners) if model.reference is not None else 0
    path = model.reference_table()
    return None if path is None else len(load_reference(path).partners)


def _require_scorer(model: SeeingModel | ModelChoice, name: str) -> None:
    """Refuse a table of another scorer; that of a preset is of the default one."""
    scorer = find_scorer(name)
    if not isinstance(model, ModelChoice):
        assert model.reference is not None
        model.reference.require_scorer(scorer)
    elif model.reference is not None:
        load_reference(model.reference).require_scorer(scorer)
    elif name != DEFAULT_SCORER:
        raise UsageError(
            f"the preset's reference table is not of the scorer {name}; measure one with "
            f"`molyneux reference DATA --scorer {name}` and give it with --reference"
        )


def _silent(_: str) -> None:
    """Say nothing: one process of several speaks."""
