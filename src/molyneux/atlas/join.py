"""Joining runs to an atlas: for which photos and words a unit counted, and what it took away.

Beside each figure stands one that ought to look worse: of the lists, how often the unit's fake was
in them; of the effect, what other photos' units took from the same word, and what this unit took
from other photos' words; of classes, how often the controls pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from molyneux.atlas.reading import Atlas
from molyneux.atlas.runs import CROSSED, RunRows, read_run
from molyneux.atlas.tables import EFFECT, EFFECTS, Effects
from molyneux.checks import path_of, several
from molyneux.errors import UsageError
from molyneux.parquet import parquet_bytes
from molyneux.statistics.bootstrap import bootstrap
from molyneux.store import Run, json_bytes

KEPT = 5
"""Strongest photos of each unit."""
WORDS = 10
"""Words of each unit."""
FEWEST = 5
"""Photos that an interval takes."""
_LISTS = ("top", "specific")


def read_runs(atlas: Atlas, runs: Sequence[str | PathLike[str]]) -> list[RunRows]:
    """Return what runs say of an atlas's units.

    Raises:
        UsageError: a folder is no run of `explain` or `study`, or one of another language model.
        RunError: a run is damaged.
    """
    paths = [path_of("a run", run) for run in several("runs", runs, "['my-study']", least=1)]
    found = []
    for path in paths:
        rows = read_run(path)
        _require_own(atlas, rows, path)
        found.append(rows)
    return found


def join_runs(atlas: Atlas, runs: Sequence[RunRows]) -> Atlas:
    """Write what runs say of an atlas's units beside it; return the atlas with it.

    What was joined before is replaced.

    Args:
        runs: as `read_runs` returns them.

    Raises:
        RunError: the atlas's folder cannot be written.
    """
    table, name = parquet_bytes(_joined(atlas, runs), "zstd"), f"{EFFECTS}.parquet"
    joined = Effects([each.record for each in runs], {name: sha256(table).hexdigest()})
    record = json_bytes(joined.to_plain())
    Run(atlas.folder).write_together({name: table, f"{EFFECTS}.json": record})
    return Atlas(atlas.folder)


def _require_own(atlas: Atlas, found: RunRows, folder: Path) -> None:
    """Refuse a run of another language model."""
    own = atlas.index.model
    theirs = {"sha256": found.model.get("hashes", {}).get("language_model")} | {
        name: found.model.get(name) for name in ("language_model", "n_layers", "d_mlp")
    }
    for name, value in theirs.items():
        if value and own[name] and value != own[name]:
            raise UsageError(
                f"{folder} is of another language model ({found.model.get('language_model')}, not "
                f"{own['language_model']}: {name} differs); give runs of the atlas's own"
            )


def _joined(atlas: Atlas, runs: Sequence[RunRows]) -> pa.Table:
    """Return a row for every unit that a run says something of."""
    d_mlp = atlas.index.model["d_mlp"]
    about = _About(d_mlp)
    for number, run in enumerate(runs):
        about.take_lists(number, run.listed)
        about.take_effects(number, run.silenced)
        about.take_fields(run.fields)
        about.take_classes(run.classes)
    fakes = atlas.units["fake"].to_pylist()
    return pa.Table.from_pylist(
        [about.row(unit, _at(unit, fakes[unit], d_mlp)) for unit in sorted(about.units)],
        schema=EFFECT,
    )


def _at(unit: int, fake: int | None, d_mlp: int) -> int | None:
    return None if fake is None else unit - unit % d_mlp + fake


def _flat(table: pa.Table, d_mlp: int) -> Int[np.ndarray, " rows"]:
    """Return units as one number: layer x units of a layer + unit."""
    layer, unit = table["layer"].to_numpy(), table["unit"].to_numpy()
    found: Int[np.ndarray, " rows"] = layer.astype(np.int64) * d_mlp + unit
    return found


class _About:
    """What is gathered of each unit."""

    def __init__(self, d_mlp: int) -> None:
        self._d_mlp = d_mlp
        self.units: set[int] = set()
        # By list: the photos of each unit, with their word.
        self._photos: dict[str, dict[int, dict[tuple[int, str], str]]] = {n: {} for n in _LISTS}
        self._best: dict[int, dict[tuple[int, str, str], tuple[float, int | None]]] = {}
        # Of each unit, by photo: its effect on the word, and those of other photos' units.
        self._effect: dict[int, dict[tuple[int, str], tuple[str, float]]] = {}
        self._crossed: dict[int, dict[tuple[int, str], list[float]]] = {}
        self._elsewhere: dict[int, dict[tuple[int, str], float]] = {}
        self._iou: dict[int, list[tuple[float, float | None]]] = {}
        self._classes: dict[int, tuple[bool, set[str], set[tuple[str, ...]]]] = {}
        self._controls: dict[tuple[str, ...], list[bool]] = {}

    def take_lists(self, run: int, rows: pa.Table) -> None:
        """Take the units among the first of photos' lists."""
        columns = [
            _flat(rows, self._d_mlp).tolist(),
            *(rows[n].to_pylist() for n in ("photo", "word", "ranking", "score", "peak_patch")),
        ]
        for unit, photo, word, ranking, score, patch in zip(*columns, strict=True):
            self.units.add(unit)
            self._photos[ranking].setdefault(unit, {})[run, photo] = word
            self._best.setdefault(unit, {})[run, photo, word] = (score, patch)

    def take_effects(self, run: int, rows: pa.Table) -> None:
        """Take the units that were switched off by themselves."""
        columns = [
            _flat(rows, self._d_mlp).tolist(),
            *(rows[n].to_pylist() for n in ("photo", "word", "ranking", "rank", "effect")),
        ]
        every = list(zip(*columns, strict=True))
        others = {
            (photo, rank): effect for _, photo, _, name, rank, effect in every if name == CROSSED
        }
        for unit, photo, word, ranking, rank, effect in every:
            self.units.add(unit)
            if ranking == CROSSED:
                self._elsewhere.setdefault(unit, {})[run, photo] = effect
                continue
            self._effect.setdefault(unit, {})[run, photo] = (word, effect)
            if (photo, rank) in others:
                against = self._crossed.setdefault(unit, {}).setdefault((run, photo), [])
                against.append(others[photo, rank])

    def take_fields(self, rows: pa.Table) -> None:
        """Take the units whose field fitted a mask best, beside the best of random ones."""
        found = rows.to_pylist()
        drawn = {
            (row["photo"], row["target"], row["ranking"]): row["best_iou"]
            for row in found
            if row["units"] == "random"
        }
        told = set()
        for row in found:
            at = (row["photo"], row["target"])
            if row["units"] != "own" or not row["best_unit"] or (at, row["best_unit"]) in told:
                continue
            told.add((at, row["best_unit"]))
            layer, unit = row["best_unit"].removeprefix("L").split(".u")
            number = int(layer) * self._d_mlp + int(unit)
            self.units.add(number)
            random = drawn.get((*at, row["ranking"]))
            self._iou.setdefault(number, []).append((row["best_iou"], random))

    def take_classes(self, rows: pa.Table) -> None:
        """Take the units that were tried on classes, and how often their controls pass."""
        numbers = _flat(rows, self._d_mlp).tolist()
        for unit, row in zip(numbers, rows.to_pylist(), strict=True):
            classes = tuple(sorted(row["found_in"]))
            if row["role"] == "control":
                self._controls.setdefault(classes, []).append(bool(row["selective"]))
                continue
            self.units.add(unit)
            passed, confirmed, found_in = self._classes.get(unit, (False, set(), set()))
            self._classes[unit] = (
                passed or bool(row["selective"]),
                confirmed | set(row["confirmed"]),
                found_in | {classes},
            )

    def row(self, unit: int, fake: int | None) -> dict[str, Any]:
        """Return all there is of a unit, as `EFFECT` has it."""
        return {
            "layer": unit // self._d_mlp,
            "unit": unit % self._d_mlp,
            **{f"n_{name}": len(self._photos[name].get(unit, ())) for name in _LISTS},
            **{f"fake_n_{name}": self._count(name, fake) for name in _LISTS},
            "words": self._words(unit),
            "photos": self._strongest(unit),
            **self._taken(unit),
            **self._field(unit),
            **self._class(unit),
        }

    def _count(self, name: str, unit: int | None) -> int | None:
        return None if unit is None else len(self._photos[name].get(unit, ()))

    def _words(self, unit: int) -> list[dict[str, Any]]:
        effects: dict[str, list[float]] = {}
        for word, effect in self._effect.get(unit, {}).values():
            effects.setdefault(word, []).append(effect)
        counts = {name: list(self._photos[name].get(unit, {}).values()) for name in _LISTS}
        words = {word for found in counts.values() for word in found} | set(effects)
        rows: list[dict[str, Any]] = [
            {
                "word": word,
                **{f"n_{name}": counts[name].count(word) for name in _LISTS},
                "effect": float(np.mean(effects[word])) if word in effects else None,
                "n_effect": len(effects.get(word, ())),
            }
            for word in words
        ]
        rows.sort(key=lambda row: (-row["n_specific"], -row["n_top"], row["word"]))
        return rows[:WORDS]

    def _strongest(self, unit: int) -> list[dict[str, Any]]:
        found = self._best.get(unit, {})
        order = sorted(found, key=lambda at: (-found[at][0], at))[:KEPT]
        return [
            {
                "run": run,
                "photo": photo,
                "word": word,
                "score": found[run, photo, word][0],
                "patch": found[run, photo, word][1],
            }
            for run, photo, word in order
        ]

    def _taken(self, unit: int) -> dict[str, Any]:
        own = [effect for _, effect in self._effect.get(unit, {}).values()]
        crossed = [float(np.mean(each)) for each in self._crossed.get(unit, {}).values()]
        elsewhere = list(self._elsewhere.get(unit, {}).values())
        return {
            **_interval("effect", own),
            **_interval("mismatched_effect", crossed),
            **_interval("elsewhere_effect", elsewhere),
        }

    def _field(self, unit: int) -> dict[str, Any]:
        found = self._iou.get(unit, [])
        drawn = [random for _, random in found if random is not None]
        return {
            "iou": float(np.mean([own for own, _ in found])) if found else None,
            "random_iou": float(np.mean(drawn)) if drawn else None,
            "n_iou": len(found),
        }

    def _class(self, unit: int) -> dict[str, Any]:
        if unit not in self._classes:
            return {"selective": None, "selective_for": [], "control_selective": None}
        passed, confirmed, found_in = self._classes[unit]
        controls = [each for classes in found_in for each in self._controls.get(classes, ())]
        return {
            "selective": passed,
            "selective_for": sorted(confirmed),
            "control_selective": float(np.mean(controls)) if controls else None,
        }


def _interval(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Return the mean over photos and its 95 % bootstrap interval; none of a few photos."""
    sample: Float[np.ndarray, " n"] = np.array([v for v in values if np.isfinite(v)])
    found: dict[str, Any] = {name: None, f"{name}_low": None, f"{name}_high": None}
    if len(sample):
        found[name] = float(sample.mean())
    if len(sample) >= FEWEST:
        estimate = bootstrap(sample)
        found |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {**found, f"n_{name}": len(sample)}
