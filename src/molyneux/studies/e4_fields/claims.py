"""What E4's tables are asked."""

from __future__ import annotations

from molyneux.studies.verdicts import At, Claim

_IOU = {"measure": "IoU", "ranking": "top"}
_PRECISION = {"measure": "AUPRC", "ranking": "specific"}

CLAIMS = (
    Claim(
        "a top unit lies over the thing that the word names more than a random unit does (IoU)",
        At("E4.single", "units", _IOU),
        At("E4.single", "random units", _IOU),
        At("E4.single", "minus random units", _IOU),
        paper=".13 to .68, examples",
    ),
    Claim(
        "the mean of 20 specific units does so more than that of random units (AUPRC)",
        At("E4.set", "units", _PRECISION),
        At("E4.set", "random units", _PRECISION),
        At("E4.set", "minus random units", _PRECISION),
    ),
    Claim(
        "and more than the centre of the photo does (AUPRC)",
        At("E4.set", "units", _PRECISION),
        At("E4.maps", "centre", {"measure": "AUPRC"}),
        At("E4.set", "minus centre", _PRECISION),
    ),
)
