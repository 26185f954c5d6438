"""What E5's tables are asked."""

from __future__ import annotations

from molyneux.studies.verdicts import At, Claim

_APART = {"statistic": "own - other classes (standard deviations)"}
_TOP = {"view": "patches", "ranking": "top", **_APART}
_SPECIFIC = {"view": "patches", "ranking": "specific", **_APART}

CLAIMS = (
    Claim(
        "top units at the patches respond to the class that they were found on, on photos kept "
        "back, more than matched units do (own minus other classes, standard deviations)",
        At("E5.diagonal", "found", _TOP),
        At("E5.diagonal", "control", _TOP),
        At("E5.diagonal", "found - control", _TOP),
        paper="the diagonal dominates",
    ),
    Claim(
        "so do specific units",
        At("E5.diagonal", "found", _SPECIFIC),
        At("E5.diagonal", "control", _SPECIFIC),
        At("E5.diagonal", "found - control", _SPECIFIC),
    ),
)
