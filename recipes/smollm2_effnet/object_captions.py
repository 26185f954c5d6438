"""Plain captions of a whole photo, made from the boxes around its objects."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from choices import seeded
from coco import Box, Photo
from object_words import (
    ACTIONS,
    ANIMALS,
    FOODS,
    LONE,
    PLAYERS,
    REST_ON,
    SALIENCE,
    SYNONYMS,
    TABLEWARE,
    TELLING,
    counted,
    one,
)
from rows import finish


def people_phrases(count: int) -> list[tuple[str, bool]]:
    """Subjects for `count` large persons, each with whether it is plural; repeats are weights."""
    if count == 1:
        single = ["a man", "a man", "a man", "a woman", "a person"]
        return [(phrase, False) for phrase in single]
    if count == 2:
        return [(p, True) for p in ("two people", "two men", "a man and a woman", "two people")]
    if count == 3:
        return [(p, True) for p in ("three people", "a group of people", "three men", "people")]
    if count >= 10:
        crowd = ("a group of people", "a crowd of people", "people", "a large group of people")
        return [(p, True) for p in crowd]
    return [(p, True) for p in ("a group of people", "a group of people", "people")]


def person_captions(
    count: int, category: str | None, touching: bool, chance: random.Random
) -> list[str]:
    """Captions for people and one object, or people alone where `category` is None."""
    lines: list[str] = []
    for index, (subject, plural) in enumerate(people_phrases(count)):
        if category is None:
            lines.append(subject)
            continue
        if category in ACTIONS and (touching or category in TELLING):
            verbs = ACTIONS[category][1 if plural else 0]
            verb = verbs[index % len(verbs)]
            if subject == "a woman":
                verb = verb.replace("his teeth", "her teeth")
            lines.append(f"{subject} {verb}")
        else:
            joint = chance.choice(["with", "next to", "and"])
            lines.append(f"{subject} {joint} {one(category)}")
    if count == 1 and category in PLAYERS:
        lines += PLAYERS[category]
    return lines


def pair_captions(first: str, first_count: int, second: str, second_count: int) -> list[str]:
    """Captions for two objects, neither of them a person."""
    subject = counted(first, first_count)[0]
    other = counted(second, second_count)[0]
    if first in {"cat", "dog", "bird", "teddy bear", "bear"} and second in REST_ON:
        verb = "sitting on" if first in {"bird", "teddy bear", "bear"} else REST_ON[second]
        return [f"{subject} {verb} {one(second)}", f"{subject} on {one(second)}"]
    if first == "dog" and second == "frisbee":
        return [f"{subject} catching a frisbee", f"{subject} with a frisbee"]
    if second == "dining table":
        lines = [f"{subject} on a table"]
        return [*lines, f"{subject} on a plate"] if first in FOODS else lines
    if first == "vase" and second == "potted plant":
        return ["a vase of flowers", "a vase with flowers in it"]
    if first in FOODS and second in FOODS:
        return ["a plate of food", f"a plate with {subject} and {other}", f"{subject} and {other}"]
    if first in FOODS and second in TABLEWARE:
        return [f"{subject} on a plate", f"{subject} and {other}"]
    if first == "dining table" and second in FOODS | TABLEWARE:
        return ["a table with food", "a plate of food on a table", f"a table with {other}"]
    if first in ANIMALS and second in ANIMALS:
        return [f"{subject} and {other}", f"{subject} next to {other}"]
    if first == "boat" or first == "airplane":
        return [f"{subject} and {other}"]
    return [f"{subject} next to {other}", f"{subject} and {other}"]


def listed(names: Sequence[str]) -> str:
    """At most two objects joined by "and"."""
    return " and ".join(one(name) for name in names[:2])


def scene_captions(share: dict[str, float], counts: Counter[str]) -> list[str]:
    """Captions that name the room or place, where the objects tell it."""
    here = [name for name, _ in sorted(share.items(), key=lambda item: -item[1])]
    lines: list[str] = []

    def among(*names: str) -> list[str]:
        return [name for name in here if name in names]

    kitchen = among("oven", "refrigerator", "microwave", "toaster")
    if share.get("toilet", 0) > 0.02 or (
        "sink" in share and not kitchen and among("toothbrush", "hair drier", "toilet")
    ):
        fixtures = among("toilet", "sink")
        lines += [f"a bathroom with {listed(fixtures)}", "a bathroom"]
        if "toilet" in share:
            lines.append("a toilet in a bathroom")
    elif kitchen and (len(kitchen) > 1 or "sink" in share or share[kitchen[0]] > 0.03):
        fixtures = among("oven", "refrigerator", "microwave", "sink")
        if fixtures:
            lines += [f"a kitchen with {listed(fixtures)}", "a kitchen"]
            if share[fixtures[0]] > 0.15:
                lines += [f"{one(fixtures[0])} in a kitchen"] * 2
    elif share.get("bed", 0) > 0.08:
        lines += ["a bedroom with a bed", "a bed in a bedroom", "a bed"]
    elif among("couch", "tv") and len(among("couch", "tv", "chair", "potted plant")) > 1:
        lines += [f"a living room with {listed(among('couch', 'tv'))}", "a living room"]
    elif among("laptop", "keyboard") and not among("cat", "dog"):
        if "laptop" in share:
            lines += ["a laptop on a desk", "a laptop computer on a desk", "a laptop"]
        lines += ["a desk with a computer", "a computer on a desk"]
    elif counts["dining table"] and len(among(*FOODS)) > 1:
        lines += ["a plate of food on a table", "a table with food", "a plate of food"]
    elif counts["dining table"] and among(*(TABLEWARE - {"bottle"})) and not among(*FOODS):
        lines += ["a table with food", "a plate of food on a table", "a table"]
    elif counts["dining table"] and counts["chair"] > 2:
        lines += ["a dining room with a table and chairs", "a table and chairs", "a table"]
    elif counts["car"] + counts["truck"] >= 3 and not among("train", "airplane", "bus", "boat"):
        lines += ["a street with cars", "a city street with cars", "cars on a street"]
    return lines


class Objects:
    """What the boxes of a photo say of it: how large, how many and how striking its objects are.

    Attributes:
        share: of the photo that the objects of each category take.
        weight: the same, as much as they draw the caption to themselves.
        things: categories but persons, the weightiest first.
        persons: their boxes, the largest first.
        biggest: the share of the largest person that is not a crowd.
        people_lead: whether a caption would begin with the people.
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = boxes
        self.share: dict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()
        for box in boxes:
            self.share[box.category] += box.share
            self.counts[box.category] += number_in(box)
        self.weight = {name: a * SALIENCE.get(name, 1.0) for name, a in self.share.items()}
        order = sorted(self.weight, key=lambda name: (-self.weight[name], name))
        self.things = [name for name in order if name != "person"]
        self.telling = [name for name in self.things if name in TELLING]
        self.persons = sorted((b for b in boxes if b.category == "person"), key=lambda b: -b.share)
        self.biggest = max((p.share for p in self.persons if not p.crowd), default=0.0)
        self.people_lead = bool(self.persons) and bool(
            order[0] == "person"
            or self.biggest > 0.06
            or (self.telling and self.telling[0] in self.things[:3])
        )


