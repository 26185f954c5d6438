"""Relevance is conserved, and is the gradient of a graph whose norms and weights are frozen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import (
    D_MLP,
    GATED,
    KINDS,
    N_LAYERS,
    WITHOUT_SDPA,
    count_hooks,
    tiny_language_model,
    tiny_photos,
)
from tiny_vlms import VLM_KINDS, tiny_vlm
from torch import Tensor
from transformers import AttentionInterface

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import AdapterError
from molyneux.hooks import capture
from molyneux.neurons.attribution import Target, attribute_products
from molyneux.neurons.integrated import integrate_layer
from molyneux.neurons.prefix import read_prefix
from molyneux.neurons.relevance import relevance_rules
from molyneux.neurons.scorers import NO_CONTEXT, find_scorer
from molyneux.vision.layout import ImagePrompt

DOG, POSITIONS = 20, 9
PATCHES = slice(1, 6)
LAST = POSITIONS - 1


def model_of(kind: str, *, biases: bool = True, **options: Any) -> LanguageModel:
    model = tiny_language_model(kind, dtype=torch.float64, **options)
    if not biases:
        with torch.no_grad():
            for name, parameter in model.model.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
    return model


def prompt_of(model: LanguageModel) -> ImagePrompt:
    generator = torch.Generator().manual_seed(4)
    embeddings = torch.randn(1, POSITIONS, model.d_model, generator=generator).double()
    return ImagePrompt(embeddings, PATCHES)


def passed(model: LanguageModel, prompt: ImagePrompt, layers: Any, at: Any) -> Any:
    """A pass by the rules: the logit, and what was captured."""
    embeddings = prompt.embeddings.clone().requires_grad_()
    with relevance_rules(model), capture(layers, at=at) as seen:
        logits = model.run(inputs_embeds=embeddings).logits
    return logits[0, LAST, DOG], seen


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_the_stream_sums_to_the_logit_after_every_layer(
    kind: str, attention: str
) -> None:
    """A norm, gate, activation or attention without its rule would break the sum."""
    if attention == "sdpa" and kind in WITHOUT_SDPA:
        pytest.skip("transformers has no sdpa attention of this kind")
    model = model_of(kind, biases=False, attention=attention)
    layers = {layer: model.layer(layer) for layer in range(N_LAYERS)}
    logit, streams = passed(model, prompt_of(model), layers, "output")
    given = torch.autograd.grad(logit, [streams[layer] for layer in range(N_LAYERS)])
    plain = model.run(inputs_embeds=prompt_of(model).embeddings).logits[0, LAST, DOG]
    assert torch.equal(logit.detach(), plain), "a rule changed a value"
    for layer in range(N_LAYERS):
        whole = (streams[layer] * given[layer]).sum().detach()
        torch.testing.assert_close(whole, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", VLM_KINDS)
def test_vision_language_models_conserve_and_step_alike(kind: str) -> None:
    seeing = tiny_vlm(kind, dtype=torch.float64)
    model, prompt = seeing.language_model, seeing.see(tiny_photos(1))
    at = prompt.n_positions - 1
    target = Target(DOG, at)
    line: dict[str, Any] = {"positions": [at], "steps": 2}
    step = integrate_layer(
        model, prompt, [target], 0, **line, prefix=read_prefix(model, prompt, at)
    )
    whole = integrate_layer(model, prompt, [target], 0, **line)
    assert float(whole.difference.abs()) > 1e-3
    torch.testing.assert_close(step.values, whole.values, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(step.difference, whole.difference, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    layers = {layer: model.layer(layer) for layer in range(model.n_layers)}
    embeddings = prompt.embeddings.clone().requires_grad_()
    with relevance_rules(model), capture(layers, at="output") as streams:
        logits = model.read(replace(prompt, embeddings=embeddings)).logits
    logit = logits[0, at, DOG]
    assert torch.equal(logit.detach(), model.read(prompt).logits[0, at, DOG])
    given = torch.autograd.grad(logit, [streams[layer] for layer in layers])
    for layer in layers:
        total = (streams[layer] * given[layer]).sum().detach()
        torch.testing.assert_close(total, logit.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_activation_function_keeps_relevance_and_a_gate_halves_it(kind: str) -> None:
    model, target = model_of(kind), [Target(DOG, LAST)]
    prompt = prompt_of(model)

    def score(site: Any) -> Tensor:
        found: list[Tensor] = []
        attribute_products(
            model,
            prompt,
            target,
            lambda at: (found.append(at.value * at.gradient), found[-1])[1],
            of="logit",
            site=site,
            within=relevance_rules(model),
        )
        return torch.cat(found)

    after, before = score("activation"), score("preactivation")
    if kind not in GATED:
        torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-7)
        return
    torch.testing.assert_close(before, after / 2, rtol=1e-5, atol=1e-7)
    name = "mlp.gate_up_proj" if kind == "phi3" else "mlp.up_proj"
    ups = {n: model.layer(n).get_submodule(name) for n in range(N_LAYERS)}
    logit, made = passed(model, prompt, ups, "output")
    given = torch.autograd.grad(logit, [made[n] for n in range(N_LAYERS)])
    up = torch.cat([(made[n] * given[n])[..., -D_MLP:] for n in range(N_LAYERS)]).detach()
    torch.testing.assert_close(up, after.double() / 2, rtol=1e-5, atol=1e-7)


def frozen_logit(
    kind: str, hf: Any, embeddings: Tensor, known: dict[Any, Tensor], nudge: dict[int, Tensor]
) -> Tensor:
    """The model by hand, with what the rules freeze kept in `known` by the first call.

    `nudge` is added to the units of layers.
    """

    def keep(name: Any, value: Tensor) -> Tensor:
        return known.setdefault(name, value)

    def norm(name: Any, module: Any, x: Tensor) -> Tensor:
        if kind == "llama":
            size = (x.square().mean(-1, keepdim=True) + module.variance_epsilon).sqrt()
            return module.weight * x / keep(name, size)
        x = x - x.mean(-1, keepdim=True)
        size = (x.square().mean(-1, keepdim=True) + module.eps).sqrt()
        return module.weight * x / keep(name, size) + module.bias

    def mixed(weights: Tensor, values: Tensor) -> Tensor:
        heads, width = len(weights), hf.config.hidden_size // len(weights)
        values = values.reshape(POSITIONS, -1, width)
        values = values.repeat_interleave(heads // values.shape[1], dim=1)
        return torch.einsum("hpq,qhd->phd", weights, values).reshape(POSITIONS, -1)

    x = embeddings
    if kind == "gpt2":
        x = x + hf.transformer.wpe.weight[:POSITIONS]
    body = hf.model if kind == "llama" else hf.transformer
    for n, layer in enumerate(body.layers if kind == "llama" else body.h):
        weights = known["attention", n]
        if kind == "llama":
            h = norm((n, 1), layer.input_layernorm, x)
            x = x + layer.self_attn.o_proj(mixed(weights, layer.self_attn.v_proj(h)))
            h = norm((n, 2), layer.post_attention_layernorm, x)
            gate, up = layer.mlp.gate_proj(h), layer.mlp.up_proj(h)
            ratio = keep((n, "ratio"), torch.sigmoid(gate))  # of silu
            left, right = keep((n, "gate"), gate), keep((n, "up"), up)
            a = ratio * (gate * right + left * up) / 2 + nudge.get(n, 0)
            x = x + layer.mlp.down_proj(a)
        else:
            h = norm((n, 1), layer.ln_1, x)
            x = x + layer.attn.c_proj(mixed(weights, layer.attn.c_attn(h).chunk(3, -1)[2]))
            z = layer.mlp.c_fc(norm((n, 2), layer.ln_2, x))
            a = z * keep((n, "ratio"), layer.mlp.act(z) / z) + nudge.get(n, 0)
            x = x + layer.mlp.c_proj(a)
    x = norm("final", body.norm if kind == "llama" else body.ln_f, x)
    return hf.lm_head(x)[LAST, DOG]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_relevance_is_the_slope_of_the_frozen_model(kind: str) -> None:
    model = model_of(kind)
    prompt, found = prompt_of(model), []
    attribute_products(
        model,
        prompt,
        [Target(DOG, LAST)],
        lambda at: (found.append(at.gradient), at.gradient)[1],
        of="logit",
        within=relevance_rules(model),
    )
    output = model.model(inputs_embeds=prompt.embeddings, output_attentions=True)
    known = {("attention", n): one[0].double() for n, one in enumerate(output.attentions)}
    x = prompt.embeddings[0]
    clean = frozen_logit(kind, model.model, x, known, {})
    torch.testing.assert_close(clean, output.logits[0, LAST, DOG], rtol=1e-6, atol=1e-7)
    for layer, position, unit in ((0, 2, 5), (1, 4, 30), (1, LAST, 7), (2, LAST, 11), (2, 3, 9)):
        step = torch.zeros(POSITIONS, D_MLP, dtype=torch.float64)
        step[position, unit] = 1e-2
        up, down = (
            frozen_logit(kind, model.model, x, known, {layer: way * step}) for way in (1, -1)
        )
        slope = float((up - down) / 2e-2)
        assert float(found[layer][0, position, unit]) == pytest.approx(slope, rel=1e-5, abs=1e-8)
        assert (slope == 0) == (layer == N_LAYERS - 1 and position != LAST)


def test_what_has_no_rule_is_refused_by_name() -> None:
    model = model_of("llama")
    prompt, find = prompt_of(model), find_scorer("relp")

    def refused(**row: Any) -> str:
        other = replace(model, family=replace(model.family, **row))
        with pytest.raises(AdapterError) as error:
            find.score(other, prompt, [Target(DOG, LAST)], context=NO_CONTEXT)
        return str(error.value)

    assert "family 'Llama' does not say" in refused(activation=None)
    assert "does not read" in refused(activation="mlp.up_proj")
    assert "LlamaRMSNorm does not scale" in refused(norm_offset=1.0)

    def own_attention(module: Any, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Any:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        weights = (q @ k.mT).exp().tril()
        return (weights / weights.sum(-1, keepdim=True) @ v).transpose(1, 2), None

    AttentionInterface.register("own", own_attention)
    model.model.config._attn_implementation = "own"
    assert "attends without softmax" in refused(name="Llama")


def test_no_hook_is_left_after_an_error() -> None:
    model = model_of("llama")
    before = count_hooks(model.model)
    with pytest.raises(RuntimeError, match="own"), relevance_rules(model):
        raise RuntimeError("own")
    assert count_hooks(model.model) == before
    logit = model.run(inputs_embeds=prompt_of(model).embeddings).logits
    with relevance_rules(model):
        pass
    assert torch.equal(model.run(inputs_embeds=prompt_of(model).embeddings).logits, logit)
