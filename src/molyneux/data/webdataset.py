"""WebDataset shards: tar archives in which files of one name belong together.

`000123.jpg` with `000123.txt` (a caption a line) or `000123.json` (`caption` or `captions`, and if
it likes `categories`, `label`, `split`) is one item. Shards are read from front to back.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from molyneux.data.archives import Member, are_together, members
from molyneux.data.dataset import Item, LeftOut, Span
from molyneux.data.files import is_hidden, matching
from molyneux.data.loader import Loader, Sure
from molyneux.data.text_files import decode_text, split_lines
from molyneux.data.texts import read_name, read_texts, tidy
from molyneux.errors import UsageError, quote
from molyneux.vision.photo import SUFFIXES, is_address

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_ENDINGS = (".tar", ".tar.gz", ".tgz")
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
        self.left_out = LeftOut()
        self._together: dict[Path, bool] = {}

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
        if shard in self._resolved:
            return f"{self._resolved[shard]}/{key}"
        name, _, part = shard.rpartition("#")
        return f"{self._resolved[name]}#{part}/{key}"

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
        if every:
            self.left_out.clear()
        left_out = self.left_out if every else LeftOut()
        for shard in self.shards:
            for group in self._groups(shard, lambda: wanted(position), left_out):  # noqa: B023
                if group.photo is None:
                    continue
                if every or wanted(position):
                    yield position, _item(group, left_out)
                position += 1
        if position == 0:
            raise UsageError(
                f"no photo in {self.where}; a shard holds files such as 000123.jpg and 000123.txt, "
                f"and photos end in {', '.join(SUFFIXES)}"
            )

    def _groups(self, shard: Path, take: Callable[[], bool], left_out: LeftOut) -> Iterator[_Group]:
        """Yield what belongs together, in the order of the photos.

        Args:
            take: whether the bytes of the next photo are wanted.
        """
        if shard not in self._together:
            self._together[shard] = are_together(shard)
        if self._together[shard]:
            group = None
            for member in members(shard):
                if group is None or group.place != (member.part, member.key):
                    if group is not None:
                        yield group.closed(left_out)
                    group = _Group(shard, member)
                group.add(member, take, left_out)
            if group is not None:
                yield group.closed(left_out)
            return
        # The shard was not sorted: its texts are read first, and then its photos in their order.
        groups: dict[tuple[int, str], _Group] = {}
        for member in members(shard):
            group = groups.setdefault((member.part, member.key), _Group(shard, member))
            if not member.is_photo:
                group.add(member, take, left_out)
        for member in members(shard):
            if member.is_photo:
                group = groups[member.part, member.key]
                is_first = group.photo is None
                group.add(member, take, left_out)
                if is_first:
                    yield group
        for group in groups.values():
            group.closed(left_out)


class _Group:
    """Members that belong together: a photo and what is said of it."""

    def __init__(self, shard: Path, member: Member) -> None:
        self.place = (member.part, member.key)
        part = "" if member.part == 1 else f"#{member.part}"
        self.identity = f"{shard.name}{part}/{member.key}"
        self.photo: bytes | Span | None = None
        self.texts: dict[str, bytes] = {}

    def add(self, member: Member, take: Callable[[], bool], left_out: LeftOut) -> None:
        """Add a member, or count it where nothing can be made of it."""
        name = f"{self.identity}.{member.extension}"
        if member.is_link:
            left_out.add("links, which no shard's reader follows", name)
        elif member.is_photo and self.photo is None:
            self.photo = member.read() if take() else member.span()
        elif member.is_photo:
            left_out.add("second photos of one name", name)
        elif member.extension in _TEXTS:
            self.texts[member.extension] = member.read()
        else:
            left_out.add("files that are neither photos nor their texts", name)

    def closed(self, left_out: LeftOut) -> _Group:
        """Return the group, which has all its members; texts without a photo are counted."""
        if self.photo is None and self.texts:
            left_out.add("texts without a photo", f"{self.identity}.{next(iter(self.texts))}")
        return self


def find_shards(spec: str | Path) -> list[Path]:
    """Return the shards a folder, a file or a pattern names, in order of name.

    Raises:
        UsageError: there is none, or one of those named is missing.
    """
    place = Path(spec)
    if is_address(str(spec)):
        raise UsageError(
            f"{spec} is an address, and addresses are not fetched; download the shards and name "
            "the files"
        )
    if place.is_dir():
        found = matching(place, *(f"*{ending}" for ending in _ENDINGS))
    else:
        found = []
        for name in _expand(str(spec)):
            if Path(name).is_file():
                found.append(Path(name))
                continue
            matches = [Path(p) for p in glob.glob(name) if not is_hidden(Path(p).name)]
            if not matches:
                raise UsageError(f"there is no shard {name}; check the name and the range")
            found += matches
    if not found:
        raise UsageError(f"no shards in {place}; they are files that end in .tar")
    return sorted(set(found))


def _expand(pattern: str) -> Iterator[str]:
    """Yield the names a pattern with ranges such as `{000..012}` stands for."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    first, last = braces.groups()
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    for number in range(int(first), int(last) + 1):
        yield from _expand(f"{before}{number:0{len(first)}}{after}")


def _item(group: _Group, left_out: LeftOut) -> Item:
    captions: list[str] = []
    said: dict[str, Any] = {}
    where = f"{group.identity}.json"
    for extension, data in group.texts.items():
        if extension == "json":
            said = _read_said(data, where, left_out)
            for name in ("caption", "captions", "text"):
                captions += read_texts(said.get(name), name, where)
            continue
        try:
            captions += split_lines(decode_text(data))
        except ValueError as error:
            left_out.add(
                "captions that are not UTF-8 text", f"{group.identity}.{extension} ({error})"
            )
    named = read_texts(said.get("categories"), "categories", where)
    label = read_name(said.get("label"), "label", where)
    categories = [tidy(category).lower() for category in named]
    if not categories and label is not None:
        categories = [label.lower()]
    assert group.photo is not None
    return Item(
        id=group.identity,
        source=group.photo,
        captions=tuple(dict.fromkeys(filter(None, map(tidy, captions)))),
        categories=tuple(dict.fromkeys(categories)),
        split=read_name(said.get("split"), "split", where),
        label=label,
    )


def _read_said(data: bytes, where: str, left_out: LeftOut) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where} is no JSON ({quote(error)}); download the shard again"
        ) from error
    if isinstance(found, dict):
        return found
    left_out.add("JSON files that hold no object", where)
    return {}


def _recognises(spec: str | Path) -> Sure:
    place = Path(spec)
    if place.is_dir():
        return Sure.NAMED if matching(place, *(f"*{e}" for e in _ENDINGS)) else Sure.NO
    return Sure.NAMED if str(spec).lower().endswith(_ENDINGS) else Sure.NO


LOADER = Loader("webdataset", "shards *.tar, or a name with * or {000..012}", _recognises, Shards)
