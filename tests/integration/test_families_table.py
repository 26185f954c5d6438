"""The table of families in the docs is what the rows and the tests say, and its example runs.

`python -m pytest tests/integration/test_families_table.py --rewrite-docs` writes the table anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tiny_models import KINDS, tiny_language_model, tiny_tokenizer

from molyneux.adapters import FAMILIES, LanguageModel, find_family
from molyneux.adapters.proof import prove
from molyneux.errors import AdapterError

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
BEGIN, END = "<!-- table of families: begin -->\n", "<!-- table of families: end -->\n"
HEAD = (
    "family",
    "`model_type`",
    "down projection",
    "gated",
    "norm after the MLP",
    "head bias",
    "tiny models tested",
    "checks passed",
)


def table() -> str:
    """Return the table: one line per row, with the tiny models that belong to it."""
    own: dict[str, list[LanguageModel]] = {family.name: [] for family in FAMILIES}
    for kind in KINDS:
        model = tiny_language_model(kind)
        own[model.family.name].append(model)
    lines = ["| " + " | ".join(HEAD) + " |", "| --- " * len(HEAD) + "|"]
    for family in FAMILIES:
        models = own[family.name]
        types = {model.model.config.model_type for model in models}
        assert types == set(family.model_types), f"{family.name}: a model_type is not tested"
        checks = [check for model in models for check in prove(model)]
        biased = {model.unembedding_bias() is not None for model in models}
        assert len(biased) == 1
        after = family.after_mlp_norm or ", ".join(family.stream_norms)
        cells = (
            family.name,
            ", ".join(f"`{name}`" for name in family.model_types),
            f"`{family.down}`",
            "yes" if family.gated else "no",
            f"`{after}`" + (" (on the stream)" if family.stream_norms else "") if after else "no",
            "yes" if biased.pop() else "no",
            str(len(models)),
            f"{sum(check.holds for check in checks)} of {len(checks)}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_docs_hold_exactly_the_table(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    ahead, _, rest = text.partition(BEGIN)
    _, _, behind = rest.partition(END)
    made = ahead + BEGIN + table() + END + behind
    if request.config.getoption("--rewrite-docs"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, "run this file with --rewrite-docs"


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
