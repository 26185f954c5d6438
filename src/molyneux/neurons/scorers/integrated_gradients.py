"""Integrated Gradients, one layer after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, LayerPass, Target, attribute_products
from molyneux.neurons.integrated import LayerIntegral, integrate_layer
from molyneux.neurons.prefix import Prefix, read_prefix
from molyneux.neurons.scorers.baselines import blank_activations
from molyneux.neurons.scorers.choices import record_of, require_choice, require_number
from molyneux.neurons.scorers.scorer import Context, Cost, Need, activation_of
from molyneux.vision.layout import ImagePrompt

Baseline = Literal["zero", "mean", "blank"]


@dataclass(frozen=True)
class IntegratedGradients:
    """Each layer's units by themselves along the line from a baseline: arXiv 1703.01365.

    At the patches the line changes the layer at all of them, and the scores sum to what that takes
    from the target's logit (`completeness`). Where a word is predicted it changes the layer there
    alone.

    Attributes:
        baseline: `zero`; `mean`, over reference photos and patches; `blank`, what the units are
            where the photo is one grey. A table holds no activations where words are predicted, so
            that there `mean` is `zero`.
        steps: points of the line, each a pass through the layers from the unit's own.
        last: whether the view of the last position is integrated too, in steps of that position
            behind what comes ahead of it; its scores are 0 if not.
    """

    name: ClassVar[str] = "integrated-gradients"

    baseline: Baseline = "zero"
    steps: int = 8
    last: bool = True

    def __post_init__(self) -> None:
        require_choice(self.name, "baseline", self.baseline, get_args(Baseline))
        require_number(self.name, "steps", self.steps, 1, 1024)
        require_choice(self.name, "last", self.last, (True, False))

    @property
    def cost(self) -> Cost:
        """A pass, and for every layer one for each step of the line, from there on.

        Where a word is predicted, a step of one position takes the place of a pass.
        """
        return Cost(
            forward=1 + (self.baseline == "blank") + self.last,
            forward_each_layer=self.steps / 2,
            backward_each_layer=self.steps / 2,
        )

    @property
    def needs(self) -> tuple[Need, ...]:
        """A blank photo, where the line begins at one."""
        return ("blank",) if self.baseline == "blank" else ()

    def score(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        targets: Sequence[Target],
        *,
        context: Context,
        patches: Bool[Tensor, " patches"] | None = None,
        sinks: Bool[Tensor, " patches"] | None = None,
    ) -> Attribution:
        """Return the scores, in logits. The line changes all patches, whichever count.

        Raises:
            UsageError: the context has no table, or no blank photo, for the baseline.
        """
        begin = self._baseline(model, prompt, context)
        positions = {target.position for target in targets} if self.last else ()
        ahead = {position: read_prefix(model, prompt, position) for position in positions}

        def product(at: LayerPass) -> Tensor:
            given = at.activation.new_zeros(len(targets), *at.activation.shape)
            there = range(prompt.patches.start, prompt.patches.stop)
            found = self._line(model, prompt, targets, at.layer, there, begin)
            given[:, prompt.patches] = found.values.to(given)
            for position, prefix in ahead.items():
                own = [n for n, target in enumerate(targets) if target.position == position]
                some = [targets[n] for n in own]
                found = self._line(model, prompt, some, at.layer, [position], begin, prefix)
                given[own, position] = found.values[:, 0].to(given)
            return given

        return attribute_products(model, prompt, targets, product, patches=patches, sinks=sinks)

    def completeness(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        targets: Sequence[Target],
        *,
        context: Context,
    ) -> Iterator[LayerIntegral]:
        """Yield each layer's integral at the patches: its sum, what that has to be, the residual.

        Raises:
            UsageError: as `score`.
        """
        begin = self._baseline(model, prompt, context)
        there = range(prompt.patches.start, prompt.patches.stop)
        for layer in range(model.n_layers):
            yield self._line(model, prompt, targets, layer, there, begin, complete=True)

    def _line(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        targets: Sequence[Target],
        layer: int,
        positions: Sequence[int],
        begin: Callable[[int, Sequence[int]], Tensor],
        prefix: Prefix | None = None,
        *,
        complete: bool = False,
    ) -> LayerIntegral:
        return integrate_layer(
            model,
            prompt,
            targets,
            layer,
            positions=positions,
            baseline=begin(layer, positions),
            steps=self.steps,
            prefix=prefix,
            complete=complete,
        )

    def _baseline(
        self, model: LanguageModel, prompt: ImagePrompt, context: Context
    ) -> Callable[[int, Sequence[int]], Tensor]:
        """Return what a layer's units begin at, at some positions."""
        if self.baseline == "blank":
            blank = blank_activations(model, prompt, context, self.name)
            return lambda layer, positions: blank[layer][list(positions)]
        nothing = torch.zeros(model.d_mlp)
        if self.baseline == "zero":
            return lambda layer, positions: nothing
        mean, start, stop = activation_of(context, self.name).mean, *_ends(prompt)
        return lambda layer, positions: (
            mean[layer] if all(start <= one < stop for one in positions) else nothing
        )

    def record(self) -> dict[str, Any]:
        """Return name, `baseline`, `steps` and `last`."""
        return record_of(self)


def _ends(prompt: ImagePrompt) -> tuple[int, int]:
    return prompt.patches.start, prompt.patches.stop
