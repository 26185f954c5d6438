"""A study of a few photos, timed experiment by experiment, and what that means for thousands."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from steps import Bench, declare_sink
from timing import Clock

from molyneux.processes import Process
from molyneux.studies.experiment import Experiment, Rows, load_experiments
from molyneux.studies.finished import Finished
from molyneux.studies.parts import Progress, run_phase
from molyneux.studies.results import Result
from molyneux.studies.study import photo_phase
from molyneux.studies.subject import ModelFacts, Subject

PHOTOS = (1000, 5000)
SHARED: tuple[tuple[str, Callable[[Subject], Any]], ...] = (
    ("study: sink patches", lambda subject: declare_sink(subject)),
    ("study: attribution of the noun and what is asked", lambda subject: subject.attribution),
)
"""What several experiments ask for, computed once a photo."""


class Timed(Experiment):
    """An experiment that keeps the seconds of each photo."""

    def __init__(self, inner: Experiment, clock: Clock, runs: dict[str, list[float]]) -> None:
        self.inner, self.clock, self.runs = inner, clock, runs

    def tables(self) -> dict[str, Any]:
        return self.inner.tables()

    def measure(self, subject: Subject) -> Rows:
        seconds, rows = self.clock.once(lambda: self.inner.measure(subject))
        self.runs.setdefault(f"study: {self.inner.name}", []).append(seconds)
        return rows

    def summarise(self, study: Finished) -> Result | None:
        return self.inner.summarise(study)


class SharedFirst(Experiment):
    """No experiment: what the others share, timed before them."""

    name = "shared"
    title = "What several experiments share"

    def __init__(self, clock: Clock, runs: dict[str, list[float]]) -> None:
        self.clock, self.runs = clock, runs

    def measure(self, subject: Subject) -> Rows:
        if subject.word is None:
            raise SystemExit(f"the caption {subject.sentence.caption!r} has no noun")
        for name, work in SHARED:
            seconds, _ = self.clock.once(partial(work, subject))
            self.runs.setdefault(name, []).append(seconds)
        return {}

    def summarise(self, study: Finished) -> Result:
        raise NotImplementedError


def measure_study(bench: Bench, folder: Path, names: tuple[str, ...]) -> None:
    """Run the photo phase of a study as `molyneux study` does, and keep the seconds a photo."""
    runs: dict[str, list[float]] = {}
    experiments: list[Experiment] = [SharedFirst(bench.clock, runs)]
    experiments += [Timed(inner, bench.clock, runs) for inner in load_experiments(names)]
    ended: list[float] = []
    phase = photo_phase(ModelFacts.of(bench.captioner), bench.settings, experiments)

    def on_photo(progress: Progress) -> None:
        ended.append(time.perf_counter())

    started = time.perf_counter()
    run_phase(folder, phase, bench.selection, Process(), on_photo)
    whole = [after - before for before, after in pairwise([started, *ended])]
    rest = [all_of_it - sum(parts) for all_of_it, *parts in zip(whole, *runs.values(), strict=True)]
    bench.clock.note("study: reading, seeing, captioning and writing", rest)
    for name, found in runs.items():
        bench.clock.note(name, found)
    bench.clock.note("study: a photo", whole, experiments=list(names))


def hours(seconds: float) -> dict[str, float]:
    """Return the hours that photos take one after another, by their number."""
    return {str(n): round(n * seconds / 3600, 2) for n in PHOTOS}
