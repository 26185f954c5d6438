"""The classes of E5 and their photos: one half to find units on, the other to confirm them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from molyneux.errors import UsageError


@dataclass(frozen=True)
class ClassSplit:
    """Photos of some classes in two halves that share no photo.

    Attributes:
        classes: in alphabetical order.
        discover: ids of the photos that units are found on, class by class.
        confirm: ids of the photos that they are confirmed on, as many of each class.
    """

    classes: list[str]
    discover: list[str]
    confirm: list[str]


def choose_classes(
    labels_by_id: Sequence[tuple[str, str]],
    classes: int | tuple[str, ...],
    per_class: int,
    seed: int,
) -> ClassSplit:
    """Return classes drawn at random or named, with `per_class // 2` photos in each half.

    Classes are drawn among those with `per_class` photos or more. Both classes and photos are
    taken in the order of a hash of the seed and their name, so that neither the order of the
    data set nor its other photos change a draw.

    Args:
        labels_by_id: (id, label) of every photo that has a label.

    Raises:
        UsageError: a class is unknown or has too few photos, or there are too few classes.
    """
    if per_class < 4:
        raise UsageError(
            f"{per_class} photos of each class are too few to find units on one half and confirm "
            "them on the other; take 4 or more"
        )
    photos: dict[str, list[str]] = {}
    for name, label in labels_by_id:
        photos.setdefault(label, []).append(name)
    if isinstance(classes, int):
        chosen = _drawn(photos, classes, per_class, seed)
    else:
        chosen = _named(photos, classes, per_class)
    half = per_class // 2
    discover, confirm = [], []
    for label in chosen:
        drawn = sorted(set(photos[label]), key=lambda name: _order(seed, name))
        discover += drawn[:half]
        confirm += drawn[half : 2 * half]
    return ClassSplit(chosen, discover, confirm)


def _drawn(photos: dict[str, list[str]], n: int, per_class: int, seed: int) -> list[str]:
    if n < 2:
        raise UsageError(f"{n} classes cannot be compared with each other; take 2 or more")
    large = [label for label, names in photos.items() if len(set(names)) >= per_class]
    if len(large) < n:
        most = max((len(set(names)) for names in photos.values()), default=0)
        raise UsageError(
            f"{len(large)} of the {len(photos)} classes of this data set have {per_class} photos "
            f"or more (the largest has {most}), and {n} are needed; take fewer classes, or fewer "
            "photos of each"
        )
    return sorted(sorted(large, key=lambda label: _order(seed, label))[:n])


def _named(photos: dict[str, list[str]], names: tuple[str, ...], per_class: int) -> list[str]:
    chosen = sorted(set(names))
    if len(chosen) < 2:
        raise UsageError("one class cannot be compared with others; name 2 or more")
    by_lower = {label.lower(): label for label in photos}
    for name in chosen:
        if name not in photos:
            close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.4)
            near = [by_lower[label] for label in close]
            some = ", ".join(sorted(photos)[:5])
            hint = f"did you mean {' or '.join(near)}?" if near else f"its first ones are: {some}"
            raise UsageError(f"there is no class {name!r} in this data set; {hint}")
        found = len(set(photos[name]))
        if found < per_class:
            raise UsageError(
                f"class {name!r} has {found} photos and {per_class} are needed; take another "
                "class, or fewer photos of each"
            )
    return chosen


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
