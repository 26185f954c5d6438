"""How much the units at the patches carry, by how the projection was trained.

    python benchmarks/carriers.py --data COCO split=val2017 --images 40 --reference DATA2 \
        --partners DATA3 --out RUN --projection end=P --projection "100 steps=P100" \
        --projection "random encoder=PR" --projection "permuted captions=PP"
    python benchmarks/carriers.py --again RUN

A condition is the preset's language model with a projection: of an earlier step, of an encoder
under random weights (which is then joined to that), of photos permuted against captions. Of each
photo one noun is asked for that most of its people wrote, after "A picture of a", beside a noun of
another photo's people that nobody wrote here. Photos, nouns, partners and their order are the same
under all conditions; the sets are each condition's own, chosen without any word:

* change: the 5 % of units whose activation at the patches is farthest from reference photos';
* random: as many of the same layers (three draws);
* all: every unit that has a path, of all layers but the last.

In nats: gain (behind the photo, minus behind partners), transplant (what a partner gains with the
photo's values) and mediated (what the photo loses with the partners' mean). What is left of the
gain with *all* units at the mean goes past them: the patches' embeddings say it by themselves.
Models that cannot see stand among the conditions: their noun must gain no more than another one.

RUN/photos.jsonl has a line for each condition and photo; every figure and interval of
RUN/summary.json can be had again from it (`--again`). Intervals draw photos and partners.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
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
from torch import Tensor

from molyneux.data.dataset import Item
from molyneux.data.open import open_dataset
from molyneux.data.selection import CONDITIONS, select
from molyneux.models.captioner import Captioner
from molyneux.neurons.change import change_scores
from molyneux.neurons.partners import Partner, agreed_nouns, make_partner
from molyneux.neurons.sight.forms import FRACTION
from molyneux.neurons.sight.measure import (
    MIN_PARTNERS,
    PartnerPrompt,
    in_order,
    measure_sets,
    read_partners,
    read_photo,
)
from molyneux.neurons.sight.passes import Passes, pass_prompts
from molyneux.neurons.sight.patch_sets import DRAWS, all_units, change_set, random_set
from molyneux.neurons.sight.reading import Asked, Text
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import word_tokens
from molyneux.statistics.crossed import Cells, crossed_difference, crossed_mean, crossed_ratio
from molyneux.vision.layout import ImagePrompt, lay_out
from molyneux.words.articles import article_of
from molyneux.words.kinds import unrelated_to
from molyneux.words.nouns import find_nouns

SETS = ("change", "random", "all")
AT_ONCE = 8


@dataclass(frozen=True)
class Photo:
    """A photo and what is asked of it, the same under all conditions.

    Attributes:
        other: a noun of another photo's people, with the same article.
        partners: numbers of the partners that show neither, in the order in which they are taken.
    """

    item: Item
    sha256: str
    noun: str
    other: str
    partners: tuple[int, ...]


def by_hash(seed: int, of: str, one: str) -> bytes:
    return hashlib.sha256(f"{seed} {of} {one}".encode()).digest()


def people_of(items: Sequence[Item]) -> list[Partner]:
    """Return what people wrote of photos, as partners whose captions and patches are not there."""
    return [
        make_partner(item.sha256(), item.captions[0], item.captions, torch.zeros(1, 1))
        for item in items
    ]


def asked_photos(
    items: Sequence[Item],
    partners: Sequence[Partner],
    first_token: Callable[[str], int | None],
    seed: int,
) -> list[Photo]:
    """Return photos with a noun of their people's and one of others' people's; others are left out.

    Args:
        first_token: of a noun; None where it is blank.
    """
    found = []
    for item in items:
        sha256 = item.sha256()
        agreed = [noun for noun in agreed_nouns(item.captions) if first_token(noun) is not None]
        if not agreed:
            continue
        noun = min(agreed, key=lambda one: by_hash(seed, sha256, one))
        written = {n.lemma for caption in item.captions for n in find_nouns(caption)}
        elsewhere = {one for partner in partners for one in partner.agreed}
        others = [
            one
            for one in unrelated_to({*written, *item.categories}, sorted(elsewhere))
            if article_of(one) == article_of(noun)
            and first_token(one) not in (None, first_token(noun))
        ]
        others.sort(key=lambda one: by_hash(seed, sha256, one))
        order = in_order([partner.name for partner in partners], sha256)
        for other in others:
            fit = [k for k in order if not partners[k].shows(noun) and not partners[k].shows(other)]
            if len(fit) >= MIN_PARTNERS:
                found.append(Photo(item, sha256, noun, other, tuple(fit)))
                break
    return found


class Condition:
    """A projection's model, with its partners and its usual activations."""

    def __init__(
        self, captioner: Captioner, reference: Sequence[Item], partners: Sequence[Item]
    ) -> None:
        self.captioner, self.model = captioner, captioner.language_model
        self.partners = [
            PartnerPrompt(prompt, item.sha256())
            for item, prompt in zip(partners, self.prompts(partners), strict=True)
        ]
        self.passes = Passes()
        self.mean, self.deviation = self._moments(reference)

    def prompts(self, items: Sequence[Item]) -> list[ImagePrompt]:
        """Return each photo's image prompt."""
        found = []
        for start in range(0, len(items), AT_ONCE):
            part = [item.read() for item in items[start : start + AT_ONCE]]
            for patches in self.captioner.image_prompts(part):
                found.append(lay_out(self.model, self.captioner.layout, patches[None]))
        return found

    def sinks(self, prompt: ImagePrompt) -> Tensor | None:
        """Return which patches are sinks; None where all are."""
        found = sink_patches(patch_norms(self.model, prompt))[0]
        return None if bool(found.all()) else found

    def _moments(self, reference: Sequence[Item]) -> tuple[Tensor, Tensor]:
        means = []
        for number, prompt in enumerate(self.prompts(reference), start=1):
            (passed,) = pass_prompts(self.model, [prompt], activations=True)
            assert passed.activation is not None
            sinks = self.sinks(prompt)
            kept = passed.activation if sinks is None else passed.activation[:, ~sinks]
            means.append(kept.mean(dim=1))
            if number % 50 == 0:
                line = f"{number}/{len(reference)} reference photos"
                print(line, file=sys.stderr, flush=True)
        every = torch.stack(means)
        return every.mean(dim=0), every.std(dim=0)

    def row(self, photo: Photo, seed: int) -> Row:
        """Return what a photo adds to both nouns, and what each set carries of it."""
        (prompt,) = self.prompts([photo.item])
        article = tuple(word_tokens(self.model, article_of(photo.noun)))
        nouns = [word_tokens(self.model, noun)[0] for noun in (photo.noun, photo.other)]
        text = Text(article, tuple(Asked(token, len(article)) for token in nouns))
        patches = prompt.patches.stop - prompt.patches.start
        behind = read_partners(
            self.model,
            [self.partners[k] for k in photo.partners],
            text,
            patches=patches,
            passes=self.passes,
        )
        read = read_photo(self.model, prompt, text)
        z = change_scores(read.activation, self.mean, self.deviation, self.sinks(prompt))
        change = change_set(z, FRACTION)
        sets = [change, *(random_set(change, k, seed=seed) for k in range(DRAWS))]
        sets.append(all_units(*z.shape))
        effects = measure_sets(self.model, read, behind, sets, draws_in_turn=True, seed=seed)
        found: Row = {"partners": list(photo.partners), "nouns": {}}
        for place, kind in enumerate(("own", "other")):
            found["nouns"][kind] = {
                "clean": float(read.log_p[place]),
                "behind": behind.log_p[:, place].tolist(),
                "sets": {
                    effect.name: {
                        "mediated": float(effect.mediated[place]),
                        "transplanted": {
                            str(photo.partners[k]): value
                            for k, value in enumerate(effect.transplanted[place].tolist())
                            if value == value
                        },
                    }
                    for effect in effects
                },
            }
        return found


