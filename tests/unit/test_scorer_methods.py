"""Every scorer gives what its formula says: exact answers on toys, slow references on models."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny_models import KINDS, N_LAYERS, RELU, tiny_language_model
from torch import Tensor, nn
from toy_networks import random_toy, random_toy_prompt, toy, toy_prompt

from molyneux import MolyneuxError
from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.ablation import Intervention, intervened_logits
from molyneux.neurons.attribution import Attribution, Target, attribute_units
from molyneux.neurons.coalitions import shapley_of_sets
from molyneux.neurons.integrated import integrate_layer
from molyneux.neurons.lens import HeadLens, JacobianLens
from molyneux.neurons.prefix import read_prefix
from molyneux.neurons.reference import ActivationMoments
from molyneux.neurons.scorers import (
    NO_CONTEXT,
    Context,
    find_scorer,
    restore_scorer,
    scorer_names,
    scorer_text,
)
from molyneux.neurons.scorers.choices import require_choice
from molyneux.neurons.scorers.conductance import Conductance
from molyneux.neurons.scorers.integrated_gradients import Baseline, IntegratedGradients
from molyneux.neurons.scorers.shapley import Shapley
from molyneux.neurons.unit import Unit, top_units
from molyneux.statistics.shapley import sample_shapley
from molyneux.vision.layout import ImagePrompt

DOG, POSITIONS = 20, 9
LAST = POSITIONS - 1
TARGETS = [Target(DOG, LAST), Target(31, LAST - 1)]
PATCHES = slice(1, 6)


def model_of(kind: str) -> LanguageModel:
    return tiny_language_model(kind, dtype=torch.float64)


def prompt_of(model: LanguageModel, seed: int = 4) -> ImagePrompt:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(1, POSITIONS, model.d_model, generator=generator).double()
    return ImagePrompt(embeddings, PATCHES)


def score(
    name: str,
    model: LanguageModel,
    prompt: ImagePrompt,
    targets: list[Target],
    context: Context = NO_CONTEXT,
) -> Attribution:
    return find_scorer(name).score(model, prompt, targets, context=context)


class Held(nn.Module):
    """A module whose input is partly given: by exchanging modules, not by hooks."""

    def __init__(self, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.change = module, change

    def forward(self, values: Tensor) -> Any:
        shape = values.shape
        values = self.change(values.reshape(1, POSITIONS, -1))
        return self.module(values.reshape(shape))


def exchanged(model: LanguageModel, layer: int, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of the model whose units of a layer are changed."""
    copied = copy.deepcopy(model.model)
    parent, _, name = f"{model.family.layers}.{layer}.{model.family.down}".rpartition(".")
    owner = copied.get_submodule(parent)
    setattr(owner, name, Held(getattr(owner, name), change))
    return copied


def slow_line(
    model: LanguageModel,
    prompt: ImagePrompt,
    target: Target,
    layer: int,
    places: list[int],
    baseline: Tensor | float,
    steps: int,
) -> Tensor:
    """Integrated gradients from the formula: one point of the line, one copy of the model each."""
    known: dict[str, Tensor] = {}
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros(())
    for node, weight in zip(nodes, weights, strict=True):

        def change(values: Tensor, share: float = (node + 1) / 2) -> Tensor:
            a = values[0, places].detach()
            known["way"] = a - baseline
            known["leaf"] = (baseline + share * (a - baseline)).requires_grad_()
            parts = list(values[0].detach().unbind(0))
            for row, place in enumerate(places):
                parts[place] = known["leaf"][row]
            return torch.stack(parts)[None]

        copied = exchanged(model, layer, change)
        logit = copied(inputs_embeds=prompt.embeddings).logits[0, target.position, target.token_id]
        slope = torch.autograd.grad(logit, known["leaf"])[0]
        total = total + slope * (weight / 2)
    return total * known["way"]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "bloom"])
