"""Units that one run found for concepts, frozen and measured on another data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from molyneux.studies.e8_concepts.chosen import read_found
from molyneux.studies.folder import Study
from molyneux.studies.parts import Progress
from molyneux.studies.plan import Data, Note
from molyneux.studies.settings import StudySettings

if TYPE_CHECKING:
    from molyneux.models.seeing_model import SeeingModel

PER_CONCEPT = 10


def transfer_settings(
    run: str | PathLike[str], settings: StudySettings | None = None
) -> StudySettings:
    """Return settings that name the units of a run; `per_class` counts photos of a concept.

    Raises:
        RunError: the run found no units of concepts.
    """
    found = read_found(Path(fspath(run)))
    given = StudySettings(per_class=PER_CONCEPT) if settings is None else settings
    named = (str(found.folder), found.sha256)
    return replace(given, experiments=("E9",), subsets=0, clip="none", found=named)


def run_transfer(
    run: str | PathLike[str],
    model: SeeingModel,
    data: Data,
    *,
    out: str | PathLike[str] | None = None,
    settings: StudySettings | None = None,
    on_photo: Callable[[Progress], None] = lambda progress: None,
    note: Note = lambda line: None,
) -> Study:
    """Return the study E9 of a run's frozen units on a data set, carried to its end.

    Args:
        run: the folder of a study with E8 on other photos, by the same model.
        model: through its lens the sets are read; without one that is left out.
        data: the photos, as `run_study` takes them; so are all others.

    Raises:
        RunError: the run found no units of concepts.
        UsageError: the model is another one, too few concepts have photos, or as `run_study`.
    """
    from molyneux.studies.study import run_study

    asked = transfer_settings(run, settings)
    read_found(Path(fspath(run))).require_model(model.hashes)
    return run_study(model, data, "E9", out=out, settings=asked, on_photo=on_photo, note=note)
