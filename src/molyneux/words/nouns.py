"""The nouns of a caption, in the order in which the caption names them.

The tags come from HanTa (Christian Wartena's Hanover Tagger; LGPL) and its English model, the
lemmas from a plural rule of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from molyneux.words.singular import singular
from molyneux.words.tagger import load_tagger

_LONGEST_WORD = 40  # The tagger's time grows with the cube of a word's length.


@dataclass(frozen=True)
class Noun:
    """One noun of a caption: `caption[start:end]`, lower-cased, and its singular."""

    word: str
    start: int
    end: int
    lemma: str


def find_nouns(caption: str) -> list[Noun]:
    """Nouns of `caption` in its order, one per distinct word, at the word's first occurrence.

    Every noun of a compound counts ("a tennis player": tennis, player), and so do proper nouns
    and the nouns that measure ("group", "pile", "bunch"); words that a fixed phrase has emptied do
    not ("in front of", "on top of", "lots of"), nor do colours before a noun. The text
    around a caption ("A picture of") is not passed: it changes no tag for the better.

    Raises `WeightsError` where HanTa's model is missing or is not the file of `HANTA`.
    """
    tokens = _tokenize(caption)
    if not tokens:
        return []
    tagger = load_tagger()
    words = [text.lower() for text, _, _ in tokens]
    tags = tagger.tag_sent(
        [_UNMET.get(word, text) for word, (text, _, _) in zip(words, tokens, strict=True)],
        taglevel=0,
    )
    found: dict[str, Noun] = {}
    for i, (_, start, end) in enumerate(tokens):
        word = words[i]
        if word not in found and _is_noun(words, tags, i):
            found[word] = Noun(word, start, end, singular(word))
    return list(found.values())


# --- words of a caption ---------------------------------------------------------------------

_TOKEN = re.compile(
    r"""
      o['’]clock\b
    | n['’]t\b | ['’](?:s|re|ll|ve|d|m)\b       # the way the tagger's corpus splits them
    | [^\W\d_]+?(?=n['’]t\b)
    | (?:[^\W\d_]+-)*[^\W\d_]+(?!\w)
    | \w+                                       # numbers, and names with digits in them
    | [.,;:!?()"']
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _tokenize(caption: str) -> list[tuple[str, int, int]]:
    """(text, start, end) of each word, number and common punctuation mark of `caption`."""
    return [
        (match.group().replace("’", "'"), match.start(), match.end())
        for match in _TOKEN.finditer(caption)
        if len(match.group()) <= _LONGEST_WORD
    ]


# --- from tags to nouns ---------------------------------------------------------------------


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Not those that are as often a thing before another ("olive tree", "peach pie").
_COLOURS = _set(
    "beige black blue bronze brown burgundy crimson cyan gold golden gray green grey indigo khaki "
    "magenta maroon mauve navy orange pink purple red scarlet silver tan teal turquoise violet "
    "white yellow"
)

_NUMBERS = _set(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred hundreds thousand thousands million millions dozen dozens half first second "
    "third fourth fifth last next"
)

# Nouns of captions that the model has not met and may take for something else by their endings; it
# is shown a word that is that noun's kind and nothing else.
_UNMET = {
    **dict.fromkeys(
        _set(
            "cucumber drier flamingo frisbee giraffe gorilla hippo hoodie hydrant ipad kayaker "
            "kiwi koala noodle panda pasta penguin selfie skateboarder skier smartphone surfer "
            "toaster tutu wii xbox"
        ),
        "apple",
    ),
    **dict.fromkeys(
        _set(
            "cucumbers flamingos giraffes gorillas hippos hoodies hydrants kiwis koalas noodles "
            "pandas penguins selfies skateboarders skiers skis sprinkles surfers toasters tutus"
        ),
        "apples",
    ),
}

# Fixed phrases; the marked words are no nouns there.
_EMPTIED = tuple(
    tuple((word.strip("*"), "*" in word) for word in phrase.split())
    for phrase in (
        "in *front of",
        "in *back of",
        "on *top of",
        "*atop of",
        "*close up",
        "*close ups",
        "up *close",
        "*lot of",
        "*lots of",
        "*plenty of",
        "*kind of",
        "*kinds of",
        "*sort of",
        "*side by *side",
        "*cross *country skiing",
        "*cross *country skis",
        "*cross *country skier",
        "*cross *country skiers",
    )
)

# Things named by a word in -ing: after a noun they are still nouns ("a brick building on").
_THINGS_IN_ING = _set(
    "awning bedding being bling blessing bowling boxing building carving ceiling clearing "
    "clothing coating covering crossing drawing dressing dumpling duckling earring evening "
    "fencing filling flooring frosting gathering gosling herring housing icing king "
    "lighting lightning marking meeting morning moulding molding outing painting "
    "parking paving piercing pudding railing ring roofing sapling seating sibling siding "
    "sling spring string stuffing swing thing topping tubing viking wedding wing wiring writing"
)

_OPENS_PHRASE = frozenset({"AT0", "DPS", "DT0"})
_ENDS_PHRASE = frozenset({"PUN", "PUL", "PUR", "PUQ", "PRP", "PRF", "AVP", "CJS", "CJT", "TO0"})
_FINITE = frozenset({"VBZ", "VBB", "VBD", "VHZ", "VVZ", "VM0"})


def _is_noun(words: list[str], tags: list[str], i: int) -> bool:
    """Whether word `i` is a noun: its tag (CLAWS C5, as HanTa writes it), less known slips."""
    word, tag = words[i], tags[i]
    if len(word) < 2 or not all(c.isalpha() or c in "-'" for c in word) or word[0] == "'":
        return False
    if not _NUMBERS.isdisjoint(word.split("-")):
        return False
    if _is_emptied(words, i):
        return False
    before = tags[i - 1] if i else ""
    after, second = [*tags[i + 1 : i + 3], "PUN", "PUN"][:2]
    named = tag.startswith("N")
    if word in _COLOURS:
        return named and not _is_colour_here(words, after, i)
    ends_here = after in _ENDS_PHRASE or (after == "CJC" and second in _OPENS_PHRASE)
    if named:
        # "a polar bear swimming in": the verb of the noun before it.
        is_verb = word.endswith("ing") and word not in _THINGS_IN_ING and before.startswith("N")
        return not (is_verb and (ends_here or after in _OPENS_PHRASE))
    if tag in ("UNC", "CRD"):  # Not classified, or a number that is none: words it has not met.
        return True
    if word in ("stop", "stops") and i and words[i - 1] in ("bus", "train", "truck"):
        return True
    if tag == "AJ0" and (ends_here or after in _FINITE):
        # "a remote on": an adjective that describes nothing is the name of the thing itself.
        return before in _OPENS_PHRASE or word == "remote"
    return False


def _is_emptied(words: list[str], i: int) -> bool:
    """Whether word `i` is a marked word of one of `_EMPTIED`'s phrases."""
    for phrase in _EMPTIED:
        plain = [word for word, _ in phrase]
        for at, (word, marked) in enumerate(phrase):
            if marked and word == words[i] and i >= at and words[i - at :][: len(plain)] == plain:
                return True
    return False


def _is_colour_here(words: list[str], after: str, i: int) -> bool:
    """Whether the colour word `i` describes ("an orange cat", "dressed in red"), not names."""
    if after.startswith(("N", "AJ", "UNC")):
        return True
    if after == "CJC" and i + 2 < len(words) and words[i + 2] in _COLOURS:
        return True
    before = words[i - 1] if i else ""
    joined = before == "and" and i > 1 and words[i - 2] in _COLOURS
    return before == "in" or before in _COLOURS or joined


def nouns_text(captions: Iterable[str]) -> str:
    """Return the distinct nouns of captions, singular, in the order they are first named."""
    return " ".join(
        dict.fromkeys(noun.lemma for caption in captions for noun in find_nouns(caption))
    )
