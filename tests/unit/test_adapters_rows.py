"""Rows that are wrong are found out; weights that are not plain numbers are refused."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from tiny_models import (
    D_MLP,
    GATED,
    KINDS,
    N_LAYERS,
    ToyEncoder,
    count_hooks,
    tiny_language_model,
    tiny_model,
    tiny_projection,
    tiny_tokenizer,
    weights_hash,
)
from torch import Tensor, nn
from torch.nn.functional import gelu, silu
from transformers import LlamaForCausalLM, OPTConfig

from molyneux.adapters import FAMILIES, LanguageModel, adapt, find_family, register_family
from molyneux.adapters.language_model import _takes_logits_to_keep
from molyneux.adapters.proof.prove import prove
from molyneux.errors import AdapterError
from molyneux.hooks import capture
from molyneux.models.captioner import Captioner
from molyneux.neurons.decoding import decode_units, directions, token_ranks
from molyneux.neurons.unit import Unit


def failed(model: LanguageModel) -> set[str]:
    return {check.claim.split(": ", 1)[1] for check in prove(model) if not check.holds}


DIRECTION = "a unit's write moves the head's output along its decoded direction"
HEAD_NORM = "the norm before the head scales by what the row says"
MLP_NORM = "the norm after the MLP scales by what the row says"
CONSERVED = "the units' writes sum to the MLP's output"
ONE_EACH = "a value of the pre-activation makes one unit, at its position"
FINITE = "the residual stream, and what the head reads of it, are finite"

# Rows that are wrong, by the claims of `prove` that find them out.
WRONG: list[tuple[str, dict[str, Any], set[str]]] = [
    ("gemma", {"norm_offset": 0.0}, {DIRECTION, HEAD_NORM}),
    ("llama", {"norm_offset": 1.0}, {DIRECTION, HEAD_NORM}),
    ("llama", {"final_norm": None}, {DIRECTION}),
    ("gemma2", {"norm_offset": 0.0}, {DIRECTION, HEAD_NORM, MLP_NORM}),
    ("gemma2", {"after_mlp_norm": None}, {DIRECTION}),
    ("gemma2", {"after_mlp_norm": "post_attention_layernorm"}, {DIRECTION}),
    ("gemma3", {"after_mlp_norm": "pre_feedforward_layernorm"}, {DIRECTION}),
    ("opt_350m", {"stream_norms": ()}, {DIRECTION}),
    ("opt_350m", {"stream_norms": ("self_attn_layer_norm",)}, {DIRECTION}),
    ("opt_350m", {"project_out": None}, {DIRECTION}),
    ("opt", {"final_norm": None}, {DIRECTION}),
    ("gpt_neox", {"final_norm": "gpt_neox.layers.0.input_layernorm"}, {DIRECTION}),
    ("gpt2", {"rows_stored": False}, {CONSERVED}),
    ("llama", {"rows_stored": True}, {CONSERVED}),
    ("llama", {"down": "mlp.up_proj"}, {CONSERVED}),
    ("bloom", {"down": "self_attention.dense"}, {ONE_EACH}),
    ("gptj", {"down": "attn.out_proj"}, {ONE_EACH}),
    ("llama", {"preactivation": "mlp.up_proj"}, {ONE_EACH}),
    ("phi3", {"preactivation_part": (1, 2)}, {ONE_EACH}),
    ("llama", {"preactivation": "self_attn.q_proj"}, {ONE_EACH}),
    ("llama", {"gated": False}, {ONE_EACH}),
    ("gpt2", {"gated": True}, {ONE_EACH}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_row_is_proved(kind: str, dtype: torch.dtype) -> None:
    model = tiny_language_model(kind, dtype=dtype)
    before = [parameter.clone() for parameter in model.model.parameters()]
    checks = prove(model)
    assert [check for check in checks if not check.holds] == []
    assert len(checks) >= 11
    for old, new in zip(before, model.model.parameters(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize(("kind", "wrong", "claims"), WRONG)
def test_a_wrong_row_is_found_out(kind: str, wrong: dict[str, Any], claims: set[str]) -> None:
    model = tiny_language_model(kind)
    row = dataclasses.replace(model.family, **wrong)
    found = failed(LanguageModel(model.model, model.tokenizer, row))
    assert found & claims == claims


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kind", "wrong", "claims"), WRONG)
def test_a_wrong_row_is_refused_on_loading(
    kind: str, wrong: dict[str, Any], claims: set[str], dtype: torch.dtype
) -> None:
    """In one line, which names the row, what is not true of the model, and what to correct."""
    model = tiny_model(kind, dtype=dtype)
    family = find_family(model.config.model_type, model.config)
    before = weights_hash(tiny_model(kind)) if dtype == torch.float32 else ""
    row = dataclasses.replace(family, **wrong)
    with pytest.raises(AdapterError) as caught:
        adapt(model, tiny_tokenizer(), row, check=True)
    said = str(caught.value)
    assert said.startswith(f"the row {family.name!r} does not describe this {type(model).__name__}")
    assert "\n" not in said
    assert any(claim in said for claim in claims) or "to the head, which reads" in said
    corrected = said.split("correct", 1)[1]
    assert any(f"`{field}`" in corrected for field in wrong)
    assert not before or weights_hash(model) == before


def test_a_row_that_is_found_is_proved_and_one_that_is_given_if_asked() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    row = dataclasses.replace(find_family("llama"), preactivation="mlp.up_proj")
    assert adapt(model, tokenizer, row).family is row
    known = list(FAMILIES)
    try:
        register_family(row)
        with pytest.raises(AdapterError, match="the row 'Llama' does not describe this"):
            adapt(model, tokenizer)
        with pytest.raises(AdapterError, match="the row 'Llama' does not describe this"):
            Captioner.from_parts(model, tokenizer, ToyEncoder(), tiny_projection())
        assert adapt(model, tokenizer, check=False).family is row
    finally:
        FAMILIES[:] = known
    assert adapt(model, tokenizer).family.preactivation == "mlp.gate_proj"


def test_the_check_on_loading_passes_for_every_family(kind: str) -> None:
    model = tiny_model(kind)
    before, hooks = weights_hash(model), count_hooks(model)
    adapt(model, tiny_tokenizer())
    assert weights_hash(model) == before
    assert count_hooks(model) == hooks


@torch.no_grad()
def outlying(dtype: torch.dtype) -> Any:
    """A GPT-2 with what trained ones have: one huge coordinate, and logits about -80."""
    model: Any = tiny_model("gpt2")
    model.transformer.wpe.weight[:, 5] += 100
    model.transformer.wpe.weight[0, 5] += 2000
    model.transformer.ln_f.bias[3] += 100
    model.lm_head.weight[:, 3] = -0.8  # the embedding's too
    return model.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_right_row_of_an_outlying_model_is_not_refused(dtype: torch.dtype) -> None:
    model = adapt(outlying(dtype), tiny_tokenizer())
    assert model.run(input_ids=torch.arange(9)[None]).logits.mean() < -60
    assert failed(model) == set()


def overflowing(dtype: torch.dtype) -> Any:
    """A Gemma 3 whose norm after the MLP writes large values, as published ones do."""
    model: Any = tiny_model("gemma3")
    with torch.no_grad():
        model.model.layers[1].post_feedforward_layernorm.weight.fill_(60_000)
    return model.to(dtype)


def test_a_model_that_overflows_is_not_blamed_on_its_row() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        adapt(overflowing(dtype), tiny_tokenizer())
    with pytest.raises(
        AdapterError, match=r"^Gemma3ForCausalLM overflows in float16, .* bfloat16 or float32$"
    ):
        adapt(overflowing(torch.float16), tiny_tokenizer())
    unchecked = adapt(overflowing(torch.float16), tiny_tokenizer(), check=False)
    assert failed(unchecked) == {FINITE}
    damaged = tiny_model("llama")
    with torch.no_grad():
        damaged.get_input_embeddings().weight[:] = torch.nan
    with pytest.raises(AdapterError, match=r"^LlamaForCausalLM gives numbers that are not finite"):
        adapt(damaged, tiny_tokenizer())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_scale_of_one_plus_weight_is_not_rounded(dtype: torch.dtype) -> None:
    """Hugging Face adds the 1 in float32."""
    model = tiny_language_model("gemma2", dtype=dtype)
    norm: Any = model.norms_of_write(1)[0]
    scale = model.scale_of(norm)
    assert torch.equal(scale, 1 + norm.weight.float())
    assert not torch.equal(scale, (1 + norm.weight).float())
    ones = torch.ones(1, model.d_stream)  # their root mean square is 1
    torch.testing.assert_close(copy.deepcopy(norm).float()(ones)[0], scale)
    written = decode_units(model, [Unit(1, 3)], top=model.d_vocab, final_norm=False)[0].tokens
    row = model.output_rows(1)[3].float() * (1 + norm.weight.float())
    order = (row @ model.unembedding().float().T).argsort(descending=True).tolist()
    assert written == [model.token_text(token) for token in order]


class Int8Linear(nn.Module):
    """What a quantised layer looks like: whole numbers and a scale."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = (linear.weight * 16).round().to(torch.int8)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, values: Tensor) -> Tensor:
        return values @ (self.weight.float() / 16).T


