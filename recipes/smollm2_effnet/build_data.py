"""Build the caption list that the projection of the default preset is trained on.

Four public sources of photos become rows of (photo, optional crop, captions that continue the
text "A picture of"):

- COCO train2017 photos: their human captions, plain captions made from their object boxes, and
  crops around single boxes. Photos of val2017 are dropped while the annotation files are read,
  before anything is chosen: they are for measuring only.
- an ImageNet sample and Tiny ImageNet: the everyday words of `nouns.tsv` for each class.
- the Tux Paint stamps (Debian `tuxpaint-stamps-default`): drawings and cut-outs with one English
  sentence each, pasted on soft colour gradients.

Written: `captions.jsonl` (to train on), `held_out.jsonl` (never trained on),
`reference.txt` (the photos of the reference table), `sets.json` (counts
and the file names set aside) and `stamps/*.png`. Which photos are set aside, and every choice a
template makes, follows from SHA-256 digests, so two runs write the same files. Photos are
referenced by path, never copied.

    python recipes/smollm2_effnet/build_data.py --coco DIR --imagenet DIR --tiny DIR \
        --stamps DIR --out DIR
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

SOURCE_SHARE = {
    "coco_captioned": 0.20,
    "coco_boxes": 0.20,
    "coco_crop": 0.22,
    "imagenet": 0.20,
    "tiny": 0.13,
    "stamp": 0.05,
}
MAX_WORDS = 12
TINY_SET_ASIDE = 20
TINY_PER_CLASS = 12  # more are hardly drawn, and each costs the encoder a pass
IMAGENET_SET_ASIDE = 200
COCO_CAPTIONED_SET_ASIDE = 16
COCO_OTHER_SET_ASIDE = 24
CROPS_PER_PHOTO = 8
MIN_CROP_SHARE = 0.025
STAMP_SIDE = 256

Row = dict[str, Any]

# ---------------------------------------------------------------- words for COCO's categories

SINGULAR = {
    "airplane": "plane",
    "potted plant": "plant",
    "dining table": "table",
    "sports ball": "ball",
    "cell phone": "phone",
    "hair drier": "hair dryer",
    "remote": "remote control",
    "mouse": "computer mouse",
    "oven": "stove",
    "handbag": "bag",
}
PLURAL = {
    "person": "people",
    "bus": "buses",
    "sheep": "sheep",
    "knife": "knives",
    "sandwich": "sandwiches",
    "bench": "benches",
    "couch": "couches",
    "skis": "skis",
    "scissors": "scissors",
    "toothbrush": "toothbrushes",
    "wine glass": "wine glasses",
    "computer mouse": "computer mice",
    "broccoli": "broccoli",
}
MASS = {"skis": "skis", "scissors": "a pair of scissors", "broccoli": "broccoli"}
HERD = {"sheep", "cow", "elephant", "zebra", "giraffe", "horse"}
ANIMALS = HERD | {"bird", "cat", "dog", "bear"}
FOODS = {
    "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut",
    "cake",
}  # fmt: skip
TABLEWARE = {"bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"}
# How much more (or less) than its area an object draws the caption to itself.
SALIENCE = dict.fromkeys(ANIMALS, 5.0) | {
    "potted plant": 0.4,
    "person": 2.5,
    "dining table": 0.15,
    "chair": 0.2,
    "bed": 0.6,
    "couch": 0.4,
    "car": 0.6,
    "book": 0.3,
    "handbag": 0.3,
    "backpack": 0.4,
    "tie": 0.5,
    "truck": 0.8,
    "teddy bear": 3.0,
    "toilet": 3.0,
    "pizza": 3.0,
    "cake": 2.5,
    "stop sign": 5.0,
    "fire hydrant": 4.0,
    "parking meter": 3.0,
    "traffic light": 3.0,
    "clock": 4.0,
    "vase": 2.0,
    "kite": 4.0,
    "umbrella": 1.5,
    "laptop": 2.0,
    "train": 2.0,
    "bus": 2.0,
    "airplane": 4.0,
    "boat": 1.5,
    "motorcycle": 2.0,
    "bicycle": 1.5,
}
# What a lone object is usually doing in COCO's captions; `{}` is the counted noun.
LONE = {
    "airplane": ["{} in the sky", "{} at an airport"],
    "train": ["{} on the tracks", "{} at a station"],
    "bus": ["{} on the street", "{} driving down the street"],
    "truck": ["{} on the road", "{} parked on the street"],
    "car": ["{} parked on the street", "{} on the road"],
    "motorcycle": ["{} parked on the street"],
    "bicycle": ["{} parked on the sidewalk"],
    "boat": ["{} in the water", "{} on the water"],
    "bird": ["{} on a branch", "{} standing outside"],
    "cat": ["{} laying down", "{} looking at the camera"],
    "dog": ["{} laying down", "{} looking at the camera"],
    "horse": ["{} standing in a field"],
    "sheep": ["{} in a field", "{} grazing in a field"],
    "cow": ["{} in a field", "{} standing in a field"],
    "elephant": ["{} standing in the grass", "{} walking"],
    "bear": ["{} walking in the grass"],
    "zebra": ["{} standing in a field"],
    "giraffe": ["{} standing in a field", "{} next to trees"],
    "bench": ["{} in a park"],
    "fire hydrant": ["{} on the sidewalk"],
    "stop sign": ["{} on a pole", "{} on a street"],
    "traffic light": ["{} on a pole", "{} on a street"],
    "parking meter": ["{} on the sidewalk"],
    "kite": ["{} in the sky", "{} flying in the sky"],
    "clock": ["{} on a wall"],
    "vase": ["{} on a table", "{} with flowers"],
    "bed": ["{} in a bedroom"],
    "couch": ["{} in a living room"],
    "toilet": ["{} in a bathroom"],
    "sink": ["{} in a bathroom"],
    "refrigerator": ["{} in a kitchen"],
    "oven": ["{} in a kitchen"],
    "microwave": ["{} in a kitchen"],
    "pizza": ["{} on a plate", "{} on a table"],
    "cake": ["{} on a plate", "{} on a table"],
    "sandwich": ["{} on a plate"],
    "hot dog": ["{} on a plate"],
    "donut": ["{} on a plate"],
    "laptop": ["{} on a desk"],
    "tv": ["{} in a living room"],
    "umbrella": [],
    "teddy bear": ["{} sitting down"],
    "scissors": ["{} on a table"],
    "book": ["{} on a table"],
    "bowl": ["{} with food"],
    "cup": ["{} on a table"],
}
# Other plain names of one object, after its first one.
SYNONYMS = {
    "airplane": ["an airplane"],
    "tv": ["a television"],
    "oven": ["an oven"],
    "cell phone": ["a cell phone"],
    "potted plant": ["a potted plant"],
    "couch": ["a sofa"],
    "bowl": ["a bowl of food"],
    "cup": ["a cup of coffee"],
    "cake": ["a piece of cake"],
    "pizza": ["a slice of pizza"],
    "banana": ["bananas"],
    "broccoli": ["a plate of broccoli"],
    "vase": ["a vase of flowers"],
    "laptop": ["a laptop computer"],
    "bicycle": ["a bike"],
    "teddy bear": ["a stuffed bear"],
    "skis": ["a pair of skis"],
    "handbag": ["a purse"],
    "wine glass": ["a glass of wine"],
    "traffic light": ["a street light"],
    "stop sign": ["a red stop sign"],
    "bus": ["a city bus"],
}
# What people do with an object: for one person, for several.
ACTIONS: dict[str, tuple[list[str], list[str]]] = {
    "surfboard": (
        ["riding a wave on a surfboard", "surfing", "with a surfboard"],
        ["with surfboards", "surfing"],
    ),
    "skateboard": (["riding a skateboard", "doing a trick on a skateboard"], ["skateboarding"]),
    "tennis racket": (["playing tennis", "holding a tennis racket"], ["playing tennis"]),
    "horse": (["riding a horse", "on a horse"], ["riding horses", "on horses"]),
    "elephant": (["riding an elephant", "next to an elephant"], ["riding elephants"]),
    "baseball bat": (["swinging a baseball bat", "playing baseball"], ["playing baseball"]),
    "baseball glove": (["playing baseball"], ["playing baseball"]),
    "skis": (["skiing", "on skis in the snow"], ["skiing", "on skis in the snow"]),
    "snowboard": (["riding a snowboard", "snowboarding"], ["on snowboards", "snowboarding"]),
    "frisbee": (["playing frisbee", "throwing a frisbee"], ["playing frisbee"]),
    "kite": (["flying a kite"], ["flying kites", "flying a kite"]),
    "motorcycle": (["riding a motorcycle", "on a motorcycle"], ["on motorcycles"]),
    "bicycle": (["riding a bike", "on a bicycle"], ["riding bikes"]),
    "cell phone": (["talking on a cell phone", "holding a phone"], ["looking at phones"]),
    "umbrella": (["holding an umbrella", "with an umbrella"], ["with umbrellas"]),
    "pizza": (["eating pizza", "with a pizza"], ["eating pizza"]),
    "cake": (["eating cake", "with a cake"], ["with a cake"]),
    "sandwich": (["eating a sandwich"], ["eating sandwiches"]),
    "hot dog": (["eating a hot dog"], ["eating hot dogs"]),
    "donut": (["eating a donut"], ["eating donuts"]),
    "banana": (["eating a banana", "with bananas"], ["with bananas"]),
    "apple": (["with an apple"], ["with apples"]),
    "orange": (["with oranges"], ["with oranges"]),
    "laptop": (["using a laptop", "with a laptop"], ["with laptops"]),
    "tie": (["in a suit and tie", "wearing a tie"], ["in suits and ties"]),
    "toothbrush": (["brushing his teeth"], ["brushing teeth"]),
    "wine glass": (["with a glass of wine"], ["drinking wine"]),
    "cup": (["with a cup"], ["at a table"]),
    "bottle": (["with a bottle"], ["with bottles"]),
    "remote": (["playing a video game"], ["playing a video game"]),
    "tv": (["in front of a tv"], ["in front of a tv"]),
    "couch": (["sitting on a couch"], ["sitting on a couch"]),
    "chair": (["sitting in a chair"], ["sitting in chairs"]),
    "bench": (["sitting on a bench"], ["sitting on a bench"]),
    "bed": (["laying on a bed", "sitting on a bed"], ["on a bed"]),
    "dining table": (["sitting at a table"], ["sitting at a table"]),
    "train": (["next to a train"], ["next to a train"]),
    "bus": (["next to a bus"], ["next to a bus"]),
    "boat": (["in a boat"], ["in a boat"]),
    "dog": (["with a dog"], ["with a dog"]),
    "cat": (["with a cat"], ["with a cat"]),
    "suitcase": (["with a suitcase"], ["with luggage"]),
    "handbag": (["with a bag"], ["walking"]),
    "backpack": (["with a backpack"], ["with backpacks"]),
    "sports ball": (["playing with a ball"], ["playing with a ball"]),
    "oven": (["in a kitchen", "cooking in a kitchen"], ["in a kitchen"]),
    "refrigerator": (["in a kitchen"], ["in a kitchen"]),
    "microwave": (["in a kitchen"], ["in a kitchen"]),
    "teddy bear": (["with a teddy bear"], ["with teddy bears"]),
    "truck": (["next to a truck"], ["next to a truck"]),
    "car": (["next to a car"], ["next to a car"]),
    "book": (["with a book"], ["with books"]),
    "scissors": (["holding scissors"], ["with scissors"]),
    "bowl": (["with a bowl of food"], ["with food"]),
    "knife": (["cutting food with a knife"], ["preparing food"]),
    "fork": (["eating food"], ["eating food"]),
    "spoon": (["eating food"], ["eating food"]),
    "bird": (["with a bird"], ["with birds"]),
    "cow": (["with a cow"], ["with cows"]),
    "sheep": (["with a sheep"], ["with sheep"]),
    "fire hydrant": (["next to a fire hydrant"], ["next to a fire hydrant"]),
    "parking meter": (["next to a parking meter"], ["next to a parking meter"]),
    "stop sign": (["next to a stop sign"], ["next to a stop sign"]),
    "traffic light": (["crossing the street"], ["crossing the street"]),
    "sink": (["at a sink"], ["at a sink"]),
    "vase": (["with a vase of flowers"], ["with flowers"]),
}
# An action of these is certain from the object being in the photo, however small it is.
TELLING = {
    "surfboard", "skateboard", "tennis racket", "baseball bat", "baseball glove", "skis",
    "snowboard", "frisbee", "kite",
}  # fmt: skip
PLAYERS = {
    "tennis racket": ["a tennis player", "a tennis player on a court"],
    "baseball bat": ["a baseball player swinging a bat", "a baseball player"],
    "baseball glove": ["a baseball player", "a baseball player on a field"],
    "surfboard": ["a surfer on a wave", "a person riding a surfboard"],
    "skis": ["a skier in the snow"],
    "snowboard": ["a snowboarder in the snow"],
    "skateboard": ["a skateboarder doing a trick", "a boy riding a skateboard"],
}
REST_ON = {"couch": "laying on", "bed": "laying on", "chair": "sitting in", "bench": "sitting on"}
NUMBERS = {2: "two", 3: "three", 4: "four"}


def with_article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def one(category: str) -> str:
    """The plain phrase for a single object of a COCO category: "a plane", "skis"."""
    return MASS.get(category) or with_article(SINGULAR.get(category, category))


def many(category: str) -> str:
    """The plural noun of a COCO category, without a number."""
    noun = SINGULAR.get(category, category)
    return PLURAL.get(noun, noun + "s")


def counted(category: str, count: int) -> list[str]:
    """Phrases for `count` objects of a category, the commonest first."""
    if count <= 1 or category in MASS:
        return [one(category)]
    plural = many(category)
    if category in HERD and count >= 4:
        return [f"a herd of {plural}", f"a group of {plural}", plural]
    if category == "banana":
        return ["a bunch of bananas", "bananas"]
    if count in NUMBERS:
        phrases = [f"{NUMBERS[count]} {plural}"]
        return phrases if count == 4 else [*phrases, plural]
    return [f"a group of {plural}" if category in ANIMALS else plural, f"many {plural}"]


# ---------------------------------------------------------------------- digests and choices


def digest(text: str) -> str:
    """The SHA-256 of a text, as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def lowest(names: Iterable[str], count: int) -> set[str]:
    """The `count` names whose base names have the lowest digests."""
    return set(sorted(names, key=lambda name: (digest(Path(name).name), name))[:count])


