"""The headline numbers, on captioned photos in COCO's layout that nothing was trained or tuned on.

    python benchmarks/phenomenon.py DIR --split val2017 --out RUN

Every photo is one line of RUN/photos.jsonl, so that an interrupted run resumes; RUN/summary.json
holds the statistics with 95 % bootstrap intervals over photos. `--again` makes them from the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import (
    append_row,
    begin,
    concluded,
    load_record,
    load_rows,
    program,
    readable,
    write_json,
)
from scipy import stats
from source import source_record

from molyneux.data.dataset import Item
from molyneux.explain.curves import BY_GRADIENT, SETS, Absent, ablation_curves
from molyneux.explain.tried import Tried
from molyneux.metrics.people import nouns_of
from molyneux.models.captioner import Captioner
from molyneux.neurons.attribution import VIEWS, Target, attribute_units
from molyneux.neurons.contrast import instead_of, score_behind
from molyneux.neurons.decoding import read_units
from molyneux.neurons.effects import unit_effects
from molyneux.neurons.rankings import rank_units
from molyneux.neurons.scorers import DEFAULT_SCORER, Context
from molyneux.neurons.sight.absent_word import choose_absent
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import nouns_shown, read_sentence, unrelated_nouns, word_tokens
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import QUOTED
from molyneux.statistics.bootstrap import Estimate, bootstrap

UNITS = 100
TOP_SHARE = 0.002
OTHER_NOUNS = 8
ROWS = "photos.jsonl"
SUMMARY = "summary.json"
PROVENANCE = ("hashes", "date", "molyneux", "commit", "changed")


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def load_photos(coco: Path, split: str) -> list[dict[str, Any]]:
    """Return the split's captioned photos, in the order of the hashes of their names."""
    document = load_record(coco / "captions.json")
    captions: dict[int, list[str]] = {}
    for annotation in document["annotations"]:
        captions.setdefault(int(annotation["image_id"]), []).append(annotation["caption"])
    categories = load_categories(coco)
    photos = [
        {
            "file": str(coco / "images" / image["file_name"]),
            "captions": captions[int(image["id"])],
            "categories": sorted(categories.get(int(image["id"]), ())),
        }
        for image in document["images"]
        if image.get("split", split) == split and int(image["id"]) in captions
    ]
    return sorted(photos, key=lambda p: hashlib.sha256(Path(p["file"]).name.encode()).hexdigest())


def load_categories(coco: Path) -> dict[int, set[str]]:
    """Return the annotated categories of each photo; none where the copy has no instances."""
    path = coco / "instances.json"
    if not path.exists():
        return {}
    document = json.loads(path.read_text())
    names = {int(row["id"]): row["name"] for row in document["categories"]}
    found: dict[int, set[str]] = {}
    for annotation in document["annotations"]:
        name = names[int(annotation["category_id"])]
        found.setdefault(int(annotation["image_id"]), set()).add(name)
    return found


def decodability(
    captioner: Captioner, units: list[Unit], signs: list[int], token: int, others: list[int]
) -> dict[str, float | None]:
    """Return how high a token stands in what units write: share near the top, mean percentile,
    and how far that lies above the mean percentile of other photos' nouns in the same units."""
    signed = [(unit, sign or 1) for unit, sign in zip(units, signs, strict=True)]
    read = read_units(captioner.language_model, signed, token, others=others)
    place = np.array([place for _, place, _ in read])
    elsewhere = [other for _, _, other in read if other is not None]
    return {
        "near_top": float((place < TOP_SHARE).mean()),
        "percentile": float(1 - place.mean()),
        "above_other_nouns": float(np.mean(elsewhere) - place.mean()) if elsewhere else None,
    }


