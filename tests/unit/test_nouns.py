from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from molyneux.errors import WeightsError
from molyneux.words import Noun, find_nouns
from molyneux.words import tagger as module
from molyneux.words.singular import singular
from molyneux.words.tagger import ModelUnpickler, find_model, read_model

CAPTIONS = [
    ("a man riding a wave on a surfboard.", "man wave surfboard"),
    ("two dogs playing with a frisbee.", "dogs frisbee"),
    ("a plate of food on a table.", "plate food table"),
    ("a red double decker bus driving down the street.", "decker bus street"),
    ("a group of people standing around a kitchen.", "group people kitchen"),
    ("a man in front of a train at a station.", "man train station"),
    ("a cat sitting on top of a car next to a tree.", "cat car tree"),
    ("a tennis player swinging a racket on a court.", "tennis player racket court"),
    ("a bunch of bananas and oranges on a counter.", "bunch bananas oranges counter"),
    ("lots of people flying kites in a park.", "people kites park"),
    ("three zebras grazing in a green field.", "zebras field"),
    ("an orange cat laying on a laptop computer.", "cat laptop computer"),
    ("a kiwi and an orange on a plate.", "kiwi orange plate"),
    ("a baby elephant walking next to its mother.", "baby elephant mother"),
    ("a fire hydrant on the side of the road.", "fire hydrant side road"),
    ("a person cross country skiing on a snowy slope.", "person slope"),
    ("a close up of a pizza on a pan.", "pizza pan"),
    ("a vase of flowers sitting on a window sill.", "vase flowers window sill"),
    ("a young boy brushing his teeth with a toothbrush.", "boy teeth toothbrush"),
    ("a stop sign at the corner of two streets.", "stop sign corner streets"),
    ("a black and white photo of a clock tower.", "photo clock tower"),
    ("there is a man on a motorcycle in the dirt.", "man motorcycle dirt"),
    ("a herd of sheep standing on top of a lush green hillside.", "herd sheep hillside"),
    ("several boats docked in the water near a beach.", "boats water beach"),
    ("a polar bear swimming in the water with a ball.", "bear water ball"),
    ("a bus stop with people waiting for the bus.", "bus stop people"),
    ("a man dressed in orange riding a bike.", "man bike"),
    ("a giraffe eating leaves from a tall tree.", "giraffe leaves tree"),
    ("a plane landing on a runway near some mountains.", "plane runway mountains"),
    ("a brick building on a street.", "brick building street"),
    ("a remote on a couch next to a magazine.", "remote couch magazine"),
    (
        "a kid in a t-shirt plays a video game with a wii remote.",
        "kid t-shirt video game wii remote",
    ),
    ("a man's hand holding a cell phone.", "man hand cell phone"),
    ("there isn't a dog; it's a cat", "dog cat"),
    ("a dozen donuts and one 747 jet", "donuts jet"),
    ("A man in London with a Frisbee", "man london frisbee"),
    ("red, white and blue flag", "flag"),
    ("two people walking side by side down a path", "people path"),
]

SINGULARS = {
    "dogs": "dog", "men": "man", "women": "woman", "firemen": "fireman", "snowmen": "snowman",
    "people": "people", "children": "child", "grandchildren": "grandchild", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose", "knives": "knife", "shelves": "shelf",
    "bookshelves": "bookshelf", "wolves": "wolf", "leaves": "leaf", "loaves": "loaf",
    "halves": "half", "lives": "life", "scarves": "scarf", "waves": "wave", "gloves": "glove",
    "olives": "olive", "stoves": "stove", "cities": "city", "puppies": "puppy",
    "cookies": "cookie", "ties": "tie", "pies": "pie", "movies": "movie", "series": "series",
    "buses": "bus", "walruses": "walrus", "horses": "horse", "houses": "house", "vases": "vase",
    "noses": "nose", "glasses": "glass", "dresses": "dress", "lenses": "lens", "boxes": "box",
    "axes": "axe", "benches": "bench", "moustaches": "moustache", "dishes": "dish",
    "tomatoes": "tomato", "volcanoes": "volcano", "shoes": "shoe", "canoes": "canoe",
    "photos": "photo", "skis": "ski", "taxis": "taxi", "menus": "menu", "trays": "tray",
    "tvs": "tv", "t-shirts": "t-shirt", "close-ups": "close-up", "snow-shoes": "snow-shoe",
    "bow-ties": "bow-tie", "oases": "oasis", "quizzes": "quiz", "sizes": "size",
}  # fmt: skip