def seeded(text: str) -> random.Random:
    """A random generator that depends on the text only."""
    return random.Random(int(digest(text)[:16], 16))


def finish(phrases: Iterable[str]) -> list[str]:
    """The phrases as captions: a final full stop, at most MAX_WORDS words, repeats kept."""
    return [f"{p}." for p in phrases if 0 < len(p.split()) <= MAX_WORDS]


def number(value: object, default: float = 0.0) -> float:
    """A float from an annotation's field, which some subsets store as text."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default


# ----------------------------------------------------------------------------- COCO's photos


@dataclass(frozen=True)
class Box:
    """One object of a photo: corners in pixels of the stored file, area as a share of it."""

    id: str
    category: str
    left: float
    top: float
    right: float
    bottom: float
    share: float
    crowd: bool

    @property
    def size(self) -> float:
        """The area of the rectangle in pixels."""
        return max(self.right - self.left, 0.0) * max(self.bottom - self.top, 0.0)

    def overlap(self, other: Box) -> float:
        """The area in pixels that both rectangles cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


@dataclass
class Photo:
    """One COCO train photo with what is known about it."""

    name: str
    file: Path
    width: int
    height: int
    captions: list[str]
    boxes: list[Box]


def read_coco(folder: Path) -> list[Photo]:
    """The train2017 photos of a folder in COCO's layout, by file name.

    Annotations of every other split are dropped here, unread.
    """
    with (folder / "captions.json").open(encoding="utf-8") as stream:
        captions = json.load(stream)
    with (folder / "instances.json").open(encoding="utf-8") as stream:
        instances = json.load(stream)
    entries = {
        int(entry["id"]): entry
        for part in (captions, instances)
        for entry in part["images"]
        if str(entry.get("split")) == "train2017"
    }
    names = {int(entry["id"]): str(entry["name"]) for entry in instances["categories"]}
    photos: dict[int, Photo] = {}
    scales: dict[int, tuple[float, float]] = {}
    for key, entry in entries.items():
        file = folder / "images" / entry["file_name"]
        if not file.is_file():
            continue
        with Image.open(file) as image:
            width, height = image.size
        scales[key] = (
            width / number(entry.get("width"), width),
            height / number(entry.get("height"), height),
        )
        photos[key] = Photo(entry["file_name"], file.resolve(), width, height, [], [])
    for entry in captions["annotations"]:
        key = int(entry["image_id"])
        if key in photos:
            photos[key].captions.append(str(entry["caption"]))
    for entry in instances["annotations"]:
        key = int(entry["image_id"])
        if key not in photos:
            continue
        photo = photos[key]
        across, down = scales[key]
        x, y, w, h = (number(value) for value in entry["bbox"])
        left, right = max(x * across, 0.0), min((x + w) * across, float(photo.width))
        top, bottom = max(y * down, 0.0), min((y + h) * down, float(photo.height))
        area = number(entry.get("area"), w * h) * across * down
        photo.boxes.append(
            Box(
                id=str(entry["id"]),
                category=names[int(entry["category_id"])],
                left=left,
                top=top,
                right=right,
                bottom=bottom,
                share=area / (photo.width * photo.height),
                crowd=bool(int(number(entry.get("iscrowd")))),
            )
        )
    return sorted(photos.values(), key=lambda photo: photo.name)