class Packed(nn.Module):
    """Or like this, several numbers in one, and no weight at all."""

    qweight = torch.zeros(3, 3, dtype=torch.int32)


class Subclass(Tensor):
    """Or a tensor that computes with something else than it shows."""


def test_quantised_down_projections_are_refused_and_ordinary_ones_not() -> None:
    model = copy.deepcopy(tiny_model("llama"))
    mlp: Any = model.model.layers[1].mlp
    plain = mlp.down_proj
    mlp.down_proj = Int8Linear(plain)
    with pytest.raises(AdapterError, match=r"layer 1's down projection \(Int8Linear\) .*int8"):
        adapt(model, tiny_tokenizer())
    mlp.down_proj = Packed()
    with pytest.raises(AdapterError, match=r"holds no weight.*unquantised"):
        adapt(model, tiny_tokenizer())
    mlp.down_proj = copy.deepcopy(plain)
    del mlp.down_proj.weight
    mlp.down_proj.weight = plain.weight.detach().as_subclass(Subclass)
    with pytest.raises(AdapterError, match="is a Subclass"):
        adapt(model, tiny_tokenizer())
    mlp.down_proj.weight = plain.weight.detach().to(torch.float8_e4m3fn)
    with pytest.raises(AdapterError, match="float8_e4m3fn"):
        adapt(model, tiny_tokenizer())
    mlp.down_proj = plain
    mlp.up_proj = Int8Linear(mlp.up_proj)  # what is not read may be quantised
    adapt(model, tiny_tokenizer())


