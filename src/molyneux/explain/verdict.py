"""What was found of a word, in one sentence: the evidence of sight first, else what it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molyneux.explain.claims import claim_of, percent
from molyneux.explain.sight_text import carried, nats, times

if TYPE_CHECKING:
    from molyneux.explain.document import Word
    from molyneux.explain.sight_record import Sight


def verdict(word: Word) -> str | None:
    """Return one sentence on a word, with the control that it stands or falls by.

    None where nothing was measured that could say anything.
    """
    if word.warning is not None:
        return (
            f"the model is not about to say “{word.word}”: at so low a probability nothing that "
            "is measured of it counts"
        )
    if word.sight is not None:
        return _seen(word.sight)
    claims = [claim for curves in word.curves if (claim := claim_of(curves)) is not None]
    if not claims:
        return None
    claim = claims[0]
    taken = f"switching off its {claim.units} units leaves {percent(claim.own)} of the word"
    if claim.absent is None:
        return f"{taken}, which says what it needs and not that it is seen"
    beside = f"an absent word (“{claim.absent_word}”) keeps {percent(claim.absent)} without its own"
    if claim.absent <= claim.own:
        return f"{taken}, but {beside}: not evidence of sight"
    return f"{taken}; {beside}: units picked by a word's own gradient are no evidence of sight"


_CONTROLS = {"random units bring": "random units", "words not named get": "words not named"}


def _seen(sight: Sight) -> str:
    if not sight.adds:
        return (
            f"this photo adds nothing to the word: it is as likely behind {sight.partners} others"
        )
    adds = f"this photo makes the word {times(sight.gain)} times as likely as other photos do"
    bars = dict(carried(sight))
    change = sight.of("change")
    if change is None or change.transplant is None:
        return f"{adds}; what carries it was not measured"
    controls = [(name, value) for name, value in list(bars.items())[2:]]
    if not controls:
        return f"{adds}; its units bring {nats(change.transplant)} nats to other photos"
    # Always all of them: photos are read side by side.
    beside = ", ".join(f"{_CONTROLS[name]} {nats(value)}" for name, value in controls)
    name, most = max(controls, key=lambda each: each[1])
    what = _CONTROLS[name]
    if change.transplant <= most:
        return (
            f"{adds}, but the units that it changes most bring {nats(change.transplant)} nats to "
            f"other photos and {what} {nats(most)}: not shown to carry it"
        )
    return (
        f"{adds}, and the units that it changes most bring "
        f"{nats(change.transplant)} nats of it to other photos; {beside}"
    )