def cells_of(rows: Sequence[Row], n_partners: int) -> dict[str, np.ndarray]:
    """Return every quantity of a condition as photos x partners, or one number for each photo."""
    found: dict[str, np.ndarray] = {}

    def put(name: str, number: int, partner: int, value: float) -> None:
        empty = np.full((len(rows), n_partners), np.nan)
        found.setdefault(name, empty)[number, partner] = value

    for number, row in enumerate(rows):
        for kind, noun in row["nouns"].items():
            for partner, value in zip(row["partners"], noun["behind"], strict=True):
                put(f"{kind}: gain", number, partner, noun["clean"] - value)
            for name, one in noun["sets"].items():
                mediated = f"{kind}: {name}, mediated"
                found.setdefault(mediated, np.full(len(rows), np.nan))[number] = one["mediated"]
                for partner, value in one["transplanted"].items():
                    put(f"{kind}: {name}, transplant", number, int(partner), value)
    return found


def figures_of(rows: Sequence[Row], n_partners: int) -> Row:
    """Return a condition's figures: of the photo's noun, and that minus another photo's noun."""
    cells = cells_of(rows, n_partners)

    def beside(name: str) -> tuple[Cells, Cells]:
        return cells[f"own: {name}"], cells[f"other: {name}"]

    quantities = ["gain", *(f"{s}, {q}" for s in SETS for q in ("transplant", "mediated"))]
    found: Row = {}
    for name in quantities:
        own, other = beside(name)
        found[name] = cell(crossed_mean(own))
        found[f"{name}, own minus other"] = cell(crossed_difference(own, other))
    for name in quantities[1:]:
        try:
            ratio = crossed_ratio(cells[f"own: {name}"], cells["own: gain"])
        except ValueError:
            continue  # nothing is gained: there is nothing to take a share of
        if np.isfinite([ratio.low, ratio.high]).all():
            found[f"{name}, of the gain"] = cell(ratio)
        # The same of what the photo's noun has more than the other one.
        part, whole = (np.subtract(*beside(what)) for what in (name, "gain"))
        try:
            ratio = crossed_ratio(part, whole)
        except ValueError:
            continue
        if np.isfinite([ratio.low, ratio.high]).all():
            found[f"{name}, own minus other, of the gain"] = cell(ratio)
    return found


