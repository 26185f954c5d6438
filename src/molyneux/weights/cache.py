"""The user's cache directory: folders of weights that are whole and verified, or not there."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from torch import nn


RECORD = "hashes.json"
SCHEMA = 1
PARTIAL = ".partial-"
_STALE_SECONDS = 24 * 3600
_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True)
class Source:
    """Where the contents of a cached folder come from.

    Attributes:
        distribution: name of the wheel on the package index.
        version: version of the wheel.
        sha256: artefact (wheel, file inside it) -> sha256 in hexadecimal.
    """

    distribution: str
    version: str
    sha256: Mapping[str, str]


def cache_dir() -> Path:
    """Return the directory of converted weights; it may not exist yet.

    `MOLYNEUX_CACHE`, else `XDG_CACHE_HOME/molyneux`, else the platform's own place:
    `%LOCALAPPDATA%` on Windows, `~/Library/Caches` on macOS, `~/.cache` elsewhere.

    Raises:
        UsageError: `MOLYNEUX_CACHE` begins with the home of a user who is not there.
    """
    if chosen := os.environ.get("MOLYNEUX_CACHE"):
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            raise UsageError(
                f"MOLYNEUX_CACHE is {chosen}, and there is no such user; name a folder"
            ) from error
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if base.is_absolute():  # the XDG specification has relative paths ignored
        return base / "molyneux"
    home = Path.home()
    platform: str = sys.platform
    if platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = home / ".cache"
    return base / "molyneux"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_hash(path: Path, expected: str, remedy: str) -> None:
    """Refuse a file whose sha256 is not the one expected.

    Raises:
        WeightsError: the file is missing, unreadable or another one; `remedy` says what next.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); {remedy}") from error
    if found != expected:
        raise WeightsError(
            f"{path} is not the file molyneux was made with: sha256 {found[:12]}…, "
            f"expected {expected[:12]}…; {remedy}"
        )


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error says that the disk is full, whichever library raised it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK_FULL
    text = str(error)  # safetensors and pip only pass the system's words on
    return "No space left on device" in text or "os error 28" in text


def disk_full(folder: Path, needs_mb: int) -> WeightsError:
    """Return the error that says how much room is needed, and how to use another disk."""
    return WeightsError(
        f"the disk of {folder} is full: about {needs_mb} MB are needed; free some, or set "
        "MOLYNEUX_CACHE to a folder on another disk, and run again"
    )


@contextmanager
def write_folder(path: Path, needs_mb: int = 1) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, renamed to `path` once the block succeeds.

    On any exception, Ctrl-C included, the temporary folder is removed. If another process has
    made `path` meanwhile, its folder stays and this one is discarded.

    Raises:
        WeightsError: the disk is full or has less than `needs_mb` MB free, or the cache
            directory cannot be written.
    """
    parent = path.parent
    partial = parent / f"{PARTIAL}{path.name}-{secrets.token_hex(4)}"
    try:
        make_parent(parent)
        if shutil.disk_usage(parent).free < needs_mb * 10**6:
            raise disk_full(parent, needs_mb)
        try:
            partial.mkdir()  # not mkdtemp, whose folders other users of a shared cache cannot read
            yield partial
            _move_into_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except WeightsError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise disk_full(parent, needs_mb) from error
        raise


def make_parent(parent: Path) -> None:
    """Make the cache directory, and remove what a killed process left in it a day ago or more.

    Raises:
        WeightsError: it cannot be made or written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(parent, os.W_OK | os.X_OK)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise _unwritable(parent, error.strerror or str(error)) from error
    if not writable:
        raise _unwritable(parent, os.strerror(errno.EACCES))
    for left in parent.glob(f"{PARTIAL}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _unwritable(parent: Path, why: str) -> WeightsError:
    return WeightsError(
        f"cannot write the cache directory {parent} ({why}); set MOLYNEUX_CACHE to a folder you "
        "may write, and run again"
    )


def _move_into_place(partial: Path, path: Path) -> None:
    try:
        partial.rename(path)
    except OSError:
        if not (path / RECORD).is_file():
            raise
        # Another process was first. Its folder has a record, so it is whole: it too was renamed.


def seal_folder(folder: Path, source: Source) -> None:
    """Write `hashes.json`: sha256, size and times of every file in the folder, and its source.

    The times let `verify_folder` notice a change without reading 500 MB on every start.
    """
    files: dict[str, dict[str, Any]] = {}
    record_path = folder / RECORD
    record_path.write_text("{}", encoding="utf-8")
    mode = record_path.stat().st_mode
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file != record_path:
            # safetensors writes files that only their owner may read; a shared cache needs more.
            file.chmod(mode)
            name = file.relative_to(folder).as_posix()
            files[name] = {"sha256": sha256_of(file), **_stamp(file)}
    record = {"schema": SCHEMA, "source": asdict(source), "files": files}
    record_path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _stamp(file: Path) -> dict[str, int]:
    # ctime too: copying tools keep the mtime of what they put in a file's place, never its ctime.
    stat = file.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}


