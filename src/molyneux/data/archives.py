"""Tar archives from front to back: their members, what each belongs to, and where its bytes are.

An archive may be several, one behind the other (`cat a.tar b.tar`, `tar -A`): what comes after an
end of archive, or from a member whose name was there before, is another *part*, in which names
mean other things.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from molyneux.data.dataset import Span
from molyneux.data.files import is_hidden_below
from molyneux.errors import UsageError, quote
from molyneux.vision.photo import SUFFIXES

_BROKEN = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
_BLOCK = 512


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Attributes:
        part: which of the archives behind one another it lies in, from 1.
        key: its name up to the first dot of the file's, which members that belong together share.
        extension: what follows that dot, in lower case.
        is_link: whether it is a link, which has no bytes of its own.
    """

    part: int
    key: str
    extension: str
    is_link: bool
    _info: tarfile.TarInfo
    _tar: tarfile.TarFile
    _shard: Path

    @property
    def is_photo(self) -> bool:
        """Whether it is a file that ends as photos do."""
        return f".{self.extension}" in SUFFIXES and not self.is_link

    @property
    def name(self) -> str:
        """The name as the archive has it."""
        return self._info.name

    def read(self) -> bytes:
        """Return its bytes; of a compressed archive at once, before the next member is taken.

        Raises:
            UsageError: the archive ends within it, or is damaged there.
        """
        try:
            file = self._tar.extractfile(self._info)
            data = b"" if file is None else file.read()
        except _BROKEN as error:
            raise _damaged(self._shard, error) from error
        if len(data) != self._info.size:
            raise UsageError(f"the shard {self._shard} ends within {self.name}; download it again")
        return data

    def span(self) -> Span | bytes:
        """Return where its bytes are, or nothing where they are compressed or in pieces."""
        if isinstance(self._tar.fileobj, io.BufferedReader) and not self._info.issparse():
            return Span(self._shard, self._info.offset_data, self._info.size)
        return b""


def members(shard: Path) -> Iterator[Member]:
    """Yield the files and links of an archive; folders and hidden files are passed over.

    Raises:
        UsageError: it cannot be read, or is damaged.
    """
    part = 1
    names: set[str] = set()
    try:
        with tarfile.open(shard) as first:
            tar: tarfile.TarFile | None = first
            while tar is not None:
                while (info := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined, unused-ignore] # it keeps all
                    path = info.name.removeprefix("./")
                    is_link = info.issym() or info.islnk()
                    if not (info.isfile() or is_link) or is_hidden_below(path.split("/")):
                        continue
                    if path in names:
                        part += 1
                        names.clear()
                    names.add(path)
                    folder, slash, file = path.rpartition("/")
                    stem, _, extension = file.partition(".")
                    key = folder + slash + stem
                    yield Member(part, key, extension.lower(), is_link, info, tar, shard)
                tar = _behind(tar)
                part += 1
                names.clear()
    except _BROKEN as error:
        raise _damaged(shard, error) from error


def are_together(shard: Path) -> bool:
    """Whether all members that belong together follow one another; only headers are read.

    Raises:
        UsageError: the archive cannot be read, or is damaged.
    """
    before: set[tuple[int, str]] = set()
    last: tuple[int, str] | None = None
    for member in members(shard):
        place = (member.part, member.key)
        if place != last and place in before:
            return False
        before.add(place)
        last = place
    return True


def _behind(tar: tarfile.TarFile) -> tarfile.TarFile | None:
    """Return the archive that follows one that was read to its end; None if there is none."""
    stream = tar.fileobj
    assert stream is not None
    stream.seek(tar.offset)
    block = stream.read(_BLOCK)
    if any(block):  # a damaged header looks like the end to tarfile; the end is all zeros
        raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged")
    while block and not any(block):
        block = stream.read(_BLOCK)
    if not block:
        return None
    start = stream.tell() - len(block)
    stream.seek(start)
    return tarfile.TarFile(fileobj=stream)


def _damaged(shard: Path, error: BaseException) -> UsageError:
    return UsageError(f"cannot read the shard {shard}: {quote(error)}; download it again")
