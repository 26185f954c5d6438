"""A whole study: photos, texts, classes, then the tables and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.models.seeing_model import SeeingModel
from molyneux.processes import Share
from molyneux.store import Run
from molyneux.studies import texts
from molyneux.studies.derived.multimodal import funnel, units_table
from molyneux.studies.derived.replication import replicate
from molyneux.studies.e5_selectivity.experiment import run_selectivity, summarise_labelled
from molyneux.studies.experiment import SELECTIVITY, Experiment, load_experiments
from molyneux.studies.finished import (
    MODEL,
    bad_photos,
    good_photos,
    read_study,
    write_model_tables,
    write_table,
    write_tables,
)
from molyneux.studies.manifest import begin_study
from molyneux.studies.parts import MEASURED, SCORERS, Phase, Progress, run_phase
from molyneux.studies.results import Result
from molyneux.studies.settings import NO_SCORER, StudySettings
from molyneux.studies.subject import ModelFacts, Subject

if TYPE_CHECKING:
    from molyneux.data.selection import Selection
    from molyneux.studies.experiment import Scorers

RESULTS = "results"


@dataclass(frozen=True)
class Outcome:
    """What became of a study.

    Attributes:
        good: photos measured.
        bad: photos that could not be read, and why.
    """

    folder: Path
    good: int
    bad: list[tuple[str, str]]


def begin(
    captioner: SeeingModel,
    selection: Selection,
    labelled: Selection | None,
    settings: StudySettings,
    out: Path | None,
) -> tuple[Run, list[str]]:
    """Return the study's run folder, begun or resumed, and which library versions changed.

    Raises:
        RunError: the folder holds something else, or a study with other settings.
        UsageError: the captioner has no reference table.
    """
    if captioner.reference is None:
        raise UsageError(
            "a study needs a reference table (specific scores, sinks, other photos); measure one "
            "with `molyneux reference` and give it with --reference"
        )

    from molyneux.models.seeing_model import describe_model

    def listed(photos: Selection) -> dict[str, Any]:
        return {**photos.record(), "photos": len(photos)}

    run, changed = begin_study(
        out,
        {
            "settings": asdict(settings),
            "data": listed(selection),
            "labelled": None if labelled is None else listed(labelled),
            "hashes": captioner.hashes,
            "model": describe_model(captioner),
        },
    )
    if not (run.folder / MODEL).exists():
        write_model_tables(run, captioner)
    return run, changed


def load_needed_scorers(
    settings: StudySettings, note: Callable[[str], None] = lambda line: None
) -> Scorers | None:
    """Return what compares the texts of a study's experiments, or None if they have none.

    Called before a study begins, so that a wrong name costs nothing.

    Raises:
        WeightsError: the BERTScore backbone cannot be had.
    """
    if not any(experiment.text_tables() for experiment in load_experiments(settings.experiments)):
        return None
    scorers = texts.load_scorers(settings, note)
    if scorers.no_clip and settings.clip != NO_SCORER:
        note(f"molyneux: {scorers.no_clip}")
    return scorers


def run_study(
    captioner: SeeingModel,
    selection: Selection,
    labelled: Selection | None,
    settings: StudySettings,
    run: Run,
    share: Share,
    *,
    scorers: Scorers | None = None,
    on_photo: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Return the outcome of a study carried to its end from wherever its folder stands.

    Every process of a share calls this with the same arguments; the first one writes the tables.

    Args:
        scorers: what compares the texts, as `load_needed_scorers` gives it; loaded first of all
            if not given.

    Raises:
        RunError: the folder cannot be written, or a part is damaged.
        UsageError: not one photo could be measured.
        WeightsError: the BERTScore backbone cannot be had.
    """
    folder = run.folder
    experiments = load_experiments(settings.experiments)
    scorers = scorers or load_needed_scorers(settings, note)
    if experiments:
        run_phase(
            folder,
            photo_phase(captioner, settings, experiments),
            selection,
            share,
            on_photo,
        )
        good = good_photos(folder)
        if not good:
            raise UsageError(f"not one photo could be read; the first: {bad_photos(folder)[0][1]}")
        if scorers is not None:
            if share.is_first:
                run.write_json(
                    SCORERS,
                    {
                        "bert": None if scorers.bert is None else scorers.bert.name,
                        "no_bert": scorers.no_bert,
                        "no_clip": scorers.no_clip,
                    },
                )
            phase = texts.text_phase(folder, settings, experiments, good, scorers)
            run_phase(folder, phase, selection, share, on_photo)
    if SELECTIVITY in settings.experiments and labelled is not None:
        run_selectivity(captioner, labelled, settings, run, share, on_photo)
    if share.is_first:
        note("summarising (intervals are bootstraps over photos)")
        conclude(run)
    share.wait()
    return Outcome(folder, len(good_photos(folder)), bad_photos(folder))


def photo_phase(
    captioner: SeeingModel, settings: StudySettings, experiments: Sequence[Experiment]
) -> Phase:
    """Return the phase that captions, attributes and ablates."""
    facts = ModelFacts.of(captioner)
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
    results: list[Result] = []
    if study.n_photos:
        write_tables(run, study)
        results += [e.summarise(study) for e in load_experiments(study.settings.experiments)]
    if SELECTIVITY in study.settings.experiments:
        found = summarise_labelled(run.folder, study.settings)
        if found is not None:
            result, units = found
            results.append(result)
            write_table(run, "e5_units", units)
            study.measured["e5_units"] = units
    if study.settings.subsets and study.n_photos >= study.settings.subsets * 2:
        results.append(replicate(study, study.settings.subsets))
    if "e2_units" in study.measured:
        units = units_table(study)
        write_table(run, "units", units)
        results.append(Result("U", "What is a multimodal neuron?", (funnel(units),)))
    results.sort(key=lambda result: result.experiment)
    for result in results:
        run.write_json(f"{RESULTS}/{result.experiment}.json", result.document())
    return results
