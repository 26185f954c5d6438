"""Build the caption list that the projection of the default preset is trained on.

Public sources of photos become rows of (photo, optional crop, captions that continue the text
"A picture of"). Each is an option; one that is left out, or not there, is left out with a line.

- COCO train2017: captions that people wrote (`--coco`, `--coco-1cap`, `--coco-tiny`), and of the
  photos of `--coco` also plain captions of objects from their boxes and crops around single boxes.
  Photos of val2017 are dropped while the annotation files are read, before anything is chosen:
  they are for measuring only.
- Flickr8k: captions that people wrote.
- an ImageNet sample and Tiny ImageNet: the everyday words of `nouns.tsv` for each class.
- the Tux Paint stamps (Debian `tuxpaint-stamps-default`): drawings and cut-outs with one English
  sentence each, pasted on soft colour gradients.

People are named by human captions alone: what boxes and stamps say of them is left out.

Written: `captions.jsonl` (to train on), `held_out.jsonl` (never trained on; the part `choice`), a
list of each other part of the photos set aside (`set_aside.py`) with every human caption as it was
written, the same photos without captions (`.txt`), `sets.json` (counts and file names) and
`stamps/*.png`. Which photos are set aside, and every choice a template makes, follows from SHA-256
digests, so two runs write the same files. Photos are referenced by path, never copied.

    python recipes/smollm2_effnet/build_data.py --coco DIR --coco-1cap DIR --coco-tiny DIR \
        --flickr8k DIR --imagenet DIR --tiny DIR --stamps DIR --out DIR
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioned import read_captioned
from choices import lowest
from coco import Photo, read_coco
from crops import crop_rows
from human_captions import human_captions
from labelled import labelled_rows, read_nouns
from object_captions import whole_captions
from rows import SOURCE_SHARE, Row, make_row, weigh, write_rows
from set_aside import PARTS, part_of
from stamps import stamp_rows

SOURCES = ("coco", "coco_1cap", "coco_tiny", "flickr8k", "imagenet", "tiny", "stamps")
TINY_SET_ASIDE = 20
TINY_PER_CLASS = 2
PEOPLE = re.compile(
    r"\b(?:man|men|woman|women|person|people|boys?|girls?|child|children|player|rider|skier|"
    r"surfer|crowd)\b"
)


class Built:
    """The rows made so far: those to train on, and those of each part set aside."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.aside: dict[str, list[Row]] = {part: [] for part in PARTS}

    def human(self, source: str, file: Path, name: str, captions: list[str]) -> bool:
        """Add a photo that people captioned; returns whether it is trained on."""
        part = part_of(source, name)
        kind = f"{source}_human"
        if part is None or part == "choice":
            row = make_row(file, kind, name, human_captions(captions))
        else:
            row = make_row(file, kind, name, captions)
        if row["captions"]:
            (self.rows if part is None else self.aside[part]).append(row)
        return part is None

    def labelled(self, source: str, row: Row) -> None:
        """Add a photo with a class."""
        part = part_of(source, row["file"])
        (self.rows if part is None else self.aside[part]).append(row)


def without_people(row: Row) -> Row | None:
    """The row with the captions that name nobody; None where people are what it shows first."""
    if PEOPLE.search(row["captions"][0]):
        return None
    captions = [line for line in row["captions"] if not PEOPLE.search(line)]
    # Of a crop, a person in any caption fills it.
    return (
        None
        if row["crop"] and len(captions) < len(row["captions"])
        else {
            **row,
            "captions": captions,
        }
    )


def object_rows(photos: Sequence[Photo]) -> list[Row]:
    """Rows made from the boxes of photos, and of crops around them."""
    rows: list[Row] = []
    for photo in photos:
        if captions := whole_captions(photo):
            rows.append(make_row(photo.file, "coco_boxes", photo.name, captions))
        rows += crop_rows(photo)
    kept = [without_people(row) for row in rows if row["captions"]]
    return [row for row in kept if row is not None]


def tiny_rows(found: Sequence[Row]) -> tuple[list[Row], set[str]]:
    """The first TINY_PER_CLASS rows of each class to train on, and the files set aside."""
    classes: dict[str, list[str]] = defaultdict(list)
    for row in found:
        classes[row["wnid"]].append(row["file"])
    aside = {file for files in classes.values() for file in lowest(files, TINY_SET_ASIDE)}
    rows: list[Row] = []
    taken: Counter[str] = Counter()
    for row in found:
        if row["file"] not in aside and taken[row["wnid"]] < TINY_PER_CLASS:
            taken[row["wnid"]] += 1
            rows.append(row)
    return rows, aside


def build(folders: dict[str, Path], out: Path) -> dict[str, Any]:
    """Write the caption lists into `out`; returns what sets.json holds."""
    out.mkdir(parents=True, exist_ok=True)
    nouns = read_nouns(Path(__file__).with_name("nouns.tsv"))
    built, tiny_aside = Built(), set[str]()
    if "coco" in folders:
        photos = read_coco(folders["coco"])
        trained = [
            photo
            for photo in photos
            if not photo.captions or built.human("coco", photo.file, photo.name, photo.captions)
        ]
        built.rows += object_rows(trained)
    for source in ("coco_1cap", "coco_tiny", "flickr8k"):
        if source in folders:
            for photo in read_captioned(folders[source]):
                built.human(source, photo.file, photo.name, photo.captions)
    if "imagenet" in folders:
        for row in labelled_rows(folders["imagenet"], nouns, "imagenet"):
            built.labelled("imagenet", row)
    if "tiny" in folders:
        small, tiny_aside = tiny_rows(labelled_rows(folders["tiny"], nouns, "tiny"))
        built.rows += small
    if "stamps" in folders:
        stamps = [row for row in stamp_rows(folders["stamps"], out / "stamps") if row["captions"]]
        built.rows += [row for row in map(without_people, stamps) if row is not None]

    rows = [row for row in built.rows if row["captions"]]
    weigh(rows)
    write_rows(out / "captions.jsonl", rows)
    for part, aside in built.aside.items():
        for row in aside:
            row["weight"] = 1.0
        write_rows(out / ("held_out.jsonl" if part == "choice" else f"{part}.jsonl"), aside)
        (out / f"{part}.txt").write_text("".join(f"{row['file']}\n" for row in aside), "utf-8")
    sets = {
        "rows": dict(Counter(row["source"] for row in rows)),
        "photos": len({row["file"] for row in rows}),
        "source_share": SOURCE_SHARE,
        "for": PARTS,
        "set_aside_rows": {
            part: dict(Counter(row["source"] for row in aside))
            for part, aside in built.aside.items()
        },
        "set_aside": {
            **{
                part: sorted(Path(row["file"]).name for row in aside)
                for part, aside in built.aside.items()
            },
            "tiny": sorted(Path(file).name for file in tiny_aside),
        },
    }
    (out / "sets.json").write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
    return sets


def main() -> None:
    """Read the folders from the command line, build, and print the counts."""
    parser = argparse.ArgumentParser(description="Build the default preset's training captions.")
    for name in SOURCES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = vars(parser.parse_args())
    folders: dict[str, Path] = {}
    for name in SOURCES:
        folder = options[name]
        if folder is None or not folder.is_dir():
            why = "no folder was given" if folder is None else f"{folder} is not there"
            print(f"left out: {name} ({why})", file=sys.stderr)
        else:
            folders[name] = folder
    if not folders:
        parser.error("there is nothing to build from; give one of the folders")
    sets = build(folders, options["out"])
    print(json.dumps({key: sets[key] for key in ("rows", "photos", "set_aside_rows")}, indent=1))


if __name__ == "__main__":
    main()
