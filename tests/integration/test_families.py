"""What must hold for every family: tiny random models, offline, claims checked by intervention."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import tiny_models
import torch
from claims import (
    CLAIMS,
    DIFFERENCES,
    DOG,
    Claim,
    differences,
    every,
    figure,
    generated,
    pairs,
    slow,
    until_stop,
)
from PIL import Image
from subjects import of_captioner, of_language_model
from tiny_models import (
    BEGIN,
    D_MLP,
    D_MODEL,
    GATED,
    KINDS,
    N_LAYERS,
    OTHER_WIDTH,
    PADDING_ROWS,
    WITHOUT_SDPA,
    count_hooks,
    tiny_captioner,
    tiny_language_model,
    tiny_photos,
    tiny_projection,
    tiny_tokenizer,
    weights_hash,
)
from torch import Tensor

from molyneux.adapters import LanguageModel, adapt, find_family, register_family
from molyneux.adapters.families import FAMILIES, Family
from molyneux.adapters.proof.prove import prove
from molyneux.errors import AdapterError
from molyneux.hooks import capture, edit
from molyneux.models.captioner import Captioner
from molyneux.models.generation import continue_greedily
from molyneux.neurons.ablation import BATCH, Positions, ablate_units, silenced
from molyneux.neurons.attribution import Attribution, Target, UnitScores, attribute_units
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt, Layout, lay_out

CAT = 21
UNITS = [Unit(0, 0), Unit(0, 31), Unit(1, 7), Unit(1, 8), Unit(2, 47)]
FIELDS = ("score", "total", "share", "sign", "peak_patch")


@pytest.fixture
def model(family_captioner: Captioner) -> LanguageModel:
    return family_captioner.language_model


@pytest.fixture
def prompt(family_captioner: Captioner, photos: list[Image.Image]) -> ImagePrompt:
    """One photo, 16 patches after a begin token, and the text."""
    return family_captioner.see(photos[:1])


def down(model: LanguageModel) -> dict[int, torch.nn.Module]:
    return {layer: model.down_projection(layer) for layer in range(model.n_layers)}


def logits_of(model: LanguageModel, prompt: ImagePrompt) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.model(inputs_embeds=prompt.embeddings, use_cache=False).logits
    return logits


def same_scores(one: UnitScores, other: UnitScores, which: Any = slice(None)) -> None:
    for name in ("score", "total", "share"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name)[which], msg=name)
    assert torch.equal(one.sign, other.sign[which])
    assert torch.equal(one.peak_patch, other.peak_patch[which])


def test_what_the_adapter_says(model: LanguageModel, kind: str) -> None:
    sizes = (model.n_layers, model.d_model, model.d_mlp, model.n_units, model.d_vocab)
    width = OTHER_WIDTH.get(kind, D_MODEL)
    assert sizes == (N_LAYERS, width, D_MLP, N_LAYERS * D_MLP, len(tiny_tokenizer()))
    rows = len(model.model.get_input_embeddings().weight)
    assert rows == model.d_vocab + PADDING_ROWS
    assert len(model.unembedding()) == len(model.input_embeddings()) == model.d_vocab
    assert model.family.gated == (kind in GATED)
    assert not any(p.requires_grad for p in model.model.parameters())
    assert not model.model.training
    for layer in range(model.n_layers):
        row = slow.output_row(kind, model.model, layer, 5)
        assert model.output_rows(layer)[5].double().tolist() == row.tolist()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.title)
def test_what_is_claimed_of_every_family(kind: str, claim: Claim) -> None:
    found = figure(claim, of_language_model, kind)
    assert claim.holds(found), found


# Projections of attention, which write to the stream as an MLP does; of GPT-J's kind on, beside it.
ATTENTION = [
    ("llama", "self_attn.o_proj"),
    ("gpt2", "attn.c_proj"),
    ("opt", "self_attn.out_proj"),
    ("gptj", "attn.out_proj"),
    ("gpt_neox", "attention.dense"),
    ("phi", "self_attn.dense"),
    ("falcon", "self_attention.dense"),
    ("falcon_7b", "self_attention.dense"),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.title)
@pytest.mark.parametrize(("square", "wrong"), ATTENTION)
def test_of_a_wrong_row_nothing_claimed_holds(
    monkeypatch: pytest.MonkeyPatch, square: str, wrong: str, claim: Claim
) -> None:
    """The row names a projection of attention, in a model where all have the MLP's shape."""
    monkeypatch.setattr(tiny_models, "D_MLP", D_MODEL)
    subject = of_captioner(square, tiny_captioner(square, dtype=claim.dtype), tiny_photos(1)[0])
    assert claim.holds(claim.measure(subject))
    row = dataclasses.replace(subject.model.family, down=wrong)
    found = claim.measure(subject.with_row(row))
    assert not claim.holds(found)
    assert found > 100 * claim.bound


