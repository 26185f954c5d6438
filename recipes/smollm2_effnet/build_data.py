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
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from choices import lowest
from coco import Photo, read_coco
from crops import crop_rows
from human_captions import human_captions
from labelled import labelled_rows, read_nouns
from object_captions import whole_captions
from rows import SOURCE_SHARE, Row, make_row, weigh, write_rows
from stamps import stamp_rows

TINY_SET_ASIDE = 20
TINY_PER_CLASS = 12  # more are hardly drawn, and each costs the encoder a pass
IMAGENET_SET_ASIDE = 200
COCO_CAPTIONED_SET_ASIDE = 16
COCO_OTHER_SET_ASIDE = 24


def coco_rows(photos: Sequence[Photo], aside: set[str]) -> tuple[list[Row], list[Row]]:
    """The rows to train on, and those of the photos set aside: one kind of row for each photo."""
    rows: list[Row] = []
    held: list[Row] = []
    for photo in photos:
        kept = photo.name not in aside
        target = rows if kept else held
        if photo.captions:
            captions = human_captions(photo.captions)
            target.append(make_row(photo.file, "coco_captioned", photo.name, captions))
        if photo.boxes and (kept or not photo.captions):
            captions = whole_captions(photo)
            target.append(make_row(photo.file, "coco_boxes", photo.name, captions))
        if kept:
            rows += crop_rows(photo)
    return rows, held


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


def build(coco: Path, imagenet: Path, tiny: Path, stamps: Path, out: Path) -> dict[str, Any]:
    """Write the caption lists into `out`; returns what sets.json holds."""
    out.mkdir(parents=True, exist_ok=True)
    nouns = read_nouns(Path(__file__).with_name("nouns.tsv"))

    photos = read_coco(coco)
    captioned = lowest((p.name for p in photos if p.captions), COCO_CAPTIONED_SET_ASIDE)
    other = lowest((p.name for p in photos if not p.captions), COCO_OTHER_SET_ASIDE)
    rows, held = coco_rows(photos, captioned | other)

    sample = labelled_rows(imagenet, nouns, "imagenet")
    reference = lowest((row["file"] for row in sample), IMAGENET_SET_ASIDE)
    rows += [row for row in sample if row["file"] not in reference]

    small, tiny_aside = tiny_rows(labelled_rows(tiny, nouns, "tiny"))
    rows += small + stamp_rows(stamps, out / "stamps")

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
