"""Scorers by their names: how much each unit contributes to a word, by one method or another.

A scorer is a door: whoever registers one (`register_scorer`) can name it to `explain`, `reference`
and `study`, from Python and on the command line. Most need one function of a layer's activations
and gradients, whose result `attribute_products` reduces to scores; docs/extend.md shows one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from molyneux.errors import UsageError
from molyneux.neurons.scorers.activation import Activation
from molyneux.neurons.scorers.conductance import Conductance
from molyneux.neurons.scorers.direct_logit import DirectLogit
from molyneux.neurons.scorers.grad_drop import GradDrop
from molyneux.neurons.scorers.gradient_activation import GradientActivation
from molyneux.neurons.scorers.integrated_gradients import IntegratedGradients
from molyneux.neurons.scorers.jacobian_lens import ThroughJacobianLens
from molyneux.neurons.scorers.random_score import RandomScore
from molyneux.neurons.scorers.relp import RelP
from molyneux.neurons.scorers.scorer import Scorer
from molyneux.neurons.scorers.shapley import Shapley
from molyneux.plugins import load_plugins

DEFAULT_SCORER = GradientActivation()
_OWN: tuple[Scorer, ...] = (
    DEFAULT_SCORER,
    Activation(),
    DirectLogit(),
    ThroughJacobianLens(),
    IntegratedGradients(),
    Conductance(),
    GradDrop(),
    RelP(),
    Shapley(),
    RandomScore(),
)
_SCORERS: dict[str, Scorer] = {scorer.name: scorer for scorer in _OWN}


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
    chosen = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in record.items()
        if value != usual.get(key)
    ]
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
