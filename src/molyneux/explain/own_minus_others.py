"""One photo's claim: its own specific units against those of several other photos."""

from __future__ import annotations

from collections.abc import Sequence

from molyneux.explain.document import OtherLeft, OwnMinusOthers
from molyneux.explain.tried import Tried
from molyneux.neurons.attribution import View
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.unit import Unit
from molyneux.statistics.bootstrap import bootstrap

UNITS = 100
OTHERS = 8
MIN_OTHERS = 3


def own_minus_others(
    tried: Tried,
    token_id: int,
    own: Sequence[Unit],
    others: Sequence[OtherPhoto],
    *,
    view: View,
) -> OwnMinusOthers | None:
    """Return what 100 own specific units leave of a word minus what other photos' 100 leave.

    Fractions of the intact probability, with a 95 % bootstrap interval over the other photos:
    how far the result depends on the photo taken as the control. It is not an interval over
    photos like this one. None where there are fewer than three other photos or 100 units.
    """
    fitting = [other for other in others if len(other.units[view, "specific"]) >= UNITS][:OTHERS]
    if len(own) < UNITS or len(fitting) < MIN_OTHERS:
        return None
    sets = [[], own[:UNITS], *(other.units[view, "specific"][:UNITS] for other in fitting)]
    logprobs = tried.log_probabilities(sets)[:, token_id]
    left = (logprobs[1:] - logprobs[0]).exp().tolist()
    difference = bootstrap([left[0] - value for value in left[1:]], draws=2000)
    return OwnMinusOthers(
        units=UNITS,
        specific=left[0],
        others=tuple(
            OtherLeft(noun=other.noun, left=value)
            for other, value in zip(fitting, left[1:], strict=True)
        ),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
    )
