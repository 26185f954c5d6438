"""How good captions are, on photos with human captions that nothing was trained or chosen on.

    python benchmarks/captions.py DATA --where split=val2017 --out RESULTS.json

DATA is any captioned data set. Beside the model's captions stand three others: "a man" for every
photo, another photo's caption (every other photo's, on average), and one of the photo's own human
captions against the rest of them. RESULTS.json holds a row for each photo, and the statistics with
95 % bootstrap intervals over photos; `--again` makes the statistics from its rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from kept_rows import concluded, load_record, program, readable, write_json
from source import source_record

from molyneux.data.dataset import Item
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import UsageError
from molyneux.metrics.bertscore import BertScorer, load_bert_scorer
from molyneux.metrics.cider import CiderScorer
from molyneux.metrics.people import PEOPLE, agree, nouns_of
from molyneux.models.captioner import Captioner
from molyneux.neurons.attribution import attribute_units
from molyneux.neurons.targets import read_sentence
from molyneux.statistics.bootstrap import Estimate, bootstrap

ALWAYS = "a man."


def measure(captioner: Captioner, items: list[Item], scorer: BertScorer) -> list[dict[str, Any]]:
    """Return a row for each photo: what was written, its first noun, its scores and controls."""
    references = [list(item.captions) for item in items]
    written, words = [], []
    for number, item in enumerate(items):
        prompt = captioner.see([item.read()])
        sentence = read_sentence(captioner.language_model, prompt, captioner.write(prompt)[0])
        written.append(sentence.caption)
        words.append(first_noun(captioner, prompt, sentence))
        print(f"{number + 1}/{len(items)} {sentence.caption}", file=sys.stderr, flush=True)
    rows: list[dict[str, Any]] = [
        {
            "file": Path(item.id).name,
            "caption": text,
            **word,
            "human": sorted(nouns_of(item.captions)),
            "people": [name for name, words in PEOPLE.items() if agree(item.captions, words)],
            "said": [name for name, words in PEOPLE.items() if nouns_of([text]) & words],
        }
        for item, text, word in zip(items, written, words, strict=True)
    ]
    everyone = range(len(items))
    whole = CiderScorer(references)
    n = min(map(len, references))
    kinds: dict[str, list[str]] = {"model": written, "always": [ALWAYS] * len(items)}
    for name, texts in kinds.items():
        put(rows, f"cider_{name}", whole.score(texts))
        put(rows, f"bert_{name}", bert(scorer, texts, references))
    table = [[float(whole.score([text], [j])[0]) for j in everyone] for text in written]
    put(rows, "cider_deranged", off_diagonal(np.array(table)))
    flat = sorted({caption for captions in references for caption in captions})
    places = {caption: place for place, caption in enumerate(flat)}
    f1 = scorer.f1(written, flat)
    means = np.array(
        [[f1[i, [places[c] for c in refs]].mean() for refs in references] for i in everyone]
    )
    put(rows, "bert_deranged", off_diagonal(means))
    if n > 1:
        leave_one_out(rows, scorer, written, references, n)
    return rows


def leave_one_out(
    rows: list[dict[str, Any]],
    scorer: BertScorer,
    written: list[str],
    references: list[list[str]],
    n: int,
) -> None:
    """Score each human caption and the model's against the same others, the mean over which."""
    found: dict[str, list[np.ndarray]] = {}
    for own in range(n):
        rest = [captions[:own] + captions[own + 1 :] for captions in references]
        left = CiderScorer(rest)
        human = [captions[own] for captions in references]
        nouns = [nouns_of(captions) for captions in rest]
        for name, texts in (("human", human), ("model_of_rest", written)):
            found.setdefault(f"cider_{name}", []).append(left.score(texts))
            found.setdefault(f"bert_{name}", []).append(bert(scorer, texts, rest))
        firsts = [first for text in human for first in [next(iter(listed(text)), None)]]
        hits = [noun in known for noun, known in zip(firsts, nouns, strict=True)]
        found.setdefault("hit_human", []).append(np.array(hits, dtype=float))
        hits = [row["noun"] in known for row, known in zip(rows, nouns, strict=True)]
        found.setdefault("hit_model_of_rest", []).append(np.array(hits, dtype=float))
    for name, values in found.items():
        put(rows, name, np.mean(values, axis=0))


