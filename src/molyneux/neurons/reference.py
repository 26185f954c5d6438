"""The reference table: how every unit scores on photos in general.

It turns raw scores into specific ones, names the sinks, and carries the unit lists of some
photos, so that a single photo has another photo as its control.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.checks import path_of
from molyneux.errors import WeightsError
from molyneux.neurons.attribution import VIEWS, Attribution, View
from molyneux.neurons.provenance import require_same
from molyneux.neurons.scorers import GradientActivation, Scorer, scorer_text
from molyneux.neurons.unit import Unit, top_units
from molyneux.neurons.unit_sets import LISTED
from molyneux.store import write_at_once

SINK_TOP = 100
SINK_SHARE = 0.5
MIN_PHOTOS = 200


@dataclass(frozen=True)
class OtherPhoto:
    """A reference photo's units, to be switched off where another photo is shown.

    Attributes:
        noun: what it was captioned as, singular.
        units: for each view and ranking (`top`, `specific`), the units in descending order.
    """

    noun: str
    units: dict[tuple[View, str], list[Unit]]


@dataclass(frozen=True)
class Reference:
    """Scores of all units over reference photos, per view, and what follows from them.

    Attributes:
        provenance: plain data: `projection` (hash), `language_model`, `encoder`, `data`,
            `photos` (how many), `scorer` (its record; older tables: `of` and `site`); of tables
            made since prompts can be chosen also `layout` and `dtype`, of newer ones `decoding`.
        top_count: in how many photos' top 100 a unit was.
        interpretable: whether a unit's decoded tokens are words, for signs -1 and +1.
    """

    provenance: dict[str, Any]
    mean: dict[View, Float[Tensor, "layers d_mlp"]]
    deviation: dict[View, Float[Tensor, "layers d_mlp"]]
    top_count: dict[View, Int[Tensor, "layers d_mlp"]]
    interpretable: Bool[Tensor, "2 layers d_mlp"]
    others: list[OtherPhoto]

    def __repr__(self) -> str:
        _, layers, d_mlp = self.interpretable.shape
        photos, data = self.provenance.get("photos"), self.provenance.get("data")
        return f"Reference({photos} photos of {data}, {layers} layers x {d_mlp} units)"

    @property
    def n_photos(self) -> int:
        """Number of reference photos."""
        return int(self.provenance["photos"])

    @property
    def scorer(self) -> dict[str, Any]:
        """The record of the scorer that it was measured with."""
        own = self.provenance.get("scorer")
        if own is not None:
            return dict(own)
        # Tables from before there were others.
        chosen = {key: self.provenance.get(key) for key in ("of", "site")}
        return {"name": GradientActivation.name, **chosen}

    def fits(self, scorer: Scorer) -> bool:
        """Return whether a scorer's scores can be compared with the table's: they are its own."""
        return self.scorer == scorer.record()

    def require_scorer(self, scorer: Scorer) -> None:
        """Refuse a scorer of another scale.

        Raises:
            WeightsError: says how to measure a table with it.
        """
        if not self.fits(scorer):
            raise WeightsError(
                f"the reference table was measured with the scorer {scorer_text(self.scorer)}; "
                f"make one with `molyneux reference DATA --scorer {scorer_text(scorer.record())}` "
                "and give it with --reference"
            )

    def specific(self, score: Float[Tensor, "layers d_mlp"], view: View) -> Tensor:
        """Return a photo's specific scores in one view (see `specific_scores`)."""
        return specific_scores(score, self.mean[view], self.deviation[view])

    def sinks(self, view: View) -> Bool[Tensor, "layers d_mlp"]:
        """Return the units in the top 100 of at least half of the reference photos."""
        return self.top_count[view] >= SINK_SHARE * self.n_photos

    def interpretable_as(self, sign: Int[Tensor, "layers d_mlp"]) -> Bool[Tensor, "layers d_mlp"]:
        """Return which units write words in the direction given by their signs."""
        return torch.where(sign < 0, self.interpretable[0], self.interpretable[1])

    def others_than(self, nouns: set[str], seed: str) -> list[OtherPhoto]:
        """Return the reference photos with a noun not in `nouns`, from a place given by the seed.

        The first is the control of a curve.
        """
        fitting = [other for other in self.others if other.noun not in nouns]
        if not fitting:
            return []
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % len(fitting)
        return fitting[number:] + fitting[:number]

    def other_than(self, nouns: set[str], seed: str) -> OtherPhoto | None:
        """Return the first of `others_than`, or None."""
        return next(iter(self.others_than(nouns, seed)), None)

    def require(
        self, expected: dict[str, Any], unsaid: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Refuse to be used with parts it was not measured on.

        Args:
            unsaid: what holds of tables that do not record it.

        Raises:
            WeightsError: names the part that differs.
        """
        advice = "make one for this model, and its prompt, with `molyneux reference`"
        require_same("the reference table", self.provenance, expected, advice, unsaid)


@dataclass
class ReferenceBuilder:
    """Gathers one photo after another; `build` gives the table.

    Photos kept as others' controls keep their scores until the table is complete, because their
    specific ranking needs it.
    """

    n_units_listed: int
    n_others: int = 20
    moments: dict[View, Moments] = field(default_factory=lambda: {v: Moments() for v in VIEWS})
    counts: dict[View, Tensor] = field(default_factory=dict)
    kept: list[tuple[str, dict[View, Tensor]]] = field(default_factory=list)

    def add(self, noun: str, attribution: Attribution) -> None:
        """Take the attribution of a photo's first noun (its first target)."""
        scores = {view: attribution.view(view).score[0].cpu() for view in VIEWS}
        for view in VIEWS:
            self.moments[view].add(scores[view])
            top = top_units(scores[view], SINK_TOP)
            count = self.counts.setdefault(view, torch.zeros_like(scores[view], dtype=torch.int32))
            count[[u.layer for u in top], [u.unit for u in top]] += 1
        if len(self.kept) < self.n_others and noun not in {known for known, _ in self.kept}:
            self.kept.append((noun, scores))

    def build(
        self, interpretable: Bool[Tensor, "2 layers d_mlp"], provenance: dict[str, Any]
    ) -> Reference:
        """Return the table of all photos so far."""
        mean: dict[View, Tensor] = {}
        deviation: dict[View, Tensor] = {}
        for view in VIEWS:
            found = self.moments[view]
            assert found.mean is not None
            mean[view], deviation[view] = found.mean.float(), found.deviation().float()
        others = []
        for noun, scores in self.kept:
            units: dict[tuple[View, str], list[Unit]] = {}
            for view in VIEWS:
                # Against the other photos, as a photo that is not in the table would be ranked.
                rest = self.moments[view].without(scores[view])
                assert rest.mean is not None
                specific = specific_scores(
                    scores[view], rest.mean.float(), rest.deviation().float()
                )
                units[view, "top"] = top_units(scores[view], self.n_units_listed)
                units[view, "specific"] = top_units(specific, self.n_units_listed)
            others.append(OtherPhoto(noun, units))
        record = {**provenance, "photos": self.moments["patches"].count}
        return Reference(record, mean, deviation, dict(self.counts), interpretable, others)


def save_reference(path: Path, reference: Reference) -> None:
    """Write the table as one safetensors file whose header carries its provenance."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {"interpretable": reference.interpretable.to(torch.uint8)}
    for view in VIEWS:
        tensors[f"mean.{view}"] = reference.mean[view].contiguous()
        tensors[f"deviation.{view}"] = reference.deviation[view].contiguous()
        tensors[f"top_count.{view}"] = reference.top_count[view].to(torch.int32).contiguous()
    for index, other in enumerate(reference.others):
        for (view, ranking), units in other.units.items():
            pairs = [[unit.layer, unit.unit] for unit in units]
            tensors[f"other.{index}.{view}.{ranking}"] = torch.tensor(
                pairs, dtype=torch.int32
            ).reshape(-1, 2)
    header = {
        "sha256": _content_hash(tensors),
        "provenance": json.dumps(reference.provenance, sort_keys=True),
        "nouns": json.dumps([other.noun for other in reference.others]),
    }
    write_at_once(path, save(tensors, metadata=header))


def load_reference(path: Path) -> Reference:
    """Return a table written by `save_reference`.

    Raises:
        UsageError: it is no path.
        WeightsError: the file is missing or is not such a table.
    """
    from safetensors import safe_open

    path = path_of("a reference table", path)
    advice = "make one with `molyneux reference`, or reinstall molyneux for the one it ships"
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _content_hash(tensors) != header["sha256"]:
            raise ValueError("its numbers are not the ones its header names")
        provenance, nouns = json.loads(header["provenance"]), json.loads(header["nouns"])
        others = [
            OtherPhoto(
                noun,
                {
                    (view, ranking): _units(tensors[f"other.{i}.{view}.{ranking}"])
                    for view in VIEWS
                    for ranking in LISTED
                },
            )
            for i, noun in enumerate(nouns)
        ]
        return Reference(
            provenance,
            {view: tensors[f"mean.{view}"] for view in VIEWS},
            {view: tensors[f"deviation.{view}"] for view in VIEWS},
            {view: tensors[f"top_count.{view}"] for view in VIEWS},
            tensors["interpretable"].bool(),
            others,
        )
    except FileNotFoundError as error:
        raise WeightsError(f"no reference table at {path}; {advice}") from error
    except Exception as error:  # safetensors raises its own classes, unexported in part
        raise WeightsError(
            f"{path} is not a reference table ({type(error).__name__}: {error}); {advice}"
        ) from error


def _content_hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _units(pairs: Sequence[Any] | Tensor) -> list[Unit]:
    rows = pairs.tolist() if isinstance(pairs, Tensor) else pairs
    return [Unit(int(layer), int(unit)) for layer, unit in rows]


def specific_scores(
    score: Float[Tensor, "layers d_mlp"],
    mean: Float[Tensor, "layers d_mlp"],
    deviation: Float[Tensor, "layers d_mlp"],
) -> Float[Tensor, "layers d_mlp"]:
    """Return (score - mean) / (deviation + d0), in units of that denominator.

    `mean` and `deviation` are of the same unit's score over reference photos, each with its own
    first noun. d0, the median deviation of the layer, keeps near-dead units from winning (the
    fudge factor of SAM: Tusher, Tibshirani and Chu 2001). Units whose score is not positive, units
    that never varied where d0 is 0 too, and layers without spread are -inf: they never rank.
    """
    d0 = deviation.median(dim=1, keepdim=True).values
    spread = deviation.amax(dim=1, keepdim=True) > 0
    denominator = deviation + d0
    specific = (score - mean) / denominator.clamp(min=torch.finfo(score.dtype).tiny)
    eligible = (score > 0) & spread & (denominator > 0)
    return torch.where(eligible, specific, torch.full_like(specific, -torch.inf))


@dataclass
class Moments:
    """Elementwise mean and deviation of tensors of one shape (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    mean: Tensor | None = None
    squares: Tensor | None = None

    def add(self, value: Tensor) -> None:
        """Take one more observation."""
        self.merge(Moments(1, value.double(), torch.zeros_like(value, dtype=torch.float64)))

    def merge(self, other: Moments) -> None:
        """Take all observations of another stream."""
        if other.mean is None or other.squares is None:
            return
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = other.count, other.mean, other.squares
            return
        total = self.count + other.count
        difference = other.mean - self.mean
        self.mean = self.mean + difference * other.count / total
        self.squares = (
            self.squares + other.squares + difference**2 * self.count * other.count / total
        )
        self.count = total

    def without(self, value: Tensor) -> Moments:
        """Return the moments as they were without one of the observations."""
        assert self.mean is not None
        assert self.squares is not None
        value = value.double()
        rest = self.count - 1
        mean = (self.count * self.mean - value) / max(1, rest)
        squares = self.squares - (value - self.mean) * (value - mean)
        return Moments(rest, mean, squares.clamp(min=0))

    def deviation(self) -> Tensor:
        """Return the standard deviation (n - 1); zeros for fewer than two observations."""
        assert self.squares is not None
        return (self.squares / max(1, self.count - 1)).sqrt()
