"""How far a run is, on stderr: bars where somebody looks, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from molyneux.cli.output import complain, is_quiet, note, shows_bars

if TYPE_CHECKING:
    from molyneux.training.recipe import Recipe

_SECONDS_BETWEEN_LINES = 30.0


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Bar:
    """How far one piece of work is."""

    def __init__(self, total: int, unit: str, done: int = 0, speaks: bool = True) -> None:
        self._total, self._unit, self._before, self.done = total, unit, done, done
        self._speaks = speaks
        self._bar: Any = None
        self._started = self._said = time.monotonic()
        if speaks and shows_bars():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=unit, initial=done, leave=False)

    def expect(self, total: int) -> None:
        """Show from now on that so much is to be done."""
        self._total = total
        if self._bar is not None:
            self._bar.total = total

    def reach(self, done: int, said: str = "") -> None:
        """Show that so much is done, with a word on it; of more than expected, no time left."""
        if self._bar is not None:
            self._bar.set_postfix_str(said, refresh=False)
            self._bar.update(done - self.done)
        self.done = done
        now = time.monotonic()
        if self._bar is None and self._speaks and now - self._said > _SECONDS_BETWEEN_LINES:
            self._said = now
            elapsed = now - self._started
            more = f": {said}" if said else ""
            if done > self._total:
                note(f"[{self._unit} {done}, {clock(elapsed)}]{more}")
                return
            left = elapsed / max(1, done - self._before) * (self._total - done)
            note(f"[{self._unit} {done}/{self._total}, {clock(elapsed)}, {clock(left)} left]{more}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


class Stages:
    """What is being done with the photo in hand: a line that is written over, or one in a log."""

    def __init__(self) -> None:
        self._line: Any = None
        self._started = self._said = time.monotonic()

    def reach(self, stage: str) -> None:
        """Show what is done from now on; in a log, where nothing was said for half a minute."""
        now = time.monotonic()
        if shows_bars():
            if self._line is None:
                from tqdm import tqdm

                self._line = tqdm(total=0, bar_format="{desc} {elapsed}", leave=False)
            self._line.set_description_str(f"  {stage}")
        elif now - self._said > _SECONDS_BETWEEN_LINES:
            self._said = now
            note(f"[{clock(now - self._started)}] {stage}")

    def close(self) -> None:
        """Take the line away, and begin anew."""
        if self._line is not None:
            self._line.close()
        self._line = None
        self._said = time.monotonic()


class Parts:
    """How far several pieces of work are, one after another; each has its own time left."""

    def __init__(self, **totals: int) -> None:
        self._totals = totals
        self._bar: Bar | None = None
        self._unit = ""

    def reach(self, unit: str, done: int) -> None:
        """Show that so much of one of them is done."""
        if self._bar is None or unit != self._unit:
            self.close()
            self._bar, self._unit = Bar(self._totals[unit], unit), unit
        self._bar.reach(done)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


class Bars:
    """Progress of a training run: photos encoded, then steps."""

    def __init__(self, recipe: Recipe, speaks: bool) -> None:
        self._speaks, self._total = speaks, recipe.steps
        self._photos: Bar | None = None
        self._steps: Bar | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (self._photos, self._steps):
            if bar is not None:
                bar.close()

    def note(self, line: str) -> None:
        """Show a line above the bars."""
        if not self._speaks or is_quiet():
            return
        if shows_bars():
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        else:
            complain(line)

    def on_photo(self, done: int, total: int) -> None:
        """Show how many photos are encoded."""
        if self._photos is None or done < self._photos.done:
            self._photos = Bar(total, "photo", speaks=self._speaks)
        self._photos.reach(done)

    def on_end(self, steps: int) -> None:
        """Show how many steps there are: of a plateau's course that is known late."""
        self._total = steps
        if self._steps is not None:
            self._steps.expect(steps)

    def on_step(self, step: int, loss: float) -> None:
        """Show how far training is."""
        if self._photos is not None:
            self._photos.close()
            self._photos = None
        if self._steps is None:
            self._steps = Bar(self._total, "step", step - 1, self._speaks)
        self._steps.reach(step, f"loss={loss:.2f}")