def test_integrated_gradients_are_the_slow_ones_and_what_zeroing_takes(kind: str) -> None:
    model = model_of(kind)
    prompt, places = prompt_of(model), list(range(1, 6))
    for layer, baseline in ((0, 0.0), (1, torch.linspace(-1, 1, model.d_mlp).double())):
        found = integrate_layer(
            model, prompt, TARGETS, layer, positions=places, baseline=baseline, steps=5
        )
        for n, target in enumerate(TARGETS):
            slow = slow_line(model, prompt, target, layer, places, baseline, 5)
            torch.testing.assert_close(found.values[n], slow, rtol=1e-5, atol=1e-7)
        at = torch.as_tensor(baseline).expand(model.n_layers, model.d_mlp).float()
        mask = torch.zeros(model.n_layers, model.d_mlp, dtype=torch.bool)
        mask[layer] = True
        silent = Intervention(mask, "patches", at), Intervention([], "patches")
        put, clean = intervened_logits(model, prompt, silent)[:, DOG]
        torch.testing.assert_close(found.difference[0].float(), clean - put, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_are_complete(kind: str) -> None:
    """The sum over a layer is what setting it to zero at the patches takes.

    Gemma 2 and 3 norm what the MLP writes, which jumps where the line would end at zero.
    """
    model, steps = model_of(kind), 400 if kind in RELU else 128
    prompt, there = prompt_of(model), range(1, 6)
    if kind in ("gemma2", "gemma3"):
        begin = torch.linspace(-1, 1, model.d_mlp)
        layers = [
            integrate_layer(model, prompt, TARGETS, n, positions=there, baseline=begin, steps=steps)
            for n in range(N_LAYERS)
        ]
    else:
        scorer = IntegratedGradients(steps=steps)
        layers = list(scorer.completeness(model, prompt, TARGETS, context=NO_CONTEXT))
    assert len(layers) == N_LAYERS
    for layer in layers:
        # A kink between two points is lost to both.
        assert float(layer.residual.abs().max()) < (2e-2 if kind in RELU else 1e-3)
    assert float(layers[0].difference.abs().min()) > 1e-2
    last = layers[-1].difference  # the last layer's patches reach nothing
    assert float(last.abs().max()) < 1e-12
    few = integrate_layer(model, prompt, TARGETS, 0, positions=there, steps=1)
    assert float(few.residual.abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "bloom", "gemma3", "falcon_rw"])
def test_every_view_of_integrated_gradients_is_its_own_line(kind: str) -> None:
    """Where the word is predicted, a row is a step behind keys and values of what is ahead."""
    model = model_of(kind)
    prompt = prompt_of(model)
    found = score("integrated-gradients:steps=4", model, prompt, TARGETS)
    there, each = list(range(1, 6)), range(N_LAYERS)
    for layer in each[:2] if kind == "llama" else each[1:2]:
        for n, target in enumerate(TARGETS):
            patches = slow_line(model, prompt, target, layer, there, 0.0, 4)
            total = found.patches.total[n, layer].double()
            torch.testing.assert_close(total, patches.sum(dim=0), rtol=1e-4, atol=1e-6)
            last = slow_line(model, prompt, target, layer, [target.position], 0.0, 4)[0]
            assert float(last.abs().max()) > 1e-3
            own = found.last.score[n, layer].double()
            torch.testing.assert_close(own, last, rtol=1e-4, atol=1e-6)
    alone = score("integrated-gradients:steps=4,last=false", model, prompt, TARGETS)
    assert not alone.last.score.any()
    torch.testing.assert_close(alone.patches.total, found.patches.total)


def test_a_line_from_the_mean_or_a_blank_photo_begins_there() -> None:
    model = model_of("gpt2")
    prompt = prompt_of(model)
    mean = torch.linspace(-2, 2, N_LAYERS * model.d_mlp).reshape(N_LAYERS, -1)
    table: Any = type(
        "Table", (), {"require_activation": lambda _: ActivationMoments(mean, mean, mean)}
    )()
    blank = torch.randn(5, model.d_model, generator=torch.Generator().manual_seed(8))
    grey = prompt.embeddings.clone()
    grey[:, PATCHES] = blank.double()
    seen = attribute_units(model, replace(prompt, embeddings=grey), TARGETS)
    begins = {"mean": mean[:, None].expand(-1, 5, -1), "blank": seen.activation}
    for baseline, begin in begins.items():
        found = score(
            f"integrated-gradients:baseline={baseline},steps=3,last=false",
            model,
            prompt,
            TARGETS,
            Context(reference=table, blank=blank),
        )
        for layer in range(N_LAYERS):
            own = begin[layer].double()
            slow = slow_line(model, prompt, TARGETS[0], layer, list(range(1, 6)), own, 3)
            total = found.patches.total[0, layer].double()
            torch.testing.assert_close(total, slow.sum(dim=0), rtol=1e-4, atol=1e-5)


