"""Sets the loaders know by name: where each is had from, its size and licence.

Sizes and addresses are the publishers' own and were not checked by downloading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from molyneux.data import coco, flickr30k, imagenet, open_images
from molyneux.errors import UsageError


@dataclass(frozen=True)
class Download:
    """One file to fetch: its address, its size as a person would say it, and what is in it."""

    url: str
    size: str
    what: str


@dataclass(frozen=True)
class KnownSet:
    """A data set, and how a copy of it comes about.

    Attributes:
        name: what `molyneux data NAME` takes.
        kind: the loader, one of `molyneux.data.open.KINDS`.
        title: one line.
        photos: their number, by split.
        has: which of captions, categories, masks, labels it has.
        licence: of annotations and photos.
        downloads: what to fetch.
        layout: how the folder looks when it is ready.
    """

    name: str
    kind: str
    title: str
    photos: Mapping[str, int]
    has: tuple[str, ...]
    licence: str
    downloads: tuple[Download, ...]
    layout: str

    @property
    def size(self) -> str:
        """The number of photos of each split, as a person would say it."""
        return ", ".join(f"{number:,} {split}" for split, number in self.photos.items())

    def record(self) -> dict[str, Any]:
        """Return the set as plain data."""
        return asdict(self)


_ZIPS = "http://images.cocodataset.org/zips"
_ANNOTATIONS = "http://images.cocodataset.org/annotations"
_OPEN = "https://storage.googleapis.com/openimages/v5"

CATALOGUE: dict[str, KnownSet] = {
    known.name: known
    for known in (
        KnownSet(
            "coco",
            "coco",
            "COCO 2017: everyday scenes, five captions each, 80 categories with outlines",
            {"train2017": 118_287, "val2017": 5_000},
            ("captions", "categories", "masks"),
            coco.LICENCE,
            (
                Download(f"{_ZIPS}/val2017.zip", "1 GB", "photos of val2017"),
                Download(f"{_ZIPS}/train2017.zip", "18 GB", "photos of train2017, if wanted"),
                Download(f"{_ANNOTATIONS}/annotations_trainval2017.zip", "241 MB", "annotations"),
            ),
            "annotations/captions_val2017.json, annotations/instances_val2017.json, val2017/*.jpg",
        ),
        KnownSet(
            "coco2014",
            "coco",
            "COCO 2014: the same photos as 2017, split otherwise",
            {"train2014": 82_783, "val2014": 40_504},
            ("captions", "categories", "masks"),
            coco.LICENCE,
            (
                Download(f"{_ZIPS}/val2014.zip", "6 GB", "photos of val2014"),
                Download(f"{_ZIPS}/train2014.zip", "13 GB", "photos of train2014, if wanted"),
                Download(f"{_ANNOTATIONS}/annotations_trainval2014.zip", "241 MB", "annotations"),
            ),
            "annotations/captions_val2014.json, annotations/instances_val2014.json, val2014/*.jpg",
        ),
        KnownSet(
            "flickr30k",
            "flickr30k",
            "Flickr30k: people and animals in action, five captions each; Karpathy's splits",
            {"train": 29_000, "val": 1_014, "test": 1_000},
            ("captions",),
            flickr30k.LICENCE,
            (
                Download(
                    "https://shannon.cs.illinois.edu/DenotationGraph/",
                    "4.4 GB",
                    "photos and results_20130124.token, by a form",
                ),
                Download(
                    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
                    "36 MB",
                    "dataset_flickr30k.json, the splits",
                ),
            ),
            "dataset_flickr30k.json or results_20130124.token, flickr30k-images/*.jpg",
        ),
        KnownSet(
            "open-images",
            "open-images",
            "Open Images: boxes of 600 classes, masks of 350, spoken narratives as captions",
            {"validation": 41_620, "test": 125_436},
            ("captions", "categories", "masks"),
            open_images.LICENCE,
            (
                Download(
                    "s3://open-images-dataset/tar/validation.tar.gz",
                    "12 GB",
                    "photos of validation (aws s3 --no-sign-request cp)",
                ),
                Download(f"{_OPEN}/class-descriptions-boxable.csv", "12 kB", "class names"),
                Download(f"{_OPEN}/validation-annotations-bbox.csv", "16 MB", "boxes"),
                Download(
                    f"{_OPEN}/validation-annotations-object-segmentation.csv", "4 MB", "mask list"
                ),
                Download(
                    f"{_OPEN}/validation-masks/validation-masks-0.zip",
                    "16 files, -0 to -f",
                    "masks",
                ),
                Download(
                    "https://storage.googleapis.com/localized-narratives/annotations/"
                    "open_images_validation_localized_narratives.jsonl",
                    "21 MB",
                    "narratives, if captions are wanted",
                ),
            ),
            "the .csv and .jsonl files, validation/<ImageID>.jpg, masks/*.png",
        ),
        KnownSet(
            "imagenet",
            "imagenet",
            "ImageNet (ILSVRC 2012): 1,000 classes",
            {"train": 1_281_167, "val": 50_000},
            ("labels",),
            imagenet.LICENCE,
            (
                Download(
                    "https://www.image-net.org/download.php", "6.3 GB", "validation, by a form"
                ),
                Download(
                    "https://www.image-net.org/download.php", "138 GB", "train, by the same form"
                ),
            ),
            "val/n01440764/*.JPEG and so on, LOC_synset_mapping.txt for the names",
        ),
        KnownSet(
            "tiny-imagenet",
            "imagenet",
            "Tiny ImageNet: 200 classes at 64 x 64 pixels",
            {"train": 100_000, "val": 10_000},
            ("labels",),
            imagenet.LICENCE,
            (Download("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "237 MB", "all"),),
            "train/n01443537/images/*.JPEG and so on, words.txt for the names",
        ),
    )
}
"""Every known set by name."""


def known_set(name: str) -> KnownSet:
    """Return a known set.

    Raises:
        UsageError: there is none of this name.
    """
    if name.lower() not in CATALOGUE:
        raise UsageError(
            f"no data set is called {name}, and no folder; there are {', '.join(CATALOGUE)}"
        )
    return CATALOGUE[name.lower()]
