"""The reference table: how every unit scores on photos in general.

It turns raw scores into specific ones, names the sinks, and carries the unit lists of some
photos, so that a single photo has another photo as its control.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.checks import path_of
from molyneux.errors import WeightsError
from molyneux.neurons.attribution import VIEWS, Attribution, View
from molyneux.neurons.moments import Moments
from molyneux.neurons.other_photos import Balance, OtherPhoto, packed, unpacked
from molyneux.neurons.partners import Partner, partners_without, restore_partner
from molyneux.neurons.provenance import require_same
from molyneux.neurons.scorers import GradientActivation, Scorer, scorer_text
from molyneux.neurons.sinks import mean_activation
from molyneux.neurons.unit import Unit, top_units
from molyneux.store import write_at_once

SINK_TOP = 100
SINK_SHARE = 0.5
MIN_PHOTOS = 200
N_OTHERS = 100
Reduced = Literal["score", "total"]
"""What is kept of gradient x activation over patches: the largest, or the sum."""


@dataclass(frozen=True)
class ActivationMoments:
    """How active every unit is at reference photos, one number a photo.

    That number is the unit's mean activation over the photo's patches but sinks
    (`mean_activation`).

    Attributes:
        mean: over photos.
        deviation: over photos (n - 1).
        magnitude: the mean over photos of its absolute value.
    """

    mean: Float[Tensor, "layers d_mlp"]
    deviation: Float[Tensor, "layers d_mlp"]
    magnitude: Float[Tensor, "layers d_mlp"]


@dataclass(frozen=True)
class Reference:
    """Scores of all units over reference photos, per view, and what follows from them.

    Attributes:
        provenance: plain data: `projection` (hash), `language_model`, `encoder`, `data`,
            `photos` (how many), `scorer` (its record; older tables: `of` and `site`); of tables
            made since prompts can be chosen also `layout` and `dtype`, of newer ones `decoding`.
        top_count: in how many photos' top 100 a unit was.
        interpretable: whether a unit's decoded tokens are words, for signs -1 and +1.
        others: photos whose units are controls for another photo's.
        total_mean: of the total over patches, as `mean` is of the largest; None in older tables,
            and so are the next two.
        total_deviation: likewise.
        activation: of the activations themselves, whatever the word.
        partners: photos that can be shown instead of another; none in older tables.
    """

    provenance: dict[str, Any]
    mean: dict[View, Float[Tensor, "layers d_mlp"]]
    deviation: dict[View, Float[Tensor, "layers d_mlp"]]
    top_count: dict[View, Int[Tensor, "layers d_mlp"]]
    interpretable: Bool[Tensor, "2 layers d_mlp"]
    others: list[OtherPhoto]
    total_mean: dict[View, Float[Tensor, "layers d_mlp"]] | None = None
    total_deviation: dict[View, Float[Tensor, "layers d_mlp"]] | None = None
    activation: ActivationMoments | None = None
    partners: list[Partner] = field(default_factory=list)

    def __repr__(self) -> str:
        _, layers, d_mlp = self.interpretable.shape
        photos, data = self.provenance.get("photos"), self.provenance.get("data")
        beside = f"{len(self.others)} control photos, {len(self.partners)} partners"
        return f"Reference({photos} photos of {data}, {beside}, {layers} layers x {d_mlp} units)"

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

    def specific(
        self, score: Float[Tensor, "layers d_mlp"], view: View, of: Reduced = "score"
    ) -> Float[Tensor, "layers d_mlp"]:
        """Return a photo's specific scores in one view (see `specific_scores`).

        Args:
            of: which of `UnitScores` these are, the largest over patches or the total.

        Raises:
            WeightsError: the table has no moments of totals.
        """
        if of == "score":
            return specific_scores(score, self.mean[view], self.deviation[view])
        if self.total_mean is None or self.total_deviation is None:
            raise _lacks("totals over patches")
        return specific_scores(score, self.total_mean[view], self.total_deviation[view])

    def require_activation(self) -> ActivationMoments:
        """Return how active every unit is at reference photos.

        Raises:
            WeightsError: the table does not hold it.
        """
        if self.activation is None:
            raise _lacks("activations")
        return self.activation

    def partners_without(self, words: Collection[str]) -> list[Partner]:
        """Return the partners whose captions hold none of some words, their plurals or synonyms.

        They are in the order of their names.
        """
        return partners_without(self.partners, words)

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


def _of_views() -> dict[View, Moments]:
    return {view: Moments() for view in VIEWS}


@dataclass
class ReferenceBuilder:
    """Gathers one photo after another; `build` gives the table.

    Photos that serve as controls keep their scores until the table is complete, because their
    specific ranking needs it.

    Attributes:
        n_units_listed: how many units of each ranking controls keep.
        n_others: how many controls there may be (see `Balance`).
    """

    n_units_listed: int
    n_others: int = N_OTHERS
    moments: dict[View, Moments] = field(default_factory=_of_views)
    totals: dict[View, Moments] = field(default_factory=_of_views)
    activation: Moments = field(default_factory=Moments)
    magnitude: Moments = field(default_factory=Moments)
    counts: dict[View, Tensor] = field(default_factory=dict)
    balance: Balance = field(init=False)
    kept: list[_Kept] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.balance = Balance(self.n_others)

    def add(
        self,
        noun: str,
        attribution: Attribution,
        sinks: Bool[Tensor, " patches"] | None = None,
        *,
        control: bool = True,
        name: str = "",
    ) -> None:
        """Take the attribution of a photo's first noun (its first target).

        Args:
            sinks: which patches are sinks, whose activations do not count; None for none.
            control: whether it may be a control for other photos too.
            name: of the photo, where it is one.
        """
        scores = _scores_of(attribution)
        for view in VIEWS:
            self.moments[view].add(scores[view])
            self.totals[view].add(attribution.view(view).total[0].cpu())
            top = top_units(scores[view], SINK_TOP)
            count = self.counts.setdefault(view, torch.zeros_like(scores[view], dtype=torch.int32))
            count[[u.layer for u in top], [u.unit for u in top]] += 1
        active = mean_activation(attribution.activation, sinks).cpu()
        self.activation.add(active)
        self.magnitude.add(active.abs())
        if control and self.balance.takes(noun):
            self._keep(_Kept(noun, name, scores, within=True))

    def add_control(self, noun: str, attribution: Attribution, *, name: str = "") -> None:
        """Take a photo as a control alone: it is not among those of the moments.

        One that is there is not taken twice.
        """
        if self.balance.takes(noun) and not any(name and name == one.name for one in self.kept):
            self._keep(_Kept(noun, name, _scores_of(attribution), within=False))

    def build(
        self, interpretable: Bool[Tensor, "2 layers d_mlp"], provenance: dict[str, Any]
    ) -> Reference:
        """Return the table of all photos so far."""
        record = {**provenance, "photos": self.moments["patches"].count}
        return Reference(
            record,
            {view: _mean(self.moments[view]) for view in VIEWS},
            {view: self.moments[view].deviation().float() for view in VIEWS},
            dict(self.counts),
            interpretable,
            [self._control(self.kept[place]) for place in self.balance.kept()],
            {view: _mean(self.totals[view]) for view in VIEWS},
            {view: self.totals[view].deviation().float() for view in VIEWS},
            ActivationMoments(
                _mean(self.activation),
                self.activation.deviation().float(),
                _mean(self.magnitude),
            ),
        )

    def _keep(self, photo: _Kept) -> None:
        self.balance.add(photo.noun)
        self.kept.append(photo)

    def _control(self, photo: _Kept) -> OtherPhoto:
        lists: dict[tuple[View, str], list[Unit]] = {}
        for view in VIEWS:
            score, others = photo.scores[view], self.moments[view]
            # Against the other photos, as a photo that is not in the table would be ranked.
            rest = others.without(score) if photo.within else others
            specific = specific_scores(score, _mean(rest), rest.deviation().float())
            lists[view, "top"] = top_units(score, self.n_units_listed)
            lists[view, "specific"] = top_units(specific, self.n_units_listed)
        return OtherPhoto(photo.noun, lists, photo.name)


@dataclass(frozen=True)
class _Kept:
    """A control's scores, and whether they are among those of the moments."""

    noun: str
    name: str
    scores: dict[View, Tensor]
    within: bool


