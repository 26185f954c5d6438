"""Where in the depth of the language model a patch's position begins to say the photo's nouns.

Input embeddings are one reading of an image position among others. Here the residual stream at
every patch is read before the first layer and after each one, in two ways: by its cosine with the
input embeddings, and through the model's own final norm and head (the logit lens: nostalgebraist
2020); in a third way, through a Jacobian lens, where the model has one. Only the places of the
nouns asked for are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch.nn.functional import normalize

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.streams import at_head_width, patch_streams, through_lens, token_places
from molyneux.neurons.targets import word_tokens
from molyneux.statistics.permutations import best_of_k_expectation

if TYPE_CHECKING:
    from molyneux.studies.subject import Subject

READINGS = ("cosine", "lens", "jacobian")
ROLES = ("first", "human", "control")
PATCHES = ("all", "no_sinks")
TOP = 5
MAX_CONTROLS = 8

SCHEMA = pa.schema(
    [
        ("reading", pa.string()),
        ("layer", pa.int32()),
        ("patches", pa.string()),
        ("role", pa.string()),
        ("nouns", pa.int32()),
        ("compared", pa.int32()),
        ("top5", pa.float64()),
        ("top5_any", pa.float64()),
        ("rank", pa.float64()),
        ("rank_best", pa.float64()),
        ("percentile", pa.float64()),
        ("percentile_best", pa.float64()),
    ]
)
"""What is kept of a layer, a reading and a role of nouns.

`layer` 0 is the input embeddings, l the stream after l layers; a Jacobian lens reads neither the
input embeddings nor what the last layer leaves. `top5` is the share of the role's
nouns that are in the top 5 of at least one patch, `rank` the mean over the nouns of the best place
over patches (0 is the first), `percentile` the mean over nouns and patches of the share of the
vocabulary below the noun. The columns `_any` and `_best` are what is expected of the best of
`compared` nouns drawn from the role's: as many of the humans' as of the controls, so that neither
gains by its number.
"""


@dataclass(frozen=True)
class WantedNouns:
    """The tokens whose places are asked for: each the first token of a noun, by role."""

    first: list[int]
    human: list[int]
    control: list[int]

    @property
    def tokens(self) -> list[int]:
        """Every token once, ascending."""
        return sorted({*self.first, *self.human, *self.control})


def wanted_nouns(subject: Subject) -> WantedNouns:
    """Return a photo's own nouns, and nouns of reference photos that nobody said of it."""
    model = subject.model
    first = [] if subject.word is None else [subject.target.token_id]
    human = _first_tokens(model, sorted(subject.human_nouns), set())
    taken = {*first, *human, *_first_tokens(model, sorted(subject.lemmas), set())}
    control = _first_tokens(model, [other.noun for other in subject.others], taken)
    return WantedNouns(first, human, control[:MAX_CONTROLS])


def _first_tokens(model: LanguageModel, nouns: Sequence[str], taken: set[int]) -> list[int]:
    """Return the distinct first tokens of nouns, in their order, without those taken."""
    tokens = [ids[0] for noun in nouns if (ids := word_tokens(model, noun))]
    return [token for token in dict.fromkeys(tokens) if token not in taken]


def measure_depth(subject: Subject) -> list[dict[str, Any]]:
    """Return the rows of `SCHEMA` for one photo."""
    model, nouns = subject.model, wanted_nouns(subject)
    if not nouns.tokens:
        return []
    streams = patch_streams(model, subject.prompt)
    n_patches = len(streams[0])
    bias = model.unembedding_bias()
    embeddings = normalize(model.input_embeddings().float(), dim=1)
    by_cosine = torch.cat([at_head_width(model, stream) for stream in streams])
    by_lens = torch.cat([through_lens(model, stream) for stream in streams])
    places = {
        "cosine": token_places(by_cosine.to(embeddings.device), embeddings, nouns.tokens),
        "lens": token_places(
            by_lens,
            model.unembedding().float(),
            nouns.tokens,
            None if bias is None else bias.float(),
        ),
    }
    starts = dict.fromkeys(places, 0)
    lens = subject.captioner.lens
    if isinstance(lens, JacobianLens):
        through = [lens(layer, streams[layer + 1]) for layer in range(model.n_layers - 1)]
        places["jacobian"] = token_places(
            torch.cat(through), model.unembedding().float(), nouns.tokens
        )
        starts["jacobian"] = 1
    kept = {
        "all": np.ones(n_patches, dtype=bool),
        "no_sinks": ~subject.sink_patches.cpu().numpy(),
    }
    rows = []
    for reading, found_places in places.items():
        by_layer = found_places.reshape(-1, n_patches, len(nouns.tokens))
        for layer, found in enumerate(by_layer, starts[reading]):
            for patches in PATCHES:
                if kept[patches].any():
                    said = _by_role(found[kept[patches]], nouns, model.d_vocab)
                    rows += [
                        {"reading": reading, "layer": layer, "patches": patches, **row}
                        for row in said
                    ]
    return rows


def _by_role(
    places: Int[np.ndarray, "patches tokens"], nouns: WantedNouns, d_vocab: int
) -> Iterator[dict[str, Any]]:
    """Yield the row of each role that has a noun."""
    column = {token: i for i, token in enumerate(nouns.tokens)}
    best = places.min(axis=0)
    percentile = 1 - places.mean(axis=0) / d_vocab
    compared = min(len(nouns.human), len(nouns.control))
    for role in ROLES:
        tokens: list[int] = getattr(nouns, role)
        if not tokens:
            continue
        at = [column[token] for token in tokens]
        in_top = (best[at] < TOP).astype(float)
        k = 1 if role == "first" else compared
        yield {
            "role": role,
            "nouns": len(tokens),
            "compared": k,
            "top5": float(in_top.mean()),
            "top5_any": best_of_k_expectation(in_top, k) if k else None,
            "rank": float(best[at].mean()),
            "rank_best": -best_of_k_expectation(-best[at].astype(float), k) if k else None,
            "percentile": float(percentile[at].mean()),
            "percentile_best": best_of_k_expectation(percentile[at], k) if k else None,
        }
