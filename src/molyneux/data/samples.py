"""The sample photos of the demo: a small captioned data set, so no download is needed.

Eight come with the package, five inside scikit-image. They were chosen by licence and subject
before any was captioned, and what is in them was written down then. Nothing is measured on them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from molyneux.data.caption_files import read_caption_file
from molyneux.data.dataset import Item
from molyneux.errors import PhotoError

PHOTOS = Path(__file__).with_name("sample_photos")
"""Those of the package, with a caption file; `scikit-image.jsonl` says the same of the others."""


def sample_items() -> list[Item]:
    """Return the sample photos in the order the demo shows them, each with captions and credit.

    Those of scikit-image are the files installed with it, which is looked up and not imported.

    Raises:
        PhotoError: scikit-image is not installed, or came without one of the files.
    """
    found = importlib.util.find_spec("skimage")
    folders = list(found.submodule_search_locations or []) if found else []
    theirs = [Path(folder, "data") for folder in folders]
    return [
        *_items("scikit-image.jsonl", theirs, "scikit-image"),
        *_items("captions.jsonl", [PHOTOS], "molyneux"),
    ]


def sample_photos() -> dict[str, Path]:
    """Return the path of each sample photo by the name of its file, without the ending.

    Raises:
        PhotoError: as `sample_items`.
    """
    return {Path(item.id).stem: Path(str(item.source)) for item in sample_items()}


def _items(list_: str, folders: list[Path], package: str) -> list[Item]:
    items = []
    for line in read_caption_file(PHOTOS / list_):
        place = next(
            (folder / line.file for folder in folders if (folder / line.file).is_file()), None
        )
        if place is None:
            raise PhotoError(
                f"no sample photo {Path(line.file).stem}: {line.file} is not in the installed "
                f"{package}; run `pip install --force-reinstall {package}` or name a photo of your "
                "own"
            )
        items.append(Item(id=line.file, source=place, captions=line.captions, credit=line.credit))
    return items
