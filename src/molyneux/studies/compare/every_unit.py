"""What every unit of a few photos does exactly, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from molyneux.data.dataset import Item
from molyneux.neurons.unit import Unit
from molyneux.studies.compare.design import EFFECTS, EVERY, SPENT, ZERO, effect_rows
from molyneux.studies.compare.truth import EXACT, TOOK, Opened
from molyneux.studies.parts import Phase


def layer_phases(opened: Opened, n_layers: int, d_mlp: int) -> Iterator[Phase]:
    """Yield a phase for each layer but the last: a kill loses no more than a layer of a photo."""
    for layer in range(n_layers - 1):
        yield _layer_phase(opened, layer, d_mlp)


def phase_of_layer(layer: int) -> str:
    """Return the name of a layer's phase."""
    return f"{EVERY}-L{layer:03d}"


def _layer_phase(opened: Opened, layer: int, d_mlp: int) -> Phase:
    units = [Unit(layer, unit) for unit in range(d_mlp)]

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        photo = opened(item, sha256)
        if not photo.has_word:
            return {EXACT: [], TOOK: []}
        started = time.perf_counter()
        found = photo.effects(units)
        assert found is not None
        seconds = time.perf_counter() - started
        return {
            EXACT: effect_rows(EVERY, units, ZERO, found.logit, found.log_probability),
            TOOK: [{"put_to": ZERO, "units": len(units), "seconds": seconds}],
        }

    return Phase(phase_of_layer(layer), {EXACT: EFFECTS, TOOK: SPENT}, measure)