def test_a_line_of_a_polynomial_is_exact() -> None:
    """The second layer raises what the first writes to a power, whose slope is of one less."""
    model = random_toy(torch.square)
    prompt = random_toy_prompt()
    at = prompt.n_positions - 1
    found = integrate_layer(model, prompt, [Target(0, at)], 0, positions=[0, 1, 2], steps=1)
    assert float(found.residual.abs()) < 1e-12 * float(found.difference.abs())
    steep = random_toy(lambda values: values**4)
    one, two = (
        integrate_layer(steep, prompt, [Target(0, at)], 0, positions=[0, 1, 2], steps=steps)
        for steps in (1, 2)
    )
    assert float(one.residual.abs()) > 1e-3 * float(one.difference.abs())
    assert float(two.residual.abs()) < 1e-12 * float(two.difference.abs())


def test_captum_integrates_alike() -> None:
    captum = pytest.importorskip("captum.attr")
    model = model_of("llama")
    prompt, layer = prompt_of(model), 1
    units = attribute_units(model, prompt, TARGETS).activation[layer].double()[None]

    def logit(there: Tensor) -> Tensor:
        found = []
        for own in there:
            copied = exchanged(
                model, layer, lambda v, own=own: torch.cat([v[:, :1], own[None], v[:, 6:]], dim=1)
            )
            found.append(copied(inputs_embeds=prompt.embeddings).logits[0, LAST, DOG])
        return torch.stack(found)

    oracle = captum.IntegratedGradients(logit).attribute(
        units, baselines=0.0, n_steps=6, method="gausslegendre"
    )
    found = integrate_layer(model, prompt, TARGETS[:1], layer, positions=list(range(1, 6)), steps=6)
    torch.testing.assert_close(found.values, oracle, rtol=1e-5, atol=1e-7)


def test_captum_conducts_alike() -> None:
    captum = pytest.importorskip("captum.attr")
    model = model_of("llama")
    prompt = prompt_of(model)
    blank = torch.randn(5, model.d_model, generator=torch.Generator().manual_seed(8)).double()
    name, context = "conductance:steps=200", Context(blank=blank)
    found = score(name, model, prompt, TARGETS[:1], context)

    class Logit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.model

        def forward(self, embeddings: Tensor) -> Tensor:
            logits: Tensor = self.model(inputs_embeds=embeddings).logits
            return logits[:, LAST, DOG]

    baseline = prompt.embeddings.clone()
    baseline[:, PATCHES] = blank
    oracle = captum.LayerConductance(Logit(), model.down_projection(1)).attribute(
        prompt.embeddings,
        baselines=baseline,
        n_steps=800,
        method="riemann_middle",
        attribute_to_layer_input=True,
        internal_batch_size=100,
    )
    own = oracle[0, PATCHES].sum(dim=0).float().detach()
    off = (found.patches.total[0, 1] - own).abs().max()
    # captum takes the gradient at one end of a step: its error falls with steps, ours with squares.
    assert float(off) < 0.02 * float(own.abs().max())


def test_conductance_sums_to_the_difference_where_all_flows_through_the_units() -> None:
    model = random_toy(torch.sin, kept=(0.0, 1.0))
    prompt = random_toy_prompt()
    target = Target(0, prompt.n_positions - 1)
    found = Conductance(baseline="zero", steps=100).score(
        model, prompt, [target], context=NO_CONTEXT
    )
    empty = prompt.embeddings.clone()
    empty[:, prompt.patches] = 0
    begin, end = (
        model.run(inputs_embeds=each).logits[0, -1, 0] for each in (empty, prompt.embeddings)
    )
    whole = found.patches.total[0, 0].sum() + found.last.total[0, 0].sum()
    assert float(whole) == pytest.approx(float(end - begin), abs=1e-4)
    assert abs(float(end - begin)) > 0.05
    # The second layer has the stream beside it, so that its units are not all there is.
    other = found.patches.total[0, 1].sum() + found.last.total[0, 1].sum()
    assert abs(float(other - (end - begin))) > 0.01


