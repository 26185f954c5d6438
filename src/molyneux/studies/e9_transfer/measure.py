"""What the frozen units do at one photo: how active they are, what they say, what they carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.ablation import Intervention, batches
from molyneux.neurons.change import change_scores
from molyneux.neurons.decoding import written
from molyneux.neurons.fakes import random_directions
from molyneux.neurons.lens import Lens
from molyneux.neurons.receptive_fields import receptive_fields, set_field
from molyneux.neurons.set_reading import WordList, percentiles, word_list
from molyneux.neurons.sight.edits import require_same_patches
from molyneux.neurons.sight.measure import n_patches
from molyneux.neurons.sight.passes import Passed, pass_prompts
from molyneux.neurons.sight.reading import Asked, Text, read_after
from molyneux.neurons.targets import word_tokens
from molyneux.studies.e4_fields.maps import SortedMap, centre_heat, map_scores, random_map
from molyneux.studies.e4_fields.measure import seen_mask
from molyneux.studies.e8_concepts.photos import Told
from molyneux.studies.e9_transfer.frozen import SETS, FrozenSet, SignedUnits
from molyneux.studies.e9_transfer.pairs import Pair
from molyneux.studies.experiment import Rows
from molyneux.studies.subject import ModelFacts, Subject
from molyneux.vision.layout import ImagePrompt
from molyneux.words.articles import article_of
from molyneux.words.concepts import concept_of_label
from molyneux.words.everyday import EVERYDAY_NOUNS

_SET = (("concept", pa.string()), ("set", pa.string()), ("role", pa.string()))

TABLES = {
    "e9_photos": pa.schema(
        [
            ("named", pa.list_(pa.string())),
            ("mentioned", pa.list_(pa.string())),
            ("concept", pa.string()),
            ("other", pa.string()),
            ("receiver", pa.string()),
            ("behind", pa.float32()),
            ("behind_receiver", pa.float32()),
        ]
    ),
    "e9_activation": pa.schema([*_SET, ("mean", pa.float32()), ("z", pa.float32())]),
    "e9_reading": pa.schema([*_SET, ("percentile", pa.float32())]),
    "e9_effects": pa.schema([*_SET, ("kind", pa.string()), ("nats", pa.float32())]),
    "e9_fields": pa.schema(
        [*_SET, ("area", pa.float32()), ("iou", pa.float32()), ("auprc", pa.float32())]
    ),
}
"""`e9_photos`: one row, what the photo shows and what it is measured with, and the concept's word's
log-probability (nats) after "A picture of a", behind it and behind the receiver.
`e9_activation`, `e9_reading`: every concept's units at this photo, whatever it shows: mean of
activation x sign at the patches, and of z x sign; the percentile of that concept's word in what
they write. `e9_effects`: what this photo's concept's word loses (`ablation`), or gains behind the
receiver (`transplant`), in nats. `e9_fields`: against the mask of a concept.

