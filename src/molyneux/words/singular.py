"""A plural as its singular: a rule of our own, and lists of exceptions."""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


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
