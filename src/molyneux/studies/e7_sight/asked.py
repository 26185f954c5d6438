"""Which words E7 asks for behind a photo, and the partners that each is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.neurons.partners import AGREED, SEVERAL, Partner
from molyneux.neurons.sight.absent import AbsentWord
from molyneux.neurons.sight.measure import MIN_PARTNERS, in_order
from molyneux.neurons.sight.reading import asked_of
from molyneux.neurons.sight.words import WordAsked, unseen_candidates
from molyneux.neurons.targets import Sentence, word_tokens
from molyneux.studies.e7_sight.deranged import chosen_nouns, digest, written_nouns
from molyneux.studies.e7_sight.tables import BESIDE
from molyneux.studies.subject import Subject
from molyneux.vision.layout import ImagePrompt
from molyneux.words.articles import article_of
from molyneux.words.kinds import unrelated_to
from molyneux.words.synonyms import names_one_of

NO_NOUN = "the caption has no noun"
FEW = f"fewer than {MIN_PARTNERS} partner photos do not show it"
NO_PEOPLE = f"fewer than {SEVERAL} human captions"
NO_AGREED = f"no noun is in {AGREED:.0%} of the human captions"
NO_TOKEN = "the tokenizer begins it with a token that is blank, or that another word begins with"
NO_OTHER = "no partner photo has a noun of people's, with its article, that nobody wrote here"
OF_PARTNERS = (
    "no noun of the study's other photos may stand beside it; one of a partner photo's people does"
)
SHOWN_THERE = "the photo whose pixels stand there shows it, or the noun beside it"
NO_TABLE = (
    "the reference table has no partner photos; `molyneux reference DATA --partners DATA2` "
    "makes one with them"
)


@dataclass(frozen=True, eq=False)
class Panel:
    """Photos that are shown instead of this one.

    Attributes:
        partners: with which its words are compared, in the order in which they are taken.
        numbers: of each of them, its number in the reference table.
        stranger: none of them; whose image prompt is put in the place of this photo's.
    """

    partners: tuple[Partner, ...]
    numbers: tuple[int, ...]
    stranger: Partner


def panel_of(subject: Subject) -> Panel | str:
    """Return a photo's partners, or why it has none."""
    table, patches = subject.facts.reference, len(subject.projected)
    if not table.partners or table.activation is None:
        return NO_TABLE
    others = {len(partner.patches) for partner in table.partners} - {patches}
    if others:
        return f"the photo has {patches} patches, and partner photos {min(others)}"
    names = [partner.name for partner in table.partners]
    order = [place for place in in_order(names, subject.sha256) if names[place] != subject.sha256]
    if len(order) <= MIN_PARTNERS:
        return f"the reference table has fewer than {MIN_PARTNERS + 1} partner photos"
    *numbers, last = order
    partners = tuple(table.partners[place] for place in numbers)
    return Panel(partners, tuple(numbers), table.partners[last])


@dataclass(frozen=True, eq=False)
class Asked:
    """A word that is read behind the photo.

    Attributes:
        kind: `caption` or `human`.
        text: the tokens that it is read after, and may be among.
        said: of human nouns, whether the caption has it.
    """

    kind: str
    text: tuple[int, ...]
    said: bool | None
    word: WordAsked

    @property
    def beside(self) -> str:
        """The kind of the words that stand beside it."""
        return BESIDE[self.kind]


@dataclass(frozen=True)
class LeftOut:
    """A word that is not read, and why."""

    kind: str
    word: str | None
    why: str

    def row(self) -> dict[str, str | None]:
        """Return its row of `e7_left_out`."""
        return {"kind": self.kind, "word": self.word, "why": self.why}


def caption_word(
    subject: Subject,
    prompt: ImagePrompt,
    sentence: Sentence,
    named: Collection[str],
    partners: Sequence[Partner],
) -> Asked | LeftOut:
    """Return a caption's first noun; the words beside it are chosen from what nobody named.

    Args:
        named: what people and annotations name in the photo, beside the caption.
    """
    if not sentence.words:
        return LeftOut("caption", None, NO_NOUN)
    word = sentence.words[0]
    fits = _fits(subject, partners, word.word, word.lemma)
    if not bool(fits.any()):
        return LeftOut("caption", word.lemma, FEW)
    at = asked_of(prompt, word.target)
    present = {*named, *(each.word for each in sentence.words)}
    present |= {each.lemma for each in sentence.words}
    tokens = [each.target.token_id for each in sentence.words]
    candidates = unseen_candidates(subject.model, present, tokens, partners, fits[None])
    asked = WordAsked(word.lemma, (at.token_id,), at.after, fits, (), tuple(candidates))
    return Asked("caption", tuple(sentence.token_ids), None, asked)


