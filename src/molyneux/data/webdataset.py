"""WebDataset shards: tar archives in which files of one name belong together.

`000123.jpg` with `000123.txt` (a caption a line) or `000123.json` (`caption` or `captions`, and if
it likes `categories`, `label`, `split`) is one item. Shards are read from front to back.
"""

from __future__ import annotations

import glob
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item, Span
from molyneux.data.folder import SUFFIXES
from molyneux.data.texts import read_texts, tidy
from molyneux.errors import UsageError

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_TEXTS = {"txt", "caption", "json"}


class Shards:
    """One shard, a folder of shards, or those a pattern with `*` or `{000..012}` names."""

    name = "webdataset"

    def __init__(self, spec: str | Path) -> None:
        """Find the shards; none is opened yet.

        Raises:
            UsageError: there is none, or one of those named is missing.
        """
        self.where = str(spec)
        self.shards = find_shards(spec)

    def __iter__(self) -> Iterator[Item]:
        """Yield every item, photos included, shard by shard."""
        return (item for _, item in self.only(lambda position: True))

    def entries(self) -> Iterator[Item]:
        """Yield every item with the place of its photo; of compressed shards, with empty bytes."""
        return (item for _, item in self._pass(lambda position: False, every=True))

    def only(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Item]]:
        """Yield position and item of the wanted positions; of others nothing is read."""
        return self._pass(wanted, every=False)

    def origin(self, identity: str) -> str:
        """Return where an item lies, whatever else was opened with its shard."""
        shard, _, key = identity.partition("/")
        return f"{self._resolved[shard]}/{key}"

    @cached_property
    def _resolved(self) -> dict[str, Path]:
        return {shard.name: shard.resolve() for shard in self.shards}

    def record(self) -> dict[str, Any]:
        """Return name, place, and the shards with their sizes in bytes.

        They are not hashed, since that would read every photo once more.
        """
        return {
            "name": self.name,
            "where": self.where,
            "licence": None,
            "shards": {shard.name: shard.stat().st_size for shard in self.shards},
        }

    def _pass(self, wanted: Callable[[int], bool], every: bool) -> Iterator[tuple[int, Item]]:
        position = 0
        for shard in self.shards:
            for key, members, tar in _groups(shard):
                photo = next((m for e, m in members.items() if f".{e}" in SUFFIXES), None)
                if photo is None:
                    continue
                take = wanted(position)
                if take or every:
                    texts = {e: _bytes(tar, members[e], shard) for e in members if e in _TEXTS}
                    source = _bytes(tar, photo, shard) if take else _span(tar, photo, shard)
                    yield position, _item(f"{shard.name}/{key}", source, texts)
                position += 1
        if position == 0:
            raise UsageError(
                f"no photo in {self.where}; a shard holds files such as 000123.jpg and 000123.txt"
            )


def find_shards(spec: str | Path) -> list[Path]:
    """Return the shards a folder, a file or a pattern names, in order of name.

    Raises:
        UsageError: there is none, or one of those named is missing.
    """
    place = Path(spec)
    if place.is_dir():
        found = [p for e in ("*.tar", "*.tar.gz", "*.tgz") for p in place.glob(e)]
    else:
        found = []
        for name in _expand(str(spec)):
            if Path(name).is_file():
                found.append(Path(name))
                continue
            matches = [Path(path) for path in glob.glob(name)]
            if not matches:
                raise UsageError(f"there is no shard {name}; check the name and the range")
            found += matches
    if not found:
        raise UsageError(f"no shards in {place}; they are files that end in .tar")
    return sorted(set(found))


def _expand(pattern: str) -> list[str]:
    """Return the names a pattern with ranges such as `{000..012}` stands for."""
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    first, last = braces.groups()
    return [
        name
        for number in range(int(first), int(last) + 1)
        for name in _expand(
            f"{pattern[: braces.start()]}{number:0{len(first)}}{pattern[braces.end() :]}"
        )
    ]


def _groups(
    shard: Path,
) -> Iterator[tuple[str, dict[str, tarfile.TarInfo], tarfile.TarFile]]:
    """Yield each run of members that share a name up to its first dot, by extension."""
    try:
        with tarfile.open(shard) as tar:
            key: str | None = None
            members: dict[str, tarfile.TarInfo] = {}
            while (member := tar.next()) is not None:
                if not member.isfile():
                    continue
                folder, slash, file = member.name.removeprefix("./").rpartition("/")
                stem, _, extension = file.partition(".")
                if folder + slash + stem != key:
                    if key is not None:
                        yield key, members, tar
                    key, members = folder + slash + stem, {}
                members[extension.lower()] = member
                tar.members = []  # type: ignore[attr-defined, unused-ignore] # it would keep all
            if key is not None:
                yield key, members, tar
            # A header that is damaged looks like the end to tarfile; the end is all zeros.
            file_object = tar.fileobj
            assert file_object is not None
            file_object.seek(tar.offset)
            if any(file_object.read(512)):
                raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(
            f"cannot read the shard {shard}: {' '.join(str(error).split())}; download it again"
        ) from error


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # only regular files are grouped
    data = file.read()
    if len(data) != member.size:
        raise UsageError(f"the shard {shard} ends within {member.name}; download it again")
    return data


def _span(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> Span | bytes:
    """Return where a member's bytes are, or nothing where they are compressed or in pieces."""
    if isinstance(tar.fileobj, io.BufferedReader) and not member.issparse():
        return Span(shard, member.offset_data, member.size)
    return b""


def _item(identity: str, source: bytes | Span, texts: dict[str, bytes]) -> Item:
    captions: list[str] = []
    said: dict[str, Any] = {}
    for extension, data in texts.items():
        if extension != "json":
            captions += data.decode("utf-8", "replace").splitlines()
            continue
        try:
            found = json.loads(data)
        except ValueError as error:
            raise UsageError(
                f"{identity}.json is no JSON ({error}); download the shard again"
            ) from error
        said = found if isinstance(found, dict) else {}
        for name in ("caption", "captions", "text"):
            captions += read_texts(said.get(name), name, f"{identity}.json")
    named = read_texts(said.get("categories"), "categories", f"{identity}.json")
    categories = (tidy(category).lower() for category in named)
    label, split = said.get("label"), said.get("split")
    single = () if label is None else (str(label).lower(),)
    return Item(
        id=identity,
        source=source,
        captions=tuple(dict.fromkeys(filter(None, map(tidy, captions)))),
        categories=tuple(dict.fromkeys(categories)) or single,
        split=None if split is None else str(split),
        label=None if label is None else str(label),
    )
