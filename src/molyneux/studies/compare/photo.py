"""One photo as scorers are compared on it: its two words, and what is known of it beside them."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.data.dataset import Item
from molyneux.models.scoring import scoring_context
from molyneux.neurons.attribution import Target
from molyneux.neurons.contrast import stand_ins
from molyneux.neurons.effects import Effects, Written, unit_effects
from molyneux.neurons.partners import Partner
from molyneux.neurons.scorers import Context, Scorer
from molyneux.neurons.sight.absent import AbsentWord
from molyneux.neurons.sight.absent_word import choose_absent
from molyneux.neurons.sight.passes import Passed, pass_prompts
from molyneux.neurons.unit import Unit
from molyneux.studies.compare.design import MEAN, RESAMPLE, ZERO
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

ROWS = 32
"""Units in a batch: the unchanged row is one more, and rows that entered stay to the end."""


class ComparedPhoto:
    """A photo with its caption's first noun, and a noun that nobody named in it.

    Attributes:
        subject: the photo, its caption and the model.
    """

    def __init__(self, facts: ModelFacts, settings: StudySettings, item: Item, sha256: str) -> None:
        self.subject = Subject(facts, settings, item, item.read(), sha256)
        self.model = facts.captioner.language_model

    @property
    def has_word(self) -> bool:
        """Whether the caption has a noun."""
        return self.subject.word is not None

    @cached_property
    def partners(self) -> tuple[Partner, ...]:
        """Photos of the reference table that show none of its nouns; the first is resampled from.

        None where the table has too few.
        """
        subject = self.subject
        nouns = subject.lemmas | subject.human_nouns
        return stand_ins(subject.facts.reference, subject.until, nouns, subject.sha256)

    @cached_property
    def absent(self) -> AbsentWord | None:
        """The everyday noun that nobody named here, most nearly as likely as the word elsewhere."""
        subject = self.subject
        words = subject.sentence.words
        present = subject.lemmas | {each.word for each in words}
        present |= subject.human_nouns | {*subject.item.categories}
        return choose_absent(
            self.model,
            subject.target,
            present,
            {each.target.token_id for each in words},
            [one.instead_of(subject.until) for one in self.partners],
            subject.sha256,
        )

    @cached_property
    def targets(self) -> list[Target]:
        """The word, then the absent one, where there is one: at the same position."""
        word = self.subject.target
        others = [] if self.absent is None else [Target(self.absent.token_id, word.position)]
        return [word, *others]

    @property
    def tokens(self) -> list[int]:
        """The targets' tokens."""
        return [target.token_id for target in self.targets]

    @cached_property
    def clean(self) -> Passed:
        """The photo's pass, with its activations at the patches."""
        return pass_prompts(self.model, [self.subject.until], activations=True)[0]

    @cached_property
    def strength(self) -> Float[Tensor, "layers d_mlp"]:
        """How much each unit writes: the mean |activation| over patches x the row's norm."""
        activation = self.clean.activation
        assert activation is not None
        return activation.abs().mean(dim=1) * self.subject.facts.row_norms

    @cached_property
    def mean(self) -> Float[Tensor, "layers d_mlp"]:
        """Every unit's mean over reference photos.

        Raises:
            WeightsError: the reference table does not hold it.
        """
        return self.subject.facts.reference.require_activation().mean

    @cached_property
    def resampled(self) -> Float[Tensor, "layers patches d_mlp"] | None:
        """Every unit's values at the patches of another photo; None where there is none."""
        if not self.partners:
            return None
        prompt = self.partners[0].instead_of(self.subject.until)
        return pass_prompts(self.model, [prompt], activations=True)[0].activation

    def value(self, put_to: str) -> Written | None:
        """Return what units are put to; None where the photo has no such thing."""
        values: dict[str, Written | None] = {
            ZERO: 0.0,
            MEAN: self.mean if put_to == MEAN else None,
            RESAMPLE: self.resampled if put_to == RESAMPLE else None,
        }
        return values[put_to]

    def effects(self, units: list[Unit], put_to: str = ZERO) -> Effects | None:
        """Return what each unit gives both words at the patches; None where it has no value."""
        value = self.value(put_to)
        if value is None:
            return None
        return unit_effects(
            self.model, self.subject.until, self.tokens, units, value=value, rows=ROWS
        )

    def context(self, scorer: Scorer) -> Context:
        """Return what a scorer may look at beside the photo."""
        until = self.subject.until
        return scoring_context(
            self.subject.captioner,
            scorer,
            self.subject.photo,
            partners=[one.instead_of(until) for one in self.partners],
        )

    def probabilities(self) -> Float[Tensor, "targets two"]:
        """Return the logit and the probability of both words."""
        logits = self.clean.logits.float()
        return torch.stack([logits, logits.softmax(dim=-1)], dim=-1)[self.tokens]