@pytest.mark.parametrize(
    ("square", "wrong"),
    [
        *((kind, {"down": path}) for kind, path in ATTENTION),
        # Values come as one unit each; but attention carries them to later positions.
        ("gptj", {"down": "attn.out_proj", "preactivation": "attn.v_proj"}),
        ("phi", {"down": "self_attn.dense", "preactivation": "self_attn.v_proj"}),
        ("opt", {"down": "self_attn.out_proj", "preactivation": "self_attn.v_proj"}),
        (
            "gemma2",
            {"down": "self_attn.o_proj", "after_mlp_norm": "post_attention_layernorm"},
        ),
    ],
)
def test_a_row_of_attention_is_disproved_and_refused(
    monkeypatch: pytest.MonkeyPatch, square: str, wrong: dict[str, str]
) -> None:
    """Where all is square: no shape tells a projection of attention from the MLP's."""
    monkeypatch.setattr(tiny_models, "D_MLP", D_MODEL)
    right = tiny_language_model(square)
    assert all(check.holds for check in prove(right))
    row = dataclasses.replace(right.family, **wrong)
    checks = prove(LanguageModel(right.model, right.tokenizer, row))
    claim = "a value of the pre-activation makes one unit, at its position"
    of_it = [check for check in checks if check.claim.endswith(claim)]
    assert len(of_it) == N_LAYERS
    assert not any(check.holds for check in of_it)
    with pytest.raises(AdapterError, match=rf"not true that layer 2: {claim}.*correct `down`"):
        adapt(right.model, right.tokenizer, row, check=True)


def test_totals_of_log_probabilities_agree_with_central_differences(kind: str) -> None:
    found = differences(of_language_model(kind, torch.float64), of="logprob")
    assert DIFFERENCES.holds(found), found


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in GATED])
def test_the_papers_site_agrees_with_central_differences(kind: str) -> None:
    found = differences(of_language_model(kind, torch.float64), site="preactivation")
    assert DIFFERENCES.holds(found), found


def test_attribution_reports_the_targets_logit_and_probability(
    model: LanguageModel, prompt: ImagePrompt
) -> None:
    last = prompt.n_positions - 1
    found = attribute_units(model, prompt, [Target(CAT, last - 1), Target(DOG, last)])
    logits = logits_of(model, prompt)[0]
    torch.testing.assert_close(found.logit, torch.stack([logits[last - 1, CAT], logits[last, DOG]]))
    probabilities = logits.softmax(dim=-1)
    expected = torch.stack([probabilities[last - 1, CAT], probabilities[last, DOG]])
    torch.testing.assert_close(found.probability, expected)
    with capture(down(model)) as seen:
        logits_of(model, prompt)
    for layer in range(model.n_layers):
        own = seen[layer].reshape(prompt.n_positions, D_MLP)  # OPT has no batch dimension here
        torch.testing.assert_close(found.activation[layer], own[prompt.patches])
        torch.testing.assert_close(found.activation_last[0, layer], own[last - 1])
    assert found.magnitude("patches", 0).shape == found.magnitude("last", 1).shape


def test_patches_cannot_reach_the_prediction_from_the_last_layer(
    model: LanguageModel, prompt: ImagePrompt
) -> None:
    found = attribute_units(model, prompt, [Target(DOG, prompt.n_positions - 1)])
    assert not found.patches.score[0, -1].any()
    assert not found.patches.total[0, -1].any()
    assert found.last.score[0, -1].any()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_targets_in_one_backward_equal_one_by_one(
    kind: str, photos: list[Image.Image], attention: str
) -> None:
    if kind in WITHOUT_SDPA and attention == "sdpa":
        pytest.skip(f"transformers has no sdpa attention for {kind}")
    captioner = tiny_captioner(kind, attention=attention)
    model = captioner.language_model
    prompt = captioner.see(photos[:1]).followed_by(model, [DOG, CAT, 15])
    last = prompt.n_positions - 1
    targets = [Target(DOG, last - 3), Target(CAT, last - 2), Target(40, last), Target(DOG, last)]
    together = attribute_units(model, prompt, targets)
    for index, target in enumerate(targets):
        alone = attribute_units(model, prompt, [target])
        for view in ("patches", "last"):
            same_scores(alone.view(view), together.view(view), slice(index, index + 1))
        torch.testing.assert_close(alone.logit, together.logit[index : index + 1])
        torch.testing.assert_close(
            alone.activation_last, together.activation_last[index : index + 1]
        )


