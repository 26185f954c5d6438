"""How large an atlas is, from its tables with random tokens."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
from benchmark_programs import load_program

from molyneux.atlas.tables import unit_schema
from molyneux.parquet import parquet_bytes, parquet_from

size = load_program("atlas_size")
GPTJ = {"layers": 28, "units": 16_384, "vocabulary": 50_400}


def test_the_tables_are_those_of_a_build() -> None:
    shape = Namespace(layers=2, units=64, vocabulary=500, lenses=3)
    table = size.random_layer(1, shape, np.random.default_rng(0))
    assert table.schema.equals(unit_schema(size.LENSES))
    assert table.num_rows == 64
    assert set(table["layer"].to_pylist()) == {1}
    assert all(len(ids) == 10 for ids in table["top_jacobian"].to_pylist())
    assert parquet_from(parquet_bytes(table)).equals(table)
    found = size.measure(shape)
    assert found["units"] == 128
    assert found["largest"] < found["shards"] <= 2 * found["largest"]


def test_an_atlas_of_gptj_s_shape_takes_less_than_120_mb() -> None:
    """All layers are of one size: one is made, of tokens that compress worst."""
    shape = Namespace(**GPTJ, lenses=3)
    one = len(parquet_bytes(size.random_layer(0, shape, np.random.default_rng(0))))
    assert one * shape.layers < 120e6
