"""Put a finished run of the recipe into the package, as the default preset's projection.

The projection that is there, and its reference table, stay beside it under `smollm2-effnet@1`, or
the next number that is free. What has to be written by hand is printed: `PUBLISHING.md` says why.

    python recipes/smollm2_effnet/publish.py RUN [--projections DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open

NAME = "smollm2-effnet"
PROJECTIONS = Path(__file__).parents[2] / "src" / "molyneux" / "models" / "projections"
KINDS = (".safetensors", ".reference.safetensors", ".trust.json", ".lens.safetensors")
COLUMNS = ("loss_held_out", "hit", "cider", "woman", "man")


def provenance(file: Path) -> dict[str, Any]:
    """The record in a projection's header."""
    with safe_open(file, framework="np") as opened:
        record: dict[str, Any] = json.loads(opened.metadata()["provenance"])
    return record


def faults(run: Path, record: dict[str, Any]) -> list[str]:
    """Why a run cannot be published; nothing if it can."""
    found = []
    if not (run / "MODEL_CARD.md").is_file():
        found.append("the run is not finished: it has no MODEL_CARD.md")
    if record["recipe"]["name"] != "long":
        found.append(f"it is of the recipe {record['recipe']['name']!r}, not 'long'")
    if record.get("captions_permuted") is not None or record["encoder"].startswith("random:"):
        found.append("it is a blind control")
    if record.get("on_the_way"):
        found.append("it was kept on the way; the run's end is projection.safetensors")
    if not record.get("terms"):
        found.append("its record names no terms of the photos: train with --terms")
    return found


def publish(run: Path, projections: Path) -> str:
    """Copy the run's projection; returns the name under which the one before stays."""
    number = 1
    while (projections / f"{NAME}@{number}.safetensors").exists():
        number += 1
    for kind in KINDS:
        before = projections / f"{NAME}{kind}"
        if before.exists():
            before.rename(projections / f"{NAME}@{number}{kind}")
    shutil.copyfile(run / "projection.safetensors", projections / f"{NAME}.safetensors")
    return f"{NAME}@{number}"


def curve(run: Path) -> str:
    """The evaluations of a run, as a table for docs/training.md."""
    lines = ["| step | held-out loss | hit | CIDEr-D | woman | man |", "|---|---|---|---|---|---|"]
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "loss_held_out" in entry:
            cells = ["" if entry.get(key) is None else f"{entry[key]:.3f}" for key in COLUMNS]
            lines.append(f"| {entry['step']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Check, copy, and say what is left to do."""
    parser = argparse.ArgumentParser(description="Publish a finished run of the recipe.")
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--projections", type=Path, default=PROJECTIONS, metavar="DIR")
    options = parser.parse_args()
    file = options.run / "projection.safetensors"
    if not file.is_file():
        sys.exit(f"{file} is not there: the run is not finished")
    record = provenance(file)
    if found := faults(options.run, record):
        sys.exit("not published: " + "; ".join(found))
    kept = publish(options.run, options.projections)
    layout = record["layout"]
    print(f"{NAME}: step {record['step']} of {record['steps']}, {record['held_out']}")
    print(f"the one before stays as {kept}: give it a row of its own in models/presets.py")
    print(f"begin token {layout['begin']!r}, {record['patches']} patches of {record['encoder']}")
    print("its reference table is still to be measured: PUBLISHING.md has the command")
    print(curve(options.run))


if __name__ == "__main__":
    main()