def test_tokens_after_the_target_change_nothing(model: LanguageModel, prompt: ImagePrompt) -> None:
    target = Target(DOG, prompt.n_positions - 1)
    short = attribute_units(model, prompt, [target])
    longer = attribute_units(model, prompt.followed_by(model, [DOG, CAT]), [target])
    same_scores(short.patches, longer.patches)
    same_scores(short.last, longer.last)


def test_permuting_units_permutes_results(
    model: LanguageModel, prompt: ImagePrompt, kind: str
) -> None:
    order = torch.randperm(D_MLP, generator=torch.Generator().manual_seed(1)).tolist()
    permuted = adapt(
        slow.permute_units(kind, model.model, 1, order),
        model.tokenizer,  # type: ignore[arg-type]
    )
    target = [Target(DOG, prompt.n_positions - 1)]
    before, after = (attribute_units(m, prompt, target) for m in (model, permuted))
    torch.testing.assert_close(after.patches.score[:, 1], before.patches.score[:, 1, order])
    torch.testing.assert_close(after.patches.score[:, 0], before.patches.score[:, 0])
    torch.testing.assert_close(after.last.total[:, 1], before.last.total[:, 1, order])


@pytest.mark.parametrize("begin", [BEGIN, None])
def test_silencing_patches_leaves_other_positions_alone(
    kind: str, make_captioner: Callable[..., Any], photos: list[Image.Image], begin: str | None
) -> None:
    captioner = make_captioner(kind, begin=begin)
    model, prompt = captioner.language_model, captioner.see(photos[:2])
    first = 0 if begin is None else 1
    assert prompt.patches == slice(first, first + 16)
    none = [[], []]
    masks = torch.stack([unit_mask(u, N_LAYERS, D_MLP) for u in (UNITS[:1], [Unit(0, 5)])])
    one_layer = {0: model.down_projection(0)}
    with (
        silenced(
            model,
            torch.stack([unit_mask(u, N_LAYERS, D_MLP) for u in none]),
            prompt.patches,
            "patches",
        ),
        capture(one_layer) as intact,
    ):
        logits_of(model, prompt)
    with silenced(model, masks, prompt.patches, "patches"), capture(one_layer) as seen:
        logits_of(model, prompt)
    before, after = (found[0].reshape(2, -1, D_MLP) for found in (intact, seen))
    expected = before.clone()
    expected[0, prompt.patches, 0] = 0
    expected[1, prompt.patches, 5] = 0
    assert torch.equal(after, expected)
    assert before[0, prompt.patches, 0].any()
    assert before[1, prompt.patches, 5].any()


