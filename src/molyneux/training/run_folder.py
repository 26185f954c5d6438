"""The folder of a training run: refused early, begun late, taken back if nothing came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from molyneux.checks import path_of
from molyneux.errors import BegunOtherwiseError
from molyneux.processes import Process
from molyneux.store import DEFAULT_PARENT, Run, require_free
from molyneux.training.checkpoint import LOG
from molyneux.training.recipe import Recipe
from molyneux.vision.layout import Layout

MANIFEST, SETTINGS, UNREADABLE = "manifest.json", "recipe.json", "unreadable.json"
SHA256 = "_sha256"
"""How a setting ends that is the hash of a part's weights."""


def require_usable(out: Path | None) -> None:
    """Refuse a folder in which no run can be begun or resumed, before anything is loaded.

    Raises:
        UsageError: it holds something else.
    """
    if out is not None and not _is_begun(out):
        require_free(out)


def open_training_run(out: Path | None) -> Run:
    """Return a new training run, or the one in `out` to be resumed.

    Raises:
        UsageError: the folder holds something else.
        RunError: it cannot be written.
    """
    out = None if out is None else path_of("out", out)
    if out is not None and _is_begun(out):
        return Run(out)
    return Run.create(out, "train")


def recorded_layout(out: Path | None) -> Layout | None:
    """Return the layout of the run in a folder, or None where none was begun."""
    settings = {} if out is None else _read(out / SETTINGS)
    recorded = settings.get("layout")
    return Layout(**recorded) if isinstance(recorded, dict) and _is_begun(out) else None


def require_same(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse settings that are not those of the run in a folder, if one was begun there.

    Hashes of weights that it does not name are not compared: earlier versions recorded none. What
    it does not name of a recipe had today's default.

    Raises:
        BegunOtherwiseError: names those that differ.
    """
    if not (folder / SETTINGS).exists():
        return
    before = {**json.loads(json.dumps(asdict(Recipe()))), **_read(folder / SETTINGS)}
    settings = json.loads(json.dumps(settings))
    changed = sorted(
        key
        for key, value in settings.items()
        if before.get(key) != value and not (key.endswith(SHA256) and key not in before)
    )
    if changed:
        raise BegunOtherwiseError(
            f"{folder} holds a run with another {', '.join(changed)}; give another --out, or "
            "the same settings to resume it"
        )


def keep_unreadable(run: Run, **sets: tuple[np.ndarray, list[str]]) -> None:
    """Write which photos a run does without, so that it still does when it is resumed.

    Args:
        sets: the first row of each example, below 0 where it has none, and why, in their order.
    """
    found = {}
    for name, (first, why) in sets.items():
        lacking = [index for index, row in enumerate(first) if row < 0]
        found[name] = {str(i): line for i, line in zip(lacking, why, strict=True)}
    if any(found.values()):
        run.write_json(UNREADABLE, found)


def read_unreadable(folder: Path) -> dict[str, dict[int, str]]:
    """Return by set what `keep_unreadable` wrote, nothing where it wrote nothing."""
    found = _read(folder / UNREADABLE)
    return {name: {int(i): line for i, line in lines.items()} for name, lines in found.items()}


@contextmanager
def taken_back(run: Run, process: Process) -> Iterator[None]:
    """Remove the run's folder if the block fails before it has computed anything."""
    try:
        yield
    except BaseException:
        if process.is_first and _is_bare(run.folder):
            shutil.rmtree(run.folder, ignore_errors=True)
            if run.folder.parent == Path(DEFAULT_PARENT):
                with suppress(OSError):  # other runs are in it
                    run.folder.parent.rmdir()
        raise


def _is_bare(folder: Path) -> bool:
    """Return whether a run holds its settings alone: no photo's features, no step."""
    return all(_says_nothing(file) for file in folder.rglob("*") if not file.is_dir())


def _says_nothing(file: Path) -> bool:
    if file.name == LOG or file.suffix == ".f16":
        return not file.stat().st_size
    journal = file.name.startswith("rows-") and file.suffix == ".jsonl"  # of photos in `.f16`
    return journal or file.name in (MANIFEST, SETTINGS)


def _is_begun(folder: Path | None) -> bool:
    return folder is not None and _read(folder / MANIFEST).get("kind") == "train"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