`role`: `own`, the concept's units; `other`, another concept's; `matched`, `own`'s stand-ins;
`fake`; of effects `absent`, the other concept's word by its own units; of readings `direction`,
random directions in the place of rows; of fields `centre`, a map that always looks there, and
`chance`, what a map in random order is expected to score.
"""


@dataclass(eq=False)
class Measure:
    """What is frozen, and how photos are measured with it.

    Attributes:
        concepts: those that are measured.
        frozen: their sets, by concept and set.
        told: what the data set tells of each photo.
        pairs: what each is measured with.
        photo_of: reads another photo of the data set.
    """

    facts: ModelFacts
    concepts: Sequence[str]
    frozen: Mapping[tuple[str, str], FrozenSet]
    told: Mapping[str, Told]
    pairs: Mapping[str, Pair]
    photo_of: Callable[[str], Image.Image]
    seed: int
    _rows: dict[int, Float[Tensor, "d_mlp d_stream"]] = field(default_factory=dict)

    @property
    def model(self) -> LanguageModel:
        """The language model."""
        return self.facts.captioner.language_model

    @cached_property
    def words(self) -> WordList:
        """The nouns that percentiles are among: everyday ones, and the concepts'."""
        return word_list(self.model, [*EVERYDAY_NOUNS, *self.concepts])

    def of(self, subject: Subject) -> Rows:
        """Return a photo's rows."""
        seen = _Seen.of(subject)
        told, pair = self.told[subject.item.id], self.pairs.get(subject.item.id)
        photo: dict[str, Any] = {"named": sorted(told.named), "mentioned": sorted(told.mentioned)}
        effects: list[dict[str, Any]] = []
        if pair is not None:
            of_pair, effects = self._effects(seen, pair)
            photo |= of_pair
        return {
            "e9_photos": [photo],
            "e9_activation": list(self._activations(seen)),
            "e9_reading": self._readings(seen),
            "e9_effects": effects,
            "e9_fields": list(self._fields(subject, seen, told)),
        }

    def _activations(self, seen: _Seen) -> Iterator[dict[str, Any]]:
        for (concept, name), one in self.frozen.items():
            for role in ("own", "matched", "fake"):
                units: SignedUnits = getattr(one, role)
                if len(units.units):
                    yield {
                        "concept": concept,
                        "set": name,
                        "role": role,
                        "mean": units.mean_of(seen.mean),
                        "z": units.mean_of(seen.z),
                    }

    def _readings(self, seen: _Seen) -> list[dict[str, Any]]:
        """Return each concept's word's percentile in what its units write, and controls do."""
        lens = self.facts.captioner.lens
        if lens is None:
            return []
        moments = self.facts.reference.require_activation()
        change = seen.mean - moments.mean
        scores = self._scores(lens, change)
        percent = percentiles(scores)
        place = {word: k for k, word in enumerate(self.words.words)}
        keys = list(self.frozen)
        rows: list[dict[str, Any]] = []
        for number, (concept, name) in enumerate(keys):
            if concept not in place:
                continue
            word = place[concept]
            found = {role: percent[k, number, word] for k, role in enumerate(_READ)}
            others = [
                percent[0, k, word] for k, (c, n) in enumerate(keys) if n == name and c != concept
            ]
            found["other"] = torch.stack(others).mean()
            rows += [
                {"concept": concept, "set": name, "role": role, "percentile": float(value)}
                for role, value in found.items()
            ]
        return rows

    @torch.no_grad()
    def _scores(
        self, lens: Lens, change: Float[Tensor, "layers d_mlp"]
    ) -> Float[Tensor, "roles sets words"]:
        """Return every word's score in what each set writes at all patches, through a lens.

        Everything is linear, so that patches are added up first. Roles are `_READ`.
        """
        model, sets = self.model, list(self.frozen.values())
        head = model.unembedding()[list(self.words.tokens)].float()
        total = torch.zeros(len(_READ), len(sets), len(self.words.tokens))
        for layer in range(model.n_layers - 1):
            if not lens.reads(layer):
                continue
            of_units = torch.zeros(len(_READ), len(sets), model.d_mlp)
            for number, one in enumerate(sets):
                there = one.own.layers == layer
                own = one.own.units[there]
                of_units[0, number, own] = change[layer, own]
                other = one.matched.units[one.matched.layers == layer]
                of_units[1, number, other] = change[layer, other]
                swapped = one.own.units[one.stands_in[one.matched.layers == layer]]
                of_units[2, number, other] = change[layer, swapped]
            of_units[3] = of_units[0]
            rows = model.output_rows(layer).float()
            place = rows.device
            wrote = of_units[:3].to(place) @ rows
            astray = of_units[3:].to(place) @ self._random_rows(layer, rows)
            write = written(model, layer, torch.cat([wrote, astray]))
            total += (lens(layer, write) @ head.to(place).T).cpu()
        return total

    def _random_rows(self, layer: int, rows: Tensor) -> Tensor:
        if layer not in self._rows:
            self._rows[layer] = random_directions(rows, self.seed + layer)
        return self._rows[layer].to(rows.device)

    def _effects(self, seen: _Seen, pair: Pair) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return what the word loses without units, and gains by them behind the receiver."""
        model = self.model
        prompt = self.facts.captioner.see([self.photo_of(pair.receiver)])
        require_same_patches(n_patches(seen.prompt), n_patches(prompt), pair.receiver)
        (there,) = pass_prompts(model, [prompt], activations=True)
        assert there.activation is not None
        rows: list[tuple[tuple[str, str, str], ImagePrompt, Intervention]] = []
        for name in SETS:
            own, other = (self.frozen[c, name] for c in (pair.concept, pair.other))
            masks = {"own": own.own.mask, "other": other.own.mask, "matched": own.matched.mask}
            for role, mask in masks.items():
                rows.append((("ablation", name, role), seen.prompt, _put(mask, 0.0)))
                rows.append((("transplant", name, role), prompt, _put(mask, seen.activation)))
            none = torch.zeros_like(seen.activation)
            for kind, into, is_there, new in (
                ("ablation", seen.prompt, seen.activation, none),
                ("transplant", prompt, there.activation, seen.activation),
            ):
                values = own.by_stand_ins(is_there, new)
                rows.append(((kind, name, "fake"), into, _put(own.matched.mask, values)))
        passed = [seen.passed, there]
        for part in batches(rows, prompt.n_positions):
            edits = [edit for _, _, edit in part]
            passed += pass_prompts(model, [into for _, into, _ in part], edits)
        log_p = self._log_p(passed, (pair.concept, pair.other))
        clean = {"ablation": log_p[0], "transplant": log_p[1]}
        found = []
        for ((kind, name, role), _, _), read in zip(rows, log_p[2:], strict=True):
            change = read - clean[kind] if kind == "transplant" else clean[kind] - read
            words = {role: change[0]} | ({"absent": change[1]} if role == "other" else {})
            found += [
                {
                    "concept": pair.concept,
                    "set": name,
                    "role": which,
                    "kind": kind,
                    "nats": float(nats),
                }
                for which, nats in words.items()
            ]
        photo = {
            "concept": pair.concept,
            "other": pair.other,
            "receiver": pair.receiver,
            "behind": float(log_p[0, 0]),
            "behind_receiver": float(log_p[1, 0]),
        }
        return photo, found

    def _log_p(
        self, passed: Sequence[Passed], concepts: Sequence[str]
    ) -> Float[Tensor, "rows concepts"]:
        """Return the log-probability (nats) of concepts' words after "A picture of a"."""
        columns = []
        for concept in concepts:
            article = tuple(word_tokens(self.model, article_of(concept)))
            token = word_tokens(self.model, concept)[0]
            text = Text(article, (Asked(token, len(article)),))
            columns.append(read_after(self.model, list(passed), text)[:, 0])
        return torch.stack(columns, dim=1)

    def _fields(self, subject: Subject, seen: _Seen, told: Told) -> Iterator[dict[str, Any]]:
        """Yield how the mean field of each set agrees with the mask of each concept here."""
        grid = self.facts.captioner.encoder.grid
        masks = _masks(subject, self.concepts) if grid.has_patches else {}
        if not masks:
            return
        absent = [c for c in self.concepts if c not in told.mentioned]
        for number, (concept, mask) in enumerate(masks.items()):
            if not absent:
                return
            other = absent[(subject.seed("E9 field") + number) % len(absent)]
            keys, fields = [], []
            for name in SETS:
                own = self.frozen[concept, name]
                wanted = {"own": own.own, "matched": own.matched, "fake": own.fake}
                wanted["other"] = self.frozen[other, name].own
                for role, units in wanted.items():
                    signs = units.signs.int().tolist()
                    maps = receptive_fields(seen.activation, units.listed, signs, grid)
                    if len(maps):
                        keys.append((name, role))
                        fields.append(set_field(maps))
            all_ = np.ones((1, len(keys)), dtype=bool)
            (scores,) = map_scores(torch.stack(fields), mask[None], all_)
            found = list(zip(keys, scores.iou, scores.auprc, strict=True))
            for role, pair in (
                ("centre", SortedMap(centre_heat(len(mask))).against(mask)),
                ("chance", random_map(mask.size, int(mask.sum()))),
            ):
                found += [((name, role), *pair) for name in SETS]
            for (name, role), iou, auprc in found:
                yield {
                    "concept": concept,
                    "set": name,
                    "role": role,
                    "area": float(mask.mean()),
                    "iou": float(iou),
                    "auprc": float(auprc),
                }


