"""Two sets of photos that may share none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, UsageError
from molyneux.vision.photo import photo_sha256


def photo_hash(photo: Path | Item) -> str:
    """Return the SHA-256 of a photo's file.

    Raises:
        PhotoError: it cannot be read.
    """
    return photo.sha256() if isinstance(photo, Item) else photo_sha256(photo)


def require_apart(
    photos: Iterable[Path | Item],
    others: Iterable[Path | Item],
    names: tuple[str, str] = ("the photos", "the partners"),
    *,
    by_name: bool = True,
) -> None:
    """Refuse two sets that share a photo, by the name of its file or by its bytes.

    Photos that cannot be read are compared by their names; whoever reads them says so.

    Args:
        names: what the two sets are called, for the message.
        by_name: whether one name means one photo, as where photos are left out by their names.

    Raises:
        UsageError: they share one.
    """
    both = f"both {names[0]} and {names[1]}, which may share no photo"
    named: set[str] = set()
    contents: dict[str, str] = {}
    for photo in photos:
        if by_name:
            named.add(_file_name(photo))
        if digest := _hash_or_none(photo):
            contents[digest] = _shown(photo)
    for photo in others:
        if _file_name(photo) in named:
            raise UsageError(
                f"a file {_file_name(photo)} is in {both}; leave it out of one, or rename it if it "
                "is another photo"
            )
        digest = _hash_or_none(photo)
        if digest is not None and digest in contents:
            raise UsageError(
                f"{contents[digest]} and {_shown(photo)} are the same photo, in {both}; leave it "
                "out of one"
            )


def _file_name(photo: Path | Item) -> str:
    if not isinstance(photo, Item):
        return photo.name
    return photo.source.name if isinstance(photo.source, Path) else photo.id.rpartition("/")[2]


def _shown(photo: Path | Item) -> str:
    return photo.id if isinstance(photo, Item) else str(photo)


def _hash_or_none(photo: Path | Item) -> str | None:
    try:
        return photo_hash(photo)
    except PhotoError:
        return None
