"""Whether units found for a noun on some photos carry it on others.

    python benchmarks/split_half.py --data COCO split=val2017 --projection P --reference R --out RUN
    python benchmarks/split_half.py --again RUN

Of every noun that most people wrote of six photos or more, the photos are split in halves. On one
half all units are ranked for the noun; the first of them are then put to the mean of partner photos
that do not show it, patch by patch, in the photos of the other half. And the other way round: each
photo is tested once, by units that were found without it. Two rankings:

* total: the mean over the half of each unit's `total` at the patches, for the noun where it is due
  after "A picture of a";
* change: the largest |mean z| of how active a unit is there against reference photos, in which no
  word takes part.

What any word's gradient achieves is no evidence. So each noun has a counterpart, another noun of
the list, unrelated to it and after the same article, and these stand beside the noun's loss:

* that by the counterpart's units, found in the same way on its own photos;
* that by random units of the same layers;
* the counterpart's own loss by the noun's units, where nobody wrote it of the photo (absent);
* of `total`, an absent word's units: the counterpart's loss by units that were found for it on the
  *noun's* photos, which do not show it, put to the mean of partners that do not either. If that is
  as large, finding by a gradient is all there is to it.

RUN/photos.jsonl has a line for each photo and RUN/nouns.jsonl one for each half of a noun; every
figure and interval of RUN/summary.json can be had again from them (`--again`). RUN/scores is what
an interrupted run goes on from. Intervals: crossed bootstrap, nouns and photos drawn independently.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    load_rows,
    program,
    readable,
    shown,
)
from safetensors.torch import load_file, save_file
from source import source_record
from torch import Tensor

from molyneux.data.dataset import Item
from molyneux.data.open import open_dataset
from molyneux.data.selection import CONDITIONS, select
from molyneux.models.captioner import Captioner
from molyneux.neurons.ablation import Intervention, batches
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.change import change_scores
from molyneux.neurons.partners import Partner, agreed_nouns
from molyneux.neurons.rankings import random_units
from molyneux.neurons.sight.measure import MIN_PARTNERS
from molyneux.neurons.sight.passes import pass_prompts
from molyneux.neurons.sight.patch_sets import layers_with_path
from molyneux.neurons.sight.reading import Asked, Text, read_after, read_behind
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import read_sentence, word_tokens
from molyneux.neurons.unit import Unit, top_units, unit_mask
from molyneux.statistics.bootstrap import bootstrap
from molyneux.statistics.crossed import crossed_difference, crossed_mean, crossed_ratio
from molyneux.vision.layout import ImagePrompt
from molyneux.words.articles import article_of
from molyneux.words.kinds import are_related, unrelated_to
from molyneux.words.nouns import find_nouns
from molyneux.words.synonyms import names_one_of

LEAST = 6
"""Photos of a noun: three in each half."""
LISTED = 100
FRACTION = 0.05
DRAWS = 3
CHANGE = "|change"
"""What the z of a photo are kept as, beside its words' scores: no word."""


@dataclass(frozen=True)
class Photo:
    """A photo that is asked of, by the hash of its file.

    Attributes:
        agreed: nouns that most of its people wrote.
        written: all nouns that anybody wrote, and annotated categories.
    """

    sha256: str
    data: str
    item: Item
    agreed: tuple[str, ...]
    written: frozenset[str]

    def lacks(self, noun: str) -> bool:
        """Whether nothing that was written or annotated is related to a noun."""
        return bool(unrelated_to(self.written, [noun]))


@dataclass(frozen=True)
class Noun:
    """A noun that is looked for.

    Attributes:
        other: its counterpart.
        halves: hashes of its photos.
    """

    noun: str
    other: str
    halves: tuple[tuple[str, ...], tuple[str, ...]]

    def half_of(self, photo: str) -> int | None:
        """Which half a photo is in."""
        return next((k for k, half in enumerate(self.halves) if photo in half), None)


def digest(*words: object) -> str:
    return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()