def measure_photo(
    captioner: Captioner, photo: dict[str, Any], ablate: bool, exact: bool
) -> dict[str, Any]:
    """Return one photo's caption and, where asked, its ablations and exact effects."""
    model, reference = captioner.language_model, captioner.reference
    assert reference is not None
    prompt = captioner.see([photo["file"]])
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    row: dict[str, Any] = {"file": Path(photo["file"]).name, "caption": sentence.caption}
    row["human"] = sorted(nouns_of(photo["captions"]))
    row["noun"] = sentence.words[0].lemma if sentence.words else None
    if not sentence.words or not ablate:
        return row
    word = sentence.words[0]
    until = sentence.up_to(model, prompt, word.target.position)
    attribution = attribute_units(model, until, [word.target])
    lemmas = {w.lemma for w in sentence.words}
    other = reference.other_than(lemmas, row["file"])
    # Whatever people saw there is related to the photo, said by the model or not.
    shown = nouns_shown({*lemmas, *row["human"]}, photo["categories"])
    _, unrelated = unrelated_nouns(model, shown, {word.target.token_id})
    # Nouns of other photos, read in the same units: what any noun gets.
    nouns = reference.others_than({*lemmas, *row["human"]}, row["file"])
    tokens = (word_tokens(model, each.noun) for each in nouns)
    others = [t for t in dict.fromkeys(t[0] for t in tokens if t) if t != word.target.token_id]
    others = others[:OTHER_NOUNS]
    partners = instead_of(reference, until, lemmas, row["file"])
    # Nobody named it, and units that its gradient picks take it all the same.
    named = {*shown, *row["human"]}
    spoken = {*sentence.token_ids, word.target.token_id}
    absent = choose_absent(model, word.target, named, spoken, partners, row["file"])
    assert partners, "the reference table has too few partner photos"
    assert absent is not None
    beside = Target(absent.token_id, word.target.position)
    behind = score_behind(DEFAULT_SCORER, model, [word.target, beside], Context(partners=partners))
    theirs = attribute_units(model, until, [beside])
    sinks = sink_patches(patch_norms(model, prompt))[0]
    row |= {
        "probability": float(attribution.probability[0]),
        "other": other and other.noun,
        "absent": absent.word,
    }
    for view in VIEWS:
        scores = attribution.view(view)
        ranked, absent_ranked = (
            rank_units(
                model,
                found,
                0,
                view,
                reference=reference,
                other=other,
                behind=behind.of([place]),
                sinks=sinks,
            )
            for place, found in enumerate((attribution, theirs))
        )
        curves = ablation_curves(
            Tried(model, until, "all"),
            word.target.token_id,
            ranked,
            [0, UNITS],
            seeds=3,
            unrelated=unrelated,
            absent=Absent(absent.word, absent.token_id, absent_ranked),
        )
        row[view] = {
            name: values[1]
            for name, values in asdict(curves).items()
            if isinstance(values, tuple) and len(values) == 2 and name != "grid"
        }
        for name in (*QUOTED, "matched"):
            units = ranked.first(name, UNITS)
            at = ([u.layer for u in units], [u.unit for u in units])
            signs = scores.sign[0][at]
            row[view][f"decoded_{name}"] = decodability(
                captioner, units, [int(s) for s in signs], word.target.token_id, others
            )
    if exact:
        row["exact"] = measure_exact(captioner, until, attribution, word.target.token_id)
    return row


def measure_exact(captioner: Captioner, until: Any, attribution: Any, token: int) -> dict[str, Any]:
    """Compare `total` with the exact effect of zeroing each unit at the patches, in logits."""
    model = captioner.language_model
    total = attribution.patches.total[0]
    order = total.flatten().argsort(descending=True)
    middle = order[100:-100]
    picked = middle[torch.randperm(len(middle), generator=torch.Generator().manual_seed(0))[:200]]
    groups = {"top": order[:100], "bottom": order[-100:], "random": picked}
    found = {}
    for name, places in groups.items():
        units = [Unit(*divmod(int(p), model.d_mlp)) for p in places]
        effect = unit_effects(model, until, [token], units).logit[:, 0]
        found[name] = {
            "total": [float(total[u.layer, u.unit]) for u in units],
            "effect": effect.tolist(),
        }
    return found


