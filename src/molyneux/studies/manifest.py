"""Beginning a study's run folder, or going on with one, never with other settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from molyneux.errors import BegunOtherwiseError, RunError
from molyneux.store import SCHEMA, Run, require_free, versions
from molyneux.studies.settings import DEFAULT_SCORER

KIND = "study"
COMPARED = "compare-scorers"
WITH_RESULTS = (KIND, COMPARED)
"""Kinds of run that end in tables of results."""
MANIFEST = "manifest.json"
FIXED = (
    "settings",
    "data",
    "labelled",
    "model.language_model",
    "model.encoder",
    "model.layout",
    "model.decoding",
    "model.lens",
    "model.dtype",
    "model.device",
    "model.hashes",
    "model.reference",
)
"""What of the manifest a resumed run must agree on."""
_UNSAID = {"model.device": "cpu", "settings.scorer": DEFAULT_SCORER, "settings.sight": "short"}
"""What holds of runs that do not record it."""
_RETIRED = {"list_sha256"}  # what older runs say a second time


def read_manifest(folder: Path, *kinds: str) -> dict[str, Any]:
    """Return the manifest of a run folder of some kinds; of a study's if none is named.

    Raises:
        RunError: there is none, it is damaged, of another version, or of another kind of run.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{folder} is not a run: it has no {MANIFEST}; `molyneux runs` lists those here"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); restore it or begin anew") from error
    kinds = kinds or (KIND,)
    if not isinstance(manifest, dict) or manifest.get("kind") not in kinds:
        found = manifest.get("kind") if isinstance(manifest, dict) else None
        wanted = " or ".join(f"`molyneux {kind}`" for kind in kinds)
        raise RunError(f"{folder} is a run of {found!r}, not of {wanted}; give another")
    if manifest.get("schema") != SCHEMA:
        raise RunError(
            f"{path} has schema {manifest.get('schema')!r}, this molyneux reads {SCHEMA}; use the "
            "version that made it"
        )
    return manifest


def begin_folder(
    out: Path | None, manifest: Mapping[str, Any], kind: str = KIND
) -> tuple[Run, list[str]]:
    """Return the run folder, begun or resumed, and how its versions differ from today's.

    Args:
        manifest: what is recorded of a run that begins, and of which one that is resumed must
            agree on what is `FIXED`: settings, photos, and the model with its prompt.

    Raises:
        RunError: the folder holds something else, or a run with other settings.
    """
    if out is None or not (out / MANIFEST).exists():
        if out is not None and out.is_dir() and _only_beginnings(out):
            for path in out.iterdir():
                path.unlink()
        return Run.create(out, kind, **manifest), []
    found = read_manifest(out, kind)
    require_same(out, found, manifest)
    then, now = found.get("versions", {}), versions()
    changed = [f"{k} {then.get(k)} -> {now[k]}" for k in now if then.get(k) != now[k]]
    return Run(out), changed


def require_beginnings(out: Path) -> None:
    """Refuse a folder that holds anything but what a run killed at its beginning left.

    Raises:
        RunError: it does.
    """
    if not (out.is_dir() and _only_beginnings(out)):
        require_free(out)


def require_same(
    out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], names: Iterable[str] = FIXED
) -> None:
    """Refuse a study that is not the one a folder was begun with.

    Args:
        found: the folder's manifest.
        wanted: what today's would say.
        names: what must agree, dotted.

    Raises:
        BegunOtherwiseError: names the old and the new value of everything that differs.
    """
    wanted = json.loads(json.dumps(wanted))  # so that a tuple equals the list it was stored as
    differences = [
        line for name in names for line in _differences(_at(found, name), _at(wanted, name), name)
    ]
    if differences:
        raise BegunOtherwiseError(
            f"{out} was begun otherwise: {'; '.join(differences)}; go on with the same settings, "
            "or give --out another folder"
        )


def _only_beginnings(folder: Path) -> bool:
    """Whether a run was killed here before its manifest was whole."""
    return all(path.name == f"{MANIFEST}.part" for path in folder.iterdir())


def _at(manifest: Any, name: str) -> Any:
    """Return what a dotted name stands for; None where it is not there."""
    found = manifest
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return _UNSAID.get(name) if found is None else found


def _differences(found: Any, wanted: Any, name: str) -> Iterator[str]:
    """Yield what differs, as `settings.seed: 0 in the folder, 1 now`."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*wanted, *found} - _RETIRED):
            there = f"{name}.{key}"
            was = found.get(key, _UNSAID.get(there))
            yield from _differences(was, wanted.get(key), there)
    elif found != wanted:
        yield f"{name}: {_short(found)} in the folder, {_short(wanted)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
