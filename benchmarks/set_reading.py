"""Whether what a photo's patches say names what the photo shows, before any word is asked for.

    python benchmarks/set_reading.py DATA --where split=val2017 --lens lens.safetensors --out RUN
    python benchmarks/set_reading.py --summarise RUN

Of every photo with captions, sets of units at the patches are read as everyday nouns: those that it
changes most (5 %, of all layers and of the first third of them), as many at random of the same
layers, and all. A noun's percentile in its photo's reading stands against its mean percentile in
the readings of photos that nobody and nothing said it of. RUN/photos.jsonl has a line for each
photo, so that an interrupted run resumes and every interval can be had again from it;
RUN/summary.json holds the statistics with 95 % bootstrap intervals over photos.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import (
    Progress,
    append_row,
    begin,
    concluded,
    load_record,
    load_rows,
    program,
    readable,
    write_json,
)
from source import source_record

from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.explain.read_sets import FRACTION
from molyneux.models.captioner import Captioner
from molyneux.neurons.change import change_scores
from molyneux.neurons.lens import HeadLens, Lens, load_lens
from molyneux.neurons.set_reading import (
    own_minus_others,
    percentiles,
    read_writes,
    set_writes,
    word_list,
)
from molyneux.neurons.sight.patch_sets import (
    PatchSet,
    all_units,
    change_set,
    layers_with_path,
    random_set,
)
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import read_sentence
from molyneux.statistics.bootstrap import bootstrap
from molyneux.words.everyday import EVERYDAY_NOUNS
from molyneux.words.nouns import find_nouns
from molyneux.words.synonyms import names_one_of

ROWS = "photos.jsonl"
AGREED = 0.6
"""Of the human captions, how many have to hold a noun: 3 of 5."""
KINDS = ("caption", "human", "unsaid")
FIRST = 10


def sets_of(z: torch.Tensor) -> dict[str, PatchSet]:
    """The sets that are read, by name."""
    n_layers, d_mlp = z.shape
    first = layers_with_path(n_layers, range(max(1, n_layers // 3)))
    change = change_set(z, FRACTION)
    return {
        "change": change,
        "change, first third of the layers": change_set(z, FRACTION, first),
        "random": random_set(change, 0),
        "all": all_units(n_layers, d_mlp),
    }


def measure(
    captioner: Captioner, lenses: dict[str, Lens], item: Any, words: list[str]
) -> dict[str, Any]:
    """A photo's nouns, and every listed noun's percentile in thousandths, by lens and set."""
    model = captioner.language_model
    assert captioner.reference is not None
    usual = captioner.reference.require_activation()
    prompt = captioner.see([item.read()])
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    counts = Counter(
        lemma for caption in item.captions for lemma in {n.lemma for n in find_nouns(caption)}
    )
    values = patch_activations(model, prompt)
    sinks = sink_patches(patch_norms(model, prompt))[0]
    listed = word_list(model, words)
    found: dict[str, list[int]] = {}
    for name, chosen in sets_of(change_scores(values, usual.mean, usual.deviation, sinks)).items():
        writes = set_writes(model, values, usual.mean, chosen.mask)
        for lens_name, lens in lenses.items():
            whole = read_writes(model, lens, writes, listed).whole(patches=~sinks)
            found[f"{lens_name}: {name}"] = (1000 * percentiles(whole)).round().int().tolist()
    least = AGREED * len(item.captions)
    return {
        "photo": item.id,
        "sha256": item.sha256(),
        "caption": sentence.caption,
        "nouns": [word.lemma for word in sentence.words],
        "said": sorted(counts),
        "human": sorted(n for n, c in counts.items() if len(item.captions) >= 3 and c >= least),
        "thousandths": found,
    }


def targets(row: dict[str, Any], kind: str) -> list[str]:
    """The nouns of a photo that a kind of claim is about."""
    if kind == "caption":
        return list(row["nouns"][:1])
    if kind == "human":
        return [noun for noun in row["human"] if noun not in row["nouns"][:1]]
    return [noun for noun in row["human"] if not names_one_of(noun, row["nouns"])]


def summarise(rows: list[dict[str, Any]], words: list[str]) -> dict[str, Any]:
    """Own minus other photos, for each kind of noun and each reading: one number a photo."""
    place = {word: i for i, word in enumerate(words)}
    has = torch.tensor(
        [[names_one_of(word, {*row["nouns"], *row["said"]}) for word in words] for row in rows]
    )
    summary: dict[str, Any] = {"photos": len(rows), "words": len(words), f"first {FIRST}": {}}
    for reading in rows[0]["thousandths"]:
        percentile = torch.tensor([row["thousandths"][reading] for row in rows]) / 1000
        difference = own_minus_others(percentile, has).numpy()
        for kind in KINDS:
            per_photo = []
            for row, own in zip(rows, difference, strict=True):
                values = [own[place[noun]] for noun in targets(row, kind) if noun in place]
                values = [value for value in values if np.isfinite(value)]
                if values:
                    per_photo.append(float(np.mean(values)))
            if per_photo:
                estimate = bootstrap(per_photo)
                cell = {k: getattr(estimate, k) for k in ("value", "low", "high", "n")}
                summary.setdefault(kind, {})[reading] = cell
                summary[f"first {FIRST}"].setdefault(kind, {})[reading] = among_first(
                    rows, kind, percentile.numpy(), has.numpy(), place
                )
    return summary


def among_first(
    rows: list[dict[str, Any]],
    kind: str,
    percentile: np.ndarray,
    has: np.ndarray,
    place: dict[str, int],
) -> dict[str, float]:
    """How often a noun is among the first ten of its photo's reading, and of others' readings."""
    first = (percentile[:, :, None] < percentile[:, None, :]).sum(axis=2) < FIRST
    own, others = [], []
    for number, row in enumerate(rows):
        for noun in targets(row, kind):
            if noun in place and not has[:, place[noun]].all():
                own.append(first[number, place[noun]])
                others.append(first[~has[:, place[noun]], place[noun]].mean())
    return {"own": float(np.mean(own)), "other photos": float(np.mean(others)), "nouns": len(own)}


def conclude(run: Path) -> None:
    """Write and print the summary of a run's rows."""
    record = load_record(run / "record.json")
    rows = load_rows(run / ROWS)
    if not rows:
        sys.exit(f"{run} has no row yet; measure it first")
    summary = {**record, **concluded(run, lambda: summarise(rows, record["list"]))}
    write_json(run / "summary.json", summary)
    for kind in KINDS:
        for reading, cell in summary.get(kind, {}).items():
            interval = f"{cell['value']:+.3f} [{cell['low']:+.3f}, {cell['high']:+.3f}]"
            print(f"{kind:8} {reading:50} {interval} (n = {cell['n']})")


