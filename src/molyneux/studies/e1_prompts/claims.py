"""What E1's tables are asked."""

from __future__ import annotations

from molyneux.studies.verdicts import At, Claim

_SCORES = "E1.bertscore"

CLAIMS = (
    Claim(
        "image prompts decode to no more about the photo than random vectors do (BERTScore)",
        At(_SCORES, "mean", {"text": "image prompts"}),
        At(_SCORES, "mean", {"text": "random vectors"}),
        At(
            "E1.equivalence",
            "verdict",
            {"metric": "BERTScore", "image prompts minus": "random vectors"},
        ),
        "equivalent",
        ".3291 against .3286",
    ),
    Claim(
        "nor than another photo's prompts do",
        At(_SCORES, "mean", {"text": "image prompts"}),
        At(_SCORES, "mean", {"text": "another photo's prompts"}),
        At(
            "E1.equivalence",
            "verdict",
            {"metric": "BERTScore", "image prompts minus": "another photo's prompts"},
        ),
        "equivalent",
    ),
)
