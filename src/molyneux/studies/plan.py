"""What a study is to do, checked as far as it can be before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from molyneux.checks import path_of
from molyneux.data.dataset import Dataset
from molyneux.data.open import open_dataset
from molyneux.data.selection import Selection, select
from molyneux.errors import UsageError
from molyneux.studies.experiment import Experiment, default_names, load_experiments, parse_names
from molyneux.studies.manifest import MANIFEST, read_manifest, require_beginnings, require_same
from molyneux.studies.results import FEW
from molyneux.studies.settings import DEFAULT_SCORER, StudySettings

Data = Selection | Dataset | str | PathLike[str]
"""Photos: chosen with `select`, a data set, or what `open_dataset` takes."""
Note = Callable[[str], None]
LABELLED = "name their set with --selectivity (labelled= in Python)"
LEAST_PARTNERS = 17
PARTNERS = (
    "a reference table with {} partner photos or more, and this model's has {}; "
    "`molyneux reference DATA --partners DATA2` measures one, to be given with --reference"
)


@dataclass(frozen=True)
class Plan:
    """A study that nothing known before the model is loaded speaks against.

    Attributes:
        experiments: those that are named, in their order.
        labelled: the photos with a class, where there are some.
        settings: all of them but the grid, which hangs on the model.
    """

    experiments: tuple[Experiment, ...]
    selection: Selection
    labelled: Selection | None
    settings: StudySettings
    out: Path | None

    def record(self) -> dict[str, Any]:
        """Return what the manifest keeps of it."""
        return {
            "settings": asdict(self.settings),
            "data": _listed(self.selection),
            "labelled": None if self.labelled is None else _listed(self.labelled),
        }


def plan_study(
    data: Data,
    experiments: str | Sequence[str] | None = None,
    labelled: Data | None = None,
    out: str | PathLike[str] | None = None,
    settings: StudySettings | None = None,
    note: Note = lambda line: None,
    *,
    partners: int | None = None,
) -> Plan:
    """Return what a study will do; the other arguments are `run_study`'s.

    Args:
        partners: how many photos the model's reference table has that can be shown instead of
            another; None where that is not known.

    Raises:
        UsageError: a name, a setting or a condition makes no sense, a data set is not there or
            has no such photo, or an experiment lacks what it needs.
        RunError: the folder holds something else, or a study with other settings or photos.
    """
    settings = _settings(settings or StudySettings())
    asked = experiments if experiments is not None else settings.experiments or None
    chosen = _choose(asked, labelled is not None, partners, settings.sight != "none", note)
    folder = None if out is None else path_of("out", out)
    selection = photos_of(data, settings.seed)
    with_class = None
    if labelled is not None and any(each.needs.labelled for each in chosen):
        with_class = photos_of(labelled, settings.seed)
    settings = replace(
        settings,
        experiments=tuple(each.name for each in chosen),
        threads=settings.threads or _threads(folder),
    )
    plan = Plan(tuple(chosen), selection, with_class, settings, folder)
    _require_folder(plan)
    for each in chosen:
        each.check(settings, selection, with_class)
        for what in ("captions", "masks"):
            if getattr(each.needs, what) and what not in selection.has:
                note(f"molyneux: {each.name} needs {what}, and no photo here has any")
    if any(each.sees_photos for each in chosen) and len(selection) < FEW:
        note(
            f"molyneux: warning: {len(selection)} photos; intervals over fewer than {FEW} are too "
            "narrow and will be marked"
        )
    return plan


def require_begun_alike(
    folder: PathLike[str] | None, settings: StudySettings, selection: Selection
) -> None:
    """Refuse a folder of another study by what is known before torch and a reference table are.

    `plan_study` refuses the rest: experiments, which hang on the table, and another scorer.

    Raises:
        UsageError: it holds something else, or a study with other settings or photos.
        RunError: its manifest is damaged, or another kind of run's.
    """
    out = None if folder is None else path_of("out", folder)
    if out is None:
        return
    if not (out / MANIFEST).exists():
        require_beginnings(out)
        return
    record = {"settings": asdict(settings), "data": _listed(selection)}
    unknown = {"grid", "experiments"}
    if settings.threads is None:
        unknown.add("threads")
    if settings.scorer != DEFAULT_SCORER:
        unknown.add("scorer")
    names = [f"settings.{name}" for name in record["settings"] if name not in unknown]
    require_same(out, read_manifest(out), record, [*names, "data"])


def _settings(settings: StudySettings) -> StudySettings:
    if not isinstance(settings, StudySettings):
        raise UsageError(f"settings are StudySettings(...), not {type(settings).__name__}")
    settings.check()
    if settings.scorer == DEFAULT_SCORER:
        return settings
    from molyneux.neurons.scorers import find_scorer, scorer_text

    # One text for the same choices, whichever way they were written.
    return replace(settings, scorer=scorer_text(find_scorer(settings.scorer).record()))


def _choose(
    asked: str | Sequence[str] | None,
    has_labelled: bool,
    partners: int | None,
    with_sight: bool,
    note: Note,
) -> list[Experiment]:
    """Return the experiments that measure, none of which lacks what a study can be asked for."""
    named = asked is not None
    found = load_experiments(parse_names(asked) if asked is not None else default_names())
    derived = [each for each in found if each.derived]
    found = [each for each in found if not each.derived]
    for each in list(found):
        if each.needs.labelled and not has_labelled:
            if named:
                raise UsageError(f"{each.name} takes labelled photos; {LABELLED}")
            note(f"molyneux: no {each.name}, which takes labelled photos; {LABELLED}")
            found.remove(each)
        if each.needs.partners and not (named or with_sight):
            found.remove(each)
        elif each.needs.partners and partners is not None and partners < LEAST_PARTNERS:
            lacks = PARTNERS.format(LEAST_PARTNERS, partners or "none")
            if named:
                raise UsageError(f"{each.name} takes {lacks}")
            note(f"molyneux: no {each.name}, which takes {lacks}")
            found.remove(each)
    measured = {name for each in found for name in (*each.tables(), *each.text_tables())}
    for each in (*found, *derived):
        if missing := [name for name in each.needs.tables if name not in measured]:
            raise UsageError(
                f"{each.name} needs the table {missing[0]}, which {_measuring(missing[0])} "
                "measures; name that experiment too"
            )
    if not found:
        raise UsageError(
            f"{', '.join(each.name for each in derived)} follows from what others measure; name "
            "them, as in --experiments E2,E6"
        )
    return found


def _measuring(table: str) -> str:
    """Return which of the package's experiments measures a table."""
    for each in load_experiments(default_names()):
        if table in each.tables() or table in each.text_tables():
            return each.name
    return "none of the package's"