OPENERS = re.compile(
    r"^(?:there (?:is|are)|this is|these are|here is|"
    r"(?:an? |the )?(?:very |blurry |black and white |digital |cartoon |animated |cgi )*"
    r"(?:close[- ]?up|picture|photo|photograph|image|aerial view|view|shot)"
    r"(?: picture| photo| shot| view| image)? of)\s+",
    re.IGNORECASE,
)
PROPER = {"Thai", "German", "Lego", "LEGO", "Serta", "Christmas", "Asian", "Chinese", "I", "London"}
TRAILING = {
    "a", "an", "the", "of", "with", "and", "in", "on", "at", "to", "his", "her", "its", "their",
    "by", "from", "for", "is", "are", "that", "while", "next", "some", "two", "it", "has", "or",
}  # fmt: skip
BARE = re.compile(r"^(?:young |old |little |small )?(?:man|woman|person|boy|girl|cat|dog|double)\b")


def clean_caption(text: str) -> str | None:
    """A human caption as a continuation of "A picture of", without the full stop.

    None for one that cannot continue it: a sentence about a pronoun, or of one word.
    """
    line = re.split(r"[.;!?](?:\s|$)", " ".join(text.split()))[0].strip(" .,;:\"'")
    if line.isupper():
        line = line.lower()
    while OPENERS.match(line):
        line = OPENERS.sub("", line, count=1).strip()
    words = line.split()
    if len(words) < 2 or words[0].lower() in {"she", "he", "they", "it", "i", "we", "you"}:
        return None
    if words[0] not in PROPER:
        line = line[0].lower() + line[1:]
    return f"a {line}" if BARE.match(line) else line


