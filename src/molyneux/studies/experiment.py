"""What an experiment is, and the door through which one comes in.

An experiment says what it asks of a photo, of the photo's texts, and of all photos together. Those
of the paper are rows of `_OWN`; one of another package calls `register_experiment`, and is found
through the entry-point group `molyneux` (see `molyneux.plugins`).
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from molyneux.checks import shown
from molyneux.errors import UsageError
from molyneux.plugins import load_plugins

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from jaxtyping import Float
    from PIL import Image

    from molyneux.data.selection import Selection
    from molyneux.metrics.bertscore import BertScorer
    from molyneux.metrics.clipscore import ClipScorer
    from molyneux.studies.finished import Finished
    from molyneux.studies.parts import Phase, Underway
    from molyneux.studies.results import Result, Verdict
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.subject import ModelFacts, Subject
    from molyneux.studies.verdicts import Claim

Rows = dict[str, list[dict[str, Any]]]
"""Rows of several tables, by the table's name."""


@dataclass(frozen=True)
class PhotoRecord:
    """A measured photo, as the scoring of its texts sees it.

    Attributes:
        row: what was kept of it: `index`, `id`, `sha256`, `caption`, `noun`, `captions` (human),
            and the tables of all experiments, each a list of rows.
    """

    row: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.row[name]


@dataclass(frozen=True)
class TextScorers:
    """How texts are compared with texts and photos; where they are not, why."""

    bert: BertScorer | None
    clip: ClipScorer | None
    no_clip: str | None = None
    no_bert: str | None = None

    def record(self) -> dict[str, str | None]:
        """Return what is kept of them beside what they scored."""
        bert = None if self.bert is None else self.bert.name
        return {"bert": bert, "no_bert": self.no_bert, "no_clip": self.no_clip}


@dataclass(frozen=True)
class Needs:
    """What an experiment cannot do without.

    Attributes:
        captions: sentences people wrote; without any, its texts are not compared.
        masks: outlines of annotated categories.
        labelled: a second data set, whose photos have a class; a study refuses the experiment
            without one.
        partners: photos in the reference table that can be shown instead of another; likewise.
        tables: of other experiments, all of them. An experiment that has these and no photos of
            its own to measure joins every study that measures them, without being named.
    """

    captions: bool = False
    masks: bool = False
    labelled: bool = False
    partners: bool = False
    tables: tuple[str, ...] = ()


Headline = dict[str, "Float[np.ndarray, ' photos']"]
"""An experiment's main numbers, one value a photo, NaN where it has none; by what they are."""


class Experiment(ABC):
    """One question that a study asks, such as one of the paper's.

    A study first measures every photo (which needs the model), then scores its texts (which needs
    every photo measured, because another photo serves as control), then makes the passes that an
    experiment has of its own, then summarises all. An experiment says what it does in each of
    these; what it leaves out it does not do.

    Attributes:
        name: short, as `--experiments` takes it, and the beginning of its tables' names.
        title: the question, as a heading.
        needs: what it cannot do without.
        claims: what its tables are asked, in a line each (`molyneux.studies.verdicts`).
        derived: whether it measures nothing and follows from what others measured: it joins every
            study that has the tables it needs, unnamed.
        only_named: whether a study makes it only where it is named.
    """

    name: str
    title: str
    needs: Needs = Needs()
    claims: tuple[Claim, ...] = ()
    derived: bool = False
    only_named: bool = False

    def check(
        self, settings: StudySettings, selection: Selection, labelled: Selection | None
    ) -> None:
        """Refuse settings or photos it cannot work with, before a model is loaded.

        Raises:
            UsageError: says what to change.
        """
        return

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables measured on a photo, by name: each name begins with `<name>_`."""
        return {}

    def begin(self, facts: ModelFacts, selection: Selection) -> None:
        """Take what it must know of all photos before one is measured: their ids and captions."""
        return

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's rows. Depends on that photo, the model, the settings, and `begin`."""
        return {}

    def text_tables(self) -> dict[str, pa.Schema]:
        """Return the tables of scored texts, by name."""
        return {}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: TextScorers
    ) -> Rows:
        """Return a photo's rows of scored texts; `partner` is the photo that is its control."""
        return {}

    def phases(self, study: Underway) -> Iterator[tuple[Phase, Selection]]:
        """Yield passes of its own, each with the photos it goes over.

        A pass is carried to its end, by all processes, before the next one is asked for: what it
        measured may decide what the next one measures.
        """
        return iter(())

    @abstractmethod
    def summarise(self, study: Finished) -> Result | None:
        """Return the tables and figures over all photos, from the run folder alone.

        None: there is nothing to conclude, and the study has no such result.
        """

    def verdicts(self, result: Result) -> list[Verdict]:
        """Return what a result of its own says to each of its claims."""
        return [claim.verdict(result) for claim in self.claims]

    def headline(self, study: Finished) -> Headline:
        """Return the numbers that a replication repeats on subsets of the photos.

        A name with ` - ` is that of a difference, of which the sign is a claim.
        """
        return {}

    def seconds(self, settings: StudySettings, photos: int) -> float | None:
        """Return what so many photos take with the default preset on one CPU thread.

        Measured, not guessed: docs/study.md has the figures. None: it is not known.
        """
        return 0.0 if self.derived else None

    @property
    def sees_photos(self) -> bool:
        """Whether it asks anything of the study's own photos."""
        own = not (self.derived or self.needs.labelled)
        return own or bool(self.tables() or self.text_tables())


