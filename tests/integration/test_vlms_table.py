"""The table of vision-language families in the docs is what the rows and the tests say.

`python -m pytest tests/integration/test_vlms_table.py --rewrite-docs` writes the table anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import tiny_photos
from tiny_vlms import VLM_KINDS, hugging_face_inputs, tiny_vlm

from molyneux.adapters.proof import prove
from molyneux.adapters.vlm_families import VISION_FAMILIES, VisionFamily
from molyneux.models.vlm import VisionLanguageModel
from molyneux.models.vlm_proof import prove_patches

PAGE = Path(__file__).parents[2] / "docs" / "vlms.md"
BEGIN = "<!-- table of vision families: begin -->\n"
END = "<!-- table of vision families: end -->\n"
HEAD = (
    "family",
    "`model_type`",
    "language models tested",
    "vision networks tested",
    "the patches show",
    "tiles",
    "beside the embeddings",
    "logits",
    "patches in place",
    "checks passed",
)
SHOWN = {"crop": "what the processor crops", "whole": "the whole photo", "centre": "its centre"}


def logits(kind: str, seeing: VisionLanguageModel) -> str:
    """Return how far the logits are from Hugging Face's."""
    photo = tiny_photos(1)[0]
    prompt, model = seeing.see([photo]), seeing.language_model
    with torch.no_grad():
        theirs = model.model(**hugging_face_inputs(kind, seeing, photo)).logits
        ours = model.run(inputs_embeds=prompt.embeddings, beside=prompt.given()).logits
    off = float((ours - theirs).abs().max())
    assert off < 1e-6
    return "equal" if torch.equal(ours, theirs) else f"within {off:.0e}"


def line(family: VisionFamily, kinds: list[str]) -> tuple[str, ...]:
    """Return a family's cells."""
    models = {kind: tiny_vlm(kind) for kind in kinds}
    configs = [seeing.language_model.model.config for seeing in models.values()]
    assert {config.model_type for config in configs} == set(family.model_types)
    towers = {config.vision_config.model_type for config in configs}
    assert towers <= set(family.towers)
    texts = {config.text_config.model_type for config in configs}
    photo = tiny_photos(1)[0]
    placed = [
        check
        for seeing in models.values()
        for check in prove_patches(seeing, photo, range(seeing.encoder.grid.n_patches))
    ]
    checks = [check for seeing in models.values() for check in prove(seeing.language_model)]
    beside = family.positions or (family.token_types[0] if family.token_types else None)
    found = {logits(kind, seeing) for kind, seeing in models.items()}
    return (
        family.name,
        ", ".join(f"`{name}`" for name in family.model_types),
        ", ".join(f"`{name}`" for name in sorted(texts)),
        ", ".join(f"`{name}`" for name in sorted(towers)),
        SHOWN[family.view],
        "yes" if family.tiles else "no",
        f"`{beside}`" if beside else "nothing",
        ", ".join(sorted(found)),
        f"{sum(check.holds for check in placed)} of {len(placed)}",
        f"{sum(check.holds for check in checks)} of {len(checks)}",
    )


def table() -> str:
    """Return the table: one line per row, with the tiny models that belong to it."""
    lines = ["| " + " | ".join(HEAD) + " |", "| --- " * len(HEAD) + "|"]
    of = {kind: kind.split("_siglip")[0].replace("paligemma2", "paligemma") for kind in VLM_KINDS}
    for family in VISION_FAMILIES:
        kinds = [kind for kind in VLM_KINDS if of[kind] in family.model_types]
        lines.append("| " + " | ".join(line(family, kinds)) + " |")
    return "\n".join(lines) + "\n"


def test_the_docs_hold_exactly_the_table(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    ahead, _, rest = text.partition(BEGIN)
    _, _, behind = rest.partition(END)
    made = ahead + BEGIN + table() + END + behind
    if request.config.getoption("--rewrite-docs"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, "run this file with --rewrite-docs"
