"""Photos that stand in for another one: what the model would say if it were shown them instead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import AdapterError, UsageError
from molyneux.vision.layout import ImagePrompt, Layout, lay_out
from molyneux.words.categories import category_of, table
from molyneux.words.nouns import find_nouns
from molyneux.words.singular import singular
from molyneux.words.synonyms import names_one_of, synonyms_of

SEVERAL = 3
"""Human captions from which on it says something that most of them hold a noun."""
AGREED = 0.6
MOST, LEAST, ROOM = 128, 64, 8_000_000
"""How many partners a table has, and how many where those would take more than so many bytes."""


@dataclass(frozen=True, eq=False)
class Partner:
    """A photo as the image prompt that was made of it; the photo itself is not kept.

    Attributes:
        name: the SHA-256 of the photo's file, to cite it by.
        caption: the model's own.
        noun: the caption's first, singular.
        nouns: all of the caption's, singular, in its order.
        n_human_captions: how many people wrote.
        human_nouns: all nouns of theirs, singular; none where there are no captions.
        agreed: those that at least 60 % of three or more human captions hold.
        patches: what stands at the patches of the prompt, in half precision.
    """

    name: str
    caption: str
    noun: str
    nouns: tuple[str, ...]
    n_human_captions: int
    human_nouns: tuple[str, ...]
    agreed: tuple[str, ...]
    patches: Float[Tensor, "patches d_model"]

    def __repr__(self) -> str:
        return f"Partner({self.name[:8]}, {self.caption!r}, {len(self.patches)} patches)"

    def prompt(self, model: LanguageModel, layout: Layout) -> ImagePrompt:
        """Return the prompt as a captioner of this layout laid it out, to half precision."""
        return lay_out(model, layout, self.patches[None])

    def instead_of(self, prompt: ImagePrompt) -> ImagePrompt:
        """Return another photo's prompt, with the text that follows it, as if it were this photo's.

        Raises:
            UsageError: the prompt is of several photos, or of other patches than the partner's.
        """
        there = prompt.embeddings[:, prompt.patches]
        if there.shape != (1, *self.patches.shape):
            raise UsageError(
                f"the prompt has {len(there)} photos of {there.shape[1]} patches, and the partner "
                f"{len(self.patches)} patches; give one photo's, of the model that the partner's "
                "reference table was measured on"
            )
        embeddings = prompt.embeddings.detach().clone()
        embeddings[:, prompt.patches] = self.patches.to(embeddings)
        return replace(prompt, embeddings=embeddings)

    def shows(self, word: str) -> bool:
        """Whether its caption or what people said holds a word, its plural or a synonym.

        A synonym is a noun of the same group (`words.synonyms`), or of the same category
        (`words.categories`): "man" and "woman" are both a `person`.
        """
        return not self._holds.isdisjoint(_meant(word))

    def people_name(self, word: str) -> bool:
        """Whether what people said of it holds a noun or a synonym, in the singular."""
        return names_one_of(word, self.human_nouns)

    @cached_property
    def _holds(self) -> frozenset[str]:
        written = re.findall(r"[^\W\d_]+", self.caption.lower())
        return _all_meant([*self.nouns, *self.human_nouns, *map(singular, written)])

    def record(self) -> dict[str, Any]:
        """Return all of it but the patches, as plain data."""
        names = (each.name for each in fields(self))
        return {name: getattr(self, name) for name in names if name != "patches"}


def make_partner(
    name: str,
    caption: str,
    human_captions: Sequence[str],
    patches: Float[Tensor, "patches d_model"],
) -> Partner:
    """Return a partner with the nouns of its captions, and its patches in half precision.

    Raises:
        UsageError: the caption has no noun.
        AdapterError: the patches are not finite.
    """
    nouns = tuple(dict.fromkeys(noun.lemma for noun in find_nouns(caption)))
    if not nouns:
        raise UsageError(f"the caption {caption!r} has no noun, which a partner needs")
    return Partner(
        name,
        caption,
        nouns[0],
        nouns,
        len(human_captions),
        tuple(sorted(_counts(human_captions))),
        agreed_nouns(human_captions),
        in_half(patches),
    )


def agreed_nouns(human_captions: Sequence[str]) -> tuple[str, ...]:
    """Return the nouns, singular, that at least 60 % of three or more human captions hold."""
    if len(human_captions) < SEVERAL:
        return ()
    least = AGREED * len(human_captions)
    return tuple(sorted(noun for noun, n in _counts(human_captions).items() if n >= least))


def _counts(human_captions: Sequence[str]) -> Counter[str]:
    """Return in how many captions each noun is."""
    return Counter(
        lemma for one in human_captions for lemma in {noun.lemma for noun in find_nouns(one)}
    )


def restore_partner(
    record: Mapping[str, Any], patches: Float[Tensor, "patches d_model"]
) -> Partner:
    """Return the partner of a record (`Partner.record`) and its patches."""
    said: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
    }
    return Partner(**said, patches=patches)


def in_half(patches: Float[Tensor, "patches d_model"]) -> Float[Tensor, "patches d_model"]:
    """Return embeddings in half precision: float16, or bfloat16 where that has not the range.

    Raises:
        AdapterError: they are not finite.
    """
    patches = patches.detach().cpu()
    if not bool(patches.isfinite().all()):
        raise AdapterError(
            "the model makes image prompts that are not finite; load it with --dtype float32"
        )
    if patches.dtype in (torch.float16, torch.bfloat16):
        return patches.clone()
    fits = patches.numel() == 0 or patches.abs().max() <= torch.finfo(torch.float16).max
    return patches.to(torch.float16 if fits else torch.bfloat16)


def partners_that_fit(patches: Float[Tensor, "patches d_model"]) -> int:
    """Return how many partners a table is given whose prompts are of this size: 128, or 64."""
    return MOST if MOST * patches.numel() * 2 <= ROOM else LEAST


def differ_only_at_patches(one: ImagePrompt, other: ImagePrompt) -> bool:
    """Whether two photos' prompts are the same but for what stands at the patches."""
    if one.patches != other.patches or one.embeddings.shape != other.embeddings.shape:
        return False
    rest = torch.ones(one.n_positions, dtype=torch.bool)
    rest[one.patches] = False
    if not torch.equal(one.embeddings[:, rest], other.embeddings[:, rest]):
        return False
    given, others = one.given(), other.given()
    return given.keys() == others.keys() and all(torch.equal(given[k], others[k]) for k in given)


