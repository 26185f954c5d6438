"""The tables of families in the docs are what the rows and the tests say, and its example runs.

`python -m pytest tests/integration/test_families_table.py --rewrite-docs` writes them anew.
"""

from __future__ import annotations

import functools
import re

import pytest
import torch
from claims import CLAIMS, figure
from docs_tables import DOCS, markdown, require
from subjects import of_language_model
from tiny_models import KINDS, tiny_language_model, tiny_tokenizer

from molyneux.adapters import FAMILIES, LanguageModel, find_family
from molyneux.adapters.families import Family
from molyneux.adapters.proof.prove import prove
from molyneux.errors import AdapterError

PAGE = DOCS / "families.md"
FACTS = (
    "family",
    "`model_type`",
    "down projection",
    "gated",
    "norm after the MLP",
    "head bias",
)


@functools.cache
def tiny_models_of_rows() -> dict[str, list[str]]:
    """Return the kinds of tiny models that belong to every row."""
    own: dict[str, list[str]] = {family.name: [] for family in FAMILIES}
    for kind in KINDS:
        own[of_language_model(kind).model.family.name].append(kind)
    return own


def facts(family: Family) -> tuple[str, ...]:
    """Return what a row says, and what its tiny models show of it."""
    models = [of_language_model(kind).model for kind in tiny_models_of_rows()[family.name]]
    types = {model.model.config.model_type for model in models}
    assert types == set(family.model_types), f"{family.name}: a model_type is not tested"
    biased = {model.unembedding_bias() is not None for model in models}
    assert len(biased) == 1
    after = family.after_mlp_norm or ", ".join(family.stream_norms)
    return (
        family.name,
        ", ".join(f"`{name}`" for name in family.model_types),
        f"`{family.down}`",
        "yes" if family.gated else "no",
        f"`{after}`" + (" (on the stream)" if family.stream_norms else "") if after else "no",
        "yes" if biased.pop() else "no",
    )


def claimed(family: Family) -> tuple[str, ...]:
    """Return what was measured on a row's tiny models."""
    kinds = tiny_models_of_rows()[family.name]
    checks = [check for kind in kinds for check in prove(of_language_model(kind).model)]
    return (
        family.name,
        str(len(kinds)),
        *(claim.cell(figure(claim, of_language_model, kind) for kind in kinds) for claim in CLAIMS),
        f"{sum(check.holds for check in checks)} of {len(checks)}",
    )


def test_the_docs_hold_exactly_the_facts(request: pytest.FixtureRequest) -> None:
    require(PAGE, "families", markdown(FACTS, map(facts, FAMILIES)), request)


def test_the_docs_hold_exactly_what_was_measured(request: pytest.FixtureRequest) -> None:
    head = ("family", "tiny models", *(claim.title for claim in CLAIMS), "`prove`")
    require(PAGE, "claims", markdown(head, map(claimed, FAMILIES)), request)


def test_adding_a_family_as_the_docs_do() -> None:
    """On an architecture that is in no row: it is refused, described, and proved."""
    from transformers import StableLmConfig, StableLmForCausalLM

    text = PAGE.read_text(encoding="utf-8")
    section = text.split("## Adding a family", 1)[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    assert len(code[1].splitlines()) < 20
    tokenizer = tiny_tokenizer()
    config = StableLmConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        bos_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = StableLmForCausalLM(config)
        for parameter in model.parameters():  # norms that scale by 1 would hide a wrong row
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    with pytest.raises(AdapterError, match="no adapter for the architecture 'stablelm'"):
        find_family("stablelm")
    known = list(FAMILIES)
    names = {"model": model, "tokenizer": tokenizer}
    try:
        exec(compile(code[1], str(PAGE), "exec"), names)
        adapted = names["language_model"]
        assert isinstance(adapted, LanguageModel)
        assert adapted.family.name == "StableLM"
        assert all(check.holds for check in prove(adapted))
    finally:
        FAMILIES[:] = known


def test_the_example_of_the_docs_fails_on_another_model() -> None:
    """So that it is known to check something."""
    section = PAGE.read_text(encoding="utf-8").split("## Adding a family", 1)[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    model = tiny_language_model("gpt2")
    known = list(FAMILIES)
    try:
        with pytest.raises(AdapterError):
            exec(
                compile(code[1], str(PAGE), "exec"),
                {"model": model.model, "tokenizer": model.tokenizer},
            )
    finally:
        FAMILIES[:] = known
