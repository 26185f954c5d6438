"""Captioning many photos: together, and past those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from PIL.Image import Image

from molyneux.errors import PhotoError
from molyneux.models.seeing_model import SeeingModel
from molyneux.vision.photo import Photo, read_photo

AT_ONCE = 16


def caption_photos(
    seeing: SeeingModel, photos: Iterable[Photo], at_once: int = AT_ONCE
) -> Iterator[str | PhotoError]:
    """Yield each photo's greedy caption, or why it cannot be read, in the order of the photos.

    Photos are written about together, which takes less than half of the time of one after another
    and gives the same text.
    """
    left = iter(photos)
    while batch := list(islice(left, at_once)):
        read = [_read(photo) for photo in batch]
        good = [each for each in read if not isinstance(each, PhotoError)]
        captions = iter(seeing.caption_all(good) if good else ())
        for each in read:
            yield each if isinstance(each, PhotoError) else next(captions)


def _read(photo: Photo) -> Image | PhotoError:
    try:
        return read_photo(photo)
    except PhotoError as error:
        return error
