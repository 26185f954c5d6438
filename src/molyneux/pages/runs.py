"""The run folders that an explorer shows, each under a number: addresses never hold a name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from molyneux.errors import UsageError
from molyneux.explain.opened import ExplainRun
from molyneux.pages.study_run import StudyRun


@dataclass(frozen=True)
class OpenRun:
    """A run folder that is shown.

    Attributes:
        id: what addresses call it, `r0` for the first.
        name: what people call it: its folder's.
        run: what reads it.
    """

    id: str
    name: str
    run: ExplainRun | StudyRun

    @property
    def kind(self) -> str:
        """Which command made it, `explain` or `study`."""
        return "study" if isinstance(self.run, StudyRun) else "explain"

    @property
    def preset(self) -> str | None:
        """The preset that it was made with, if it was one."""
        if isinstance(self.run, StudyRun):
            found: str | None = self.run.manifest["model"].get("preset")
            return found
        return self.run.model.preset

    @property
    def hashes(self) -> Mapping[str, str]:
        """The sha256 of its model's parts."""
        if isinstance(self.run, StudyRun):
            found: dict[str, str] = self.run.manifest["model"].get("hashes") or {}
            return found
        return self.run.model.hashes


def open_runs(folders: Sequence[Path]) -> Mapping[str, OpenRun]:
    """Return run folders by their ids, in the order given.

    Raises:
        UsageError: one of them is no folder.
        RunError: one is no run, is of another version, or is damaged.
    """
    found = {}
    for number, folder in enumerate(folders):
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "is not there"
            raise UsageError(f"{folder} {what}; name a run folder, as `molyneux runs` lists them")
        found[f"r{number}"] = open_run(f"r{number}", folder)
    return found


def open_run(name: str, folder: Path) -> OpenRun:
    """Return a run folder under an id.

    Raises:
        RunError: it is no run, is of another version, or is damaged.
    """
    run = StudyRun(folder) if _is_study(folder) else ExplainRun(folder)
    return OpenRun(name, folder.resolve().name, run)


def _is_study(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # what opens a run of `explain` says what is wrong
    return isinstance(manifest, dict) and manifest.get("kind") == "study"