def test_a_row_is_chosen_by_the_configurations_values() -> None:
    assert find_family("opt", OPTConfig()).final_norm == "model.decoder.final_layer_norm"
    after = OPTConfig(do_layer_norm_before=False)
    assert find_family("opt", after).name == "OPT (350m)"
    bloom = tiny_model("bloom").config
    bloom.apply_residual_connection_post_layernorm = True
    with pytest.raises(AdapterError, match="apply_residual_connection_post_layernorm=False"):
        find_family("bloom", bloom)
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


def test_what_a_row_says_may_be_lacking_may_not_be_misspelt() -> None:
    model = tiny_language_model("opt")
    assert "project_out" in model.family.may_lack
    assert model.to_head(torch.ones(2, model.d_stream)).tolist() == [[1.0] * model.d_model] * 2
    row = dataclasses.replace(model.family, project_out="model.decoder.projectout")
    with pytest.raises(AdapterError, match=r"no module 'model\.decoder\.projectout'"):
        adapt(model.model, model.tokenizer, row)


def test_opt_without_its_final_norm_reads_the_stream_as_it_is() -> None:
    from transformers import OPTForCausalLM

    plain = tiny_model("opt")
    settings = {**plain.config.to_dict(), "_remove_final_layer_norm": True}
    bare = OPTForCausalLM(OPTConfig(**settings))
    bare.load_state_dict(plain.state_dict(), strict=False)
    model = adapt(bare, tiny_tokenizer())
    assert model.read_scale(0) is None
    assert model.final_norm_scale().tolist() == [1.0] * model.d_stream
    assert failed(model) == set()


