"""Which source a result was measured with: the package's version, and the commit where git is."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import molyneux

ROOT = Path(__file__).parents[1]


def source_record(package: Path = Path(molyneux.__file__), root: Path = ROOT) -> dict[str, Any]:
    """Return `molyneux`, the version of what was imported, and `commit`, with `changed`.

    The version is the one it was installed with, which comes from tags. A package that is imported
    out of this checkout has its commit too; `changed` says whether tracked files differ from it.
    One that is imported from elsewhere has none: it need not be this source.
    """
    found: dict[str, Any] = {"molyneux": version("molyneux"), "commit": None}
    if not package.resolve().is_relative_to((root / "src").resolve()):
        return found
    found["commit"] = _git(root, "rev-parse HEAD")
    if found["commit"] is not None:
        found["changed"] = bool(_git(root, "status --porcelain --untracked-files=no"))
    return found


def _git(root: Path, command: str) -> str | None:
    # A checkout's own `.git`, so that a copy inside another repository does not take its commit.
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    said = subprocess.run(
        [git, "--no-optional-locks", "-C", str(root), *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() if said.returncode == 0 else None
