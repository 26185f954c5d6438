"""Flickr30k: five captions a photo, as Karpathy's splits or as the authors' token file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.dataset import Item
from molyneux.data.files import matching
from molyneux.data.loader import Loader, in_folder
from molyneux.data.names import inside, photo_file
from molyneux.data.text_files import read_json, read_lines
from molyneux.data.texts import read_name, read_texts, tidy
from molyneux.errors import UsageError, quote

LICENCE = "photos under Flickr's terms: non-commercial research and education"
_FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "")


@dataclass(slots=True)
class _Photo:
    split: str | None = None
    captions: list[str] = field(default_factory=list)


class Flickr30k(AnnotatedPhotos):
    """`dataset_flickr30k.json` (with its splits) or `results_20130124.token`, and the photos.

    The photos are in `flickr30k-images/`, `images/` or beside the captions. Where both files are
    there, the first is read, since only it names the splits.
    """

    name = "flickr30k"
    licence = LICENCE

    def __init__(self, root: str | Path) -> None:
        """Read the captions.

        Raises:
            UsageError: neither file is there, it is damaged, or none of its photos is.
        """
        super().__init__(root)
        root = self.root
        karpathy = root / "dataset_flickr30k.json"
        tokens = matching(root, "results*.token")
        if karpathy.is_file():
            self.files = [karpathy]
            self._photos = _read_karpathy(karpathy)
        elif tokens:
            self.files = tokens[:1]
            self._photos = _read_tokens(tokens[0])
        else:
            raise UsageError(
                f"neither dataset_flickr30k.json nor results_20130124.token is in {root}; the "
                "first is in https://cs.stanford.edu/people/karpathy/deepimagesent/"
                "caption_datasets.zip, the second comes with the photos"
            )
        self._names = list(self._photos)
        places = [root / name for name in _FOLDERS if (root / name).is_dir()]
        found = next(
            (f for name in self._names for f in places if os.path.isfile(photo_file(f, name))), None
        )
        if found is None:
            first = f", such as {self._names[0]}," if self._names else ""
            raise UsageError(
                f"none of the photos{first} is in {root / _FOLDERS[0]} or {root / 'images'}; they "
                "are had by the form at https://shannon.cs.illinois.edu/DenotationGraph/"
            )
        self._folder = found

    def __len__(self) -> int:
        """Number of photos that have captions."""
        return len(self._names)

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position; its id is the photo's file name."""
        name = self._names[position]
        photo = self._photos[name]
        return Item(
            id=name,
            source=photo_file(self._folder, name),
            captions=tuple(photo.captions),
            split=photo.split,
        )


def _read_karpathy(file: Path) -> dict[str, _Photo]:
    document = read_json(file)
    photos: dict[str, _Photo] = {}
    try:
        for entry in document["images"]:
            name = inside(entry["filename"])
            if name in photos:
                raise ValueError(f"{name} is listed twice")
            where = f"{file}, photo {name}"
            captions = [
                tidy(caption)
                for sentence in entry["sentences"]
                for caption in read_texts(sentence["raw"], "raw", where)
            ]
            split = read_name(entry.get("split"), "split", where)
            photos[name] = _Photo(split, list(dict.fromkeys(captions)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{file} is not written as Karpathy's file is ({type(error).__name__}: "
            f"{quote(error)}); download it again"
        ) from error
    return photos


def _read_tokens(file: Path) -> dict[str, _Photo]:
    photos: dict[str, _Photo] = {}
    for number, line in read_lines(file):
        numbered, tab, caption = line.partition("\t")
        name, hash_sign, _ = numbered.rpartition("#")
        if not tab or not hash_sign:
            raise UsageError(
                f"{file}, line {number}: not `<photo>.jpg#<number>`, a tab and a caption"
            )
        try:
            photo = photos.setdefault(inside(name), _Photo())
        except ValueError as error:
            raise UsageError(f"{file}, line {number}: {error}") from error
        if (caption := tidy(caption)) and caption not in photo.captions:
            photo.captions.append(caption)
    return photos


LOADER = Loader(
    "flickr30k",
    "dataset_flickr30k.json or results_20130124.token",
    in_folder(
        lambda place: (
            (place / "dataset_flickr30k.json").is_file() or bool(matching(place, "results*.token"))
        )
    ),
    Flickr30k,
)
