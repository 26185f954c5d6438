"""Which train photos are never trained on, and what each part of them is for.

A photo's part follows from the SHA-256 of its file name alone, so the parts are disjoint, the same
in every run, and do not change when another source is added or missing.
"""

from __future__ import annotations

from pathlib import Path

from choices import digest

PARTS = {
    "choice": "the held-out loss of training and every choice of the recipe",
    "trust": "calibration of the trust line: these photos set its bins",
    "trust_check": "verification of the trust line: these set no bin",
    "reference": "reference means and deviations",
    "partners": "partner photos and control photos",
    "lens": "training of the lens",
}
# Shares in thousandths, in the order of PARTS; the rest is trained on. Photos with five captions
# calibrate, for one caption says little about whether another noun is wrong.
SHARES = {
    "coco": (200, 250, 200, 0, 0, 0),
    "coco_tiny": (200, 250, 200, 0, 0, 0),
    "coco_1cap": (60, 0, 0, 100, 80, 20),
    "flickr8k": (25, 45, 35, 35, 25, 10),
    "imagenet": (0, 0, 0, 80, 80, 0),
}


def part_of(source: str, file: str | Path) -> str | None:
    """The part a photo belongs to by its name; None if it is trained on."""
    place = int(digest(Path(file).name)[:12], 16) / 16**12 * 1000
    for part, share in zip(PARTS, SHARES[source], strict=True):
        if place < share:
            return part
        place -= share
    return None
