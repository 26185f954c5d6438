"""What the paper's models cost: python benchmarks/paper_scale --device cuda --out FILE.

GPT-J 6B, BEiT-large and 196 patches with random weights, on a GPU or a CPU, and the package's own
functions on them. Seconds do not depend on what weights say, so no weights are needed.

`--width 8` divides every width by 8; `--layers 4` builds four of the 28 layers. Two runs at full
width with different layers are extrapolated by `--extrapolate A.json B.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from extrapolate import PAPER_LAYERS, extrapolate
from photos import CATEGORIES, write_photos
from shapes import WIDTHS, Shape, random_captioner
from steps import (
    OTHERS,
    SEEDS,
    SEVERAL,
    Bench,
    ablation_steps,
    measure_ablation,
    measure_attribution,
    measure_decoding,
    measure_rankings,
    measure_seeing,
    with_random_reference,
)
from timing import Clock, machine, say
from whole_study import hours, measure_study

from molyneux.checkpoints.placement import DTYPES, device_named, dtype_named
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.studies.experiment import parse_names
from molyneux.studies.settings import StudySettings

NOTES = (
    "weights are random; seconds do not depend on them",
    "captions are as long as they may be (20 tokens): real ones end sooner",
    f"every photo asks for {len(CATEGORIES) - 1} words besides its noun and is given one sink "
    "patch, so that E4 and the rankings without sinks have their work to do",
    f"the reference table has {len(OTHERS)} photos; interpretable units are drawn by lot",
    "texts (BERTScore, CLIPScore), E5 and the summaries are not in the hours",
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("paper_scale", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--width", type=int, default=1, choices=WIDTHS, help="divide widths by it")
    parser.add_argument("--layers", type=int, default=PAPER_LAYERS)
    parser.add_argument("--photos", type=int, default=3, help="of the study; 0 for no study")
    parser.add_argument("--experiments", default="E1,E2,E3,E4,E6")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, help="of the ablation grid, if not all")
    parser.add_argument("--units", type=int, help="to decode, if not all")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--extrapolate", nargs=2, type=Path, metavar=("A", "B"))
    return parser.parse_args()


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the document of one benchmark."""
    device = device_named(asked.device)
    shape = Shape(asked.width, asked.layers)
    clock = Clock(device)
    say(f"building {shape.record()}")
    seconds, captioner = clock.once(
        lambda: random_captioner(shape, device, dtype_named(asked.dtype))
    )
    clock.note("building the models", [seconds], grows=False)
    grid = ablation_steps(captioner.language_model.n_units)
    n = max(asked.photos, len(OTHERS))
    selection = select(open_dataset(write_photos(folder / "photos", n)))
    photos = [item.read() for _, item in selection.items()][: len(OTHERS)]
    settings = StudySettings(
        experiments=parse_names(asked.experiments),
        grid=grid,
        seeds=SEEDS,
        threads=torch.get_num_threads(),
    )
    captioner = with_random_reference(captioner, photos, max(grid))
    bench = Bench(captioner, clock, selection, settings, asked.repeats, asked.rows, asked.units)
    measure_seeing(bench)
    measure_attribution(bench)
    measure_decoding(bench)
    subject = bench.subject()
    measure_rankings(bench, subject)
    measure_ablation(bench, subject)
    del subject
    if asked.photos:
        few = replace(bench, selection=selection.only(selection.ids[: asked.photos]))
        measure_study(few, folder / "study", settings.experiments)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(device),
        "dtype": asked.dtype,
        "shape": shape.record(),
        "grid": list(grid),
        "steps": clock.steps,
        "summary": summary(clock.steps),
        "memory": clock.memory(),
        "notes": list(NOTES),
    }


def summary(steps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers that are asked for, out of the seconds of the steps."""
    rate = {
        f"photos attributed a second, targets {n}": 1
        / steps[f"attribution, targets {n}"]["seconds"]
        for n in (1, SEVERAL)
    }
    for what, name in (("units decoded", "decoding"), ("rows silenced", "ablation grid")):
        rate[f"{what} a second"] = steps[name]["count"] / steps[name]["seconds"]
    grid = steps["ablation grid"]
    found: dict[str, Any] = {name: round(value, 4) for name, value in rate.items()}
    found["ablation rows a photo"] = grid["of"]
    found["seconds of a photo's ablation rows"] = round(
        grid["seconds"] / grid["count"] * grid["of"], 2
    )
    photo = steps.get("study: a photo")
    if photo is not None:
        found["experiments"] = photo["experiments"]
        found["seconds a photo of a study"] = photo["seconds"]
        found["hours, extrapolated from these photos, for this many"] = hours(photo["seconds"])
    return found


def main() -> None:
    asked = options()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    if asked.extrapolate:
        a, b = (json.loads(path.read_text(encoding="utf-8")) for path in asked.extrapolate)
        document = extrapolate(a, b)
        document["summary"] = summary(document["steps"])
    else:
        with tempfile.TemporaryDirectory() as folder:
            document = measure(asked, Path(folder))
    text = json.dumps(document, indent=1, allow_nan=False)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
