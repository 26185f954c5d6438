"""How many units and photos E2 compares."""

from __future__ import annotations

from molyneux.neurons.unit_sets import QUOTED, RANKINGS

FIRST = 50  # of a list's units are compared with captions: the paper's maxima run over about 50
SCORED = RANKINGS
MATCHED = QUOTED
BEST_OF = (5, 10, 50)
