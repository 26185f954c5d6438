"""What E3's tables are asked."""

from __future__ import annotations

from molyneux.studies.verdicts import At, Claim

_TOP = {"view": "patches", "ranking": "top"}

CLAIMS = (
    Claim(
        "the top units at the patches lie at the depth of the paper's layers 5 to 10 of 28, more "
        "than an even spread would",
        At("E3.where", "share in the band", _TOP),
        At("E3.where", "band / all layers", _TOP),
        At("E3.where", "minus an even spread", _TOP),
        paper="mostly layers 5 to 10 of 28",
    ),
    Claim(
        "they write words more often than other units of their layers (7 of 10 tokens)",
        At("E3.interpretable", "7 of 10 words", _TOP),
        At("E3.interpretable", "all units, same layers", _TOP),
        At("E3.interpretable", "difference", _TOP),
        paper="50 %, without a control",
    ),
)
