"""TextScorers: how much each unit contributes to a word, by one method or another.

A scorer is a door: whoever registers one (`register_scorer`) can name it to `explain`, `reference`
and `study`, from Python and on the command line. Most need one function of a layer's activations
and gradients, whose result `attribute_products` reduces to scores; docs/extend.md shows one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, get_args, runtime_checkable

from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.attribution import (
    Attribution,
    Objective,
    Site,
    Target,
    Totals,
    attribute_totals,
    attribute_units,
)
from molyneux.neurons.lens import Lens
from molyneux.plugins import load_plugins
from molyneux.vision.layout import ImagePrompt

if TYPE_CHECKING:
    from molyneux.neurons.reference import Reference


@dataclass(frozen=True)
class Cost:
    """What a scorer takes of the model.

    Attributes:
        forward: passes a photo.
        backward: passes a photo, each over all targets at once.
    """

    forward: int
    backward: int = 0


@dataclass(frozen=True)
class Context:
    """What else is known where a photo is scored; a scorer takes what it needs of it.

    Attributes:
        reference: the model's table over reference photos.
        partners: other photos, laid out like this one, up to the same text.
        lens: what the head would be given of a layer's write; None for the head's own reading.
    """

    reference: Reference | None = None
    partners: Sequence[ImagePrompt] = ()
    lens: Lens | None = None


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


@dataclass(frozen=True)
class GradientActivation:
    """Activation times the gradient of the target: arXiv 2308.01544, section 2.1.

    Attributes:
        of: the target's logit, or its log-probability (nats).
        site: the coefficient of the output row, or the paper's pre-activation.
    """

    name: ClassVar[str] = "gradient-activation"
    cost: ClassVar[Cost] = Cost(forward=1, backward=1)

    of: Objective = "logit"
    site: Site = "activation"

    def __post_init__(self) -> None:
        for field, known in (("of", get_args(Objective)), ("site", get_args(Site))):
            if getattr(self, field) not in known:
                raise UsageError(
                    f"{self.name} has no {field} {getattr(self, field)!r}; "
                    f"give {' or '.join(known)}"
                )

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
        """Return the scores (`attribute_units`); the context is not looked at."""
        return attribute_units(
            model, prompt, targets, of=self.of, site=self.site, patches=patches, sinks=sinks
        )

    def totals(
        self, model: LanguageModel, prompts: ImagePrompt, targets: Sequence[Target]
    ) -> Totals:
        """Return the totals of several photos at once (`attribute_totals`)."""
        return attribute_totals(model, prompts, targets, of=self.of, site=self.site)

    def record(self) -> dict[str, Any]:
        """Return name, `of` and `site`."""
        return {"name": self.name, "of": self.of, "site": self.site}


DEFAULT_SCORER = GradientActivation()
_SCORERS: dict[str, Scorer] = {DEFAULT_SCORER.name: DEFAULT_SCORER}


def register_scorer(scorer: Scorer) -> None:
    """Have a scorer found by its name, with the choices it has here as the ones it starts from.

    Raises:
        UsageError: it is no scorer, or its name is another's.
    """
    if isinstance(scorer, type) or not isinstance(scorer, Scorer):
        raise UsageError(
            f"{scorer!r} is no scorer: it needs name, cost, score and record; "
            "register an instance, as in register_scorer(MyScorer())"
        )
    known = _SCORERS.get(scorer.name)
    if known is not None and type(known) is not type(scorer):
        raise UsageError(
            f"there is a scorer {scorer.name!r} already, {type(known).__qualname__}; choose "
            "another name"
        )
    _SCORERS[scorer.name] = scorer


def scorer_names() -> list[str]:
    """Return the names of all scorers, those of installed packages too."""
    load_plugins()
    return sorted(_SCORERS)


def find_scorer(name: str) -> Scorer:
    """Return the scorer of a name, which may choose: `gradient-activation:site=preactivation`.

    Raises:
        UsageError: there is none, or it has no such choice.
    """
    if not isinstance(name, str):
        raise UsageError(f"a scorer is asked for by its name, not by {name!r}; register it first")
    name, _, rest = name.strip().partition(":")
    chosen = {}
    for part in filter(None, rest.split(",")):
        key, _, value = (piece.strip() for piece in part.partition("="))
        try:
            chosen[key] = json.loads(value)
        except ValueError:
            chosen[key] = value  # text needs no quotes
    return restore_scorer({"name": name, **chosen})


def scorer_text(record: Mapping[str, Any]) -> str:
    """Return a record as `find_scorer` takes it: its name, and what differs from what that has."""
    known = _SCORERS.get(record["name"])
    usual = {"name": record["name"]} if known is None else known.record()
    chosen = [f"{key}={value}" for key, value in record.items() if value != usual.get(key)]
    return f"{record['name']}:{','.join(chosen)}" if chosen else str(record["name"])


def restore_scorer(record: Mapping[str, Any]) -> Scorer:
    """Return the scorer of a record (`Scorer.record`).

    Raises:
        UsageError: there is none of that name here, or it has no such choice.
    """
    chosen = dict(record)
    name = chosen.pop("name")
    if name not in _SCORERS:
        load_plugins()
    scorer: Any = _SCORERS.get(name)
    if scorer is None:
        raise UsageError(
            f"there is no scorer {name!r}; give one of {', '.join(sorted(_SCORERS))}, or install "
            "the package that brings it"
        )
    own = (
        [each.name for each in dataclasses.fields(scorer)]
        if dataclasses.is_dataclass(scorer)
        else []
    )
    unknown = [key for key in chosen if key not in own]
    if unknown:
        raise UsageError(
            f"the scorer {name!r} has no choice {unknown[0]!r}; it has {', '.join(own) or 'none'}"
        )
    found: Scorer = dataclasses.replace(scorer, **chosen) if chosen else scorer
    return found
