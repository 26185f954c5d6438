"""The steps of one photo, each by itself: seeing, attributing, decoding, ranking, ablating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from timing import Clock, say

from molyneux.data.selection import Selection
from molyneux.models.captioner import Captioner
from molyneux.neurons.ablation import PAPER_GRID, PAPER_UNITS, ablated_logits
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.reference import ReferenceBuilder
from molyneux.neurons.scorers import DEFAULT_SCORER
from molyneux.neurons.unit import Unit
from molyneux.studies.e6_causality.design import HEADLINE, design
from molyneux.studies.e6_causality.measure import POSITIONS
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

SEVERAL = 4
SEEDS = 5
# What reference photos are said to show; none is in a photo's annotations.
OTHERS = ("lantern", "anchor", "violin")


@dataclass(frozen=True)
class Bench:
    """What all steps share.

    Attributes:
        repeats: of what takes seconds.
        rows: of the ablation grid that are run; None for all.
        units: that are decoded; None for all.
    """

    captioner: Captioner
    clock: Clock
    selection: Selection
    settings: StudySettings
    repeats: int
    rows: int | None
    units: int | None

    def subject(self) -> Subject:
        """Return the first photo, with the patch in the corner declared a sink."""
        _, item = next(iter(self.selection.items()))
        facts = ModelFacts.of(self.captioner)
        subject = Subject(facts, self.settings, item, item.read(), item.sha256())
        declare_sink(subject)
        return subject


def declare_sink(subject: Subject) -> None:
    """Take the first patch as a sink: trained models have one or two, and random ones none.

    Rankings without sink patches have scores of their own, which are thereby paid for.
    """
    subject.sink_patches[0] = True


def ablation_steps(n_units: int) -> tuple[int, ...]:
    """Return the paper's own grid, or, where units are too few for 6400 of them, its shares."""
    if n_units >= 4 * PAPER_GRID[-1]:
        return PAPER_GRID
    shares = {round(step * n_units / PAPER_UNITS) for step in PAPER_GRID}
    return tuple(sorted({*shares, *([HEADLINE] if n_units >= 4 * HEADLINE else [])}))


def with_random_reference(
    captioner: Captioner, photos: Sequence[Image.Image], listed: int
) -> Captioner:
    """Return the captioner with a table over some photos, its interpretable units drawn by lot."""
    model = captioner.language_model
    builder = ReferenceBuilder(listed)
    for noun, photo in zip(OTHERS, photos, strict=True):
        prompt = captioner.see([photo])
        target = Target(model.encode(f" {noun}")[0], prompt.n_positions - 1)
        builder.add(noun, attribute_units(model, prompt, [target]))
    drawn = torch.rand(2, model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    record = {
        **captioner.names,
        "projection": captioner.projection.hash(),
        "layout": captioner.layout.record(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "scorer": DEFAULT_SCORER.record(),
    }
    return captioner.with_reference(builder.build(drawn < 0.5, record))


def measure_seeing(bench: Bench) -> None:
    """Time encoder and projection, then the greedy caption."""
    captioner, clock = bench.captioner, bench.clock
    _, item = next(iter(bench.selection.items()))
    photo = item.read()
    prompt = clock.measure("see", lambda: captioner.see([photo]), bench.repeats, grows=False)
    ids = clock.measure("caption", lambda: captioner.write(prompt)[0], bench.repeats)
    clock.steps["caption"]["tokens"] = len(ids)
    say(f"caption: {captioner.language_model.decode(ids)!r}")


def measure_attribution(bench: Bench) -> None:
    """Time the scores of all units for one target, and for several of a caption."""
    captioner, clock = bench.captioner, bench.clock
    model = captioner.language_model
    _, item = next(iter(bench.selection.items()))
    prompt = captioner.see([item.read()])
    ids = [model.encode(f" {noun}")[0] for noun in ("bird", "bicycle", "bottle", "tree")]
    for n in (1, SEVERAL):
        until = prompt.followed_by(model, ids[: n - 1])
        targets = [Target(ids[i], prompt.n_positions - 1 + i) for i in range(n)]
        clock.measure(
            f"attribution, targets {n}",
            partial(attribute_units, model, until, targets),
            bench.repeats,
            units=model.n_units,
            positions=until.n_positions,
        )


def measure_decoding(bench: Bench) -> None:
    """Time the ten tokens that units raise and the ten they lower."""
    model = bench.captioner.language_model
    n = min(bench.units or model.n_units, model.n_units)
    each = range(0, model.n_units, model.n_units // n)
    units = [Unit(*divmod(number, model.d_mlp)) for number in each][:n]
    decode_units(model, units[:8])
    step = {"count": n, "of": PAPER_UNITS, "grows": False}
    bench.clock.measure("decoding", lambda: decode_units(model, units), 1, **step)


def measure_rankings(bench: Bench, subject: Subject) -> None:
    """Time what is done with the scores of all units once they are there: no model takes part."""
    clock, n = bench.clock, max(bench.settings.grid)
    assert subject.attribution.targets  # timed by itself
    top = clock.measure("top ranking", lambda: subject.ranking("patches", "top", n), 3)
    specific = clock.measure(
        "specific ranking", lambda: subject.ranking("patches", "specific", n), 3
    )
    clock.measure("random controls, one seed", lambda: subject.random(top, "a draw"), 3)
    clock.measure(
        "controls matched by strength",
        lambda: subject.ranked("patches").matched(specific, top),
        3,
    )
    few = top[: bench.settings.units]
    clock.measure("controls matched by norm", lambda: subject.matched_by_norm(few), 3)
    clock.measure("all sets of E6", lambda: design(subject, bench.settings.grid), 1)


def measure_ablation(bench: Bench, subject: Subject) -> None:
    """Time rows of E6's design as the study runs them, all of them or some of every size."""
    model, prompt = bench.captioner.language_model, subject.until
    chosen = design(subject, bench.settings.grid)
    work, rows = [], 0
    for positions in POSITIONS:
        sets = [tuple(sorted(row.units)) for row in chosen if row.positions == positions]
        distinct = list(dict.fromkeys([(), *sets]))
        rows += len(distinct)
        work.append((positions, distinct))
    wanted = rows if bench.rows is None else min(bench.rows, rows)
    share = wanted / rows
    some = [
        (positions, [sets[int(i / share)] for i in range(max(1, round(len(sets) * share)))])
        for positions, sets in work
    ]
    ablated_logits(model, prompt, some[0][1][:2])

    def run() -> int:
        for positions, sets in some:
            ablated_logits(model, prompt, sets, positions=positions)
        return sum(len(sets) for _, sets in some)

    done = sum(len(sets) for _, sets in some)
    bench.clock.measure("ablation grid", run, 1, count=done, of=rows)