def main() -> None:
    """Measure what is not measured yet, and conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", metavar="DATA")
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--lens", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--projection", type=Path, default=None)
    parser.add_argument("--reference", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None, metavar="RUN")
    parser.add_argument("--summarise", type=Path, default=None, metavar="RUN")
    options = parser.parse_args()
    if options.summarise is not None:
        conclude(options.summarise)
        return
    if options.data is None or options.out is None or not options.lens:
        parser.error("DATA, --lens and --out are needed, or --summarise RUN")
    selection = select(open_dataset(options.data), options.where, options.images, 0)
    photos = readable(item for _, item in selection.items() if item.captions)
    captioner = Captioner.load(projection=options.projection, reference=options.reference)
    model = captioner.language_model
    lenses: dict[str, Lens] = {"norm": HeadLens(model)}
    for file in options.lens:
        lens = load_lens(file)
        captioner.with_lens(lens)  # refused if it was measured on something else
        # One that is fitted instead (tuned_lens.py) has a name of its own.
        called = lens.provenance.get("called", f"jacobian of {lens.provenance['of']}")
        lenses[called] = lens
    words = list(word_list(model, EVERYDAY_NOUNS).words)
    record = {
        "source": source_record(),
        "projection": captioner.projection.hash(),
        "lenses": {name: lens.record() for name, lens in lenses.items()},
        "data": selection.record(),
        "list": words,
    }
    begin(options.out, record)
    file = options.out / ROWS
    done = {row["photo"] for row in load_rows(file)}
    progress = Progress(len(photos), len(done))
    for item in photos:
        if item.id not in done:
            append_row(file, measure(captioner, lenses, item, words))
            progress.step(item.id)
    conclude(options.out)


if __name__ == "__main__":
    program(main)
