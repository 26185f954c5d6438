"""A whole study: photos, texts, classes, then the tables and results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import UsageError
from molyneux.models.seeing_model import SeeingModel
from molyneux.processes import Share
from molyneux.studies import measure, texts
from molyneux.studies.begin import begin_study
from molyneux.studies.collect import MODEL, bad_photos, good_photos, write_model_tables
from molyneux.studies.conclude import conclude
from molyneux.studies.e5_selectivity.experiment import run_selectivity
from molyneux.studies.parts import SCORERS
from molyneux.studies.phases import Progress, run_phase
from molyneux.studies.registry import SELECTIVITY, load_experiments
from molyneux.studies.settings import NO_SCORER, StudySettings

if TYPE_CHECKING:
    from molyneux.data.selection import Selection
    from molyneux.store import Run
    from molyneux.studies.experiment import Scorers


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
            measure.photo_phase(captioner, settings, experiments),
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