@dataclass
class PartnerPanel:
    """Gathers partners, one after another: half of them with several human captions if there are.

    Attributes:
        most: how many there may be.
    """

    most: int
    several: list[Partner] = field(default_factory=list)
    others: list[Partner] = field(default_factory=list)

    def takes(self, n_human_captions: int) -> bool:
        """Whether a photo with so many human captions may still come in."""
        return len(self._pool(n_human_captions)) < self.most

    def add(self, partner: Partner) -> None:
        """Take a partner; one that is there is not taken twice."""
        if all(partner.name != one.name for one in (*self.several, *self.others)):
            self._pool(partner.n_human_captions).append(partner)

    def chosen(self) -> list[Partner]:
        """Return the partners in the order of their names."""
        n_several = max(self.most - len(self.others), (self.most + 1) // 2)
        several = self.several[:n_several]
        found = [*several, *self.others[: self.most - len(several)]]
        return sorted(found, key=lambda partner: partner.name)

    def _pool(self, n_human_captions: int) -> list[Partner]:
        return self.several if n_human_captions >= SEVERAL else self.others


def partners_without(partners: Iterable[Partner], words: Collection[str]) -> list[Partner]:
    """Return the partners that show none of some words (`Partner.shows`)."""
    return [partner for partner in partners if not any(map(partner.shows, words))]


@cache
def _meant(word: str) -> frozenset[str]:
    """Return what stands for a word: its singular, its last word, synonyms, and its category."""
    whole = singular(" ".join(word.lower().split()))
    names = {whole, *whole.replace("-", " ").split()[-1:]}
    found = {other for name in names for other in synonyms_of(name)}
    category = category_of(whole, _categories())
    return frozenset(found if category is None else {*found, f"category {category}"})


def _all_meant(words: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*map(_meant, words))


@cache
def _categories() -> frozenset[str]:
    return frozenset(table().values()) - {"-"}
