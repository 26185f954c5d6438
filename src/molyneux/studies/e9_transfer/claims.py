"""What E9's tables are asked: each of its measures, of each set, against every control."""

from __future__ import annotations

from molyneux.studies.e9_transfer import NAME
from molyneux.studies.verdicts import At, Claim

ABOVE = "above every control"
"""What a row of `E9.transfer` says where its claim holds."""
MEASURES = {
    "activation": "respond to their concept on photos of another source (AUC of mean activation x "
    "sign)",
    "ablation": "are needed there for their concept's word (nats lost without them)",
    "transplant": "bring their concept's word along into another photo there (nats gained)",
    "reading": "say their concept's word there (percentile in what they write, own photos minus "
    "others)",
    "field": "look at their concept there (IoU with its mask)",
}
SETS = {
    "total 100": "the 100 units that give a concept's word most",
    "total": "the 1 % of units that give a concept's word most",
    "change": "the 5 % of units that a concept's photos change most",
    "shift": "the 5 % of units that a concept's photos move most in one direction",
}


def _at(measure: str, name: str, column: str) -> At:
    return At(f"{NAME}.transfer", column, {"measure": measure, "set": name})


CLAIMS = tuple(
    Claim(
        f"{units} {what}",
        _at(measure, name, "own"),
        _at(measure, name, "strongest control"),
        _at(measure, name, "own is"),
        ABOVE,
    )
    for name, units in SETS.items()
    for measure, what in MEASURES.items()
)
