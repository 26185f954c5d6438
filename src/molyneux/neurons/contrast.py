"""What units give a word behind other photos, where the text is the same.

A word's total here minus its mean total there is what this photo lends the word: a unit that
serves the word, or the text ahead of it, whatever the photo, has as much behind any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.attribution import VIEWS, Target, View
from molyneux.neurons.reference import Reference
from molyneux.neurons.scorers import Context, Scorer, ScoresTogether
from molyneux.vision.layout import ImagePrompt, joined

PARTNERS = 4
"""Each costs a pass and one back for every word, which are most of a contrast's cost."""
ROWS = 16
"""Partners x targets at once: each row's gradients are layers x positions x d_mlp x 4 bytes."""


@dataclass(frozen=True, eq=False)
class Behind:
    """What every unit gives each target behind partners.

    Attributes:
        total: for each view, the mean over partners of `UnitScores.total`.
        partners: how many there were.
    """

    total: Mapping[View, Float[Tensor, "targets layers d_mlp"]]
    partners: int

    def of(self, targets: Sequence[int]) -> Behind:
        """Return what is known of some of the targets, in this order."""
        return replace(self, total={view: t[list(targets)] for view, t in self.total.items()})


def instead_of(
    reference: Reference | None,
    prompt: ImagePrompt,
    words: Collection[str],
    seed: str,
    most: int = PARTNERS,
) -> tuple[ImagePrompt, ...]:
    """Return a photo's prompt with partners' patches in its place, and the same text.

    Of the partners that show none of the words the first by a hash of the seed and their names,
    another choice for each photo. None where there is no table, fewer than these are left,
    or the photo has more or fewer patches than they.

    Args:
        seed: the photo's hash, whose name it is among partners: it is none of its own.
    """
    known = [] if reference is None else reference.partners_without(words)
    fitting = [one for one in known if one.name != seed]
    if len(fitting) < most:
        return ()
    fitting.sort(key=lambda one: hashlib.sha256(f"{seed} {one.name}".encode()).digest())
    size = prompt.embeddings[0, prompt.patches].shape
    if any(one.patches.shape != size for one in fitting[:most]):
        return ()
    return tuple(one.instead_of(prompt) for one in fitting[:most])


def score_behind(
    scorer: Scorer, model: LanguageModel, targets: Sequence[Target], context: Context
) -> Behind:
    """Return what units give targets behind the context's partners, the mean over them.

    All targets at once; several partners together where a scorer can (`ScoresTogether`), else one
    after another. It takes as many passes as for a photo (`Scorer.cost`), once for each partner.

    Raises:
        UsageError: there are no partners.
        AdapterError: the model overflows in its dtype.
    """
    if not context.partners:
        raise UsageError("there are no partners to score behind; give Context(partners=...)")
    together = isinstance(scorer, ScoresTogether)
    at_once = max(1, ROWS // len(targets)) if together and targets else 1
    parts: dict[View, list[Tensor]] = {view: [] for view in VIEWS}
    for start in range(0, len(context.partners), at_once):
        some = context.partners[start : start + at_once]
        if isinstance(scorer, ScoresTogether):
            found = scorer.totals(model, joined(some), targets)
        else:
            one = scorer.score(model, some[0], targets, context=context)
            found = {view: one.view(view).total.cpu()[None] for view in VIEWS}
        for view in VIEWS:
            parts[view].append(found[view].double().sum(dim=0))
    n = len(context.partners)
    total: dict[View, Tensor] = {
        v: (torch.stack(p).sum(dim=0) / n).float() for v, p in parts.items()
    }
    return Behind(total, n)