def shorten(line: str) -> str:
    """The line cut to MAX_WORDS words, and further until it does not end on a small word."""
    words = line.split()[:MAX_WORDS]
    while len(words) > 1 and words[-1].lower().strip(",") in TRAILING:
        words.pop()
    return " ".join(words).rstrip(",")


def human_captions(texts: Sequence[str]) -> list[str]:
    """The cleaned captions of one photo: those that fit, and cut ones where fewer than 3 do."""
    lines = [line for line in map(clean_caption, texts) if line]
    fitting = [line for line in lines if len(line.split()) <= MAX_WORDS]
    if len(fitting) < 3:
        fitting = [shorten(line) for line in lines]
    return finish(fitting)


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


def whole_captions(photo: Photo) -> list[str]:
    """Captions of a whole photo from its boxes, main objects first; empty without boxes."""
    share: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for box in photo.boxes:
        share[box.category] += box.share
        counts[box.category] += 5 if box.crowd else 1
    if not share:
        return []
    chance = seeded(photo.name)
    weight = {name: area * SALIENCE.get(name, 1.0) for name, area in share.items()}
    order = sorted(weight, key=lambda name: (-weight[name], name))
    things = [name for name in order if name != "person"]
    persons = sorted((b for b in photo.boxes if b.category == "person"), key=lambda b: -b.share)
    lines: list[str] = []

    biggest = max((p.share for p in persons if not p.crowd), default=0.0)
    telling = [name for name in things if name in TELLING]
    leads = bool(persons) and (
        order[0] == "person" or biggest > 0.06 or (telling and telling[0] in things[:3])
    )
    if leads:
        large = [p for p in persons if p.crowd or p.share >= max(0.25 * biggest, 0.002)]
        count = sum(5 if p.crowd else 1 for p in large)
        ranked = telling + [name for name in things if name not in telling]
        partners: list[tuple[str, bool]] = []
        for name in ranked:
            near = any(
                p.overlap(b) > 0.1 * min(p.size, b.size)
                for p in large
                for b in photo.boxes
                if b.category == name
            )
            if name in TELLING or (near and weight[name] > 0.003):
                partners.append((name, near))
        if partners:
            lines += person_captions(count, partners[0][0], partners[0][1], chance)
            if partners[0][0] not in TELLING:
                lines += person_captions(count, None, False, chance)[:3:2]
            if len(partners) > 1:
                extra = person_captions(count, partners[1][0], partners[1][1], chance)
                lines += extra[:1]
        else:
            lines += person_captions(count, None, False, chance)
        if things and weight[things[0]] > weight["person"]:
            lines += counted(things[0], counts[things[0]])[:1]
        return finish(lines[:9])

    lone = things[0]
    scene = scene_captions(share, counts)
    # A big animal, vehicle or toy in a room is what people name, not the room.
    if scene and (lone not in ANIMALS | {"teddy bear"} or weight[lone] < 0.05):
        lines += scene
        if weight[lone] > 0.2 and lone not in {"dining table", "chair", "couch", "bed"}:
            lines += counted(lone, counts[lone])[:1]
        return finish(lines)
    big = max(b.share for b in photo.boxes if b.category == lone)
    count = sum(
        5 if b.crowd else 1 for b in photo.boxes if b.category == lone and b.share >= 0.12 * big
    )
    subjects = counted(lone, count)
    lines += subjects[:2]
    forms = LONE.get(lone, [])
    if lone == "clock" and set(things) & {"car", "bus", "truck", "traffic light", "boat"}:
        forms = ["{} on a building", "{} on a tower"]
    lines += [form.format(subjects[0]) for form in forms]
    if count == 1:
        lines += SYNONYMS.get(lone, [])[:1]
    second = next(
        (n for n in things[1:] if weight[n] > 0.15 * weight[lone] or n == "frisbee"), None
    )
    if second:
        lines += pair_captions(lone, count, second, counts[second])
    if persons and biggest > 0.01 and lone not in {"car", "chair", "dining table"}:
        lines.append(
            f"{subjects[0]} with people" if len(persons) > 1 else f"{subjects[0]} with a man"
        )
    return finish(lines)


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
        rows.append(
            {
                "file": str(photo.file),
                "source": "coco_crop",
                "captions": crop_captions(box.category, others, chance),
                "crop": crop,
                "id": f"coco_crop/{photo.name}/{box.id}",
            }
        )
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