def read_record(folder: Path) -> dict[str, Any]:
    """Return a cached folder's record: `schema`, `source`, `files`.

    Raises:
        WeightsError: there is none, or it cannot be read as one.
    """
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        entries = record["files"].values()
        if record["schema"] != SCHEMA or not all(
            isinstance(entry["sha256"], str) and isinstance(entry["size"], int) for entry in entries
        ):
            raise ValueError("not a record this version writes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise WeightsError(f"cannot read {path} ({why}); {_delete(folder)}") from error
    return record


def verify_folder(folder: Path, *, full: bool = False) -> dict[str, Any]:
    """Return a cached folder's record once its files are known to be the ones written.

    A file is hashed again only if its size or times are no longer those recorded, or with
    `full`. Files that were merely copied or touched pass, and their new times are recorded.

    Raises:
        WeightsError: a file is missing, corrupt or swapped, a safetensors header cannot be
            parsed, or the folder has no record.
    """
    record = read_record(folder)
    touched = False
    for name, entry in record["files"].items():
        file = folder / name
        try:
            stamp = _stamp(file)
            changed = any(entry.get(key) != value for key, value in stamp.items())
            found = sha256_of(file) if full or changed else entry["sha256"]
        except OSError as error:
            raise WeightsError(
                f"cannot read {file} ({error.strerror}); {_delete(folder)}"
            ) from error
        if found != entry["sha256"]:
            raise WeightsError(
                f"{file} is corrupt or was swapped: sha256 {found[:12]}…, expected "
                f"{entry['sha256'][:12]}…; {_delete(folder)}"
            )
        if file.suffix == ".safetensors":
            check_safetensors(file, _delete(folder))
        if changed:
            entry.update(stamp)
            touched = True
    if touched:
        _rewrite_record(folder, record)
    return record


@dataclass(frozen=True)
class CachedFolder:
    """A folder of the cache.

    Attributes:
        source: the distribution and version that it was made of, or what it is otherwise.
        size: bytes of its files.
    """

    path: Path
    source: str
    size: int

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name


def cached_folders() -> list[CachedFolder]:
    """Return the folders of the cache directory that this package made, by name."""
    found = []
    for path in sorted(cache_dir().iterdir()) if cache_dir().is_dir() else ():
        if path.is_dir() and (path.name.startswith(PARTIAL) or (path / RECORD).is_file()):
            files = (file for file in path.rglob("*") if file.is_file())
            found.append(CachedFolder(path, _made_of(path), sum(f.stat().st_size for f in files)))
    return found


def _made_of(path: Path) -> str:
    if path.name.startswith(PARTIAL):
        return "an unfinished download"
    try:
        source = read_record(path)["source"]
        return f"{source['distribution']} {source['version']}"
    except (WeightsError, KeyError, TypeError):
        return "a damaged folder"


def remove_folder(folder: CachedFolder) -> None:
    """Remove a folder of the cache; its record first, so that what is left of it is never used.

    Raises:
        WeightsError: it cannot be removed.
    """
    try:
        (folder.path / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder.path)
    except OSError as error:
        raise WeightsError(
            f"cannot remove {folder.path} ({error.strerror}); check its permissions"
        ) from error


def _delete(folder: Path) -> str:
    return f"delete the folder {folder} and run again to have it made anew"


def _rewrite_record(folder: Path, record: dict[str, Any]) -> None:
    partial = folder / f"{PARTIAL}{secrets.token_hex(4)}"
    # A cache that may only be read works too: its files are then hashed on every start.
    with suppress(OSError):
        try:
            partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
            partial.replace(folder / RECORD)
        finally:
            partial.unlink(missing_ok=True)


def check_safetensors(path: Path, remedy: str) -> None:
    """Refuse a file whose safetensors header cannot be parsed or does not fit its length.

    The format: eight bytes of header length (little-endian), a JSON header giving every tensor
    the place of its bytes, and the bytes (https://github.com/huggingface/safetensors).

    Raises:
        WeightsError: names the file and what is wrong; `remedy` says what next.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        if max(ends, default=0) != size - 8 - length:
            raise ValueError(f"it has {size - 8 - length} bytes of tensors, not {max(ends)}")
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); {remedy}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); {remedy}") from error


def tensors_sha256(network: nn.Module) -> str:
    """Return the sha256 of a network's parameters and buffers, in the order of their names."""
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