ONE_FORM = (
    "sheep fish deer scissors pants jeans news people bus gas lens grass glass cactus tennis iris "
    "canvas christmas specimen omen series dog child rice"
)


@pytest.mark.parametrize(("caption", "expected"), CAPTIONS)
def test_nouns_of_captions(caption, expected):
    assert [noun.word for noun in find_nouns(caption)] == expected.split()


def test_spans_and_lemmas():
    caption = "Two Dogs and two dogs with a man’s shoes"
    assert find_nouns(caption) == [
        Noun("dogs", 4, 8, "dog"),
        Noun("man", 29, 32, "man"),
        Noun("shoes", 35, 40, "shoe"),
    ]
    for noun in find_nouns(caption):
        assert caption[noun.start : noun.end].lower() == noun.word


@pytest.mark.parametrize(
    "text", ["", " ", ".", "...", "!?", "\n\t", "12 3/4", "'", "😀", "x" * 5000, "-", "a", "中文"]
)
def test_text_that_is_no_caption_raises_nothing(text):
    for noun in find_nouns(text):
        assert text[noun.start : noun.end].lower() == noun.word


@pytest.mark.parametrize(("plural", "one"), SINGULARS.items())
def test_singular(plural, one):
    assert singular(plural) == one
    assert singular(one) == one


def test_words_of_one_form_stay():
    for word in ONE_FORM.split():
        assert singular(word) == word


def test_threads_agree():
    module.load_tagger.cache_clear()
    captions = [caption for caption, _ in CAPTIONS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(find_nouns, captions))
    assert together == [find_nouns(caption) for caption in captions]


def test_hanta_neither_reads_its_own_pickle_nor_imports_nltk():
    code = (
        "import pickle, sys\n"
        "def refuse(*a, **k): raise SystemExit('pickle.load was called')\n"
        "pickle.load = pickle.loads = refuse\n"
        "from molyneux.words import find_nouns\n"
        "assert find_nouns('a dog')[0].word == 'dog'\n"
        "assert not {'nltk', 'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class _Harmful:
    """Pickles into a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_changed_model_is_refused_before_it_is_unpickled(tmp_path):
    made = tmp_path / "made"
    model = tmp_path / "model.pgz"
    model.write_bytes(gzip.compress(pickle.dumps(_Harmful(made))))
    with pytest.raises(WeightsError, match="not the one of") as caught:
        read_model(model)
    assert "\n" not in str(caught.value)
    assert not made.exists()


def test_one_changed_byte_is_enough(tmp_path):
    packed = bytearray(find_model().read_bytes())
    packed[len(packed) // 2] ^= 1
    model = tmp_path / "model.pgz"
    model.write_bytes(packed)
    with pytest.raises(WeightsError, match="was not opened"):
        read_model(model)


def test_unpickler_holds_also_where_the_hash_does_not(tmp_path, monkeypatch):
    made = tmp_path / "made"
    model = tmp_path / "model.pgz"
    harmful = pickle.dumps(_Harmful(made))
    model.write_bytes(gzip.compress(harmful))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "MODEL_SHA256", digest)
    with pytest.raises(WeightsError, match=r"asks for \w+\.open"):
        read_model(model)
    assert not made.exists()
    pickle.loads(harmful).close()
    assert made.exists(), "the pickle of this test does what it is feared to do"


@pytest.mark.parametrize("thing", [os.system, eval, getattr, __import__, subprocess.Popen])
def test_unpickler_admits_no_function(thing):
    with pytest.raises(WeightsError, match="refused"):
        ModelUnpickler(io.BytesIO(pickle.dumps(thing))).load()


def test_unpickler_refuses_old_style_calls(tmp_path):
    made = tmp_path / "made"
    with pytest.raises(WeightsError, match=r"os\.system"):
        ModelUnpickler(io.BytesIO(f"cos\nsystem\n(S'touch {made}'\ntR.".encode())).load()
    assert not made.exists()


def test_another_layout_is_an_error(tmp_path, monkeypatch):
    model = tmp_path / "model.pgz"
    model.write_bytes(gzip.compress(pickle.dumps([1, 2])))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "MODEL_SHA256", digest)
    with pytest.raises(WeightsError, match="another layout"):
        read_model(model)


def test_missing_model_and_missing_package(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match="cannot be read"):
        read_model(tmp_path / "none.pgz")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install HanTa"):
        find_model()
