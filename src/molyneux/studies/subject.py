"""One photo of a study, with everything several experiments ask of it, computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from molyneux.data.dataset import Item
from molyneux.models.scoring import scoring_context
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.attribution import Attribution, Target, UnitScores, View
from molyneux.neurons.contrast import Behind, instead_of, score_behind
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.rankings import Ranked, matched_units, random_units, row_norms
from molyneux.neurons.reference import Reference
from molyneux.neurons.scorers import DEFAULT_SCORER, Scorer
from molyneux.neurons.sight.passes import Passes
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import Sentence, Word, read_sentence, word_tokens
from molyneux.neurons.unit import Unit
from molyneux.studies.settings import StudySettings, draw_seed
from molyneux.vision.layout import ImagePrompt
from molyneux.words.categories import category_of
from molyneux.words.nouns import find_nouns

MAX_ASKED = 5
OTHER_NOUNS = 8
"""Other photos' nouns that the target is compared with in what units write."""


@dataclass(frozen=True)
class ModelFacts:
    """What does not depend on a photo: computed once for a study.

    Attributes:
        row_norms: of every unit's output row.
        scorer: what the units are scored with, the reference table's own.
        passes: of the table's partner photos, kept from one photo to the next.
    """

    captioner: SeeingModel
    reference: Reference
    row_norms: Float[Tensor, "layers d_mlp"]
    scorer: Scorer = DEFAULT_SCORER
    passes: Passes = field(default_factory=Passes, repr=False)

    @classmethod
    def of(cls, captioner: SeeingModel, scorer: Scorer = DEFAULT_SCORER) -> ModelFacts:
        """Return the facts of a captioner that has a reference table.

        Raises:
            WeightsError: the table was measured with another scorer.
        """
        assert captioner.reference is not None
        captioner.reference.require_scorer(scorer)
        return cls(captioner, captioner.reference, row_norms(captioner.language_model), scorer)


