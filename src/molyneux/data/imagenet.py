"""Class folders: ImageNet, Tiny ImageNet and everything laid out like them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.dataset import Item
from molyneux.data.files import is_hidden, is_photo, photos_below
from molyneux.data.folder import why_no_photos
from molyneux.data.loader import Loader, Sure, in_folder
from molyneux.data.names import inside, photo_file
from molyneux.data.tables import read_table
from molyneux.data.text_files import read_lines
from molyneux.errors import UsageError

LICENCE = "ImageNet terms: non-commercial research; other sets have their own"


@dataclass(slots=True)
class _Photo:
    file: str
    label: str
    split: str | None


class ClassFolders(AnnotatedPhotos):
    """Photos with one class each, which is both the label and the category.

    Either `labels.tsv` lists them (columns `file`, `name`, and if it likes `wnid` and `split`;
    files are relative to `images/` or to the folder), or every subfolder is a class named as the
    folder is. In the second case `train/`, `val/` and `test/` above the class folders are splits,
    and a file `LOC_synset_mapping.txt` or `words.txt` gives `n01443537` its name.
    """

    name = "imagenet"
    licence = LICENCE

    def __init__(self, root: str | Path) -> None:
        """Read the list of photos.

        Raises:
            UsageError: there are no photos, or the list is damaged.
        """
        super().__init__(root)
        root = self.root
        self.labels = root / "labels.tsv"
        self.files = [self.labels] if self.labels.is_file() else []
        self._photos = self._listed() if self.files else self._found()
        if not self._photos:
            raise UsageError(
                f"no photos in {root}{why_no_photos(root)}; class folders are "
                f"`{root / '<class>' / '<photo>.jpg'}`, or "
                "a labels.tsv with the columns file and name beside images/"
            )

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position; its id is the file's name below the folder."""
        photo = self._photos[position]
        return Item(
            id=photo.file,
            source=photo_file(self._base, photo.file),
            categories=(photo.label.lower(),),
            split=photo.split,
            label=photo.label,
        )

    def _listed(self) -> list[_Photo]:
        photos: dict[str, _Photo] = {}
        rows = read_table(self.labels, {"file": ["file"], "name": ["name"]}, quotes=False)
        for number, row in rows:
            where = f"{self.labels}, line {number}"
            name, label = row["file"].strip(), row["name"].strip()
            if not name or not label:
                raise UsageError(f"{where}: a file or a name is missing")
            if name in photos:
                raise UsageError(f"{where}: {name} is listed twice; remove one of the lines")
            try:
                photos[name] = _Photo(inside(name), label, row.get("split", "").strip() or None)
            except ValueError as error:
                raise UsageError(f"{where}: {error}") from error
        images = self.root / "images"
        first = next(iter(photos), "")
        below = images.is_dir() and not os.path.isfile(photo_file(self.root, first))
        self._base = images if below else self.root
        return list(photos.values())

    def _found(self) -> list[_Photo]:
        images = self.root / "images"
        self._base = images if class_folders(images) else self.root
        names = self._names()
        photos = []
        for split in ("train", "val", "validation", "test", None):
            top = self._base / split if split else self._base
            for path in top.iterdir() if top.is_dir() else ():
                if is_photo(path) and path.is_file():
                    self.left_out.add("photos in no folder of a class", str(path))
            for folder in class_folders(top):
                if split is None and folder.name in ("train", "val", "validation", "test"):
                    continue
                label = names.get(folder.name, folder.name.replace("_", " "))
                for path in sorted(photos_below(folder), key=os.fsencode):
                    file = path.relative_to(self._base).as_posix()
                    photos.append(_Photo(file, label, split))
        return photos

    def _names(self) -> dict[str, str]:
        """Return the name of each WordNet id; of several synonyms, the first."""
        for file in (self.root / "LOC_synset_mapping.txt", self.root / "words.txt"):
            if file.is_file():
                pairs = (line.split(None, 1) for _, line in read_lines(file))
                return {pair[0]: pair[1].split(",")[0].strip() for pair in pairs if pair[1:]}
        return {}


def class_folders(folder: Path) -> list[Path]:
    """Return the subfolders that have a photo in them, in order of name; none of no folder."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir(), key=os.fsencode)
        if path.is_dir() and not is_hidden(path.name) and any(photos_below(path))
    ]


def _recognises(place: Path) -> Sure | bool:
    if (place / "labels.tsv").is_file():
        return Sure.NAMED
    folders = (place, place / "images")
    return Sure.BELOW if any(len(class_folders(f)) >= 2 for f in folders) else Sure.NO


LOADER = Loader(
    "imagenet", "labels.tsv, or a subfolder per class", in_folder(_recognises), ClassFolders
)
