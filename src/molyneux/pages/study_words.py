"""What the tables and columns of a study are called on a page."""

from __future__ import annotations

FACTS = {
    "id": "name in the data set",
    "noun": "the caption's first noun",
    "captions": "what people wrote",
    "human_nouns": "nouns that people used",
    "categories": "what was annotated",
    "split": "part of the data set",
    "label": "class",
}
"""What was known or said of a photo, in the order in which it is shown."""
TABLES = {
    "e1_prompts": "E1: tokens nearest to each patch's prompt",
    "e1_geometry": "E1: lengths and cosines of prompts and tokens",
    "e1_depth": "E1: nouns that patches hold, by layer",
    "e2_units": "E2: listed units",
    "e2_controls": "E2: control units",
    "e3_layers": "E3: units of each layer",
    "e4_fields": "E4: heat maps beside what was annotated",
    "e4_targets": "E4: what heat maps were compared with",
    "e6_curves": "E6: the word's probability with units off",
    "e6_captions": "E6: captions with units off",
    "e6_units": "E6: units switched off one by one",
    "e7_gain": "E7: the word behind this photo and behind others",
    "e7_sets": "E7: what sets of units mediate",
    "e7_transplants": "E7: transplants into other photos",
    "e7_captions": "E7: captions after transplants",
    "e7_left_out": "E7: words that were left out, and why",
}
_COLUMNS = {
    "auprc": "AUPRC",
    "best_auprc": "best unit's AUPRC",
    "best_iou": "best unit's IoU",
    "compared": "nouns compared",
    "has_noun": "names the noun",
    "iou": "IoU",
    "lens_others_place": "others' place through the lens",
    "lens_target_place": "word's place through the lens",
    "logprob_change": "log-probability change",
    "n": "units",
    "others_place": "others' place",
    "percentile_best": "best percentile",
    "prompt_nearest": "prompt to nearest token",
    "prompt_norm": "prompt's norm",
    "prompt_pair": "prompt to prompt",
    "random_cosine": "cosine of a random prompt",
    "random_nearest": "random prompt to nearest token",
    "random_pair": "random to random",
    "random_tokens": "tokens of a random prompt",
    "rank_best": "best rank",
    "ratio": "share left",
    "set_auprc": "the set's AUPRC",
    "set_iou": "the set's IoU",
    "step": "units off",
    "target_place": "word's place",
    "text": "tokens, or caption",
    "token_nearest": "token to nearest token",
    "token_norm": "token's norm",
    "token_pair": "token to token",
    "top5": "among the first 5",
    "top5_any": "any among the first 5",
    "units": "whose units",
    "unrelated_change": "unrelated nouns' change",
}


def table_title(name: str) -> str:
    """Return what a table is called; its name in words where it is not known here."""
    return TABLES.get(name, name.replace("_", " "))


def column_title(name: str) -> str:
    """Return what a column is called; its name in words where that says enough."""
    return _COLUMNS.get(name, name.replace("_", " "))