def _scores_of(attribution: Attribution) -> dict[View, Tensor]:
    return {view: attribution.view(view).score[0].cpu() for view in VIEWS}


def _mean(moments: Moments) -> Tensor:
    assert moments.mean is not None
    return moments.mean.float()


def save_reference(path: Path, reference: Reference) -> None:
    """Write the table as one safetensors file whose header carries its provenance."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {"interpretable": reference.interpretable.to(torch.uint8)}
    for view in VIEWS:
        tensors[f"mean.{view}"] = reference.mean[view].contiguous()
        tensors[f"deviation.{view}"] = reference.deviation[view].contiguous()
        tensors[f"top_count.{view}"] = reference.top_count[view].to(torch.int32).contiguous()
        if reference.total_mean is not None and reference.total_deviation is not None:
            tensors[f"total_mean.{view}"] = reference.total_mean[view].contiguous()
            tensors[f"total_deviation.{view}"] = reference.total_deviation[view].contiguous()
    if reference.activation is not None:
        for each in fields(reference.activation):
            moment: Tensor = getattr(reference.activation, each.name)
            tensors[f"activation.{each.name}"] = moment.contiguous()
    tensors.update(packed(reference.others, reference.interpretable.shape[-1]))
    for partner in reference.partners:
        tensors[f"partner.{partner.name}"] = partner.patches.contiguous()
    header = {
        "sha256": _content_hash(tensors),
        "provenance": json.dumps(reference.provenance, sort_keys=True),
        "nouns": json.dumps([other.noun for other in reference.others]),
        "names": json.dumps([other.name for other in reference.others]),
        "partners": json.dumps([partner.record() for partner in reference.partners]),
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
        return _reference_of(tensors, header)
    except FileNotFoundError as error:
        raise WeightsError(f"no reference table at {path}; {advice}") from error
    except Exception as error:  # safetensors raises its own classes, unexported in part
        raise WeightsError(
            f"{path} is not a reference table ({type(error).__name__}: {error}); {advice}"
        ) from error


def _reference_of(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Reference:
    nouns, names = json.loads(header["nouns"]), json.loads(header.get("names", "[]"))
    interpretable = tensors["interpretable"].bool()

    def of_views(name: str) -> dict[View, Tensor]:
        return {view: tensors[f"{name}.{view}"] for view in VIEWS}

    has_totals = f"total_mean.{VIEWS[0]}" in tensors
    active = {
        each.name: tensors[f"activation.{each.name}"]
        for each in fields(ActivationMoments)
        if f"activation.{each.name}" in tensors
    }
    return Reference(
        json.loads(header["provenance"]),
        of_views("mean"),
        of_views("deviation"),
        of_views("top_count"),
        interpretable,
        unpacked(tensors, nouns, names, interpretable.shape[-1]),
        of_views("total_mean") if has_totals else None,
        of_views("total_deviation") if has_totals else None,
        ActivationMoments(**active) if active else None,
        [
            restore_partner(record, tensors[f"partner.{record['name']}"])
            for record in json.loads(header.get("partners", "[]"))
        ],
    )


def _lacks(what: str) -> WeightsError:
    return WeightsError(
        f"the reference table holds no moments of {what}; measure one with `molyneux reference`"
    )


def _content_hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        # Of bytes, because numpy has no bfloat16.
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