def listed(caption: str) -> list[str]:
    """Return a caption's nouns in order."""
    from molyneux.words.nouns import find_nouns

    return [noun.lemma for noun in find_nouns(caption)]


def first_noun(captioner: Captioner, prompt: Any, sentence: Any) -> dict[str, Any]:
    """Return the caption's first noun and the probability of its first token."""
    if not sentence.words:
        return {"noun": None, "probability": None}
    word, model = sentence.words[0], captioner.language_model
    until = sentence.up_to(model, prompt, word.target.position)
    found = attribute_units(model, until, [word.target])
    return {"noun": word.lemma, "probability": float(found.probability[0])}


def bert(scorer: BertScorer, texts: list[str], references: list[list[str]]) -> np.ndarray:
    """Return each text's F1, the mean over its references."""
    pairs = zip(texts, references, strict=True)
    return np.array([scorer.f1([text], given).mean() for text, given in pairs])


def off_diagonal(table: np.ndarray) -> np.ndarray:
    """Return each row's mean without its own column."""
    n = len(table)
    return (table.sum(axis=1) - np.diagonal(table)) / (n - 1)


def put(rows: list[dict[str, Any]], name: str, values: np.ndarray) -> None:
    for row, value in zip(rows, values, strict=True):
        row[name] = round(float(value), 6)


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every statistic with its interval, from the rows alone."""
    human = [set(row["human"]) for row in rows]
    hits = [float(row["noun"] in own) for row, own in zip(rows, human, strict=True)]
    found: list[list[bool]] = [[row["noun"] in nouns for nouns in human] for row in rows]
    chance = off_diagonal(np.array(found, dtype=float))
    summary: dict[str, Any] = {
        "photos": len(rows),
        "hit": show(bootstrap(hits)),
        "hit_deranged": show(bootstrap(chance)),
        "hit_ratio": show(bootstrap(hits, chance, statistic=lambda a, b: a.mean() / b.mean())),
        "always_man": show(bootstrap([float("man" in nouns) for nouns in human])),
        "first_nouns": len({row["noun"] for row in rows}),
    }
    for name in rows[0]:
        if name.startswith(("cider_", "bert_", "hit_")):
            summary[name] = show(bootstrap([row[name] for row in rows]))
    for name in PEOPLE:
        said = [float(name in row["said"]) for row in rows if name in row["people"]]
        summary[f"recall_{name}"] = show(bootstrap(said)) if said else None
        wrong = [float(name in row["said"]) for row in rows if name not in row["people"]]
        summary[f"said_{name}_elsewhere"] = show(bootstrap(wrong)) if wrong else None
    return summary


def show(estimate: Estimate) -> dict[str, Any]:
    return {key: getattr(estimate, key) for key in ("value", "low", "high", "n")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--images", type=int)
    parser.add_argument("--preset")
    parser.add_argument("--projection", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--again", action="store_true", help="the statistics from the rows of OUT")
    options = parser.parse_args()
    if options.data is None and not options.again:
        parser.error("DATA is needed, or --again")
    folder = options.out.absolute().parent
    if not options.again and (options.out.is_dir() or not folder.is_dir()):
        parser.error(f"--out {options.out} is no file in a folder that is there")
    document = load_record(options.out) if options.again else run(options)
    document["summary"] = concluded(options.out, lambda: summarise(document["photos"]))
    write_json(options.out, document)
    print(json.dumps(document["summary"], indent=1))


def run(options: argparse.Namespace) -> dict[str, Any]:
    dataset = open_dataset(options.data)
    selection = select(dataset, options.where, options.images)
    items = readable(item for _, item in selection.items() if item.captions)
    if len(items) < 2:
        raise UsageError(f"{options.data} has {len(items)} photos here; 2 or more are compared")
    captioner = Captioner.load(
        *([options.preset] if options.preset else []),
        **({"projection": options.projection} if options.projection else {}),
    )
    scorer = load_bert_scorer()
    return {
        "date": time.strftime("%Y-%m-%d"),
        **source_record(),
        "hashes": captioner.hashes,
        "data": dataset.name,
        "where": options.where,
        "bertscore": scorer.name,
        "photos": measure(captioner, items, scorer),
    }


if __name__ == "__main__":
    program(main)
