"""E3: in which layers are the units that the word comes from?

Schwettmann et al. 2023, section 3.2 and Figure 4: a histogram over layers of the unique top-100
units of every photo, all and interpretable. Beside it: the most specific units, both views, lists
without sinks, and how many units of the same layers would be interpretable anyway.
"""

from __future__ import annotations

import pyarrow as pa

from molyneux.neurons.unit_sets import NO_SINKS, QUOTED

LISTS = (*QUOTED, *NO_SINKS)

LAYERS = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("units", pa.list_(pa.int32())),
        ("words", pa.list_(pa.int32())),
    ]
)
"""A list of units a row.

`units` are numbered layer x d_mlp + unit, in the ranking's order; `words` says of each whether it
is interpretable in the direction it wrote, 0 or 1.
"""
