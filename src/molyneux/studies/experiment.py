"""What an experiment is: what it asks of a photo, of the photo's texts, and of all photos."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from molyneux.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

    from molyneux.metrics.bertscore import BertScorer
    from molyneux.metrics.clipscore import ClipScorer
    from molyneux.studies.finished import Finished
    from molyneux.studies.results import Result
    from molyneux.studies.subject import Subject

# E5 has a data set of its own and is not measured photo by photo with the others.
_PLACES = {
    "E1": ("e1_prompts.experiment", "Prompts"),
    "E2": ("e2_agreement.experiment", "Agreement"),
    "E3": ("e3_layers.experiment", "Layers"),
    "E4": ("e4_fields.experiment", "Fields"),
    "E6": ("e6_causality.experiment", "Causality"),
}
SELECTIVITY = "E5"
NAMES = ("E1", "E2", "E3", "E4", "E5", "E6")


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
class Scorers:
    """How texts are compared with texts and photos; where they are not, why."""

    bert: BertScorer | None
    clip: ClipScorer | None
    no_clip: str | None = None
    no_bert: str | None = None


class Experiment(ABC):
    """One of the paper's experiments.

    A study first measures every photo (which needs the captioner), then scores its texts (which
    needs every photo measured, because another photo serves as control), then summarises all.
    """

    name: str
    title: str

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables measured on a photo, by name: each name begins with `<name>_`."""
        return {}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's rows. Depends on that photo, the captioner and the settings alone."""
        return {}

    def text_tables(self) -> dict[str, pa.Schema]:
        """Return the tables of scored texts, by name."""
        return {}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: Scorers
    ) -> Rows:
        """Return a photo's rows of scored texts; `partner` is the photo that is its control."""
        return {}

    @abstractmethod
    def summarise(self, study: Finished) -> Result:
        """Return the tables and figures over all photos; needs the run folder alone."""


def parse_names(text: str) -> tuple[str, ...]:
    """Return the experiments named in a list such as `E1,E6`, in the paper's order.

    Raises:
        UsageError: a name is none of them.
    """
    asked = [name.strip().upper() for name in text.split(",") if name.strip()]
    for name in asked:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1) or ["E1,E2"]
            raise UsageError(
                f"there is no experiment {name!r}; name some of {', '.join(NAMES)}, "
                f"as in --experiments {near[0]}"
            )
    if not asked:
        raise UsageError("no experiment was named; name some, as in --experiments E2,E6")
    return tuple(name for name in NAMES if name in asked)


def load_experiments(names: Sequence[str]) -> list[Experiment]:
    """Return the named experiments that are measured photo by photo."""
    found = []
    for name in names:
        if name in _PLACES:
            module, cls = _PLACES[name]
            found.append(getattr(import_module(f"molyneux.studies.{module}"), cls)())
    return found