_OWN = (
    ("e1_prompts", "Prompts"),
    ("e2_agreement", "Agreement"),
    ("e3_layers", "Layers"),
    ("e4_fields", "Fields"),
    ("e5_selectivity", "Selectivity"),
    ("e6_causality", "Causality"),
    ("e7_sight", "Sight"),
    ("e8_concepts", "ConceptUnits"),
    ("e9_transfer", "Transfer"),
    ("derived.replication", "Replication"),
    ("derived.multimodal", "MultimodalUnits"),
)
"""Folder and class of each of the package's own, in order. A folder's `NAME` is the experiment's;
what it measures is imported when a study asks for it."""
_added: dict[str, Experiment] = {}


def register_experiment(experiment: type[Experiment] | Experiment) -> Any:
    """Make an experiment known to studies, tables and pages; returns what it was given.

    Call it once, or write it above the class as a decorator. An experiment registered again, as
    when a notebook's cell is run again, takes the place of its namesake.

    Raises:
        UsageError: it is no experiment, lacks a name or a title, or has the name of one of the
            package's own.
    """
    found = experiment
    if isinstance(found, type) and issubclass(found, Experiment):
        left_out = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        if left_out:
            raise UsageError(f"{found.__name__} is no whole experiment: it lacks {left_out}")
        found = found()
    if not isinstance(found, Experiment):
        raise UsageError(f"{experiment!r} is no experiment; make a class of `Experiment`")
    for attribute in ("name", "title"):
        if not isinstance(getattr(found, attribute, None), str) or not getattr(found, attribute):
            raise UsageError(f"{type(found).__name__} has no {attribute}; an experiment has one")
    if not found.name.isidentifier():
        raise UsageError(
            f"{found.name!r} is no name of an experiment: use letters, digits and underscores, "
            "beginning with a letter"
        )
    key = found.name.casefold()
    if key in {name.casefold() for name in _own()}:
        raise UsageError(
            f"an experiment of the package is called {found.name}; choose another name"
        )
    _added[key] = found
    return experiment


def _own() -> dict[str, tuple[str, str]]:
    """Return where the package's own experiments are, by name."""
    return {import_module(f"{__package__}.{row[0]}").NAME: row for row in _OWN}


def experiment_names() -> tuple[str, ...]:
    """Return the names of all experiments: the paper's, what follows from them, added ones.

    Raises:
        UsageError: a package that adds some cannot be loaded.
    """
    load_plugins()
    return (*_own(), *(experiment.name for experiment in _added.values()))


def default_names() -> tuple[str, ...]:
    """Return the names of the package's own that measure: what a study makes that names none."""
    own = load_experiments(_own())
    return tuple(each.name for each in own if not (each.derived or each.only_named))


def load_experiments(names: Iterable[str]) -> list[Experiment]:
    """Return the named experiments, in the order of `experiment_names`."""
    asked, own = set(names), _own()
    found: list[Experiment] = []
    for name in experiment_names():
        if name in asked and name in own:
            folder, cls = own[name]
            found.append(getattr(import_module(f"{__package__}.{folder}.experiment"), cls)())
        elif name in asked:
            found.append(_added[name.casefold()])
    return found


def parse_names(asked: str | Sequence[str]) -> tuple[str, ...]:
    """Return the experiments named in a list such as `E1,E6`, in their order.

    Raises:
        UsageError: a name is none of them, or there is none.
    """
    if not isinstance(asked, str | Sequence):
        raise UsageError(f"experiments are names, as in ['E2', 'E6'], not {shown(asked)}")
    listed = asked.split(",") if isinstance(asked, str) else list(asked)
    known = {name.casefold(): name for name in experiment_names()}
    chosen = set()
    for name in listed:
        key = str(name).strip().casefold()
        if not key:
            continue
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            example = known[near[0]] if near else "E1,E2"
            raise UsageError(
                f"there is no experiment {shown(name)}; name some of "
                f"{', '.join(known.values())}, as in --experiments {example}"
            )
        chosen.add(known[key])
    if not chosen:
        raise UsageError("no experiment was named; name some, as in --experiments E2,E6")
    return tuple(name for name in known.values() if name in chosen)
