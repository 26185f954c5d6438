"""The Tux Paint stamps: drawings and cut-outs, pasted on soft colour gradients."""

from __future__ import annotations

import random
import re
from pathlib import Path

from choices import seeded
from PIL import Image
from rows import Row, finish, make_row

STAMP_SIDE = 256
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
        rows.append(make_row(target, "stamp", place, captions))
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