# ------------------------------------------------------------------------ ImageNet and stamps


def read_nouns(file: Path) -> dict[str, list[str]]:
    """The phrases of each WordNet id in nouns.tsv, the commonest first."""
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t")
        return {line["wnid"]: line["phrases"].split("|") for line in reader}


def noun_captions(phrases: Sequence[str]) -> list[str]:
    """The phrases as captions; the first, plainest one twice where there are others."""
    return finish([*phrases[:1], *phrases] if len(phrases) > 1 else phrases)


def labelled_rows(folder: Path, nouns: dict[str, list[str]], source: str) -> list[Row]:
    """One row for each photo of a folder with a labels.tsv (file, wnid, name)."""
    rows: list[Row] = []
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream, delimiter="\t"):
            file = (folder / "images" / line["file"]).resolve()
            if not file.is_file():
                continue
            rows.append(
                {
                    "file": str(file),
                    "source": source,
                    "captions": noun_captions(nouns[line["wnid"]]),
                    "crop": None,
                    "id": f"{source}/{line['file']}",
                    "wnid": line["wnid"],
                }
            )
    return rows


# Folders of stamps that show signs, abstract shapes, or what no photo shows.
STAMPS_SKIPPED = (
    "symbols", "town/flags", "town/roadsigns", "naturalforces", "military/ammunition", "space",
    "people/body_parts", "town/monuments",
)  # fmt: skip
STAMP_NOUNS = {
    "animals/birds": "a bird",
    "animals/fish": "a fish",
    "animals/insects": "a bug",
    "animals/lizards": "a lizard",
    "animals/mammals/apes": "a monkey",
    "animals/mammals/bears": "a bear",
    "animals/mammals/bovines/indian": "a deer",
    "animals/mammals/bovines": "a cow",
    "animals/mammals/cats": "a cat",
    "animals/mammals/deer": "a deer",
    "animals/mammals/dogs": "a dog",
    "food/dessert": "a cake",
    "food/fruit": "fruit",
    "food/pizza": "a pizza",
    "food/vegetables": "vegetables",
    "household/toilet": "a toilet",
    "military/vehicles": "a tank",
    "plants/flowers": "a flower",
    "plants/mushrooms": "a mushroom",
    "plants/trees": "a tree",
    "town/houses": "a building",
    "vehicles/auto/truck": "a truck",
    "vehicles/auto": "a car",
    "vehicles/construction": "a truck",
    "vehicles/emergency": "a truck",
    "vehicles/flight/planes": "a plane",
    "vehicles/locomotive": "a train",
    "vehicles/masstransit": "a bus",
    "vehicles/race": "a car",
    "vehicles/ship": "a boat",
}
# Stamps whose own word is the everyday one: the folder's word would be wrong or poorer.
STAMP_OWN_WORD = re.compile(
    r"\b(?:chicken|duck|gander|ostrich|owl|penguin|rooster|turkey|flamingo|goat|sheep|ram|lion|"
    r"tiger|fox|bison|gnu|teddy|lobster|seahorse|shrimp|slug|snail|spider|bee|"
    r"butterfly|dragonfly|ladybug|wings|pinecone|tractor|banana|apple|orange|pear|lemon|"
    r"strawberry|carrot|broccoli|raptor|tent|castle|farm|windmill|mermaid|snowman|"
    r"mouse|sign)\b",
    re.IGNORECASE,
)


