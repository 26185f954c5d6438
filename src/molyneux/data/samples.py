"""The sample photos of the demo: they come inside scikit-image, so no download is needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from molyneux.errors import PhotoError

_FILES = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
}

CREDITS: dict[str, str] = {
    "astronaut": "Astronaut Eileen Collins. NASA Great Images database (flic.kr/p/r9qvLn); "
    "no known copyright restrictions, released into the public domain.",
    "chelsea": "Chelsea the cat. Stefan van der Walt; CC0.",
    "coffee": "A cup of coffee. Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0.",
    "rocket": "Falcon 9 carrying DSCOVR on its launch pad at Cape Canaveral. SpaceX Photos "
    "(flickr.com/photos/spacexphotos/16511594820); released into the public domain.",
    "motorcycle": "Motorcycle, left view at a quarter of its size. Middlebury 2014 stereo "
    "benchmark, N. Nesic, P. Westling, X. Wang, Y. Kitajima, G. Krathwohl and D. Scharstein "
    "(Scharstein et al., GCPR 2014); no licence stated, cite the paper.",
}
"""Who took each sample photo and on what terms, after the docstrings of `skimage.data`."""


def sample_photos() -> dict[str, Path]:
    """Return the path of each sample photo by name, in the order the demo shows them.

    What they show: an astronaut, a cat (`chelsea`), a cup of coffee, a rocket, a motorcycle. They
    are the files installed with scikit-image, which is looked up and not imported; credits are in
    `CREDITS`.

    Raises:
        PhotoError: scikit-image is not installed, or came without one of the files.
    """
    found = importlib.util.find_spec("skimage")
    folders = list(found.submodule_search_locations or []) if found else []
    photos = {}
    for name, file in _FILES.items():
        places = [Path(folder, "data", file) for folder in folders]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise PhotoError(
                f"no sample photo {name}: {file} is not in the installed scikit-image; "
                "run `pip install --force-reinstall scikit-image` or name a photo of your own"
            )
        photos[name] = place
    return photos
