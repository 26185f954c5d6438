"""Building an atlas: what every unit writes, from weights alone, one layer after another.

Units x vocabulary is never held: 512 units are read through a lens at a time, and of their logits
only both ends are kept. A layer is the unit of work: its file is written whole or not at all, and
what was ended goes on with the layers that have none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.atlas.tables import (
    INDEX,
    KIND,
    LISTED,
    NEIGHBOURS,
    TOKEN,
    TOKENS,
    Index,
    file_hash,
    layer_file,
    metadata_of,
    neighbour_lists,
    read_index,
    unit_schema,
)
from molyneux.checks import path_of, whole_number
from molyneux.errors import RunError, UsageError
from molyneux.neurons.checks import as_model
from molyneux.neurons.decoding import CHUNK, written
from molyneux.neurons.extremes import extremes
from molyneux.neurons.fakes import random_directions
from molyneux.neurons.lens import HeadLens, Lens, as_lens
from molyneux.neurons.neighbours import nearest_units
from molyneux.neurons.rankings import matched_units, row_norms
from molyneux.neurons.unit import Unit
from molyneux.parquet import parquet_bytes, read_parquet
from molyneux.store import MANIFEST, Run
from molyneux.words.dictionary import NEEDED, chance_of_words, is_word

FAKES = 64
"""Random directions of each layer and lens; both ends of each are looked at."""
_COSINE_STEP = 1e-4
_CALLED = {"model": "model", "lenses": "lens", "neighbours": "number of neighbours"}


@torch.no_grad()
def build_atlas(
    model: LanguageModel,
    out: Path | str,
    *,
    lens: Lens | None = None,
    names: Mapping[str, Any] | None = None,
    neighbours: int = NEIGHBOURS,
    on_layer: Callable[[int, bool], None] = lambda layer, kept: None,
) -> Index:
    """Write what every unit of a model writes to a folder; return what the atlas says of itself.

    A folder in which the same atlas was begun is gone on with.

    Args:
        lens: another than the head's own two, as `load_lens` gives it.
        names: what is recorded of the model: `preset`, `language_model`, `sha256`.
        neighbours: how many each unit has.
        on_layer: told each layer when it is done, and whether it was there already.

    Raises:
        UsageError: the folder holds something else, or an atlas of something else.
        RunError: it cannot be written.
    """
    model, out = as_model(model), path_of("out", out)
    neighbours = whole_number("neighbours", neighbours, least=0, below=model.n_units)
    lenses: list[Lens] = [HeadLens(model, final_norm=False), HeadLens(model)]
    if lens is not None:
        lenses.append(as_lens(model, lens, {}))
    head: dict[str, Any] = {
        "model": {
            "preset": None,
            "language_model": type(model.model).__name__,
            "sha256": "",
            **(names or {}),
            "dtype": str(model.dtype).removeprefix("torch."),
            "n_layers": model.n_layers,
            "d_mlp": model.d_mlp,
            "d_vocab": model.d_vocab,
        },
        "lenses": [each.record() for each in lenses],
        "neighbours": neighbours,
    }
    run = _begun(out, head)
    if (out / INDEX).is_file():
        return read_index(out)
    texts = [model.token_text(token) for token in range(model.d_vocab)]
    words = torch.tensor([is_word(text) for text in texts])
    run.write_bytes(TOKENS, parquet_bytes(_token_table(texts, words)))
    reading = _Reading(model, lenses, words, row_norms(model), neighbours)
    schema = unit_schema([each.name for each in lenses])
    shares: list[Mapping[str, float | None]] = []
    for layer in range(model.n_layers):
        kept = _kept(out / layer_file(layer), schema)
        if kept is None:
            table = reading.table(layer, schema)
            run.write_bytes(layer_file(layer), parquet_bytes(table))
        shares.append(metadata_of(table if kept is None else kept)["random_directions"])
        on_layer(layer, kept is not None)
    every = [*(layer_file(layer) for layer in range(model.n_layers)), TOKENS]
    index = Index(
        **head,
        chance={
            "random_tokens": chance_of_words(int(words.sum()), model.d_vocab),
            "random_directions": {
                each.name: [share[each.name] for share in shares] for each in lenses
            },
        },
        files={name: file_hash(out / name) for name in every},
    )
    run.write_json(INDEX, index.to_plain())
    return index


def _begun(out: Path, head: Mapping[str, Any]) -> Run:
    """Return the run of a new folder, or of one in which the same atlas was begun."""
    manifest = out / MANIFEST
    if not manifest.is_file():
        return Run.create(out, KIND, **head)
    try:
        found = json.loads(manifest.read_bytes())
        kind = found["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{manifest} cannot be read; give --out another folder") from error
    if kind != KIND:
        raise UsageError(f"{out} holds a run of molyneux {kind}; give --out another folder")
    for name, wanted in json.loads(json.dumps(head)).items():
        if found.get(name) != wanted:
            raise UsageError(
                f"{out} holds an atlas of another {_CALLED[name]}; give --out another folder"
            )
    return Run(out)


def _kept(path: Path, schema: pa.Schema) -> pa.Table | None:
    """Return the table of a layer that is there and whole."""
    try:
        found = read_parquet(path)
    except (OSError, pa.ArrowException):
        return None
    return found if found.schema.equals(schema) else None


def _token_table(texts: Sequence[str], words: Bool[Tensor, " d_vocab"]) -> pa.Table:
    escaped = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
    columns = [pa.array(range(len(texts)), pa.int32()), pa.array(escaped), pa.array(words.numpy())]
    return pa.table(columns, schema=TOKEN)


class _Reading:
    """One layer's units after another, through all lenses."""

    def __init__(
        self,
        model: LanguageModel,
        lenses: Sequence[Lens],
        words: Bool[Tensor, " d_vocab"],
        norms: Float[Tensor, "layers d_mlp"],
        neighbours: int,
    ) -> None:
        self._model, self._lenses, self._neighbours = model, lenses, neighbours
        self._words, self._norms = words, norms
        self._unembedding = model.unembedding().float()

    def table(self, layer: int, schema: pa.Schema) -> pa.Table:
        """Return a layer's rows; how often random directions pass for words is kept with them."""
        model, d_mlp = self._model, self._model.d_mlp
        rows = written(model, layer, model.output_rows(layer).float())
        columns: dict[str, Any] = {
            "layer": pa.array([layer] * d_mlp, pa.int16()),
            "unit": pa.array(range(d_mlp), pa.int32()),
            "output_norm": pa.array(self._norms[layer].numpy()),
            "fake": pa.array(self._fakes(layer), pa.int32()),
            "neighbours": self._near(layer),
        }
        # As many rows as fakes are made of, from all over the layer.
        chosen = rows[torch.linspace(0, d_mlp - 1, min(FAKES, d_mlp)).long()]
        fakes = random_directions(chosen.cpu(), layer).to(rows.device)
        share: dict[str, float | None] = {}
        for lens in self._lenses:
            if not lens.reads(layer):
                share[lens.name] = None
                ends: dict[str, Tensor | None] = {"top": None, "bottom": None}
            else:
                drawn = torch.cat(self._ends(lens, layer, fakes))
                share[lens.name] = float((self._count(drawn) >= NEEDED).double().mean())
                ends = dict(zip(("top", "bottom"), self._ends(lens, layer, rows), strict=True))
            for end, tokens in ends.items():
                name = f"{end}_{lens.name}"
                columns[name] = _lists(tokens, d_mlp)
                columns[f"{end}_words_{lens.name}"] = pa.array(
                    [None] * d_mlp if tokens is None else self._count(tokens).numpy(), pa.int8()
                )
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        return table.replace_schema_metadata({KIND: json.dumps({"random_directions": share})})

    def _ends(
        self, lens: Lens, layer: int, rows: Float[Tensor, "rows d_stream"]
    ) -> tuple[Int[Tensor, "rows n"], Int[Tensor, "rows n"]]:
        """Return the tokens that rows raise most and lower most."""
        n = min(LISTED, len(self._unembedding))
        read = lens(layer, rows).to(self._unembedding.device)
        parts = [extremes(part @ self._unembedding.T, n) for part in read.split(CHUNK)]
        raised, lowered = (torch.cat(ends).cpu() for ends in zip(*parts, strict=True))
        return raised, lowered

    def _count(self, tokens: Int[Tensor, "rows n"]) -> Int[Tensor, " rows"]:
        """Return how many of each row's tokens the dictionary has."""
        return self._words[tokens].sum(dim=1)

    def _fakes(self, layer: int) -> list[int | None]:
        """Return of each unit the other one of its layer nearest in output norm."""
        units = [Unit(layer, number) for number in range(self._model.d_mlp)]
        found = [matched_units([unit], self._norms, {unit})[0] for unit in units]
        return [None if fake is None else fake.unit for fake in found]

    def _near(self, layer: int) -> pa.Array:
        layers, units, cosines = nearest_units(self._model, layer, self._neighbours)
        steps = (cosines.double() / _COSINE_STEP).round() * _COSINE_STEP
        return neighbour_lists(layers.numpy(), units.numpy(), steps.float().numpy())


def _lists(tokens: Int[Tensor, "rows n"] | None, rows: int) -> pa.Array:
    kind = pa.list_(pa.int32())
    if tokens is None:
        return pa.nulls(rows, kind)
    flat = pa.array(tokens.flatten().to(torch.int32).numpy())
    n = tokens.shape[1]
    return pa.ListArray.from_arrays(
        pa.array([n * row for row in range(rows + 1)], pa.int32()), flat
    )
