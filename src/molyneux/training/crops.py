"""What is seen of a photo: itself or a crop of it, and random views of that."""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image

from molyneux.errors import PhotoError
from molyneux.training.examples import Example

Box = tuple[int, int, int, int]


def views_of(
    example: Example, photo: Image.Image, numbers: Sequence[int], seed: int
) -> list[Image.Image]:
    """Return some views of an example: 0 is the photo (or its crop) as it is, others are random.

    A view depends on its number, the example and the seed alone, not on which others are made.

    Raises:
        PhotoError: the crop is not inside the photo.
    """
    if example.crop is not None:
        left, top, right, bottom = example.crop
        if not (0 <= left < right <= photo.width and 0 <= top < bottom <= photo.height):
            raise PhotoError(
                f"{example.id}: the crop {example.crop} is not inside its {photo.width} x "
                f"{photo.height} pixels; give left, top, right, bottom"
            )
        photo = photo.crop(example.crop)
    rng = random.Random(f"{seed} {example.name} {example.crop}")
    looks = [draw_look(photo.size, rng) for _ in range(max(numbers))]
    return [photo if number == 0 else _look(photo, *looks[number - 1]) for number in numbers]


def draw_look(size: tuple[int, int], rng: random.Random) -> tuple[Box | None, bool]:
    """Return a random box and whether it is mirrored, which it is half the time.

    The box has 60 to 100 % of the area, aspect 3:4 to 4:3; None where none such fits.
    """
    width, height = size
    box = None
    for _ in range(10):
        area = width * height * rng.uniform(0.6, 1.0)
        aspect = rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w <= width and h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            box = (left, top, left + w, top + h)
            break
    return box, rng.random() < 0.5


def _look(photo: Image.Image, box: Box | None, mirrored: bool) -> Image.Image:
    if box is not None:
        photo = photo.crop(box)
    return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else photo