_READ = ("own", "matched", "fake", "direction")


@dataclass(frozen=True, eq=False)
class _Seen:
    """A photo after its pass.

    Attributes:
        mean: of each unit, over the patches that are no sinks; `z`: that against other photos'.
    """

    prompt: ImagePrompt
    passed: Passed
    activation: Float[Tensor, "layers patches d_mlp"]
    mean: Float[Tensor, "layers d_mlp"]
    z: Float[Tensor, "layers d_mlp"]

    @classmethod
    def of(cls, subject: Subject) -> _Seen:
        model, moments = subject.model, subject.facts.reference.require_activation()
        (passed,) = pass_prompts(model, [subject.prompt], activations=True)
        activation = passed.activation
        assert activation is not None
        some = subject.sink_patches.to(activation.device)
        sinks = some if bool(some.any()) and not bool(some.all()) else None
        kept = activation if sinks is None else activation[:, ~sinks]
        z = change_scores(activation, moments.mean, moments.deviation, sinks)
        return cls(subject.prompt, passed, activation, kept.mean(dim=1), z)


def _put(mask: Bool[Tensor, "layers d_mlp"], value: float | Tensor) -> Intervention:
    return Intervention(mask, "patches", value)


def _masks(subject: Subject, concepts: Sequence[str]) -> dict[str, Bool[np.ndarray, "size size"]]:
    """Return where each concept is on the encoder's input, of categories with a mask."""
    found: dict[str, Bool[np.ndarray, "size size"]] = {}
    for category in sorted(subject.item.outlines):
        concept = concept_of_label(category)
        if concept in concepts:
            mask, _ = seen_mask(subject, category)
            if mask is not None and concept is not None:
                found[concept] = found[concept] | mask if concept in found else mask
    return found
