"""The photos of a folder, a list or a caption file, and the captions that are known of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.caption_files import caption_file, is_caption_file, read_caption_file
from molyneux.data.dataset import Item
from molyneux.data.files import is_photo, links_to_folders, photos_below, pictures_not_read
from molyneux.data.loader import Loader, Sure, in_folder
from molyneux.data.names import as_it_is_here
from molyneux.data.text_files import read_lines
from molyneux.errors import UsageError
from molyneux.vision.photo import SUFFIXES, is_address


def photos_in(place: Path) -> list[Path]:
    """Return the photos below a folder, or those a text or caption file names, in its order.

    A folder's are in the order of the hashes of their names, so that the first of them are a
    fair sample of one that is sorted by class. Hidden files and those of a system are none.

    Raises:
        UsageError: there is no such place, or no photo in it.
    """
    if place.is_file() and place.suffix.lower() == ".txt":
        found = [place.parent / _listed(place, number, line) for number, line in read_lines(place)]
    elif place.is_file() and is_caption_file(place):
        found = _captioned(place)
    elif place.is_dir():
        found = sorted(
            photos_below(place),
            key=lambda path: (hashlib.sha256(os.fsencode(path.name)).digest(), os.fsencode(path)),
        )
    else:
        raise UsageError(
            f"{place} is neither a folder of photos nor a .txt or caption file that names them"
        )
    if not found:
        raise UsageError(f"no photos in {place}{why_no_photos(place)}")
    return found


def why_no_photos(place: Path) -> str:
    """Return what a folder without photos lacks: the suffixes, and pictures of others it has."""
    if not place.is_dir():
        return "; it lists one a line"
    others = sorted({path.suffix.lower() for path in pictures_not_read(place)})
    has = f"; it has files that end in {', '.join(others)}" if others else ""
    if (link := next(links_to_folders(place), None)) is not None:
        has += f"; {link.name} is a link to a folder, which is not followed: name what it leads to"
    return f"{has}; photos are files that end in {', '.join(SUFFIXES)}"


def _listed(file: Path, number: int, line: str) -> str:
    written = line.strip()
    if is_address(written) and not written.lower().startswith("file:"):
        raise UsageError(
            f"{file}, line {number}: {written} is an address, and addresses are not fetched; "
            "download the photos and list the files"
        )
    return as_it_is_here(line, lambda name: os.path.isfile(file.parent / name))


def _captioned(file: Path) -> list[Path]:
    """Return the photos a caption file names, each once, those that are there."""
    names = (
        as_it_is_here(line.file, lambda name: os.path.isfile(file.parent / name))
        for line in read_caption_file(file)
    )
    named = dict.fromkeys(os.path.normpath(file.parent / name) for name in names)
    return [Path(path) for path in named if os.path.isfile(path)]


@dataclass(slots=True)
class _Said:
    """What a caption file says of one photo."""

    captions: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    split: str | None = None
    credit: str | None = None


class Folder(AnnotatedPhotos):
    """The photos below a folder, in order of name, or those a file names, in its order.

    The file is a `.txt` list or a caption file. `captions.jsonl`, `captions.csv` or
    `captions.tsv` in the folder, or the caption file itself, may say more of them: `file`
    (below the folder), `caption` or `captions`, and if it likes `categories`, `split` and
    `credit`. Several lines of one file add up.
    """

    name = "folder"

    def __init__(self, place: str | Path) -> None:
        """Find the photos and read the captions.

        Raises:
            UsageError: there are no photos, one is listed twice, or the captions are damaged.
        """
        super().__init__(place, folder=False)
        place = self.place
        if place.is_file():
            self.root = place.parent
        paths = photos_in(place)
        if place.is_dir():
            paths.sort(key=os.fsencode)
            for path in pictures_not_read(place):
                why = f"pictures that end in {path.suffix.lower()}, which is not read"
                self.left_out.add(why, str(path))
            for path in links_to_folders(place):
                self.left_out.add("links to folders, which are not followed", str(path))
        self._files = [os.path.relpath(path, self.root).replace(os.sep, "/") for path in paths]
        if len(set(self._files)) != len(self._files):
            twice = next(name for name in self._files if self._files.count(name) > 1)
            raise UsageError(f"{place} lists {twice} twice; remove one of the lines")
        named = place.is_file() and is_caption_file(place)
        self.captions = place if named else caption_file(self.root)
        self.files = [self.captions] if self.captions else []
        said = self._read_captions(self.captions) if self.captions else {}
        if place.is_file() and not named:
            self.files.append(place)
        known = set(self._files)
        self._said = {name: what for name, what in said.items() if name in known}
        whole = place.is_dir() or named
        self.missing = [name for name in said if name not in known] if whole else []
        if said and not self._said:
            raise UsageError(
                f"none of the photos in {self.captions}, such as {next(iter(said))}, is in "
                f"{place}; its files are named from there, as in {self._files[0]}"
            )

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._files)

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position; its id is the file's name from the folder."""
        file = self._files[position]
        said = self._said.get(file) or _Said()
        return Item(
            id=file,
            source=self.root / file,
            captions=tuple(said.captions),
            categories=tuple(said.categories),
            split=said.split,
            credit=said.credit,
        )

    def _lacking(self) -> dict[str, Any]:
        return {"captions_without_photo": len(self.missing)}

    def _read_captions(self, file: Path) -> dict[str, _Said]:
        """Return what a caption file says, by the photo's name from the folder."""
        known = set(self._files)
        root = os.path.abspath(self.root)

        def here(name: str) -> str:
            name = os.path.relpath(name, root) if os.path.isabs(name) else os.path.normpath(name)
            return name.replace(os.sep, "/")

        found: dict[str, _Said] = {}
        for line in read_caption_file(file):
            name = here(as_it_is_here(line.file, lambda name: here(name) in known))
            what = found.setdefault(name, _Said())
            what.captions += [one for one in line.captions if one not in what.captions]
            what.categories += [one for one in line.categories if one not in what.categories]
            what.split = line.split or what.split
            what.credit = line.credit or what.credit
        return found


def _recognises(place: Path) -> Sure:
    if caption_file(place) is not None:
        return Sure.NAMED
    if any(is_photo(path) for path in place.iterdir()):
        return Sure.BESIDE
    return Sure.BELOW if any(photos_below(place)) else Sure.NO


def _recognises_list(spec: str | Path) -> Sure:
    place = Path(spec)
    return Sure.NAMED if place.suffix.lower() == ".txt" and place.is_file() else Sure.NO


def _recognises_captions(spec: str | Path) -> Sure:
    place = Path(spec)
    return Sure.NAMED if is_caption_file(place) and place.is_file() else Sure.NO


LOADER = Loader(
    "folder",
    "photos, and if you like captions.jsonl, captions.csv or captions.tsv",
    in_folder(_recognises),
    Folder,
)
LIST_LOADER = Loader("list", "a .txt file that lists photos", _recognises_list, Folder)
CAPTIONS_LOADER = Loader(
    "captions",
    "a .jsonl, .csv or .tsv file that names photos and their captions",
    _recognises_captions,
    Folder,
)