def photos_of(data: Data, seed: int) -> Selection:
    """Return the photos that were chosen, or all those of a data set.

    Raises:
        UsageError: the data set is not there, or it is none.
    """
    if isinstance(data, Selection):
        return data
    if isinstance(data, (str, PathLike)):
        data = open_dataset(fspath(data))
    if not isinstance(data, Dataset):
        raise UsageError(
            f"{type(data).__name__} is no data set; give what `open_dataset` returns, its name or "
            "folder, or some of its photos chosen with `select`"
        )
    return select(data, seed=seed)


def _threads(folder: Path | None) -> int:
    """Return the threads a resumed study was begun with, or those torch has."""
    if folder is not None and (folder / MANIFEST).exists():
        return int(read_manifest(folder)["settings"]["threads"])
    import torch

    return torch.get_num_threads()


def _require_folder(plan: Plan) -> None:
    """Refuse a folder of something else, or of a study that is not this one."""
    if plan.out is None:
        return
    if not (plan.out / MANIFEST).exists():
        require_beginnings(plan.out)
        return
    record = plan.record()
    # Only the grid hangs on the model.
    del record["settings"]["grid"]
    names = [f"settings.{name}" for name in record["settings"]]
    require_same(plan.out, read_manifest(plan.out), record, [*names, "data", "labelled"])


def _listed(photos: Selection) -> dict[str, Any]:
    return {**photos.record(), "photos": len(photos)}