def halves_of(
    noun: str, photos: Sequence[str], seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a noun's photos in two halves, by the hash of the seed, the noun and the photo's."""
    order = sorted(set(photos), key=lambda photo: digest(seed, noun, photo))
    middle = len(order) // 2
    return tuple(order[:middle]), tuple(order[middle:])


def counterparts(nouns: Sequence[str], seed: int) -> dict[str, str]:
    """Return another noun for each: unrelated, and after the same article.

    Each noun is the counterpart of one where that can be; one that all are related to has none.
    """
    fit = {
        noun: [
            one
            for one in nouns
            if not are_related(one, noun) and article_of(one) == article_of(noun)
        ]
        for noun in nouns
    }
    order = sorted(nouns, key=lambda noun: (len(fit[noun]), digest(seed, noun)))
    used: dict[str, int] = {}
    found = {}
    for noun in order:
        if fit[noun]:
            # The least used, and of those the first by hash.
            found[noun] = min(
                fit[noun], key=lambda one: (used.get(one, 0), digest(seed, noun, one))
            )
            used[found[noun]] = used.get(found[noun], 0) + 1
    return {noun: found[noun] for noun in nouns if noun in found}


def nouns_of(
    agreed: Mapping[str, Sequence[str]],
    first_token: Mapping[str, int | None],
    least: int,
    seed: int,
) -> list[Noun]:
    """Return the nouns that enough photos have, with their halves and counterparts.

    Args:
        agreed: the nouns of each photo.
        first_token: of each noun; None where it is blank. Of two that share it, the more frequent
            is taken.
    """
    photos: dict[str, list[str]] = {}
    for photo, own in agreed.items():
        for noun in own:
            photos.setdefault(noun, []).append(photo)
    often = [noun for noun, own in photos.items() if len(own) >= least]
    often.sort(key=lambda noun: (-len(photos[noun]), noun))
    taken: dict[int, str] = {}
    for noun in often:
        token = first_token[noun]
        if token is not None:
            taken.setdefault(token, noun)
    kept = sorted(taken.values())
    other = counterparts(kept, seed)
    return [
        Noun(noun, other[noun], halves_of(noun, photos[noun], seed))
        for noun in kept
        if noun in other
    ]


def load_photos(given: Sequence[Sequence[str]]) -> tuple[list[Photo], list[Row]]:
    """Return captioned photos of some data sets, each file once, and how they were chosen."""
    found: dict[str, Photo] = {}
    records = []
    for data, *where in given:
        selection = select(open_dataset(data), where)
        records.append({"data": Path(data).name, **selection.record()})
        for item in readable(item for _, item in selection.items()):
            agreed = agreed_nouns(item.captions)
            if agreed:
                written = {n.lemma for caption in item.captions for n in find_nouns(caption)}
                photo = Photo(
                    item.sha256(),
                    Path(data).name,
                    item,
                    agreed,
                    frozenset({*written, *item.categories}),
                )
                found.setdefault(photo.sha256, photo)
    return sorted(found.values(), key=lambda photo: photo.sha256), records


def fitting(partners: Sequence[Partner], noun: str) -> list[int]:
    """Return the numbers of the partners that do not show a noun."""
    return [number for number, partner in enumerate(partners) if not partner.shows(noun)]


@dataclass
class Run:
    """What is measured, with what, and where it is kept."""

    captioner: Captioner
    photos: dict[str, Photo]
    nouns: dict[str, Noun]
    folder: Path
    seed: int
    means: dict[str, Tensor] = field(default_factory=dict)
    behind: dict[str, float] = field(default_factory=dict)
    _units: dict[tuple[str, tuple[str, ...]], list[Unit]] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """How many units are put to the mean: as many as are listed, and 5 % of those with a path
        to the output."""
        model = self.captioner.language_model
        path = len(layers_with_path(model.n_layers)) * model.d_mlp
        return {str(LISTED): LISTED, f"{FRACTION:.0%}": round(FRACTION * path)}

    def token(self, noun: str) -> int:
        return word_tokens(self.captioner.language_model, noun)[0]

    def article(self, noun: str) -> tuple[int, ...]:
        return tuple(word_tokens(self.captioner.language_model, article_of(noun)))

    def asked_of(self, photo: Photo) -> list[Noun]:
        """The nouns that a photo is one of the photos of."""
        return [noun for noun in self.nouns.values() if noun.half_of(photo.sha256) is not None]

    def wanted(self, photo: Photo) -> list[str]:
        """The words whose units are scored behind a photo: its nouns, and their counterparts where
        it lacks them."""
        own = self.asked_of(photo)
        words = [noun.noun for noun in own] + [n.other for n in own if photo.lacks(n.other)]
        return list(dict.fromkeys(words))

    def found_on(self, noun: Noun, half: int, *, absent: bool = False) -> tuple[str, ...]:
        """The photos that a noun's, or its counterpart's, units are found on."""
        if not absent:
            return noun.halves[half]
        return tuple(p for p in noun.halves[half] if self.photos[p].lacks(noun.other))

    def units(self, word: str, photos: tuple[str, ...]) -> list[Unit]:
        """The units of largest mean total for a word over photos; of `CHANGE`, of largest |z|."""
        key = (word, photos)
        if key not in self._units:
            mean = torch.stack([self._scores(photo)[word] for photo in photos]).mean(dim=0)
            score = mean.abs() if word == CHANGE else mean
            apart = torch.full_like(score, -torch.inf)
            kept = list(layers_with_path(len(score)))
            apart[kept] = score[kept]
            self._units[key] = top_units(apart, max(self.sizes.values()))
        return self._units[key]

    def _scores(self, photo: str) -> dict[str, Tensor]:
        return load_file(self.folder / "scores" / f"{photo}.safetensors")

    def find(self) -> None:
        """Score all units for each photo's words; files that are there are kept."""
        folder = self.folder / "scores"
        folder.mkdir(exist_ok=True)
        chosen = [photo for photo in self.photos.values() if self.asked_of(photo)]
        left = [p for p in chosen if not (folder / f"{p.sha256}.safetensors").is_file()]
        progress = Progress(len(chosen), len(chosen) - len(left))
        for photo in left:
            partial = folder / "partial"
            save_file(self.score(photo), partial)
            partial.rename(folder / f"{photo.sha256}.safetensors")
            progress.step("scored")

    def score(self, photo: Photo) -> dict[str, Tensor]:
        """Return every unit's total for each wanted word, where it is due after its article; and
        its z, how far its activation is from reference photos'."""
        model = self.captioner.language_model
        assert self.captioner.reference is not None
        usual = self.captioner.reference.require_activation()
        prompt = self.captioner.see([photo.item.read()])
        sinks = sink_patches(patch_norms(model, prompt))[0]
        found = {}
        for article, words in self._by_article(self.wanted(photo)):
            until = prompt.followed_by(model, list(article))
            targets = [Target(self.token(word), until.n_positions - 1) for word in words]
            scores = attribute_units(model, until, targets)
            totals = scores.patches.total
            found |= {word: total.clone() for word, total in zip(words, totals, strict=True)}
            # No text changes what is at the patches.
            kept = None if bool(sinks.all()) else sinks
            found[CHANGE] = change_scores(scores.activation, usual.mean, usual.deviation, kept)
        return found

    def _by_article(self, words: Sequence[str]) -> Iterator[tuple[tuple[int, ...], list[str]]]:
        for article in dict.fromkeys(map(self.article, words)):
            yield article, [word for word in words if self.article(word) == article]

    def read_partners(self) -> None:
        """Set each noun's mean activations over the partners that do not show it, and its mean
        log-probability behind those."""
        table, model = self.captioner.reference, self.captioner.language_model
        assert table is not None
        prompts = [partner.prompt(model, self.captioner.layout) for partner in table.partners]
        fits = {noun: fitting(table.partners, noun) for noun in self.nouns}
        texts = [
            (nouns, Text(article, tuple(Asked(self.token(n), len(article)) for n in nouns)))
            for article, nouns in self._by_article(list(self.nouns))
        ]
        log_p: dict[str, list[float]] = {noun: [] for noun in self.nouns}
        for part in batches(range(len(prompts)), prompts[0].n_positions):
            passed = pass_prompts(model, [prompts[number] for number in part], activations=True)
            for nouns, text in texts:
                for noun, column in zip(nouns, read_after(model, passed, text).T, strict=True):
                    log_p[noun] += column.tolist()
            for number, one in zip(part, passed, strict=True):
                assert one.activation is not None
                for noun in [noun for noun, own in fits.items() if number in own]:
                    share = one.activation / len(fits[noun])
                    self.means[noun] = self.means[noun] + share if noun in self.means else share
        for noun, own in fits.items():
            self.behind[noun] = float(np.mean([log_p[noun][number] for number in own]))

    def noun_rows(self) -> Iterator[Row]:
        """Yield what was found of each half of each noun."""
        for noun in self.nouns.values():
            for half in range(2):
                absent = self.found_on(noun, half, absent=True)
                sets = {
                    "own": (noun.noun, noun.halves[half]),
                    "absent_own": (noun.other, absent),
                    "own change": (CHANGE, noun.halves[half]),
                }
                yield {
                    "noun": noun.noun,
                    "other": noun.other,
                    "half": half,
                    "photos": list(noun.halves[half]),
                    "photos_absent": len(absent),
                    "behind": self.behind[noun.noun],
                    "units": {
                        name: [str(unit) for unit in self.units(word, photos)[:LISTED]]
                        for name, (word, photos) in sets.items()
                        if photos
                    },
                }

    def measure(self, photo: Photo) -> Row:
        """Return a photo's row."""
        model = self.captioner.language_model
        prompt = self.captioner.see([photo.item.read()])
        sentence = read_sentence(model, prompt, self.captioner.write(prompt)[0])
        said = [word.lemma for word in sentence.words]
        tested = [self._test(photo, prompt, noun, said) for noun in self.asked_of(photo)]
        return {
            "photo": photo.item.id,
            "data": photo.data,
            "sha256": photo.sha256,
            "caption": sentence.caption,
            "tested": tested,
        }

    def _test(self, photo: Photo, prompt: ImagePrompt, noun: Noun, said: Sequence[str]) -> Row:
        """Return a noun's and its counterpart's log-probability, clean and by set and size."""
        model = self.captioner.language_model
        tested = noun.half_of(photo.sha256)
        assert tested is not None
        half = 1 - tested
        absent = photo.lacks(noun.other)
        # Never the half of the counterpart's photos that this one is in.
        other = self.nouns[noun.other]
        there = other.half_of(photo.sha256)
        found_by = half if there is None else 1 - there
        ranked = {
            "own": self.units(noun.noun, noun.halves[half]),
            "other": self.units(other.noun, other.halves[found_by]),
            "own change": self.units(CHANGE, noun.halves[half]),
            "other change": self.units(CHANGE, other.halves[found_by]),
        }
        if absent and (on := self.found_on(noun, half, absent=True)):
            ranked["absent_own"] = self.units(noun.other, on)
        places: list[tuple[str, str]] = []
        edits = [Intervention([], "patches")]  # clean

        def add(size: str, name: str, units: Sequence[Unit | None]) -> None:
            there = [unit for unit in units if unit is not None]
            mask = unit_mask(there, model.n_layers, model.d_mlp)
            mean = self.means[noun.other if name == "absent_own" else noun.noun]
            edits.append(Intervention(mask, "patches", mean))
            places.append((size, name))

        for size, n in self.sizes.items():
            for name, units in ranked.items():
                add(size, name, units[:n])
            for name, beside in (("own", "random"), ("own change", "random change")):
                own = ranked[name][:n]
                for draw in range(DRAWS):
                    key = digest(self.seed, photo.sha256, noun.noun, size, beside, draw)
                    drawn = random_units(own, model.d_mlp, set(own), seed=int(key[:12], 16))
                    add(size, beside, drawn)
        article = self.article(noun.noun)
        words = (noun.noun, noun.other)
        text = Text(article, tuple(Asked(self.token(word), len(article)) for word in words))
        clean, *after = read_behind(model, [prompt] * len(edits), text, edits).tolist()
        found: dict[str, dict[str, Any]] = {size: {} for size in self.sizes}
        for (size, name), values in zip(places, after, strict=True):
            found[size].setdefault(name, []).append(values)
        return {
            "noun": noun.noun,
            "other": noun.other,
            "found_on_half": half,
            "said": names_one_of(noun.noun, said),
            "other_absent": absent,
            "clean": clean,
            "after": {
                size: {name: np.mean(rows, axis=0).tolist() for name, rows in sets.items()}
                for size, sets in found.items()
            },
        }


Cells = np.ndarray
"""Nouns x photos, NaN where a photo is none of a noun's."""

OTHER, RANDOM, ABSENT = "other", "random", "absent word, own units"
ABSENT_OWN = "absent word, its own units"
RANKINGS = {
    "total": {
        "own": ("own", 0),
        OTHER: ("other", 0),
        RANDOM: ("random", 0),
        ABSENT: ("own", 1),
        ABSENT_OWN: ("absent_own", 1),
    },
    "change": {
        "own": ("own change", 0),
        OTHER: ("other change", 0),
        RANDOM: ("random change", 0),
        ABSENT: ("own change", 1),
    },
}
"""What is lost, of each ranking: which set is put to the mean, and whose log-probability is read:
the noun's, or its counterpart's, which is absent."""
CLAIM = {"total": (OTHER, RANDOM, ABSENT_OWN), "change": (OTHER, RANDOM, ABSENT)}
"""What a noun's own loss has to exceed. Any word's gradient takes that word most, so that of
`total` an absent word has units of its own."""


def cells_of(rows: Sequence[Row], nouns: Sequence[str], size: str, name: str, word: int) -> Cells:
    """Return what each noun's photos lose, in nats: clean log-probability minus that after.

    Args:
        name: of the set that is put to the mean.
        word: 0 for the noun, 1 for its counterpart where it is absent.
    """
    found = np.full((len(nouns), len(rows)), np.nan)
    for column, row in enumerate(rows):
        for one in row["tested"]:
            after = one["after"].get(size, {}).get(name)
            if after is not None and not (word and not one["other_absent"]):
                found[nouns.index(one["noun"]), column] = one["clean"][word] - after[word]
    return found


def together(one: Cells, other: Cells) -> tuple[Cells, Cells]:
    """Return two tables where both are there."""
    lacking = np.isnan(one) | np.isnan(other)
    return np.where(lacking, np.nan, one), np.where(lacking, np.nan, other)


def is_there(table: Cells) -> bool:
    return not np.isnan(table).all()


def gains_of(rows: Sequence[Row], nouns: Sequence[str], behind: Mapping[str, float]) -> Cells:
    """Return what each photo adds to its nouns, in nats."""
    found = np.full((len(nouns), len(rows)), np.nan)
    for column, row in enumerate(rows):
        for one in row["tested"]:
            gain = one["clean"][0] - behind[one["noun"]]
            found[nouns.index(one["noun"]), column] = gain
    return found


def only(table: Cells, rows: Sequence[Row], nouns: Sequence[str], said: bool) -> Cells:
    """Return a table of the nouns that the model's caption has, or has not."""
    found = np.full_like(table, np.nan)
    for column, row in enumerate(rows):
        for one in row["tested"]:
            if one["said"] == said:
                place = nouns.index(one["noun"]), column
                found[place] = table[place]
    return found


def figures(tables: Mapping[str, Cells], gain: Cells) -> Row:
    """Return each measure's mean, what lies between them, and the share of the gain."""
    found: Row = {
        name: cell(crossed_mean(table)) for name, table in tables.items() if is_there(table)
    }
    for name in [name for name in tables if name != "own"]:
        one, beside = together(tables["own"], tables[name])
        if is_there(one):
            found[f"own minus {name}"] = cell(crossed_difference(one, beside))
    if is_there(gain):
        found["gain"] = cell(crossed_mean(gain))
        if found["gain"]["value"] > 0:
            ratio = crossed_ratio(*together(tables["own"], gain))
            # Where some draws have no gain the interval ends nowhere.
            if math.isfinite(ratio.low) and math.isfinite(ratio.high):
                found["own / gain"] = cell(ratio)
    return found


def verdict(found: Mapping[str, Any], ranking: str) -> str:
    """Whether units found for a noun carry it on other photos: it loses more than all of `CLAIM`,
    by intervals above 0."""
    needed = [f"own minus {name}" for name in CLAIM[ranking]]
    if any(name not in found for name in needed):
        return "open"
    return "holds" if all(found[name]["low"] > 0 for name in needed) else "does not hold"


def shared(units: Sequence[str], others: Sequence[str]) -> float:
    """Return the share of some units that is among others."""
    return len({*units} & {*others}) / len(units)


def overlaps(halves: Sequence[Row], name: str) -> Row:
    """Return the share of a set's listed units that both halves of a noun have, beside that of one
    half and of its counterpart's other half."""
    units = {(row["noun"], row["half"]): row["units"][name] for row in halves}
    nouns = {row["noun"]: row["other"] for row in halves}
    own = [shared(units[n, 0], units[n, 1]) for n in nouns]
    beside = [shared(units[n, 0], units[other, 1]) for n, other in nouns.items()]
    return {
        "both halves of a noun": cell(bootstrap(own)),
        "a half and its counterpart's": cell(bootstrap(beside)),
    }


def summarise(run: Path) -> Row:
    """Return every figure of a run, from its rows."""
    rows = sorted(load_rows(run / "photos.jsonl"), key=lambda row: row["sha256"])
    halves = load_rows(run / "nouns.jsonl")
    tested = {one["noun"] for row in rows for one in row["tested"]}
    nouns = sorted(tested)
    if not nouns:
        sys.exit(f"{run} has no tested noun yet; measure it first")
    behind = {row["noun"]: row["behind"] for row in halves}
    gain = gains_of(rows, nouns, behind)
    summary: Row = {
        "photos": len(rows),
        "nouns": {n: int((~np.isnan(gain[k])).sum()) for k, n in enumerate(nouns)},
        "counterparts": {row["noun"]: row["other"] for row in halves},
        "shared units": {
            ranking: overlaps(halves, measures["own"][0]) for ranking, measures in RANKINGS.items()
        },
        "rankings": {},
    }
    sizes = list(next(one["after"] for row in rows for one in row["tested"]))
    for ranking, measures in RANKINGS.items():
        by_size: Row = {}
        for size in sizes:
            tables = {name: cells_of(rows, nouns, size, *of) for name, of in measures.items()}
            found = {"all": figures(tables, gain)}
            for name, said in (("said", True), ("not said", False)):
                parts = {k: only(table, rows, nouns, said) for k, table in tables.items()}
                found[name] = figures(parts, only(gain, rows, nouns, said))
            by_size[size] = {**found, "claim": verdict(found["all"], ranking)}
        summary["rankings"][ranking] = by_size
    return summary


def show(summary: Row) -> str:
    """Return a summary as text: nats lost, over nouns and photos."""
    lines = [f"{summary['photos']} photos, {len(summary['nouns'])} nouns"]
    for ranking, sizes in summary["rankings"].items():
        for name, one in summary["shared units"][ranking].items():
            lines.append(f"{ranking}: of {LISTED} units, shared by {name}: {shown(one)}")
        for size, parts in sizes.items():
            claim = "units found for a noun carry it on other photos"
            lines.append(f"{ranking}, {size} units: {claim}: {parts['claim']}")
            for part in ("all", "said", "not said"):
                for name, one in parts[part].items():
                    lines.append(f"  {part:9} {name:40} {shown(one)} ({one['n']} nouns)")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not measured yet, and conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    conditions = ", ".join(CONDITIONS)
    parser.add_argument(
        "--data",
        nargs="+",
        action="append",
        default=[],
        metavar=("DATA", "WHERE"),
        help=f"a data set and which of its photos ({conditions}); may be given several times",
    )
    parser.add_argument("--least", type=int, default=LEAST, help="photos of a noun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--projection", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--out", type=Path, metavar="RUN")
    parser.add_argument("--again", type=Path, metavar="RUN")
    options = parser.parse_args()
    if options.again is not None:
        conclude(options.again, summarise, show, again=True)
        return
    if not options.data or options.out is None:
        parser.error("--data and --out are needed, or --again RUN")
    photos, records = load_photos(options.data)
    captioner = Captioner.load(projection=options.projection, reference=options.reference)
    model = captioner.language_model
    names = {noun for photo in photos for noun in photo.agreed}
    first = {noun: next(iter(word_tokens(model, noun)), None) for noun in names}
    table = captioner.reference
    if table is None or not table.partners:
        sys.exit("the reference table has no partner photos; give one that has, --reference")
    everywhere = sorted(n for n in names if len(fitting(table.partners, n)) < MIN_PARTNERS)
    agreed = {p.sha256: [n for n in p.agreed if n not in everywhere] for p in photos}
    nouns = nouns_of(agreed, first, options.least, options.seed)
    if not nouns:
        sys.exit(
            f"no noun that has a counterpart is in {options.least} photos and not shown by "
            f"{MIN_PARTNERS} partners; give more --data, or a table with more of them"
        )
    run = Run(
        captioner,
        {photo.sha256: photo for photo in photos},
        {noun.noun: noun for noun in nouns},
        options.out,
        options.seed,
    )
    record = {
        "source": source_record(),
        "hashes": captioner.hashes,
        "reference": captioner.reference and captioner.reference.provenance,
        "data": records,
        "least": options.least,
        "seed": options.seed,
        "sizes": run.sizes,
        "nouns": {noun.noun: noun.other for noun in nouns},
        "left out, too few partners do not show it": everywhere,
    }
    begin(options.out, record)
    run.read_partners()
    run.find()
    (options.out / "nouns.jsonl").unlink(missing_ok=True)
    for row in run.noun_rows():
        append_row(options.out / "nouns.jsonl", row)
    file = options.out / "photos.jsonl"
    done = {row["sha256"] for row in load_rows(file)}
    chosen = [photo for photo in photos if run.asked_of(photo)]
    progress = Progress(len(chosen), len(done))
    for photo in chosen:
        if photo.sha256 not in done:
            append_row(file, run.measure(photo))
            progress.step("tested")
    conclude(options.out, summarise, show, again=False)


if __name__ == "__main__":
    program(main)
