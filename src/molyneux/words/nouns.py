"""The nouns of a caption, in the order in which the caption names them.

The tags come from HanTa (Christian Wartena's Hanover Tagger; LGPL) and its English model, the
lemmas from a plural rule of our own. HanTa's model is a pickle, and unpickling runs what the file
says: so it is read only where its bytes are those of HanTa 1.2.1, and then through an unpickler
that knows no function but two stand-ins of this file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from molyneux.errors import WeightsError

HANTA = "HanTa==1.2.1"
MODEL_SHA256 = "99ddc9b14b3fe604b245e2d7a3aef59ab1bdd06b1bae4f4ce74738902e2a0265"
"""Of `HanTa/morphmodel_en.pgz` in the wheel of `HANTA`."""

_MODEL_FIELDS = 16
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
    tagger = _load_tagger()
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


# --- singulars ------------------------------------------------------------------------------

_IRREGULAR = {
    "axes": "axe",
    "busses": "bus",
    "cacti": "cactus",
    "calves": "calf",
    "crises": "crisis",
    "dwarves": "dwarf",
    "elves": "elf",
    "feet": "foot",
    "fungi": "fungus",
    "geese": "goose",
    "halves": "half",
    "hooves": "hoof",
    "lice": "louse",
    "lives": "life",
    "mice": "mouse",
    "oases": "oasis",
    "oxen": "ox",
    "passersby": "passerby",
    "pickaxes": "pickaxe",
    "quizzes": "quiz",
    "scarves": "scarf",
    "selves": "self",
    "teeth": "tooth",
    "thieves": "thief",
    "ups": "up",
    "wharves": "wharf",
}

# Ends of compounds too: "grandchildren", "housewives", "bookshelves".
_IRREGULAR_ENDS = {
    "children": "child",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "shelves": "shelf",
    "wives": "wife",
    "wolves": "wolf",
}

# -men that is no plural of -man.
_KEEPS_MEN = _set(
    "abdomen acumen albumen amen bitumen cyclamen dolmen hymen lumen omen ramen regimen rumen "
    "semen specimen stamen yemen"
)

# Ends in -s and is no plural, or has no singular of the same sense.
_KEEPS_S = _set(
    "alias always arkansas athletics atlas backwoods bedclothes bias biceps billiards binoculars "
    "canvas chaos christmas clothes cosmos diabetes electronics eyeglasses forceps gallows gas "
    "goggles graphics gymnastics headquarters innards jeans kansas knickers leggings lens madras "
    "mathematics mechanics miniseries molasses news olympics outdoors overalls overseas pajamas "
    "pancreas pants physics pliers pyjamas rhinoceros schnapps scissors series shears shorts "
    "species suds sunglasses sweatpants texas thanks thermos tights tongs triceps triceratops "
    "trousers tweezers underclothes underpants undershorts upstairs downstairs waterworks"
)

# -is and -us from -i and -u; no other word in -is or -us is a plural.
_FROM_VOWEL = _set(
    "alibis bayous bikinis caribous chilis corgis emus gnus gurus khakis kiwis martinis "
    "maxis menus minis paninis rabbis raviolis safaris semis skis taxis tsunamis tutus waterskis "
    "yetis zucchinis"
)

# -ies from -ie, not from -y.
_FROM_IE = _set(
    "aussies birdies bookies brasseries brownies budgies calories collies cookies cuties "
    "doggies eyries foodies freebies genies goalies goodies groupies hippies hoodies junkies "
    "lassies lies lingeries magpies menageries movies neckties newbies oldies pies pinkies pixies "
    "potpies prairies quickies rookies rotisseries selfies smoothies sorties sweeties techies "
    "ties townies undies veggies talkies wedgies weenies zombies"
)

# -es where only the s is the plural's, against the rule for that ending.
_FROM_E = _set(
    "aches avalanches backaches brioches caches cloches creches douches earaches headaches "
    "moustaches mustaches niches pastiches porsches quiches stomachaches toothaches aloes "
    "backhoes canoes does floes foes hoes horseshoes oboes roes shoes sloes snowshoes tiptoes "
    "toes woes bouillabaisses crevasses demitasses mousses fuses masseuses muses recluses reuses "
    "ruses uses excuses abuses"
)

# -es that is the plural's, against the rule that -ses is from -se.
_FROM_S = _set(
    "aliases atlases biases canvases christmases gases ibises irises lenses mantises pancreases "
    "rhinoceroses thermoses trellises"
)


def singular(word: str) -> str:
    """`word` as its singular by rule and lists of exceptions; a singular comes back unchanged.

    "people" stays, as do nouns of one form ("sheep", "scissors"). Lower case is expected; a word
    with hyphens changes in its last part.
    """
    first, dash, word = word.rpartition("-")
    return first + dash + _singular_part(word)


def _singular_part(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for plural, one in _IRREGULAR_ENDS.items():
        if word.endswith(plural):
            return word[: -len(plural)] + one
    if word.endswith("men") and word not in _KEEPS_MEN:
        return word[:-2] + "an"
    if not word.endswith("s") or word.endswith("ss") or word in _KEEPS_S:
        return word
    if word in _FROM_VOWEL or word in _FROM_IE or word in _FROM_E:
        return word[:-1]
    if word.endswith(("us", "is", "'s")):
        return word
    if len(word) <= 3:  # "gas", "yes"; but "tvs"
        return word if re.search("[aeiouy]", word) else word[:-1]
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word in _FROM_S:
        return word[:-2]
    if word.endswith(("sses", "xes", "shes", "ches", "zzes", "tzes", "oes")):
        return word[:-2]
    if word.endswith("uses") and not word.endswith(("ouses", "auses")):  # "buses", "walruses"
        return word[:-2]
    return word[:-1]


# --- the tagger -----------------------------------------------------------------------------


class _Float8:
    """Stands in for `numpy.dtype`, which the model names for one type only."""

    def __init__(self, name: str, *_: bool) -> None:
        if name != "f8":
            raise WeightsError(
                f"the noun tagger's model holds numbers of type {name!r}; only 'f8' is known: "
                f"pip install --force-reinstall {HANTA}"
            )

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] != "<":
            raise WeightsError(
                "the noun tagger's model holds numbers that are not little-endian: "
                f"pip install --force-reinstall {HANTA}"
            )


def _float_of(_: _Float8, packed: bytes) -> float:
    """Stands in for `numpy._core.multiarray.scalar`: the model's numbers become plain floats."""
    return float(struct.unpack("<d", packed)[0])