def stamp_captions(place: str, sentence: str) -> list[str]:
    """Captions of a stamp from its folder and the first line of its text; may be empty."""
    line = re.sub(r"\s*\([^)]*\)", "", sentence).strip()
    line = re.sub(r"[“”\"]", "", re.split(r"[.!?;:—]", line)[0]).strip()
    own: list[str] = []
    simple = re.match(r"^(?:An?|Two|Some)\s", line) and len(line.split()) <= 7
    if simple and not re.search(
        r",|\b(?:is|are|lets|used|resembles|means|your|you|or|last|like)\b", line
    ):
        own = [line.lower().replace("an hippo", "a hippo")]
    folder = next((noun for key, noun in STAMP_NOUNS.items() if place.startswith(key)), None)
    if folder and not (own and STAMP_OWN_WORD.search(own[0])):
        own = [folder, folder, *own]
    return finish(own)


def stamp_rows(folder: Path, out: Path) -> list[Row]:
    """One row for each usable stamp, pasted on a soft gradient and written to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for file in sorted(folder.rglob("*.png")):
        text = file.with_suffix(".txt")
        place = file.relative_to(folder).with_suffix("").as_posix()
        if not text.is_file() or place.startswith(STAMPS_SKIPPED):
            continue
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        captions = stamp_captions(place, lines[0]) if lines else []
        if not captions:
            continue
        target = (out / f"{place.replace('/', '-')}.png").resolve()
        with Image.open(file) as image:
            paste_stamp(image.convert("RGBA"), seeded(place)).save(target)
        rows.append(
            {
                "file": str(target),
                "source": "stamp",
                "captions": captions,
                "crop": None,
                "id": f"stamp/{place}",
            }
        )
    return rows


def paste_stamp(stamp: Image.Image, chance: random.Random) -> Image.Image:
    """The stamp at a random scale and place on a gradient between two random soft colours."""
    colours = [tuple(chance.randint(60, 250) for _ in range(3)) for _ in range(2)]
    ramp = Image.linear_gradient("L").rotate(chance.choice([0, 90, 180, 270]))
    ramp = ramp.resize((STAMP_SIDE, STAMP_SIDE))
    canvas = Image.composite(
        Image.new("RGB", ramp.size, colours[0]), Image.new("RGB", ramp.size, colours[1]), ramp
    )
    bounds = stamp.getchannel("A").getbbox()
    if bounds:
        stamp = stamp.crop(bounds)
    factor = STAMP_SIDE * (0.5 + 0.45 * chance.random()) / max(stamp.size)
    size = (max(round(stamp.width * factor), 1), max(round(stamp.height * factor), 1))
    stamp = stamp.resize(size, Image.Resampling.LANCZOS)
    left = chance.randint(0, STAMP_SIDE - size[0])
    top = chance.randint(0, STAMP_SIDE - size[1])
    canvas.paste(stamp, (left, top), stamp)
    return canvas


# ------------------------------------------------------------------------------- the whole set


def coco_row(photo: Photo, source: str, captions: list[str]) -> Row:
    """A row for a whole COCO photo."""
    return {
        "file": str(photo.file),
        "source": source,
        "captions": captions,
        "crop": None,
        "id": f"{source}/{photo.name}",
    }


def weigh(rows: list[Row]) -> None:
    """Set each row's weight so that every source is drawn as often as SOURCE_SHARE says."""
    counts = Counter(row["source"] for row in rows)
    total = sum(SOURCE_SHARE[source] for source in counts)
    for row in rows:
        row["weight"] = SOURCE_SHARE[row["source"]] / counts[row["source"]] / total


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines, keys in one order."""
    keys = ("file", "source", "captions", "crop", "weight", "id")
    with file.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps({key: row[key] for key in keys}, ensure_ascii=False) + "\n")


def build(coco: Path, imagenet: Path, tiny: Path, stamps: Path, out: Path) -> dict[str, Any]:
    """Write the caption lists into `out`; returns what sets.json holds."""
    out.mkdir(parents=True, exist_ok=True)
    nouns = read_nouns(Path(__file__).with_name("nouns.tsv"))

    photos = read_coco(coco)
    captioned = lowest((p.name for p in photos if p.captions), COCO_CAPTIONED_SET_ASIDE)
    other = lowest((p.name for p in photos if not p.captions), COCO_OTHER_SET_ASIDE)
    rows: list[Row] = []
    held: list[Row] = []
    for photo in photos:
        aside = photo.name in captioned or photo.name in other
        target = held if aside else rows
        if photo.captions:
            target.append(coco_row(photo, "coco_captioned", human_captions(photo.captions)))
        if photo.boxes and not (aside and photo.captions):
            target.append(coco_row(photo, "coco_boxes", whole_captions(photo)))
        if not aside:
            rows += crop_rows(photo)

    sample = labelled_rows(imagenet, nouns, "imagenet")
    reference = lowest((row["file"] for row in sample), IMAGENET_SET_ASIDE)
    rows += [row for row in sample if row["file"] not in reference]

    small = labelled_rows(tiny, nouns, "tiny")
    classes: dict[str, list[str]] = defaultdict(list)
    for row in small:
        classes[row["wnid"]].append(row["file"])
    tiny_aside = {f for files in classes.values() for f in lowest(files, TINY_SET_ASIDE)}
    taken: Counter[str] = Counter()
    for row in small:
        if row["file"] not in tiny_aside and taken[row["wnid"]] < TINY_PER_CLASS:
            taken[row["wnid"]] += 1
            rows.append(row)

    rows += stamp_rows(stamps, out / "stamps")
    rows = [row for row in rows if row["captions"]]
    weigh(rows)
    for row in held:
        row["weight"] = 1.0 / len(held)
    write_rows(out / "captions.jsonl", rows)
    write_rows(out / "held_out.jsonl", held)
    (out / "reference.txt").write_text("".join(f"{file}\n" for file in sorted(reference)))
    sets = {
        "rows": dict(Counter(row["source"] for row in rows)),
        "held_out_rows": dict(Counter(row["source"] for row in held)),
        "source_share": SOURCE_SHARE,
        "set_aside": {
            "coco_captioned": sorted(captioned),
            "coco_other": sorted(other),
            "imagenet": sorted(Path(file).name for file in reference),
            "tiny": sorted(Path(file).name for file in tiny_aside),
        },
    }
    (out / "sets.json").write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
    return sets


def main() -> None:
    """Read the folders from the command line, build, and print the counts."""
    parser = argparse.ArgumentParser(description="Build the default preset's training captions.")
    for name in ("coco", "imagenet", "tiny", "stamps", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    sets = build(options.coco, options.imagenet, options.tiny, options.stamps, options.out)
    print(json.dumps({key: sets[key] for key in ("rows", "held_out_rows")}))


if __name__ == "__main__":
    main()