class Constant(nn.Module):
    """A layer that adds a constant: its own output, without a gradient but the stream's."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, stream: Tensor, *rest: Any, **named: Any) -> Any:
        output = self.layer(stream, *rest, **named)
        first = output[0] if isinstance(output, tuple) else output
        first = first.detach() + stream - stream.detach()
        return (first, *output[1:]) if isinstance(output, tuple) else first


def keeping(leaves: dict[int, Tensor], n: int) -> Callable[[Tensor], Tensor]:
    def keep(values: Tensor) -> Tensor:
        leaves[n] = values
        return values

    return keep


def slow_drop(model: LanguageModel, prompt: ImagePrompt, target: Target) -> list[Tensor]:
    """|activation x gradient| with one layer constant, a copy of the model for each; their mean."""
    totals = [torch.zeros(()) for _ in range(N_LAYERS)]
    for dropped in range(N_LAYERS):
        leaves: dict[int, Tensor] = {}
        copied = copy.deepcopy(model.model)
        layers: Any = copied.get_submodule(model.family.layers)
        for n, layer in enumerate(layers):
            parent, _, name = model.family.down.rpartition(".")
            owner = layer.get_submodule(parent)

            setattr(owner, name, Held(getattr(owner, name), keeping(leaves, n)))
        layers[dropped] = Constant(layers[dropped])
        embeddings = prompt.embeddings.clone().requires_grad_()
        logit = copied(inputs_embeds=embeddings).logits[0, target.position, target.token_id]
        found = torch.autograd.grad(logit, [leaves[n] for n in range(N_LAYERS)], allow_unused=True)
        for n, gradient in enumerate(found):
            if gradient is not None:
                totals[n] = totals[n] + (leaves[n] * gradient)[0].abs().detach()
    return [total / (N_LAYERS - 1) for total in totals]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "opt_350m"])
def test_grad_drop_is_the_mean_over_layers_left_out(kind: str) -> None:
    model = model_of(kind)
    prompt = prompt_of(model)
    found = score("grad-drop", model, prompt, TARGETS)
    for n, target in enumerate(TARGETS):
        for layer, slow in enumerate(slow_drop(model, prompt, target)):
            total = found.patches.total[n, layer].double()
            torch.testing.assert_close(total, slow[PATCHES].sum(dim=0), rtol=1e-5, atol=1e-7)
            last = found.last.score[n, layer].double()
            torch.testing.assert_close(last, slow[target.position], rtol=1e-5, atol=1e-7)


def straight(values: Tensor) -> Tensor:
    return values * 1.0


def test_what_a_later_layer_undoes_is_not_lost_by_grad_drop() -> None:
    """Layer 0 writes 3 of what it reads to the second number; layer 1 takes all of that away."""
    model = toy(
        ([[1, 0]], [[0], [3]], straight, 1),
        ([[0, 1]], [[0], [-1]], straight, 1),
        ([[0, 0]], [[0], [0]], straight, 1),
        head=[[0, 1]],
    )
    prompt = toy_prompt([4, 0], patches=slice(0, 1))
    target = [Target(0, 0)]
    assert float(score("gradient-activation", model, prompt, target).patches.total[0, 0, 0]) == 0
    found = score("grad-drop", model, prompt, target).patches.total[0]
    assert found[:, 0].tolist() == [(12 + 0) / 2, (12 + 12) / 2, 0]
    signed = score("grad-drop:signed=true", model, prompt, target).patches.total[0]
    assert signed[:, 0].tolist() == [6, -12, 0]


def test_a_model_whose_stream_passes_norms_is_refused_by_grad_drop() -> None:
    model = model_of("opt_350m")
    with pytest.raises(MolyneuxError, match="OPT \\(350m\\) the residual stream passes norms"):
        score("grad-drop", model, prompt_of(model), TARGETS)


def test_activation_is_the_activation_whatever_the_word() -> None:
    model = model_of("llama")
    prompt = prompt_of(model)
    found, plain = (
        score("activation", model, prompt, TARGETS),
        attribute_units(model, prompt, TARGETS),
    )
    for n in range(2):
        torch.testing.assert_close(found.patches.score[n], plain.activation.amax(dim=1))
        torch.testing.assert_close(found.patches.total[n], plain.activation.sum(dim=1))
    assert torch.equal(found.last.score, plain.activation_last)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "opt_350m"])
def test_direct_logit_is_activation_times_what_the_head_reads(kind: str) -> None:
    model = model_of(kind)
    prompt = prompt_of(model)
    plain = attribute_units(model, prompt, TARGETS)
    for through, name in ((True, ""), (False, ":final_norm=false")):
        found = score(f"activation-direct-logit{name}", model, prompt, TARGETS)
        for layer in range(N_LAYERS):
            rows = model.output_rows(layer).float()
            for norm in model.norms_of_write(layer):
                rows = rows * model.scale_of(norm).float()
            if through:
                scale = model.read_scale(layer)
                assert scale is not None
                rows = rows * scale.float()
            logits = model.to_head(rows) @ model.unembedding()[[DOG, 31]].float().T
            last = plain.activation_last[:, layer] * logits.T
            torch.testing.assert_close(found.last.score[:, layer], last, rtol=1e-4, atol=1e-6)
            total = plain.activation[layer].sum(dim=0) * logits.T
            torch.testing.assert_close(found.patches.total[:, layer], total, rtol=1e-4, atol=1e-5)


def test_the_jacobian_lens_reads_patches_and_the_head_the_last_position() -> None:
    model = model_of("llama")
    prompt = prompt_of(model)
    generator = torch.Generator().manual_seed(2)
    jacobians = torch.randn(N_LAYERS - 1, model.d_model, model.d_stream, generator=generator)
    lens = JacobianLens({"photos": 1, "data": "toys"}, jacobians)
    name = "activation-jacobian-lens"
    found = score(name, model, prompt, TARGETS, Context(lens=lens))
    plain = attribute_units(model, prompt, TARGETS)
    head = model.unembedding()[[DOG, 31]].float()
    for layer in range(N_LAYERS - 1):
        carried = (jacobians[layer] @ model.output_rows(layer).float().T).T @ head.T
        total = plain.activation[layer].sum(dim=0) * carried.T
        torch.testing.assert_close(found.patches.total[:, layer], total, rtol=1e-4, atol=1e-4)
    assert not found.patches.score[:, -1].any()
    direct = score("activation-direct-logit", model, prompt, TARGETS)
    assert torch.equal(found.last.score, direct.last.score)
    with pytest.raises(MolyneuxError, match="molyneux lens build"):
        score(name, model, prompt, TARGETS)
    with pytest.raises(MolyneuxError, match="molyneux lens build"):
        score(name, model, prompt, TARGETS, Context(lens=HeadLens(model)))


def test_random_scores_are_a_photos_own_and_know_nothing() -> None:
    model = model_of("llama")
    prompt, other = prompt_of(model), prompt_of(model, seed=5)
    text = prompt.embeddings.clone()
    text[:, PATCHES.stop :] += 1
    found = score("random", model, prompt, TARGETS)
    again = score("random", model, replace(prompt, embeddings=text), TARGETS)
    assert torch.equal(found.patches.total, again.patches.total)
    numbers = torch.cat([found.patches.total.flatten(), found.last.score.flatten()])
    assert abs(float(found.last.score.mean())) < 0.2
    assert float(found.last.score.std()) == pytest.approx(1, abs=0.1)
    assert float(found.patches.total.std()) == pytest.approx(math.sqrt(5), abs=0.3)
    assert not torch.equal(found.patches.total[0], found.patches.total[1])
    for one in (
        score("random", model, other, TARGETS),
        score("random:seed=1", model, prompt, TARGETS),
    ):
        theirs = torch.cat([one.patches.total.flatten(), one.last.score.flatten()])
        assert abs(float(torch.corrcoef(torch.stack([numbers, theirs]))[0, 1])) < 0.15


def exact_shapley(worth: Callable[[Any], np.ndarray], players: int) -> np.ndarray:
    """From the formula: every coalition, weighed by how many orders it begins."""
    sets = np.array(list(itertools.product([False, True], repeat=players)))
    worths = dict(zip(map(tuple, sets.tolist()), worth(sets), strict=True))
    found = np.zeros(players)
    for coalition, value in worths.items():
        size = sum(coalition)
        for player in range(players):
            if not coalition[player]:
                weight = math.factorial(size) * math.factorial(players - size - 1)
                joined = tuple(here or n == player for n, here in enumerate(coalition))
                found[player] += weight / math.factorial(players) * (worths[joined] - value)
    return found


def test_sampled_shapley_values_are_the_exact_ones_within_their_errors() -> None:
    rng = np.random.default_rng(0)
    alone, pairs = rng.normal(size=10), rng.normal(size=(10, 10))

    def worth(sets: np.ndarray) -> np.ndarray:
        members = sets.astype(float)
        together = np.einsum("sp,pq,sq->s", members, pairs, members)
        return members @ alone + np.tanh(together) + members.prod(axis=1)

    exact = exact_shapley(worth, 10)
    within, n = 0, 0
    for seed in range(40):
        found = sample_shapley(worth, 10, pairs=30, rng=np.random.default_rng(seed))
        ends = worth(np.array([[True] * 10, [False] * 10]))
        assert found.value.sum() == pytest.approx(ends[0] - ends[1], abs=1e-12)
        within += int((np.abs(found.value - exact) <= 2 * found.error).sum())
        n += 10
    assert 0.9 < within / n < 0.99  # of errors that are neither too small nor too large


def test_shapley_values_of_ten_units_are_those_of_all_coalitions() -> None:
    model = model_of("llama")
    prompt = prompt_of(model)
    first = attribute_units(model, prompt, TARGETS[:1])
    units = top_units(first.patches.total[0].abs(), 10)
    sets = list(itertools.product([False, True], repeat=10))
    changes = [
        Intervention([u for u, here in zip(units, row, strict=True) if not here], "patches")
        for row in sets
    ]
    logits = intervened_logits(model, prompt, changes)[:, DOG].double().numpy()
    known = dict(zip(sets, logits, strict=True))
    exact = exact_shapley(lambda asked: np.array([known[tuple(r)] for r in asked.tolist()]), 10)
    groups = [[unit] for unit in units]
    found = shapley_of_sets(model, prompt, TARGETS[0], groups, pairs=40)
    assert (np.abs(found.value - exact) <= 2 * found.error + 1e-6).sum() >= 9
    assert found.value.sum() == pytest.approx(logits[-1] - logits[0], abs=1e-6)
    scored = Shapley(players=10, pairs=40).score(model, prompt, TARGETS[:1], context=NO_CONTEXT)
    table = scored.patches.total[0]
    at = [unit.layer for unit in units], [unit.unit for unit in units]
    np.testing.assert_allclose(table[at].numpy(), found.value, rtol=1e-5)
    assert int((table != 0).sum()) <= 10
    assert torch.equal(scored.patches.score, scored.patches.total)
    alone = intervened_logits(model, prompt, [Intervention([], "all")])[0, DOG]
    assert float(scored.logit[0]) == pytest.approx(float(alone), rel=1e-6)


def test_a_group_of_units_is_one_player() -> None:
    """Either of two units fills what reads them: alone each has half of that, together all."""
    model = toy(
        ([[1, 0, 0]] * 3, [[0, 0, 0], [1, 1, 0], [0, 0, 0.5]], straight, 1),
        ([[0, 1, 0], [0, 0, 1]], [[0, 0], [0, 0], [1, 1]], lambda v: v.clamp(max=2), 1),
        head=[[0, 0, 1]],
    )
    # The second position's own units are at zero; the next layer reads the mean of both.
    prompt, target = toy_prompt([4, 0, 0], [-4, 0, 0], patches=slice(0, 1)), Target(0, 1)
    one, two, third = ([Unit(0, unit)] for unit in range(3))
    apart = shapley_of_sets(model, prompt, target, [one, two, third], pairs=2)
    assert apart.value.tolist() == [1, 1, 1]
    joined = shapley_of_sets(model, prompt, target, [one + two, third], pairs=2)
    assert joined.value.tolist() == [2, 1]
    assert joined.error.tolist() == [0, 0]
    for wrong in ([[Unit(0, 0)], [Unit(0, 0)]], [[Unit(0, 0)], []], [[Unit(0, 0)]] * 25):
        with pytest.raises(MolyneuxError, match="up to 24 lists"):
            shapley_of_sets(model, prompt, target, wrong)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("integrated-gradients:baseline=mean", "molyneux reference DATA"),
        ("integrated-gradients:baseline=blank", "compares a photo with a blank one"),
        ("conductance:baseline=blank", "compares a photo with a blank one"),
    ],
)
def test_a_missing_context_is_one_line(name: str, said: str) -> None:
    model = model_of("llama")
    with pytest.raises(MolyneuxError, match=said) as error:
        score(name, model, prompt_of(model), TARGETS)
    assert "\n" not in str(error.value)
    if "blank" in name:
        small = Context(blank=torch.zeros(3, model.d_model))
        with pytest.raises(MolyneuxError, match="has 3 patches and the photo 5"):
            score(name, model, prompt_of(model), TARGETS, small)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("integrated-gradients:steps=0", "a whole number from 1 to 1024 as steps, not 0"),
        ("shapley:players=25", "from 2 to 24 as players, not 25"),
        ("random:seed=-1", "as seed, not -1"),
    ],
)
def test_a_choice_that_is_none_is_refused(name: str, said: str) -> None:
    with pytest.raises(MolyneuxError, match=said):
        find_scorer(name)


def test_what_a_field_does_not_know_is_refused_with_what_it_does() -> None:
    known = get_args(Baseline)
    with pytest.raises(MolyneuxError, match="no baseline 'grey'; give zero or mean or blank"):
        require_choice("integrated-gradients", "baseline", "grey", known)
    with pytest.raises(MolyneuxError, match="no last 1; give true or false"):
        require_choice("integrated-gradients", "last", 1, (True, False))
    require_choice("integrated-gradients", "last", False, (True, False))


def test_a_scorer_of_choices_is_found_by_its_text() -> None:
    for text in ("integrated-gradients:baseline=mean,last=false", "grad-drop:signed=true"):
        assert scorer_text(find_scorer(text).record()) == text
    for name in scorer_names():
        scorer = find_scorer(name)
        assert restore_scorer(scorer.record()) == scorer
        assert scorer.name == name == name.lower()
        assert scorer.cost.forward >= 1


def test_a_prefix_goes_with_its_own_position_alone() -> None:
    model = model_of("llama")
    prompt = prompt_of(model)
    prefix = read_prefix(model, prompt, LAST)
    for positions, targets in (([3], TARGETS[:1]), ([LAST], TARGETS)):
        with pytest.raises(MolyneuxError, match="prefix ends at position 8"):
            integrate_layer(model, prompt, targets, 0, positions=positions, prefix=prefix)
    assert read_prefix(model, prompt, PATCHES.start) is None


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "gemma3", "falcon_rw"])
def test_coalitions_where_a_word_is_predicted_are_those_of_whole_passes(kind: str) -> None:
    model = model_of(kind)
    prompt = prompt_of(model)
    groups = [[Unit(0, 3), Unit(1, 7)], [Unit(2, 5)], [Unit(1, 1)]]
    found = shapley_of_sets(model, prompt, TARGETS[0], groups, positions=[LAST], pairs=2)
    whole, none = intervened_logits(
        model,
        prompt,
        [Intervention([], "patches"), Intervention([u for g in groups for u in g], (LAST,))],
    )[:, DOG]
    assert found.value.sum() == pytest.approx(float(whole - none), abs=1e-5)
    assert abs(float(whole - none)) > 1e-3
    earlier = shapley_of_sets(model, prompt, TARGETS[1], groups, positions=[LAST - 1], pairs=2)
    assert not np.allclose(earlier.value, found.value)
