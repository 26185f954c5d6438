"""What a scorer is: a method that says how much each unit contributes to a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.attribution import Attribution, Target, Totals
from molyneux.neurons.lens import Lens
from molyneux.vision.layout import ImagePrompt

if TYPE_CHECKING:
    from molyneux.neurons.reference import ActivationMoments, Reference

Need = Literal["lens", "blank"]
"""What of a context takes time to make, and is made for the scorers that ask for it."""


@dataclass(frozen=True)
class Cost:
    """What a scorer takes of the model.

    Attributes:
        forward: passes a photo.
        backward: passes a photo, each over all targets at once.
        forward_each_layer: passes beside those, for every layer of the model.
        backward_each_layer: likewise.
    """

    forward: int
    backward: int = 0
    forward_each_layer: float = 0
    backward_each_layer: float = 0


@dataclass(frozen=True)
class Context:
    """What else is known where a photo is scored; a scorer takes what it needs of it.

    Attributes:
        reference: the model's table over reference photos. Its scores may be another scorer's;
            how active units are does not depend on one.
        partners: other photos, laid out like this one, up to the same text.
        lens: what the head would be given of a layer's write at a patch; None for the head's own
            reading.
        blank: what stands at the patches where the photo is one grey.
    """

    reference: Reference | None = None
    partners: Sequence[ImagePrompt] = ()
    lens: Lens | None = None
    blank: Float[Tensor, "patches d_model"] | None = None


NO_CONTEXT = Context()


@runtime_checkable
class Scorer(Protocol):
    """A method that gives every unit a score for every target."""

    @property
    def name(self) -> str:
        """What it is asked for by: lower case, words joined by hyphens."""
        ...

    @property
    def cost(self) -> Cost:
        """What it takes of the model."""
        ...

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
        """Return the scores of all units for all targets of one photo.

        Args:
            prompt: one photo's prompt, followed by the caption up to the last target's position.
            patches: the patches that count in the patch view; all if None.
            sinks: patches to leave out of `Attribution.without_sinks`.

        Raises:
            UsageError: there is no target, more than one photo, or the context lacks what is
                needed.
            AdapterError: the model overflows in its dtype.
        """
        ...

    def record(self) -> dict[str, Any]:
        """Return `name` and what was chosen, as plain data of which `restore_scorer` makes it."""
        ...


@runtime_checkable
class ScoresTogether(Protocol):
    """What a scorer may have besides: totals of several photos with the same text in one pass."""

    def totals(
        self, model: LanguageModel, prompts: ImagePrompt, targets: Sequence[Target]
    ) -> Totals:
        """Return the totals of each photo, and the targets' log-probabilities."""
        ...


@runtime_checkable
class Needs(Protocol):
    """What a scorer may have besides: it says what of a context it cannot do without."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """Which parts, of those that take time to make."""
        ...


def needs_of(scorer: Scorer) -> tuple[Need, ...]:
    """Return what a scorer needs of a context that takes time to make."""
    return scorer.needs if isinstance(scorer, Needs) else ()


def activation_of(context: Context, scorer: str) -> ActivationMoments:
    """Return how active every unit is at reference photos.

    Raises:
        UsageError: there is no reference table.
        WeightsError: it does not hold it.
    """
    if context.reference is None:
        raise UsageError(
            f"{scorer} takes units' mean activations from a reference table, and there is none; "
            "make one with `molyneux reference DATA` and give it with --reference"
        )
    return context.reference.require_activation()


def blank_in(
    context: Context, prompt: ImagePrompt, scorer: str
) -> Float[Tensor, "1 patches d_model"]:
    """Return what stands at the patches where the photo is one grey.

    Raises:
        UsageError: the context does not hold it, or it is of another size than the photo's.
    """
    if context.blank is None:
        raise UsageError(
            f"{scorer} compares a photo with a blank one, and was given none; give as context what "
            "molyneux.models.scoring.scoring_context(model, scorer, photo) returns, or choose "
            "baseline=zero"
        )
    there = prompt.embeddings[:, prompt.patches]
    if context.blank.shape != there.shape[1:]:
        raise UsageError(
            f"the blank photo has {len(context.blank)} patches and the photo {there.shape[1]}; "
            "give as context what molyneux.models.scoring.scoring_context makes of the same photo"
        )
    return context.blank[None].to(there)
