"""What it costs, on this machine: python benchmarks/speed.py > benchmarks/results/speed.json.

Whole processes with weights in the cache, each timed three times (the long ones once), the median
kept; attribution and ablation inside one process.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from source import source_record

from molyneux.data.samples import sample_photos

SAMPLES = list(sample_photos().values())[:5]


def process(*command: str, runs: int = 3) -> dict[str, float]:
    """Return the median wall seconds and the peak memory of a command, in GB."""
    walls, peak = [], 0.0
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            child = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(child.pid, 0)
            if status:
                raise SystemExit(f"{' '.join(command)} failed")
            walls.append(time.monotonic() - started)
            peak = max(peak, usage.ru_maxrss / 2**20)
    return {"wall_s": round(statistics.median(walls), 3), "peak_gb": round(peak, 2)}


def attribution() -> dict[str, Any]:
    """Return the seconds of the steps of one photo, median of five, inside one process."""
    from molyneux.models.captioner import Captioner
    from molyneux.neurons.attribution import attribute_units
    from molyneux.neurons.targets import read_sentence

    started = time.monotonic()
    captioner = Captioner.load()
    loaded = time.monotonic() - started
    model = captioner.language_model
    captions, attributions, words = [], [], 0
    for _ in range(5):
        started = time.monotonic()
        prompt = captioner.see([SAMPLES[0]])
        sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
        captions.append(time.monotonic() - started)
        targets = [word.target for word in sentence.words]
        words = len(targets)
        started = time.monotonic()
        last = max(target.position for target in targets)
        attribute_units(model, sentence.up_to(model, prompt, last), targets)
        attributions.append(time.monotonic() - started)
    return {
        "load_s": round(loaded, 2),
        "caption_s": round(statistics.median(captions), 2),
        "attribution_of_all_words_s": round(statistics.median(attributions), 2),
        "words": words,
    }


def main() -> None:
    molyneux = (sys.executable, "-m", "molyneux")
    one = str(SAMPLES[0])
    ten = [str(path) for path in (SAMPLES * 10)[:10]]
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        "source": source_record(),
        "import": process(sys.executable, "-c", "import molyneux"),
        "help": process(*molyneux, "--help"),
        "caption": process(*molyneux, "caption", one),
        "explain_one": process(*molyneux, "explain", one, runs=1),
        "explain_ten": process(*molyneux, "explain", *ten, runs=1),
        "inside": attribution(),
    }
    text = json.dumps(results, indent=1)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
