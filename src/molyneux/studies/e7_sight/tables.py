"""The rows that E7 keeps: all its numbers and intervals follow from them."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

Pixels = Literal["own", "permuted"]
"""Whose image prompt stands behind the words: the photo's, or another photo's in its place."""
OWN: Pixels = "own"
PERMUTED: Pixels = "permuted"

BESIDE = {"caption": "absent", "human": "deranged"}
"""The kinds of words, and the kind of those that stand beside them."""

_WORD = [
    ("pixels", pa.string()),
    ("kind", pa.string()),
    ("word", pa.string()),
    ("beside", pa.string()),
    ("said", pa.bool_()),
]
_SET = [("set", pa.string()), ("fraction", pa.float64()), ("layers", pa.string())]
_PARTNER = ("partner", pa.int16())

GAIN = pa.schema([*_WORD, _PARTNER, ("clean", pa.float32()), ("behind", pa.float32())])
"""A word and a partner it is compared with a row: log-probabilities in nats.

`kind`: `caption` (the caption's first noun), `absent` (beside it: words that nobody named), `human`
(a noun that most people wrote) or `deranged` (beside it: another photo's); `beside` names the word
that an absent or deranged one stands beside. `said`: whether the caption has the human noun, a
synonym or its plural. `partner`: its number in the reference table, whose partners are in the order
of their names. `clean`: behind the photo; `behind`: behind the partner.
"""

SETS = pa.schema(
    [
        *_WORD,
        *_SET,
        ("units", pa.int32()),
        ("mediated", pa.float32()),
        ("mediated_norm", pa.float32()),
        ("edit_norm", pa.float32()),
    ]
)
"""A word and a set a row. `layers`: `all` but the last, or those the set was chosen from (`0-9`).

`mediated` in nats; the norms are of the edits in the photo and, in the mean, in the partners.
"""

TRANSPLANTS = pa.schema([*_WORD, *_SET, _PARTNER, ("value", pa.float32())])
"""A word, a set and a partner that it is written into a row: what the word gains there, in nats."""

CAPTIONS = pa.schema(
    [
        ("set", pa.string()),
        _PARTNER,
        ("text", pa.string()),
        ("names_noun", pa.bool_()),
        ("names_human", pa.bool_()),
    ]
)
"""What is written behind the first partner with the photo's values of a set; `none` without them.

`names_noun`: whether it names the caption's first noun, or a synonym; `names_human`: whether it
names one of those that most people wrote, null where there are none.
"""

LEFT_OUT = pa.schema([("kind", pa.string()), ("word", pa.string()), ("why", pa.string())])
"""A word that is not measured a row; of kind `photo` where none of the photo's is.

Of kind `permuted`: a human noun that is not measured behind another photo's pixels; of `deranged`:
one whose noun beside is of a partner photo's people, and not of another photo of the study's.
"""

TABLES = {
    "e7_gain": GAIN,
    "e7_sets": SETS,
    "e7_transplants": TRANSPLANTS,
    "e7_captions": CAPTIONS,
    "e7_left_out": LEFT_OUT,
}