class Subject:
    """A photo: its caption, the first noun (the target), the scores of all units and rankings.

    Everything is computed when first asked for and depends on this photo alone.
    """

    def __init__(
        self,
        facts: ModelFacts,
        settings: StudySettings,
        item: Item,
        photo: Image.Image,
        sha256: str,
    ) -> None:
        self.facts = facts
        self.captioner = facts.captioner
        self.model = facts.captioner.language_model
        self.settings = settings
        self.item = item
        self.photo = photo
        self.sha256 = sha256

    def seed(self, purpose: str) -> int:
        """Return the seed of a random draw for a purpose."""
        return draw_seed(self.settings.seed, self.sha256, purpose)

    @cached_property
    def projected(self) -> Float[Tensor, "patches d_model"]:
        """The image prompts: the input embedding that stands for each patch."""
        return self.prompt.embeddings[0, self.prompt.patches]

    @cached_property
    def prompt(self) -> ImagePrompt:
        """The photo as the language model is given it, with the layout's text."""
        return self.captioner.see([self.photo])

    @cached_property
    def sentence(self) -> Sentence:
        """The model's greedy caption, and its nouns."""
        return read_sentence(self.model, self.prompt, self.captioner.write(self.prompt)[0])

    @property
    def word(self) -> Word | None:
        """The caption's first noun: the target of every experiment; None if there is no noun."""
        return self.sentence.words[0] if self.sentence.words else None

    @cached_property
    def target(self) -> Target:
        """The target, for photos whose caption has a noun."""
        assert self.word is not None
        return self.word.target

    @cached_property
    def lemmas(self) -> set[str]:
        """All nouns of the caption, singular."""
        return {word.lemma for word in self.sentence.words}

    @cached_property
    def human_nouns(self) -> set[str]:
        """All nouns of the human captions, singular."""
        return {noun.lemma for caption in self.item.captions for noun in find_nouns(caption)}

    @cached_property
    def until(self) -> ImagePrompt:
        """The prompt continued so that it ends where the target is predicted."""
        return self.sentence.up_to(self.model, self.prompt, self.target.position)

    @cached_property
    def category(self) -> str | None:
        """The annotated category that the target names, if it does."""
        return None if self.word is None else category_of(self.word.lemma, self.item.categories)

    @cached_property
    def asked(self) -> list[tuple[str, Target]]:
        """Annotated categories with a mask and one instance, as words asked for at the target's
        position: (category, first token of its name), at most five, none the target's token."""
        found: list[tuple[str, Target]] = []
        used = {self.target.token_id}
        for category in sorted(self.item.categories):
            tokens = word_tokens(self.model, category)
            single = self.item.instances.get(category) == 1 and category in self.item.outlines
            if single and tokens and tokens[0] not in used and len(found) < MAX_ASKED:
                used.add(tokens[0])
                found.append((category, Target(tokens[0], self.target.position)))
        return found

    @cached_property
    def attribution(self) -> Attribution:
        """Scores of all units: target 0 is the caption's first noun, then `asked` in order."""
        targets = [self.target, *(target for _, target in self.asked)]
        sinks = self.sink_patches if bool(self.sink_patches.any()) else None
        context = scoring_context(self.captioner, self.facts.scorer, self.photo)
        return self.facts.scorer.score(
            self.model, self.until, targets, context=context, sinks=sinks
        )

    @cached_property
    def sink_patches(self) -> Bool[Tensor, " patches"]:
        """Which patches are sinks."""
        return sink_patches(patch_norms(self.model, self.prompt))[0]

    def scores(self, view: View, *, without_sinks: bool = False) -> UnitScores:
        """Return scores in a view (row 0 is the target); `without_sinks`: over other patches."""
        if without_sinks and view == "patches" and self.attribution.without_sinks is not None:
            return self.attribution.without_sinks
        return self.attribution.view(view)

    @cached_property
    def behind(self) -> Behind | None:
        """What units give the targets of `attribution` behind partners; None without any."""
        partners = instead_of(self.facts.reference, self.until, self.lemmas, self.sha256)
        targets = [self.target, *(target for _, target in self.asked)]
        if not partners:
            return None
        context = scoring_context(self.captioner, self.facts.scorer, self.photo, partners=partners)
        return score_behind(self.facts.scorer, self.model, targets, context)

    def ranked(
        self, view: View, target: int = 0, purpose: str = "", *, contrast: bool = False
    ) -> Ranked:
        """Return every ranking of a target's units in a view, and the sets they are compared with.

        Args:
            purpose: of the random draws.
            contrast: whether `contrast` is among them, which scores partners too.
        """
        return Ranked(
            self.attribution,
            target,
            view,
            row_norms=lambda: self.facts.row_norms,
            seed_of=lambda draw: self.seed(f"{purpose} {view} random {draw}"),
            reference=self.facts.reference,
            other=next(iter(self.others), None),
            behind=self.behind if contrast else None,
            sink_patches=self.sink_patches,
        )

    def score(self, view: View, ranking: str, target: int = 0) -> Float[Tensor, "layers d_mlp"]:
        """Return what one of `RANKINGS` sorts by; -inf for units that it leaves out."""
        return self.ranked(view, target, contrast=ranking == "contrast").score(ranking)

    def ranking(self, view: View, ranking: str, n: int, target: int = 0) -> list[Unit]:
        """Return the first units of one of `RANKINGS` for a target."""
        return self.ranked(view, target, contrast=ranking == "contrast").first(ranking, n)

    def signs(self, view: View, units: list[Unit], target: int = 0) -> list[int]:
        """Return the direction in which each unit wrote for a target: -1, 0 or 1."""
        if not units:
            return []
        sign: Int[Tensor, "layers d_mlp"] = self.attribution.view(view).sign[target]
        return [int(s) for s in sign[[u.layer for u in units], [u.unit for u in units]]]

    def random(self, units: list[Unit], purpose: str) -> list[Unit | None]:
        """Return random units of the same layers, none of them among `units`, in their order."""
        return random_units(units, self.model.d_mlp, set(units), seed=self.seed(purpose))

    def matched_by_norm(self, units: list[Unit]) -> list[Unit | None]:
        """Return the unit of the same layer nearest in output-row norm for each:
        none of `units`, without replacement."""
        return matched_units(units, self.facts.row_norms, set(units))

    @cached_property
    def other_nouns(self) -> tuple[int, ...]:
        """First tokens of other photos' nouns, those of `others` in order: eight at most."""
        tokens = (word_tokens(self.model, other.noun) for other in self.others)
        first = dict.fromkeys(found[0] for found in tokens if found)
        first.pop(self.target.token_id, None)
        return tuple(first)[:OTHER_NOUNS]

    @cached_property
    def others(self) -> list[OtherPhoto]:
        """Reference photos of other nouns, to serve as controls; the first is the control."""
        return self.facts.reference.others_than(self.lemmas | self.human_nouns, self.sha256)