def number_in(box: Box) -> int:
    """How many objects a box stands for."""
    return 5 if box.crowd else 1


def whole_captions(photo: Photo) -> list[str]:
    """Captions of a whole photo from its boxes, main objects first; empty without boxes."""
    if not photo.boxes:
        return []
    seen = Objects(photo.boxes)
    if seen.people_lead:
        return finish(led_by_people(seen, seeded(photo.name))[:9])
    lone = seen.things[0]
    scene = scene_captions(seen.share, seen.counts)
    # A big animal, vehicle or toy in a room is what people name, not the room.
    if scene and (lone not in ANIMALS | {"teddy bear"} or seen.weight[lone] < 0.05):
        if seen.weight[lone] > 0.2 and lone not in {"dining table", "chair", "couch", "bed"}:
            scene += counted(lone, seen.counts[lone])[:1]
        return finish(scene)
    return finish(led_by_thing(seen, lone))


def led_by_people(seen: Objects, chance: random.Random) -> list[str]:
    """What the large persons do with the objects near them."""
    large = [p for p in seen.persons if p.crowd or p.share >= max(0.25 * seen.biggest, 0.002)]
    count = sum(map(number_in, large))
    partners: list[tuple[str, bool]] = []
    for name in seen.telling + [name for name in seen.things if name not in TELLING]:
        near = any(
            p.overlap(b) > 0.1 * min(p.size, b.size)
            for p in large
            for b in seen.boxes
            if b.category == name
        )
        if name in TELLING or (near and seen.weight[name] > 0.003):
            partners.append((name, near))
    if partners:
        lines = person_captions(count, *partners[0], chance)
        if partners[0][0] not in TELLING:
            lines += person_captions(count, None, False, chance)[:3:2]
        if len(partners) > 1:
            lines += person_captions(count, *partners[1], chance)[:1]
    else:
        lines = person_captions(count, None, False, chance)
    if seen.things and seen.weight[seen.things[0]] > seen.weight["person"]:
        lines += counted(seen.things[0], seen.counts[seen.things[0]])[:1]
    return lines


def led_by_thing(seen: Objects, lone: str) -> list[str]:
    """The weightiest object, where it usually is, and what is beside it."""
    alike = [box for box in seen.boxes if box.category == lone]
    big = max(box.share for box in alike)
    count = sum(number_in(box) for box in alike if box.share >= 0.12 * big)
    subjects = counted(lone, count)
    lines = subjects[:2]
    forms = LONE.get(lone, [])
    if lone == "clock" and set(seen.things) & {"car", "bus", "truck", "traffic light", "boat"}:
        forms = ["{} on a building", "{} on a tower"]
    lines += [form.format(subjects[0]) for form in forms]
    if count == 1:
        lines += SYNONYMS.get(lone, [])[:1]
    least = 0.15 * seen.weight[lone]
    second = next((n for n in seen.things[1:] if seen.weight[n] > least or n == "frisbee"), None)
    if second:
        lines += pair_captions(lone, count, second, seen.counts[second])
    if seen.persons and seen.biggest > 0.01 and lone not in {"car", "chair", "dining table"}:
        company = "people" if len(seen.persons) > 1 else "a man"
        lines.append(f"{subjects[0]} with {company}")
    return lines