def summarise(run: Path) -> Row:
    """Return every figure of a run, from its rows: the table of conditions."""
    rows = sorted(load_rows(run / "photos.jsonl"), key=lambda row: row["sha256"])
    if not rows:
        sys.exit(f"{run} has no row yet; measure it first")
    record = load_record(run / "record.json")
    n_partners = record["partners"]["photos"]
    summary: Row = {"conditions": {}}
    for condition in record["conditions"]:
        own = [row for row in rows if row["condition"] == condition]
        if own:
            figures = figures_of(own, n_partners)
            summary["conditions"][condition] = {"photos": len(own), "figures": figures}
    return summary


COLUMNS = (
    *("gain", "gain, own minus other", "change, transplant, own minus other"),
    *("random, transplant, own minus other", "change, transplant, of the gain"),
    *("change, mediated, of the gain", "all, mediated, of the gain", "all, mediated"),
)


def show(summary: Row) -> str:
    """Return the table of conditions as text."""
    lines = [" | ".join(COLUMNS)]
    for condition, table in summary["conditions"].items():
        cells = " | ".join(shown(table["figures"].get(column)) for column in COLUMNS)
        lines.append(f"{condition:24} {table['photos']:4} {cells}")
    return "\n".join(lines)


def chosen(given: Sequence[str], images: int | None, seed: int) -> tuple[list[Item], Row]:
    """Return the readable photos of a data set that is given with its conditions."""
    data, *where = given
    selection = select(open_dataset(data), where, images, seed)
    items = readable(item for _, item in selection.items())
    return items, {"data": Path(data).name, **selection.record()}


def main() -> None:
    """Measure what is not measured yet, and conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = f"a data set and which of its photos ({', '.join(CONDITIONS)})"
    for name in ("--data", "--reference", "--partners"):
        parser.add_argument(name, nargs="+", metavar=("DATA", "WHERE"), help=where)
    parser.add_argument("--images", type=int)
    parser.add_argument("--reference-images", type=int, default=200)
    parser.add_argument("--partner-images", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--projection", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, metavar="RUN")
    parser.add_argument("--again", type=Path, metavar="RUN")
    options = parser.parse_args()
    if options.again is not None:
        conclude(options.again, summarise, show, again=True)
        return
    needed = (options.data, options.reference, options.partners, options.projection, options.out)
    if not all(needed):
        parser.error("--data, --reference, --partners, --projection and --out, or --again RUN")
    projections = named_files("--projection", options.projection)
    seed = options.seed
    data, *conditions = options.data
    items, of_data = chosen([data, *conditions, "captions"], options.images, seed)
    reference, of_reference = chosen(options.reference, options.reference_images, seed)
    described, of_partners = chosen(options.partners, None, seed)
    described = [item for item in described if agreed_nouns(item.captions)]
    described = described[: options.partner_images]
    apart = [{item.sha256() for item in part} for part in (items, reference, described)]
    if any(apart[i] & apart[j] for i, j in ((0, 1), (0, 2), (1, 2))):
        sys.exit("photos measured, of reference and partners hold one photo twice; give others")
    record = {
        "source": source_record(),
        "data": of_data,
        "reference": {**of_reference, "photos": len(reference)},
        "partners": {**of_partners, "photos": len(described)},
        "seed": seed,
        "conditions": {
            name: hashlib.sha256(file.read_bytes()).hexdigest()
            for name, file in projections.items()
        },
    }
    begin(options.out, record, growing="conditions")
    file = options.out / "photos.jsonl"
    photos: list[Photo] = []
    for name, projection in projections.items():
        done = {row["sha256"] for row in load_rows(file) if row["condition"] == name}
        if photos and all(photo.sha256 in done for photo in photos):
            continue
        condition = Condition(Captioner.load(projection=projection), reference, described)
        if not photos:
            model = condition.model

            def first_token(noun: str, model: Any = model) -> int | None:
                return next(iter(word_tokens(model, noun)), None)

            photos = asked_photos(items, people_of(described), first_token, seed)
        left = [photo for photo in photos if photo.sha256 not in done]
        progress = Progress(len(photos), len(photos) - len(left))
        for photo in left:
            own = {"noun": photo.noun, "other": photo.other}
            row = {"condition": name, "photo": photo.item.id, "sha256": photo.sha256, **own}
            append_row(file, {**row, **condition.row(photo, int(photo.sha256[:8], 16) % 2**31)})
            progress.step(name)
    conclude(options.out, summarise, show, again=False)


if __name__ == "__main__":
    program(main)
