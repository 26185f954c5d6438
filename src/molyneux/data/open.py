"""Which loader reads a data set: recognised by what lies in its folder."""

from __future__ import annotations

from pathlib import Path

from molyneux.data.dataset import Dataset
from molyneux.errors import UsageError

KINDS = {
    "coco": "captions*.json or instances*.json, in the folder or its annotations/",
    "flickr30k": "dataset_flickr30k.json or results_20130124.token",
    "open-images": "validation-annotations-object-segmentation.csv and its like",
    "imagenet": "labels.tsv, or a subfolder per class",
    "webdataset": "shards *.tar, or a name with * or {000..012}",
    "hub": "hf:NAME, *.parquet, or a folder that `datasets` saved",
    "folder": "photos, and if you like captions.jsonl or captions.csv",
    "list": "a .txt file that lists photos",
}
"""What a data set of each kind has, by which it is known."""


def open_dataset(spec: str | Path, *, kind: str | None = None) -> Dataset:
    """Return the data set at a place, read by the loader that its layout asks for.

    Args:
        spec: a folder, a `.txt` list, a shard or a pattern of shards, a parquet file, or
            `hf:NAME` for one on the Hugging Face hub.
        kind: one of `KINDS`, where the layout could be read in two ways.

    Raises:
        UsageError: there is no such place, no such kind, or what the kind needs is missing; the
            message says what is missing and where it is had from.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"no kind of data set is called {kind}; there are {', '.join(KINDS)}")
    if kind is None:
        kind = kind_of(spec)
    place = Path(spec)
    if kind == "hub":
        from molyneux.data.hub import Hub

        return Hub(spec)
    if kind == "webdataset":
        from molyneux.data.webdataset import Shards

        return Shards(spec)
    if not place.exists():
        raise _no_place(spec)
    if kind in ("folder", "list"):
        from molyneux.data.folder import Folder

        return Folder(place)
    if not place.is_dir():
        raise UsageError(f"{place} is a file; a data set of the kind {kind} is a folder")
    if kind == "coco":
        from molyneux.data.coco import Coco

        return Coco(place)
    if kind == "flickr30k":
        from molyneux.data.flickr30k import Flickr30k

        return Flickr30k(place)
    if kind == "open-images":
        from molyneux.data.open_images import OpenImages

        return OpenImages(place)
    from molyneux.data.imagenet import ClassFolders

    return ClassFolders(place)


def kind_of(spec: str | Path) -> str:
    """Return which of `KINDS` a place looks like.

    Raises:
        UsageError: there is no such place, or nothing in it is known.
    """
    text, place = str(spec), Path(spec)
    if text.startswith("hf:"):
        return "hub"
    if place.is_dir():
        return _kind_of_folder(place)
    if text.endswith((".tar", ".tar.gz", ".tgz")):
        return "webdataset"
    if not place.exists():
        raise _no_place(spec)
    if place.suffix == ".parquet":
        return "hub"
    if place.suffix == ".txt":
        return "list"
    raise UsageError(f"{place} is no data set; give {_what_there_is()}")


def _kind_of_folder(place: Path) -> str:
    from molyneux.data.coco import annotation_files
    from molyneux.data.folder import CAPTION_FILES, SUFFIXES
    from molyneux.data.imagenet import class_folders

    if annotation_files(place):
        return "coco"
    if (place / "dataset_flickr30k.json").is_file() or any(place.glob("results*.token")):
        return "flickr30k"
    if (place / "labels.tsv").is_file():
        return "imagenet"
    if (place / "dataset_info.json").is_file() or (place / "dataset_dict.json").is_file():
        return "hub"
    if any(place.glob("*-annotations-*.csv")) or any(place.glob("class-descriptions*.csv")):
        return "open-images"
    if any(place.glob("*.tar")) or any(place.glob("*.tar.gz")) or any(place.glob("*.tgz")):
        return "webdataset"
    if any(place.glob("*.parquet")) or any(place.glob("data/*.parquet")):
        return "hub"
    if any((place / name).is_file() for name in CAPTION_FILES):
        return "folder"
    if any(path.suffix.lower() in SUFFIXES for path in place.iterdir()):
        return "folder"
    if len(class_folders(place)) >= 2 or len(class_folders(place / "images")) >= 2:
        return "imagenet"
    if any(path.suffix.lower() in SUFFIXES for path in place.rglob("*")):
        return "folder"
    raise UsageError(f"nothing in {place} is known; a data set has {_what_there_is()}")


def _no_place(spec: str | Path) -> UsageError:
    from molyneux.data.catalogue import CATALOGUE

    if str(spec).lower() in CATALOGUE:
        return UsageError(
            f"there is no folder {spec}; `molyneux data {str(spec).lower()}` says how to get that "
            "set, and then name its folder"
        )
    return UsageError(f"there is no {spec}; name a data set's folder, or `hf:NAME` on the hub")


def _what_there_is() -> str:
    return "; or ".join(f"{what} ({kind})" for kind, what in KINDS.items())
