"""What E2's tables are asked."""

from __future__ import annotations

from molyneux.studies.verdicts import At, Claim

_TEXTS, _APART, _WORDS = "E2.bertscore", "E2.differences", "E2.words"
_PATCHES = {"units": "top", "view": "patches"}
_LAST = {"units": "top", "view": "last"}
_OTHER = {"metric": "BERTScore", "own units minus": "another photo's units"}

CLAIMS = (
    Claim(
        "some of the top units at the patches write a text that fits the photo better than "
        "another photo's do (largest BERTScore)",
        At(_TEXTS, "maximum", {**_PATCHES, "texts": "own units"}),
        At(_TEXTS, "maximum", {**_PATCHES, "texts": "another photo's units"}),
        At(_APART, "maximum", {**_PATCHES, **_OTHER}),
        paper=".3848 against .3627",
    ),
    Claim(
        "so do some of those where the word is written",
        At(_TEXTS, "maximum", {**_LAST, "texts": "own units"}),
        At(_TEXTS, "maximum", {**_LAST, "texts": "another photo's units"}),
        At(_APART, "maximum", {**_LAST, **_OTHER}),
    ),
    Claim(
        "the word stands higher in what its top units at the patches write than in what units "
        "matched by layer and norm do (percentile)",
        At(_WORDS, "percentile", {**_PATCHES, "control": "matched units"}),
        At(_WORDS, "control: percentile", {**_PATCHES, "control": "matched units"}),
        At(_WORDS, "difference: percentile", {**_PATCHES, "control": "matched units"}),
    ),
)