class ModelUnpickler(pickle.Unpickler):
    """Reads HanTa's model; whatever else a pickle asks for by name is a `WeightsError`."""

    _ADMITTED = {  # noqa: RUF012 - never written to
        ("numpy", "dtype"): _Float8,
        ("numpy._core.multiarray", "scalar"): _float_of,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`; nothing is ever imported."""
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise WeightsError(
                f"the noun tagger's model asks for {module}.{name}, which it has no need of; the "
                f"file was refused: pip install --force-reinstall {HANTA}"
            ) from None


def read_model(path: Path) -> tuple[Any, ...]:
    """HanTa's model as plain Python values, from a file with the pinned SHA-256.

    Raises `WeightsError` where the file cannot be read or is another; it is not unpickled then.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"the noun tagger's model {path} cannot be read ({error.strerror}): "
            f"pip install --force-reinstall {HANTA}"
        ) from error
    digest = hashlib.sha256(packed).hexdigest()
    if digest != MODEL_SHA256:
        raise WeightsError(
            f"the noun tagger's model {path} is not the one of {HANTA} (sha256 {digest[:12]}..., "
            f"not {MODEL_SHA256[:12]}...) and was not opened: "
            f"pip install --force-reinstall {HANTA}"
        )
    model = ModelUnpickler(io.BytesIO(gzip.decompress(packed))).load()
    if not isinstance(model, tuple) or len(model) != _MODEL_FIELDS:
        raise WeightsError(
            f"the noun tagger's model {path} has another layout than {HANTA}'s: "
            f"pip install --force-reinstall {HANTA}"
        )
    return model


def find_model() -> Path:
    """Where the installed HanTa keeps its English model. `WeightsError` where it is missing."""
    spec = find_spec("HanTa")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"nouns need HanTa, which is not installed: pip install {HANTA}")
    return Path(next(iter(spec.submodule_search_locations))) / "morphmodel_en.pgz"


@lru_cache(maxsize=1)
def _load_tagger() -> Any:
    model = read_model(find_model())
    from HanTa.HanoverTagger import HanoverTagger

    # Without a file name the constructor takes the model as given and never calls pickle; `strict`
    # is what it sets for a model from a file: words it has not met are tagged by their endings.
    tagger = HanoverTagger(None, model)
    tagger.strict = False
    return tagger