def human_nouns(
    subject: Subject, partners: Sequence[Partner], deranged: Mapping[str, str]
) -> list[Asked | LeftOut]:
    """Return nouns that most people wrote, each with one of another photo's beside it.

    Where `deranged` has none that serves, it is one of a partner photo's people: drawn by this
    photo's id, with the same article, and related (`words.kinds`) to nothing that people wrote or
    annotated here. That is among those left out, as `deranged`.

    Args:
        deranged: the noun beside, of another photo of the study, by noun.
    """
    chosen = chosen_nouns(subject.item)
    if not chosen:
        enough = len(subject.item.captions) >= SEVERAL
        return [LeftOut("human", None, NO_AGREED if enough else NO_PEOPLE)]
    first = {noun: word_tokens(subject.model, noun)[:1] for noun in chosen}
    tokens_here = {token for tokens in first.values() for token in tokens}
    used = {*tokens_here}
    others = list(_others(subject, partners))
    found: list[Asked | LeftOut] = []
    read: set[int] = set()
    for noun in chosen:
        fits = _fits(subject, partners, noun)
        why = None
        if not first[noun] or first[noun][0] in read:
            why = NO_TOKEN
        elif not bool(fits.any()):
            why = FEW
        if why:
            found.append(LeftOut("human", noun, why))
            continue
        own = [deranged[noun]] if noun in deranged else []
        # Two of the photo's may have the same one beside them.
        beside = _next(subject, own, noun, {*tokens_here}, partners, fits)
        if beside is None:
            beside = _next(subject, others, noun, used, partners, fits)
            found.append(
                LeftOut(
                    "deranged" if beside else "human", noun, OF_PARTNERS if beside else NO_OTHER
                )
            )
        if beside is None:
            continue
        read.add(first[noun][0])
        text = tuple(word_tokens(subject.model, article_of(noun)))
        said = names_one_of(noun, subject.lemmas)
        asked = WordAsked(noun, tuple(first[noun]), len(text), fits, (beside,))
        found.append(Asked("human", text, said, asked))
    return found


def by_text(words: Sequence[Asked]) -> Iterator[tuple[tuple[int, ...], list[Asked]]]:
    """Yield texts with the words read along each: one that another begins with is read with it."""
    texts = sorted({one.text for one in words}, key=lambda text: (-len(text), text))
    kept: list[tuple[int, ...]] = []
    for text in texts:
        if not any(longer[: len(text)] == text for longer in kept):
            kept.append(text)
    left = list(words)
    for text in kept:
        own = [one for one in left if text[: len(one.text)] == one.text]
        left = [one for one in left if not any(one is taken for taken in own)]
        if own:
            yield text, own


def _fits(subject: Subject, partners: Sequence[Partner], *words: str) -> Bool[Tensor, " partners"]:
    """Return which partners a word is compared with: those that do not show it; none if too few.

    The short form takes the first 16 of them.
    """
    fits = torch.tensor([not any(map(p.shows, words)) for p in partners], dtype=torch.bool)
    if int(fits.sum()) < MIN_PARTNERS:
        return torch.zeros_like(fits)
    if subject.settings.sight == "short":
        fits &= fits.cumsum(dim=0) <= MIN_PARTNERS
    return fits


def _others(subject: Subject, partners: Sequence[Partner]) -> Iterator[str]:
    """Yield a noun of each partner's people that nothing written or annotated here is related to.

    Not what the model wrote: a noun that it says wrongly may be drawn as any other.
    """
    written = written_nouns(subject.item)
    for partner in partners:
        free = unrelated_to(written, partner.agreed)
        if free:
            yield min(free, key=lambda noun: digest(f"{subject.item.id} {noun}"))


def _next(
    subject: Subject,
    others: list[str],
    noun: str,
    used: set[int],
    partners: Sequence[Partner],
    fits: Bool[Tensor, " partners"],
) -> AbsentWord | None:
    """Take the first of other photos' nouns that can stand beside a noun."""
    for place, other in enumerate(others):
        tokens = word_tokens(subject.model, other)
        if not tokens or tokens[0] in used or article_of(other) != article_of(noun):
            continue
        shown = torch.tensor([partner.shows(other) for partner in partners], dtype=torch.bool)
        if bool((fits & ~shown).any()):
            used.add(tokens[0])
            del others[place]
            return AbsentWord(other, tokens[0])
    return None