def rows_with(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return [row for row in rows if key in row]


def show(estimate: Estimate) -> dict[str, Any]:
    return {k: getattr(estimate, k) for k in ("value", "low", "high", "n")}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every statistic with its interval."""
    human = [set(row["human"]) for row in rows]

    def deranged(noun: str | None, own: int) -> float:
        return float(np.mean([noun in nouns for j, nouns in enumerate(human) if j != own]))

    hits = [float(row["noun"] in row["human"]) for row in rows]
    chance = [deranged(row["noun"], i) for i, row in enumerate(rows)]
    summary: dict[str, Any] = {
        "photos": len(rows),
        "hit": show(bootstrap(hits)),
        "hit_deranged": show(bootstrap(chance)),
        "hit_ratio": show(bootstrap(hits, chance, statistic=lambda a, b: a.mean() / b.mean())),
        "always_man": show(bootstrap([float("man" in nouns) for nouns in human])),
        "nouns": len({row["noun"] for row in rows}),
    }
    for view in VIEWS:
        part = [row[view] for row in rows_with(rows, view)]
        names = [*SETS, "random", "unrelated_top", "unrelated_specific", "unrelated_random"]
        names += [f"absent_{name}" for name in BY_GRADIENT]
        found: dict[str, Any] = {}
        for name in names:
            values = [p[name] for p in part if p[name] is not None]
            if values:
                found[name] = show(bootstrap(values))
                found[name]["median"] = float(np.median(values))
        pairs = {
            "specific_minus_other": ("specific", "other_specific"),
            "top_minus_other": ("top", "other"),
            **{f"{name}_minus_absent": (name, f"absent_{name}") for name in BY_GRADIENT},
        }
        for name, (own, other) in pairs.items():
            both = [p for p in part if p[own] is not None and p[other] is not None]
            a, b = [p[own] for p in both], [p[other] for p in both]
            found[name] = show(bootstrap(a, b, statistic=lambda x, y: float(np.mean(x - y))))
            found[name.replace("minus", "over")] = show(
                bootstrap(a, b, statistic=lambda x, y: float(np.mean(x) / np.mean(y)))
            )
            found[name + "_logprob"] = show(
                bootstrap(
                    a,
                    b,
                    statistic=lambda x, y: float(np.mean(np.log(x + 1e-12) - np.log(y + 1e-12))),
                )
            )
        for name in ("specific", "matched", "top"):
            for figure in ("near_top", "percentile"):
                found[f"decoded_{name}_{figure}"] = show(
                    bootstrap([p[f"decoded_{name}"][figure] for p in part])
                )
            above = [p[f"decoded_{name}"].get("above_other_nouns") for p in part]
            if known := [value for value in above if value is not None]:
                found[f"decoded_{name}_above_other_nouns"] = show(bootstrap(known))
        for figure in ("near_top", "percentile"):
            a = [p["decoded_specific"][figure] for p in part]
            b = [p["decoded_matched"][figure] for p in part]
            found[f"decoded_specific_minus_matched_{figure}"] = show(
                bootstrap(a, b, statistic=lambda x, y: float(np.mean(x - y)))
            )
        summary[view] = found
    summary["exact"] = summarise_exact([row["exact"] for row in rows_with(rows, "exact")])
    return summary


def summarise_exact(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how well `total` predicts the exact effect, per photo and pooled."""
    if not found:
        return {}

    def columns(row: dict[str, Any], groups: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        total = np.concatenate([row[g]["total"] for g in groups])
        return total, np.concatenate([row[g]["effect"] for g in groups])

    measures = {
        "pearson": lambda x, y: float(stats.pearsonr(x, y)[0]),
        "spearman": lambda x, y: float(stats.spearmanr(x, y)[0]),
        "slope": lambda x, y: float(np.polyfit(x, y, 1)[0]),
    }
    summary: dict[str, Any] = {"photos": len(found)}
    for label, groups in {
        "all": ("top", "bottom", "random"),
        "top": ("top",),
        "bottom": ("bottom",),
        "random": ("random",),
    }.items():
        pooled = [np.concatenate(c) for c in zip(*(columns(r, groups) for r in found), strict=True)]
        summary[label] = {"units": len(pooled[0])}
        for name, measure in measures.items():
            each = [measure(*columns(row, groups)) for row in found]
            summary[label][name] = {"pooled": measure(*pooled), "per_photo": show(bootstrap(each))}
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("coco", type=Path, nargs="?")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="photos, for a rehearsal")
    parser.add_argument("--ablate", type=int, default=10**9, help="photos whose units are zeroed")
    parser.add_argument("--exact", type=int, default=0, help="photos whose units are zeroed singly")
    parser.add_argument("--again", action="store_true", help="the statistics from the rows of OUT")
    arguments = parser.parse_args()
    if arguments.again:
        summary = load_record(arguments.out / SUMMARY)
        rows = measured(arguments.out)
        kept = {key: summary[key] for key in PROVENANCE if key in summary}
        write_summary(arguments.out, {**kept, **concluded(arguments.out, lambda: summarise(rows))})
        return
    if arguments.coco is None:
        parser.error("DIR is needed, or --again")
    arguments.out.mkdir(parents=True, exist_ok=True)
    photos = load_photos(arguments.coco, arguments.split)[: arguments.limit]
    can_be_read = {item.id for item in readable(Item(p["file"], Path(p["file"])) for p in photos)}
    photos = [photo for photo in photos if photo["file"] in can_be_read]
    if len(photos) < 2:
        sys.exit(f"{arguments.coco} has {len(photos)} photos of {arguments.split}; give 2 or more")
    captioner = Captioner.load(note=note)
    path = arguments.out / ROWS
    record = {
        "source": source_record(),
        "hashes": captioner.hashes,
        "split": arguments.split,
        "ablate": arguments.ablate,
        "exact": arguments.exact,
    }
    begin(arguments.out, record)
    done = {row["file"] for row in load_rows(path)}
    started = time.monotonic()
    for number, photo in enumerate(photos):
        if Path(photo["file"]).name not in done:
            row = measure_photo(
                captioner, photo, number < arguments.ablate, number < arguments.exact
            )
            append_row(path, row)
            elapsed = time.monotonic() - started
            note(f"{number + 1}/{len(photos)} {elapsed:.0f} s {row['caption']}")
    provenance = {"hashes": captioner.hashes, "date": time.strftime("%Y-%m-%d"), **source_record()}
    write_summary(arguments.out, {**provenance, **summarise(measured(arguments.out))})


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run.

    Raises:
        SystemExit: there are fewer than two, which are compared.
    """
    rows = load_rows(folder / ROWS)
    if len(rows) < 2:
        sys.exit(f"{folder} has {len(rows)} rows; measure 2 photos or more first")
    return rows


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    write_json(folder / SUMMARY, summary)
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    program(main)
