"""Which words of a caption are explained, and where the model decides on each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.attribution import Target
from molyneux.neurons.checks import as_model, as_prompt, as_token_ids
from molyneux.vision.layout import ImagePrompt
from molyneux.words.categories import category_of
from molyneux.words.nouns import find_nouns
from molyneux.words.synonyms import names_one_of

ASKED_TOO = "asked for, and the caption's own: explained once"


@dataclass(frozen=True)
class Word:
    """A word, its first token, and the position that predicts that token.

    Attributes:
        word: as written, lower case.
        lemma: its singular.
        n_tokens: how many tokens it is; only the first is scored.
        span: its characters in the caption, or None for a word that was only asked for.
        asked: whether the caption's own word was asked for as well.
    """

    word: str
    lemma: str
    target: Target
    token: str
    n_tokens: int
    span: tuple[int, int] | None
    asked: bool = False

    @property
    def note(self) -> str | None:
        """Say so where the word is scored by a part of it, or by other letters: dog, Dog, DOG.

        And where the caption's own word was asked for as well.
        """
        said = [ASKED_TOO if self.asked else None, self._scored_by]
        return "; ".join(line for line in said if line) or None

    @property
    def _scored_by(self) -> str | None:
        if self.n_tokens == 1:
            return None if self.token.strip() == self.word else f"scored by {self.token!r}"
        return f"scored by {self.token!r}, the first of its {self.n_tokens} tokens"


@dataclass(frozen=True)
class Sentence:
    """A caption as tokens, as text, and the words in it to be explained."""

    token_ids: list[int]
    caption: str
    words: list[Word]

    def up_to(self, model: LanguageModel, prompt: ImagePrompt, position: int) -> ImagePrompt:
        """Return the prompt continued so that it ends at `position`, which predicts a word."""
        return prompt.followed_by(model, self.token_ids[: position + 1 - prompt.n_positions])


def join_asked(written: Sequence[Word], asked: Sequence[Word]) -> list[Word]:
    """Return a caption's words, then those asked for, none of them twice.

    A word asked for that the caption has at the same place is the caption's, marked as asked for.
    """
    words = list(written)
    for one in asked:
        places = [(word.word, word.target) for word in words]
        if (one.word, one.target) not in places:
            words.append(one)
            continue
        at = places.index((one.word, one.target))
        words[at] = replace(words[at], asked=words[at].span is not None)
    return words


def read_sentence(model: LanguageModel, prompt: ImagePrompt, token_ids: list[int]) -> Sentence:
    """Return a caption with a word for each of its nouns, in order.

    Raises:
        UsageError: the prompt is another model's, or the model has no such token.
    """
    model = as_model(model)
    prompt = as_prompt(model, prompt, one_photo=False)
    token_ids = as_token_ids(model, token_ids)
    text = model.decode(token_ids)
    spans = _characters_of(model, token_ids, text)
    caption = text.strip()
    offset = len(text) - len(text.lstrip())
    words = []
    for noun in find_nouns(caption):
        start, end = noun.start + offset, noun.end + offset
        first = next(i for i, (reached, _) in enumerate(spans) if reached > start)
        last = next(i for i, (_, complete) in enumerate(spans) if complete >= end)
        target = Target(token_ids[first], prompt.n_positions + first - 1)
        token = model.token_text(token_ids[first])
        words.append(
            Word(noun.word, noun.lemma, target, token, last - first + 1, (noun.start, noun.end))
        )
    return Sentence(token_ids, caption, words)


def _characters_of(model: LanguageModel, token_ids: list[int], text: str) -> list[tuple[int, int]]:
    """Return how many characters of a text each token reaches into, and how many it completes.

    A prefix of the tokens may end inside a character, of which it has some bytes: it decodes to
    replacement characters there, as many as the tokenizer likes, or leaves it out. So only what
    the prefix's text and the whole text begin with alike is complete.
    """
    spans = []
    for i in range(len(token_ids)):
        prefix = model.decode(token_ids[: i + 1])
        apart = (k for k, (a, b) in enumerate(zip(prefix, text, strict=False)) if a != b)
        complete = next(apart, min(len(prefix), len(text)))
        spans.append((min(complete + (len(prefix) > complete), len(text)), complete))
    return spans


def word_tokens(model: LanguageModel, word: str) -> list[int]:
    """Return a word's tokens as they continue a text; none if its first would be a blank one.

    The space before the word belongs to its first token in most vocabularies. Where a tokenizer
    puts one before every text by itself (Llama's), a second would stand alone and say nothing.
    """
    spaced, bare = (model.encode(text) for text in (f" {word.strip()}", word.strip()))
    if _begins_a_word(model, spaced):
        return spaced
    adds_space = model.decode([*model.encode("a"), *bare]).startswith("a ")
    return bare if adds_space and _begins_a_word(model, bare) else []


def _begins_a_word(model: LanguageModel, tokens: list[int]) -> bool:
    return bool(tokens) and bool(model.token_text(tokens[0]).strip())


def require_tokens(model: LanguageModel, word: str) -> list[int]:
    """Return the tokens of a word that was asked for, the first not blank.

    Raises:
        UsageError: there is no word, or the tokenizer begins it with a blank token.
    """
    if not word.strip():
        raise UsageError("--word needs a word; give one, as in --word dog")
    tokens = word_tokens(model, word)
    if not tokens:
        raise UsageError(
            f"the tokenizer begins {word.strip()!r} with a blank token, which stands for no word; "
            "give another word"
        )
    return tokens


def ask_for(
    model: LanguageModel, prompt: ImagePrompt, sentence: Sentence, word: str
) -> tuple[Sentence, Word]:
    """Return a word that the caption may not hold, where its first noun is predicted.

    A caption without a noun is replaced, for this purpose, by " a".

    Raises:
        UsageError: the word is empty, or begins with a blank token.
    """
    tokens = require_tokens(model, word)
    if sentence.words:
        position = sentence.words[0].target.position
    else:
        article = word_tokens(model, "a") or model.encode(" a")
        sentence = Sentence(article, sentence.caption, [])
        position = prompt.n_positions + len(article) - 1
    nouns = find_nouns(word.strip())
    asked = Word(
        word.strip().lower(),
        nouns[0].lemma if nouns else word.strip().lower(),
        Target(tokens[0], position),
        model.token_text(tokens[0]),
        len(tokens),
        None,
    )
    return sentence, asked


# Everyday nouns of one token in most vocabularies; those that a caption does not hold are the
# unrelated ones that an ablation should leave alone.
EVERYDAY = tuple(
    """dog cat horse bird train plane boat car bus truck pizza cake table chair bed clock phone
    computer tree flower river mountain beach street house building church bridge ball book guitar
    shirt hat umbrella bottle cup plate man woman child""".split()  # noqa: SIM905
)


def nouns_shown(nouns: Collection[str], categories: Collection[str] = ()) -> set[str]:
    """Return the nouns that a photo is known to show: those said of it, and annotated in it.

    An everyday noun is among them, too, that says the same as one of them (`synonyms_of`) or names
    a category ("man" a `person`).

    Args:
        nouns: of the model's caption and people's, in the singular.
        categories: annotated in the photo.
    """
    named = {part for name in categories for part in name.split()}
    return {*nouns, *named} | {
        noun
        for noun in EVERYDAY
        if names_one_of(noun, nouns) or category_of(noun, categories) is not None
    }


def unrelated_nouns(
    model: LanguageModel, used: set[str], used_tokens: set[int], n: int = 20
) -> tuple[list[str], list[int]]:
    """Return `n` everyday nouns not in use, and the first token of each, all different."""
    nouns: list[str] = []
    tokens: list[int] = []
    for noun in EVERYDAY:
        ids = word_tokens(model, noun)
        if noun not in used and ids and ids[0] not in {*tokens, *used_tokens} and len(nouns) < n:
            nouns.append(noun)
            tokens.append(ids[0])
    return nouns, tokens
