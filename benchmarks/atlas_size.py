"""How large an atlas of a shape is: its tables with random tokens, which compress worst.

    python benchmarks/atlas_size.py                    # GPT-J 6B, through the head's two lenses
    python benchmarks/atlas_size.py --layers 30 --units 1536 --vocabulary 49152 --lenses 3

Tokens are drawn uniformly, neighbours and norms likewise, so that no file is smaller than that of
real weights would be. Bytes are of the files a build writes, one a layer; nothing is kept.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa

from molyneux.atlas.tables import LISTED, NEIGHBOURS, TOKEN, neighbour_lists, unit_schema
from molyneux.parquet import parquet_bytes

LENSES = ("none", "norm", "jacobian")


def random_layer(layer: int, shape: argparse.Namespace, rng: np.random.Generator) -> pa.Table:
    """Return a layer's table of random numbers."""
    n, schema = shape.units, unit_schema(LENSES[: shape.lenses])
    starts = pa.array(np.arange(n + 1, dtype=np.int32) * LISTED)
    near = (n, NEIGHBOURS)
    cosines = rng.random(near).round(4).astype(np.float32)  # steps as in a build
    columns = {
        "layer": np.full(n, layer),
        "unit": np.arange(n),
        "output_norm": rng.random(n, dtype=np.float32),
        "fake": rng.integers(n, size=n),
        "neighbours": neighbour_lists(
            rng.integers(shape.layers, size=near), rng.integers(n, size=near), cosines
        ),
    }
    for field in schema:
        if field.name not in columns:
            ids = rng.integers(shape.vocabulary, size=n * LISTED, dtype=np.int32)
            columns[field.name] = (
                pa.ListArray.from_arrays(starts, pa.array(ids))
                if pa.types.is_list(field.type)
                else rng.integers(LISTED + 1, size=n)
            )
    return pa.table(
        [pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema
    )


def measure(shape: argparse.Namespace) -> dict[str, int]:
    """Return the bytes of the shards, of the largest of them, and of the tokens."""
    rng = np.random.default_rng(0)
    shards = [len(parquet_bytes(random_layer(layer, shape, rng))) for layer in range(shape.layers)]
    texts = ["".join(map(chr, row)) for row in rng.integers(97, 123, size=(shape.vocabulary, 8))]
    tokens = pa.table(
        [np.arange(shape.vocabulary), texts, rng.random(shape.vocabulary) < 0.5], schema=TOKEN
    )
    found = {"units": shape.layers * shape.units, "shards": sum(shards), "largest": max(shards)}
    return {**found, "tokens": len(parquet_bytes(tokens))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--units", type=int, default=16_384, help="of a layer")
    parser.add_argument("--vocabulary", type=int, default=50_400)
    parser.add_argument("--lenses", type=int, choices=(1, 2, 3), default=2)
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