@pytest.mark.parametrize("positions", ["all", "patches"])
def test_a_batch_of_sets_equals_one_set_at_a_time(
    model: LanguageModel, prompt: ImagePrompt, positions: Positions
) -> None:
    generator = torch.Generator().manual_seed(0)
    sets: list[list[Unit]] = [[]]
    for size in range(1, BATCH + 4):  # more than one forward pass takes
        picks = torch.randperm(model.n_units, generator=generator)[: 3 * size].tolist()
        sets.append([Unit(*divmod(i, D_MLP)) for i in picks])
    together = ablate_units(model, prompt, sets, positions=positions)
    alone = [ablate_units(model, prompt, [one], positions=positions) for one in sets[::4]]
    torch.testing.assert_close(together[::4], torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert together.shape == (len(sets), model.d_vocab)
    intact = logits_of(model, prompt)[0, -1].log_softmax(dim=-1)[: model.d_vocab]
    torch.testing.assert_close(together[0], intact, rtol=1e-4, atol=1e-5)
    assert len({round(float(row[DOG]), 4) for row in together}) > BATCH


def test_logits_under_open_contexts_are_hugging_faces(
    model: LanguageModel, prompt: ImagePrompt
) -> None:
    plain = logits_of(model, prompt)
    layers = {layer: model.layer(layer) for layer in range(model.n_layers)}
    with capture(down(model)), capture(layers, at="output"):
        assert torch.equal(logits_of(model, prompt), plain)
    with edit(down(model), lambda _, activation: activation):
        assert torch.equal(logits_of(model, prompt), plain)
    nothing = unit_mask([], N_LAYERS, D_MLP)[None]
    with silenced(model, nothing, prompt.patches, "all"):
        assert torch.equal(logits_of(model, prompt), plain)
    ids = torch.tensor([[0, 5, 9, 10, DOG]])
    with torch.no_grad():
        from_ids = model.model(input_ids=ids).logits
        from_ours = model.model(inputs_embeds=model.embed(ids)).logits
    torch.testing.assert_close(from_ours, from_ids)


def test_nothing_changes_the_weights_or_leaves_a_hook(kind: str, photos: list[Image.Image]) -> None:
    captioner = tiny_captioner(kind)
    model = captioner.language_model
    before, hooks = weights_hash(model.model), count_hooks(model.model)
    prompt = captioner.see(photos)
    captioner.caption_all(photos)
    one = prompt.photo(0)
    attribute_units(model, one, [Target(DOG, one.n_positions - 1)])
    for positions in ("all", "patches"):
        ablate_units(model, one, [UNITS, []], positions=positions)
    with silenced(model, unit_mask(UNITS, N_LAYERS, D_MLP)[None], one.patches, "all"):
        captioner.write(one)
    patch_norms(model, prompt)
    assert weights_hash(model.model) == before
    assert count_hooks(model.model) == hooks
    assert all(p.grad is None and not p.requires_grad for p in model.model.parameters())


def test_photos_in_a_batch_are_captioned_as_each_alone(
    family_captioner: Captioner, photos: list[Image.Image], kind: str
) -> None:
    """And as Hugging Face does; of the first photo that is claimed above."""
    model, prompt = family_captioner.language_model, family_captioner.see(photos)
    ours = continue_greedily(model, prompt)
    assert ours[1:] == [generated(of_captioner(kind, family_captioner, p)) for p in photos[1:]]
    assert max(len(row) for row in ours) > 3
    assert family_captioner.caption_all(photos) == [model.decode(row).strip() for row in ours]
    assert [continue_greedily(model, prompt.photo(i))[0] for i in range(3)] == ours
    # Fewer tokens are the first of them.
    assert continue_greedily(model, prompt, max_tokens=2) == [row[:2] for row in ours]
    best = [int(logits[-1].argmax()) for logits in logits_of(model, prompt)]
    assert all(
        row[:1] != [token] for row, token in zip(ours, best, strict=True) if token >= model.d_vocab
    )


def test_units_silenced_for_a_batch_stay_silent_at_every_step(
    family_captioner: Captioner, photos: list[Image.Image], kind: str
) -> None:
    """With a cache, hooks act on one new position a step: as if the weights were zero."""
    model, prompt = family_captioner.language_model, family_captioner.see(photos[:2])
    units = every(2, model)
    masks = unit_mask(units, N_LAYERS, D_MLP).expand(2, -1, -1)
    with silenced(model, masks, prompt.patches, "all"):
        ours = continue_greedily(model, prompt)
    without = slow.without_units(kind, model.model, pairs(units))
    second = of_captioner(kind, family_captioner, photos[1])
    assert ours[1] == generated(second, without)
    with silenced(model, masks[:1], prompt.patches, "all"):
        assert ours[:1] == continue_greedily(model, prompt.photo(0))
    assert ours != continue_greedily(model, prompt)


def test_patches_silenced_while_writing_equal_a_run_without_cache(
    model: LanguageModel, prompt: ImagePrompt, kind: str
) -> None:
    units = [(layer, unit) for layer in range(N_LAYERS) for unit in range(0, D_MLP, 2)]
    silent = slow.without_units_at(
        kind, model.model, units, list(range(prompt.patches.start, prompt.patches.stop))
    )
    expected: list[int] = []
    for _ in range(10):
        longer = prompt.followed_by(model, expected)
        with torch.no_grad():
            logits: Tensor = silent(inputs_embeds=longer.embeddings, use_cache=False).logits
        expected.append(int(logits[0, -1, : model.d_vocab].argmax()))
    masks = unit_mask([Unit(*pair) for pair in units], N_LAYERS, D_MLP)[None]
    with silenced(model, masks, prompt.patches, "patches"):
        ours = continue_greedily(model, prompt, max_tokens=10)
    assert ours == [until_stop(model, expected)]


def test_a_single_patch_is_not_mistaken_for_a_step_of_writing(
    make_captioner: Callable[..., Any], kind: str
) -> None:
    """A pooled encoder has one patch: at position 0, a step of one position looks just like it."""
    model = make_captioner(kind).language_model
    features = torch.randn(1, 1, 24, generator=torch.Generator().manual_seed(0))
    projection = tiny_projection(d_model=model.d_model)
    prompt = lay_out(model, Layout(None), projection.project(features))
    assert prompt.patches == slice(0, 1)
    seen_at: list[Tensor] = []
    masks = unit_mask([Unit(0, k) for k in range(D_MLP)], N_LAYERS, D_MLP)[None]

    def note(_: int, activation: Tensor) -> Tensor:
        seen_at.append(activation.reshape(1, -1, D_MLP))
        return activation

    with (
        silenced(model, masks, prompt.patches, "patches"),
        edit({0: model.down_projection(0)}, note),
        torch.no_grad(),
    ):
        first = model.model(inputs_embeds=prompt.embeddings, use_cache=True)
        model.model(input_ids=torch.tensor([[DOG]]), past_key_values=first.past_key_values)
    assert not seen_at[0][0, 0].any()
    assert seen_at[0][0, 1:].any()
    assert seen_at[1].any()


def test_patch_norms_are_of_the_residual_stream(
    family_captioner: Captioner, photos: list[Image.Image]
) -> None:
    model, prompt = family_captioner.language_model, family_captioner.see(photos)
    norms = patch_norms(model, prompt)
    with torch.no_grad():
        states = model.model(inputs_embeds=prompt.embeddings, output_hidden_states=True)
    # hidden_states[l + 1] is the stream after layer l, but the last has the final norm applied.
    for layer in range(N_LAYERS - 1):
        stream = states.hidden_states[layer + 1][:, prompt.patches]
        torch.testing.assert_close(norms[:, layer], stream.norm(dim=-1))
    assert norms.shape == (3, N_LAYERS, 16)


def test_a_sink_patch_is_above_ten_times_the_median_of_its_photo_at_some_layer() -> None:
    norms = torch.ones(2, 3, 5)
    norms[0] *= 100  # another photo's scale plays no part
    norms[1, 2, 3] = 10.5
    norms[1, 0, 4] = 10.0
    assert sink_patches(norms).nonzero().tolist() == [[1, 3]]


def test_bfloat16_and_float32_are_told_apart_by_dtype_only(
    kind: str, photos: list[Image.Image]
) -> None:
    captioner = tiny_captioner(kind, dtype=torch.bfloat16)
    model, prompt = captioner.language_model, captioner.see(photos[:1])
    assert prompt.embeddings.dtype == torch.bfloat16
    found: Attribution = attribute_units(model, prompt, [Target(DOG, prompt.n_positions - 1)])
    for tensor in (found.patches.score, found.last.total, found.logit, found.activation):
        assert tensor.dtype == torch.float32
    assert ablate_units(model, prompt, [UNITS]).dtype == torch.float32


def test_an_unknown_architecture_is_an_error_that_names_its_neighbours() -> None:
    with pytest.raises(AdapterError, match=r"'gptjj'.*near matches: gptj"):
        find_family("gptjj")
    with pytest.raises(AdapterError, match="known: bloom"):
        find_family("########")


def test_a_row_that_does_not_fit_is_refused() -> None:
    model = copy.deepcopy(tiny_language_model("gpt2"))
    wrong = Family(
        "Wrong", ("gpt2",), "transformer.h", "mlp.nowhere", "mlp.c_fc", "transformer.ln_f"
    )
    with pytest.raises(AdapterError, match=r"no module 'mlp\.nowhere'"):
        adapt(model.model, model.tokenizer, wrong)
    try:
        register_family(wrong)
        assert find_family("gpt2") is wrong
    finally:
        FAMILIES.remove(wrong)
    assert find_family("gpt2").name == "GPT-2"
