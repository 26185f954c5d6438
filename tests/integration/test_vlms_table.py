"""The tables of vision-language families in the docs are what the rows and the tests say.

`python -m pytest tests/integration/test_vlms_table.py --rewrite-docs` writes them anew.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from claims import CLAIMS, Claim, figure, logits_of
from docs_tables import DOCS, markdown, require
from subjects import Subject, of_vlm
from tiny_models import tiny_photos
from tiny_vlms import VLM_KINDS, tiny_vlm

from molyneux.adapters.proof.prove import prove
from molyneux.adapters.vlm_families import VISION_FAMILIES, VisionFamily
from molyneux.models.vlm_proof import prove_patches

PAGE = DOCS / "vlms.md"
FACTS = (
    "family",
    "`model_type`",
    "language models tested",
    "vision networks tested",
    "the patches show",
    "tiles",
    "beside the embeddings",
)
SHOWN = {"crop": "what the processor crops", "whole": "the whole photo", "centre": "its centre"}


def logits(subject: Subject) -> float:
    """How far logits are from those that Hugging Face makes of pixels and text."""
    network: Any = subject.network
    with torch.no_grad():
        theirs = network.whole(**subject.inputs).logits
    return float((logits_of(subject) - theirs).abs().max())


LOGITS = Claim("logits", logits, 1e-5, "< 1e-5")


def kinds_of(family: VisionFamily) -> list[str]:
    """Return the kinds of tiny models that belong to a row."""
    of = {kind: kind.split("_siglip")[0].replace("paligemma2", "paligemma") for kind in VLM_KINDS}
    return [kind for kind in VLM_KINDS if of[kind] in family.model_types]


def facts(family: VisionFamily) -> tuple[str, ...]:
    """Return what a row says, and what its tiny models are made of."""
    configs = [of_vlm(kind).model.model.config for kind in kinds_of(family)]
    assert {config.model_type for config in configs} == set(family.model_types)
    towers = {config.vision_config.model_type for config in configs}
    assert towers <= set(family.towers)
    texts = {config.text_config.model_type for config in configs}
    beside = family.positions or (family.token_types[0] if family.token_types else None)
    return (
        family.name,
        ", ".join(f"`{name}`" for name in family.model_types),
        ", ".join(f"`{name}`" for name in sorted(texts)),
        ", ".join(f"`{name}`" for name in sorted(towers)),
        SHOWN[family.view],
        "yes" if family.tiles else "no",
        f"`{beside}`" if beside else "nothing",
    )


def claimed(family: VisionFamily) -> tuple[str, ...]:
    """Return what was measured on a row's tiny models."""
    kinds = kinds_of(family)
    photo = tiny_photos(1)[0]
    placed = [
        check
        for seeing in map(tiny_vlm, kinds)
        for check in prove_patches(seeing, photo, range(seeing.encoder.grid.n_patches))
    ]
    checks = [check for kind in kinds for check in prove(of_vlm(kind).model)]
    return (
        family.name,
        str(len(kinds)),
        LOGITS.cell(figure(LOGITS, of_vlm, kind) for kind in kinds),
        f"{sum(check.holds for check in placed)} of {len(placed)}",
        *(claim.cell(figure(claim, of_vlm, kind) for kind in kinds) for claim in CLAIMS),
        f"{sum(check.holds for check in checks)} of {len(checks)}",
    )


def test_the_docs_hold_exactly_the_facts(request: pytest.FixtureRequest) -> None:
    require(PAGE, "vision families", markdown(FACTS, map(facts, VISION_FAMILIES)), request)


def test_the_docs_hold_exactly_what_was_measured(request: pytest.FixtureRequest) -> None:
    ahead = ("family", "tiny models", LOGITS.title, "patches in place")
    head = (*ahead, *(claim.title for claim in CLAIMS), "`prove`")
    require(PAGE, "claims", markdown(head, map(claimed, VISION_FAMILIES)), request)
