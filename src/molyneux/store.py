"""The run folder: a manifest first, then documents and tensors. Never over an existing run."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from molyneux.errors import RunError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA: Literal[1] = 1
DEFAULT_PARENT = "molyneux-runs"
MANIFEST = "manifest.json"
PARTIAL = ".part"
PACKAGES = ("molyneux", "torch", "transformers", "safetensors", "gguf", "numpy", "pillow", "HanTa")


def versions() -> dict[str, str]:
    """Return the versions a result depends on, for manifests and bug reports."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@dataclass(frozen=True)
class Run:
    """A folder that belongs to one run."""

    folder: Path

    @classmethod
    def create(cls, out: Path | None, kind: str, **manifest: Any) -> Run:
        """Return a new run with its manifest written.

        Args:
            out: the folder; `molyneux-runs/<time>` in the current folder if None.

        Raises:
            UsageError: the folder exists with something in it.
            RunError: it cannot be written.
        """
        with cls.writing():
            folder = _new_folder() if out is None else out
            require_free(folder)
            folder.mkdir(parents=True, exist_ok=True)
            run = cls(folder)
            run.write_json(
                MANIFEST,
                {
                    "schema": SCHEMA,
                    "kind": kind,
                    "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                    "argv": [_without_machine(argument) for argument in sys.argv[1:]],
                    "versions": versions(),
                    **manifest,
                },
            )
        return run

    @staticmethod
    def writing(option: str = "--out") -> _Writing:
        """Turn a failure to write into one line; use it around everything that writes.

        Args:
            option: what names another folder on the command line.
        """
        return _Writing(option)

    def write_bytes(self, name: str, data: bytes | Iterable[bytes]) -> Path:
        """Write a file of the run, or the pieces of one, as a whole or not at all."""
        path = self.folder / name
        with self.writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_at_once(path, data)
        return path

    def write_together(self, files: Mapping[str, bytes]) -> None:
        """Write files that belong together: all are replaced once all are on the disk."""
        with self.writing():
            parts = {name: self.folder / f"{name}{PARTIAL}" for name in files}
            try:
                for name, data in files.items():
                    _write_through(parts[name], data)
                for name, part in parts.items():
                    part.replace(self.folder / name)
            finally:
                for part in parts.values():
                    part.unlink(missing_ok=True)

    def write_json(self, name: str, document: Mapping[str, Any]) -> Path:
        """Write a document; numbers that JSON has no name for are refused."""
        return self.write_bytes(name, json_bytes(document))

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> Path:
        """Write tensors as one safetensors file."""
        from safetensors.torch import save

        return self.write_bytes(name, save({k: t.contiguous() for k, t in tensors.items()}))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document as it is written; numbers that JSON has no name for are refused."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    # A file name that is not UTF-8 arrives as lone surrogates, which UTF-8 has no form for.
    return text.encode("utf-8", "backslashreplace")


@contextmanager
def whole_or_nothing(folder: Path, option: str = "--out") -> Iterator[None]:
    """Leave a folder as empty as it was if what is written into it does not come to its end.

    Args:
        option: what names another folder on the command line.

    Raises:
        UsageError: it holds something, be it a manifest alone.
    """
    require_free(folder, option, besides=())
    was_there = folder.exists()
    try:
        yield
    except BaseException:  # an interruption too
        with suppress(OSError):  # what went wrong first is what is told
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not was_there:
                folder.rmdir()
        raise


def require_free(
    folder: Path,
    option: str = "--out",
    besides: Collection[str] = (MANIFEST, f"{MANIFEST}{PARTIAL}"),
) -> None:
    """Refuse a folder that holds something, or a file in its place.

    A manifest alone, of a run that was killed before it had anything, is nothing.

    Args:
        option: what names another folder on the command line.
        besides: files that are nothing.

    Raises:
        UsageError: it does.
    """
    another = f"give {option} another folder"
    try:
        if folder.is_dir():
            holds = {path.name for path in folder.iterdir()} - set(besides)
            if MANIFEST in besides and not _is_nobodys(folder / MANIFEST):
                holds.add(MANIFEST)
        else:
            holds = {folder.name} if folder.exists() or folder.is_symlink() else set()
    except OSError as error:  # a name that is too long, a folder that may not be listed
        raise UsageError(
            f"nothing can be written in {str(folder)[:200]}: {error.strerror}; {another}"
        ) from error
    if holds:
        raise UsageError(f"{folder} already holds something and is not written over; {another}")
    above = next(path for path in folder.absolute().parents if path.exists())
    # What is there already is what is written in.
    place = folder if folder.is_dir() else above
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"nothing can be written in {place}; {another}")


def _is_nobodys(manifest: Path) -> bool:
    """Return whether a manifest is not there, or is one that a run began with."""
    if not manifest.exists() and not manifest.is_symlink():
        return True
    try:
        found = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"schema", "kind", "created"} <= set(found)


def write_at_once(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file, or the pieces of one, as a whole, or leave the one that is there.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        _write_through(partial, data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file through to the disk."""
    with path.open("wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())


def _without_machine(argument: str) -> str:
    """Return an argument whose absolute path is its last part: runs are handed on."""
    option, equals, value = argument.rpartition("=")
    return option + equals + Path(value).name if os.path.isabs(value) else argument


def _new_folder() -> Path:
    """Make and return `molyneux-runs/<time>`; two runs in one second get two folders."""
    parent = Path(DEFAULT_PARENT)
    parent.mkdir(exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class _Writing:
    option: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            where = f" ({error.filename})" if error.filename else ""
            raise RunError(
                f"the run could not be written: {why}{where}; "
                f"free some space or give {self.option} a folder that can be written"
            ) from error
