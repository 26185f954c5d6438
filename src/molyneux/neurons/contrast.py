"""What units give a word behind other photos, where the text is the same.

A word's total here minus its mean total there is what this photo lends the word: a unit that
serves the word, or the text ahead of it, whatever the photo, has as much behind any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.attribution import VIEWS, Target, Totals, View
from molyneux.neurons.partners import Partner
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

    None where there are none (`stand_ins`).
    """
    chosen = stand_ins(reference, prompt, words, seed, most)
    return tuple(one.instead_of(prompt) for one in chosen)


def stand_ins(
    reference: Reference | None,
    prompt: ImagePrompt,
    words: Collection[str],
    seed: str,
    most: int = PARTNERS,
) -> tuple[Partner, ...]:
    """Return the partners behind which words are scored.

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
    return tuple(fitting[:most])


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
    _require_partners(context)
    parts: dict[View, list[Tensor]] = {view: [] for view in VIEWS}
    for found in _totals(scorer, model, targets, context):
        for view in VIEWS:
            parts[view].append(found.view(view).double().sum(dim=0))
    n = len(context.partners)
    total: dict[View, Tensor] = {
        v: (torch.stack(p).sum(dim=0) / n).float() for v, p in parts.items()
    }
    return Behind(total, n)


def totals_behind(
    scorer: Scorer, model: LanguageModel, target: Target, context: Context
) -> tuple[Float[Tensor, "partners layers d_mlp"], Float[Tensor, " partners"]]:
    """Return what units give one target at the patches behind each of the context's partners.

    Returns:
        the totals, and the target's log-probability there (nats).

    Raises:
        UsageError: there are no partners.
        AdapterError: the model overflows in its dtype.
    """
    _require_partners(context)
    found = list(_totals(scorer, model, [target], context))
    return (
        torch.cat([one.patches[:, 0] for one in found]),
        torch.cat([one.log_probability[:, 0] for one in found]),
    )


def _require_partners(context: Context) -> None:
    if not context.partners:
        raise UsageError("there are no partners to score behind; give Context(partners=...)")


def _totals(
    scorer: Scorer, model: LanguageModel, targets: Sequence[Target], context: Context
) -> Iterator[Totals]:
    """Yield what units give targets behind some partners after another."""
    together = isinstance(scorer, ScoresTogether)
    at_once = max(1, ROWS // len(targets)) if together and targets else 1
    for start in range(0, len(context.partners), at_once):
        some = context.partners[start : start + at_once]
        if isinstance(scorer, ScoresTogether):
            yield scorer.totals(model, joined(some), targets)
        else:
            one = scorer.score(model, some[0], targets, context=context)
            yield Totals(
                one.patches.total.cpu()[None],
                one.last.total.cpu()[None],
                one.probability.log().cpu()[None],
            )
