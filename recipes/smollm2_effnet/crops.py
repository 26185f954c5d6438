"""Crops around single objects of a photo, and plain captions of them."""

from __future__ import annotations

import random

from choices import seeded
from coco import Photo
from object_captions import pair_captions, person_captions
from object_words import ACTIONS, FOODS, LONE, SALIENCE, SYNONYMS, TELLING, one
from rows import Row, finish, make_row

CROPS_PER_PHOTO = 8
MIN_CROP_SHARE = 0.025


def crop_rows(photo: Photo) -> list[Row]:
    """One row for each large box of the photo, cropped with a margin, largest first."""
    rows: list[Row] = []
    whole = photo.width * photo.height
    boxes = [b for b in photo.boxes if not b.crowd and b.size >= MIN_CROP_SHARE * whole]
    boxes.sort(key=lambda box: (-box.size, box.id))
    for box in boxes[:CROPS_PER_PHOTO]:
        chance = seeded(f"crop {box.id}")
        pad = 0.15 + 0.25 * chance.random()
        width, height = box.right - box.left, box.bottom - box.top
        crop = [
            max(int(box.left - pad * width / 2), 0),
            max(int(box.top - pad * height / 2), 0),
            min(int(box.right + pad * width / 2 + 1), photo.width),
            min(int(box.bottom + pad * height / 2 + 1), photo.height),
        ]
        if min(crop[2] - crop[0], crop[3] - crop[1]) < 24:
            continue
        others = {
            other.category: other.overlap(box) / box.size
            for other in sorted(photo.boxes, key=lambda b: b.overlap(box))
            if other.category != box.category and not other.crowd
        }
        captions = crop_captions(box.category, others, chance)
        rows.append(make_row(photo.file, "coco_crop", f"{photo.name}/{box.id}", captions, crop))
    return [row for row in rows if row["captions"]]


def crop_captions(category: str, others: dict[str, float], chance: random.Random) -> list[str]:
    """Captions of a crop around one object; `others` maps a category to how much it covers."""
    near = sorted(
        (name for name, cover in others.items() if cover > 0.2 and name != "person"),
        key=lambda name: -others[name] * SALIENCE.get(name, 1.0),
    )
    if category == "person":
        lines = person_captions(1, None, False, chance)
        partner = next((n for n, c in others.items() if n in TELLING and c > 0.02), None)
        partner = partner or (near[0] if near else None)
        if partner in ACTIONS:
            lines += person_captions(1, partner, True, chance)[:4]
        return finish(lines)
    plain = one(category)
    lines = [plain, plain, *SYNONYMS.get(category, [])[:1]]
    lines += [form.format(plain) for form in LONE.get(category, [])[:1]]
    if others.get("person", 0.0) > 0.35:
        subject = chance.choice(["a man", "a man", "a woman"])
        verbs = ACTIONS.get(category, ([f"with {plain}"], []))[0]
        # What fills such a crop is the person.
        return finish([plain, *(f"{subject} {verb}" for verb in verbs), subject])
    if category == "dining table" and set(others) & (FOODS | {"bowl"}):
        return finish([plain, "a table with food", "a plate of food on a table"])
    if near and SALIENCE.get(near[0], 1.0) >= SALIENCE.get(category, 1.0) * 4:
        # A cat on a chair: people would name the cat.
        return finish([*pair_captions(near[0], 1, category, 1), one(near[0]), plain])
    if near:
        lines += pair_captions(category, 1, near[0], 1)[:1]
    return finish(lines)
