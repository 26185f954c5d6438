"""Class folders: ImageNet, Tiny ImageNet and everything laid out like them."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.dataset import Item
from molyneux.data.folder import SUFFIXES
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

    def __init__(self, root: Path) -> None:
        """Read the list of photos.

        Raises:
            UsageError: there are no photos, or the list is damaged.
        """
        super().__init__(root)
        self.labels = root / "labels.tsv"
        self.files = [self.labels] if self.labels.is_file() else []
        self._photos = self._listed() if self.files else self._found()
        if not self._photos:
            raise UsageError(
                f"no photos in {root}; class folders are `{root / '<class>' / '<photo>.jpg'}`, or "
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
            source=self._base / photo.file,
            categories=(photo.label.lower(),),
            split=photo.split,
            label=photo.label,
        )

    def _listed(self) -> list[_Photo]:
        photos: dict[str, _Photo] = {}
        try:
            with self.labels.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                missing = {"file", "name"} - set(rows.fieldnames or ())
                if missing:
                    raise UsageError(
                        f"{self.labels} has no column {' and no column '.join(sorted(missing))}; "
                        "its first line names the columns: file, name, and if you like wnid, split"
                    )
                for row in rows:
                    name, label = (row["file"] or "").strip(), (row["name"] or "").strip()
                    if not name or not label:
                        raise UsageError(
                            f"{self.labels}, line {rows.line_num}: a file or a name is missing"
                        )
                    if name in photos:
                        raise UsageError(
                            f"{self.labels}, line {rows.line_num}: {name} is listed twice; "
                            "remove one of the lines"
                        )
                    photos[name] = _Photo(name, label, (row.get("split") or "").strip() or None)
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.labels} is not UTF-8 text; save it as UTF-8") from error
        images = self.root / "images"
        first = next(iter(photos), "")
        inside = images.is_dir() and not (self.root / first).is_file()
        self._base = images if inside else self.root
        return list(photos.values())

    def _found(self) -> list[_Photo]:
        images = self.root / "images"
        self._base = images if class_folders(images) else self.root
        names = self._names()
        photos = []
        for split in ("train", "val", "validation", "test", None):
            top = self._base / split if split else self._base
            for folder in class_folders(top):
                if split is None and folder.name in ("train", "val", "validation", "test"):
                    continue
                for path in sorted(folder.rglob("*"), key=os.fsencode):
                    if path.suffix.lower() in SUFFIXES:
                        file = path.relative_to(self._base).as_posix()
                        label = names.get(folder.name, folder.name.replace("_", " "))
                        photos.append(_Photo(file, label, split))
        return photos

    def _names(self) -> dict[str, str]:
        """Return the name of each WordNet id; of several synonyms, the first."""
        for file in (self.root / "LOC_synset_mapping.txt", self.root / "words.txt"):
            if file.is_file():
                lines = file.read_text(encoding="utf-8").splitlines()
                pairs = (line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
                return {wnid: names.split(",")[0].strip() for wnid, names in pairs}
        return {}


def class_folders(folder: Path) -> list[Path]:
    """Return the subfolders that have a photo in them, in order of name; none of no folder."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir(), key=os.fsencode)
        if path.is_dir() and any(p.suffix.lower() in SUFFIXES for p in path.rglob("*"))
    ]