@pytest.mark.parametrize("kind", GATED)
def test_the_gates_output_is_the_preactivation(kind: str) -> None:
    model = tiny_language_model(kind)
    layers = range(N_LAYERS)
    with (
        capture({layer: model.preactivation(layer) for layer in layers}, at="output") as before,
        capture({layer: model.down_projection(layer) for layer in layers}) as activation,
        capture({layer: model.model.model.layers[layer].mlp for layer in layers}) as normed,
    ):
        model.run(input_ids=torch.arange(9)[None])
    for layer in layers:
        mlp = model.model.model.layers[layer].mlp
        up = (
            mlp.gate_up_proj(normed[layer])[..., D_MLP:]
            if kind == "phi3"
            else mlp.up_proj(normed[layer])
        )
        z = model.preactivation_in(before[layer])
        assert z.shape[-1] == D_MLP
        gate = gelu(z, approximate="tanh") if kind.startswith("gemma") else silu(z)
        torch.testing.assert_close(gate * up, activation[layer])


def test_the_heads_bias_moves_the_tokens_only_if_asked() -> None:
    for kind in KINDS:
        model = tiny_language_model(kind)
        bias = model.unembedding_bias()
        assert (bias is not None) == (kind in ("gptj", "phi"))
        units = [Unit(0, 3), Unit(2, 9)]
        plain = decode_units(model, units, top=model.d_vocab)
        with_bias = decode_units(model, units, top=model.d_vocab, bias=True)
        if bias is None:
            assert with_bias == plain
            continue
        assert len(bias) == model.d_vocab
        logits = directions(model, units, [1, 1]) @ model.unembedding().T + bias
        for row, one in zip(logits, with_bias, strict=True):
            order = row.argsort(descending=True).tolist()
            assert one.tokens == [model.token_text(token) for token in order]
            rank = token_ranks(model, [one.unit], [1], order[5], bias=True)
            assert rank.tolist() == [5]
        assert with_bias != plain


def test_the_papers_plain_row_is_the_row_and_the_head_alone() -> None:
    model = tiny_language_model("gptj")
    units = [Unit(1, k) for k in range(D_MLP)]
    logits = model.output_rows(1) @ model.model.lm_head.weight[: model.d_vocab].T
    for row, one in zip(
        logits, decode_units(model, units, final_norm=False, bias=False), strict=True
    ):
        best = row.topk(10).indices.tolist()
        assert one.tokens == [model.token_text(token) for token in best]


class ShortSighted(LlamaForCausalLM):
    """A model whose forward pass knows nothing of `logits_to_keep`."""

    def forward(  # type: ignore[override]
        self, inputs_embeds: Any = None, input_ids: Any = None, use_cache: bool = False
    ) -> Any:
        return super().forward(
            inputs_embeds=inputs_embeds, input_ids=input_ids, use_cache=use_cache
        )


def test_only_the_last_logits_are_kept_by_any_model(kind: str) -> None:
    model = tiny_language_model(kind)
    assert _takes_logits_to_keep(type(model.model))
    ids = torch.arange(6)[None]
    whole = model.run(input_ids=ids).logits
    kept = model.run(input_ids=ids, keep=2).logits
    torch.testing.assert_close(kept, whole[:, -2:])


def test_a_model_that_cannot_keep_some_logits_gives_the_same() -> None:
    plain = tiny_language_model("llama")
    other = ShortSighted(plain.model.config)
    other.load_state_dict(plain.model.state_dict())
    short = adapt(other, tiny_tokenizer())
    assert not _takes_logits_to_keep(type(short.model))
    ids = torch.arange(6)[None]
    found = short.run(inputs_embeds=short.embed(ids), keep=2).logits
    assert found.shape[1] == 2
    torch.testing.assert_close(found, plain.run(input_ids=ids, keep=2).logits)
