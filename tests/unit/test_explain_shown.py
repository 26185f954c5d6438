"""Explanations, words and unit lists as they print, and as a notebook shows them."""

from __future__ import annotations

import base64
import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_run
import torch
from PIL import Image as Picture
from trust_rows import UNDER, trust

from molyneux.errors import UsageError
from molyneux.explain.document import Image, UnitList, Word
from molyneux.explain.explanation import Explanation
from molyneux.explain.photo import explain_photo
from molyneux.explain.settings import Settings
from molyneux.explain.text import heading, rounded
from molyneux.explain.verdict import verdict
from molyneux.neurons.unit_sets import LISTED
from molyneux.records import from_plain

EVIL = '</table><script>alert(1)</script><img src=x onerror="alert(1)">'


def made_word(text: str = "house", **changes: Any) -> Word:
    return from_plain(Word, report_run.word(text) | changes, "a word")


def explanation(word: dict[str, Any] | None = None) -> Explanation:
    plain = report_run.image("house.jpg", "a house on a hill.", [word or report_run.word("house")])
    fields = {"0.total.patches.set": torch.arange(49.0).reshape(7, 7)}
    seen = Picture.new("RGB", (56, 56), "#8ec5e8")
    return Explanation(from_plain(Image, plain, "a photo"), fields, seen, "A picture of")


class Tags(HTMLParser):
    """The elements of a page, and the text outside them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_begins_with_the_verdict_and_shows_the_captions_with_units_off() -> None:
    found = made_word("woman")
    html = Tags(found._repr_html_()).text
    assert str(verdict(found)) in html
    assert "The caption with units off" in html
    captions = found.ablated_caption
    assert captions is not None
    for text in (captions.total, captions.specific, captions.other_specific, captions.random):
        assert str(text) in html
    bare = made_word("woman", ablation=None, ablation_last=None, ablated_caption=None)
    assert "units off" not in Tags(bare._repr_html_()).text


def test_a_word_s_units_are_of_the_largest_total_at_the_patches() -> None:
    word = made_word()
    assert list(word.units) == list(word.rankings["total"].patches)
    assert word.units.title == "Units of the largest total, scored at the photo's patches"
    assert list(word.ranked(view="last", ranking="raw")) == list(word.rankings["raw"].last)
    alone = made_word(rankings={"raw": report_run.word("house")["rankings"]["raw"]})
    assert list(alone.ranked(view="last", ranking="specific")) == []
    assert "none" in repr(alone.ranked(view="last", ranking="specific"))


def test_a_list_of_units_is_a_sequence_that_prints_short() -> None:
    units = made_word().units
    assert len(units) == 100
    assert isinstance(units[3:5], UnitList)
    assert units[3:5].names == [units[3].name, units[4].name]
    lines = repr(units).splitlines()
    assert len(lines) == 12
    assert lines[0] == f"{units.title} (100)"
    for line, row in zip(lines[1:11], units, strict=False):
        assert f"{row.name} " in line
        assert row.tokens[0].strip() in line
        assert (" [sink]" in line) == bool(row.sink)
    assert lines[-1].strip() == "… and 90 more"
    assert max(map(len, lines)) < 130


def test_a_list_of_units_becomes_a_frame() -> None:
    units = made_word().units
    frame = units.to_pandas()
    assert list(frame["name"]) == units.names
    assert list(frame["score"]) == [row.score for row in units]
    assert frame["tokens"][0] == units[0].tokens
    empty = UnitList((), "none").to_pandas()
    assert list(empty.columns) == list(frame.columns)


def test_without_pandas_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pandas is not installed.*molyneux\[") as caught:
        made_word().units.to_pandas()
    assert "\n" not in str(caught.value)


def test_an_explanation_prints_caption_words_and_units() -> None:
    found = explanation()
    text = repr(found)
    assert text.splitlines()[0] == "house.jpg: A picture of a house on a hill."
    assert "house  p = 0.31" in text
    assert "this photo's 100 most specific units leaves 29 %" in text
    assert found.words[0].units[0].name in text
    assert len(text) < 3000
    assert found.caption == "a house on a hill."
    assert len(repr(found.image)) < 3000


def test_a_caption_known_to_be_wrong_says_so() -> None:
    found = explanation()
    told = replace(found.image, known=("boat", "sea"), agrees=False)
    for said in (repr(told), told._repr_html_()):
        assert "people see something else here: boat, sea" in said
        assert "people see" not in repr(replace(told, agrees=True))


def test_a_word_says_how_often_such_a_word_is_right() -> None:
    said = made_word(trust=trust())
    assert repr(said).startswith("house  p = 0.31, right on 7 of 10 photos at this probability\n")
    assert "right on 7 of 10 photos at this probability" in said._repr_html_()
    assert "leaves 29" in repr(said)
    assert "right on" not in repr(made_word())


def test_of_a_word_under_the_floor_no_claim_is_printed() -> None:
    asked = made_word(trust=UNDER, span=None, probability=3e-8)
    for text in (repr(asked), Tags(asked._repr_html_()).text):
        assert "p = 3e-08, under the floor of 0.001: of nouns asked for" in text
        assert "says nothing" in text
        assert "leaves 29" not in text


def test_html_stands_alone_and_nothing_breaks_out_of_it() -> None:
    hostile = report_run.word(EVIL, note=EVIL)
    for unit in hostile["rankings"]["total"]["patches"]:
        unit["tokens"] = [EVIL] * 10
    hostile["ablation"]["other_noun"] = EVIL
    html = explanation(hostile)._repr_html_()
    tags = Tags(html)
    assert {tag for tag, _ in tags.found} <= {
        *("div", "p", "span", "b", "img", "code"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert not [name for _, attributes in tags.found for name in attributes if name[:2] == "on"]
    assert EVIL in tags.text
    sources = [attributes["src"] or "" for tag, attributes in tags.found if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"https?:|url\(", html)


def test_a_heat_map_is_brightest_where_the_field_is() -> None:
    found = explanation()
    picture = found.heat_map()
    assert picture is not None
    assert picture.size == found.seen.size
    levels = picture.convert("L")
    assert levels.getpixel((54, 54)) > levels.getpixel((1, 1))  # type: ignore[operator]
    assert found.heat_map(view="last") is None
    with pytest.raises(UsageError, match=r"no word 1: 1 were explained \(house\)"):
        found.heat_map(1)


def test_a_figure_shows_the_photo_its_map_and_both_curves(tmp_path: Path) -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = explanation().plot()
    assert len(figure.axes) == 4
    lines = {line.get_label(): line for line in figure.axes[2].get_lines()}
    own = lines["specific, this photo's"]
    assert list(own.get_xdata()) == report_run.GRID  # type: ignore[arg-type]
    assert list(own.get_ydata()) == report_run.curves("patches")["specific"]  # type: ignore[arg-type]
    figure.savefig(tmp_path / "figure.png")
    assert pyplot.get_fignums() == before  # it belongs to no window
    assert len(explanation(report_run.word("house", ablated=False)).plot().axes) == 2


def test_a_photo_explained_in_memory_shows_itself(captioner: Any, photos: Any) -> None:
    found = explain_photo(captioner, photos[0], Settings(grid=[0, 5], top=4))
    assert found.caption in repr(found)
    assert found.words[0].units.names[0] in repr(found.words[0])
    (seen, heat) = re.findall(r"base64,([^\"]+)", found._repr_html_())[:2]
    assert base64.b64decode(seen) != base64.b64decode(heat)
    assert found.plot().axes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (4.7871, "4.79"),
        (0.01319, "0.0132"),
        (-2.5, "−2.50"),
        (123456.0, "1.23e+05"),
        (0.000605, "6.05e-04"),
    ],
)
def test_numbers_are_rounded_to_the_digits_that_matter(value: float | None, text: str) -> None:
    assert rounded(value) == text


def test_headings_say_the_ranking_in_words() -> None:
    titles = {heading(r, v) for r in LISTED for v in ("patches", "last")}
    assert len(titles) == 10
    assert all("nits" in title and "scored" in title for title in titles)


def test_what_the_patches_say_is_said_through_the_jacobian_lens_alone() -> None:
    def reading(lens: str, layers: Any, words: list[str]) -> dict[str, Any]:
        rows = [{"word": word, "score": 1.0, "percentile": 0.9} for word in words]
        chosen = {"set": "change", "fraction_of_units": 0.05, "layers": layers}
        return {"lens": lens, **chosen, "words": rows, "effects_up": [], "effects_down": []}

    shown = explanation()
    assert "patches say" not in repr(shown)
    plain = report_run.image("house.jpg", "a house on a hill.", [report_run.word("house")])
    plain["reading"] = [
        reading("norm", "all", ["alfa"]),
        reading("jacobian", [0, 1], ["acerb"]),
        reading("jacobian", "all", ["hill", EVIL]),
    ]
    said = replace(shown, image=from_plain(Image, plain, "a photo"))
    for text in (repr(said), Tags(said._repr_html_()).text):
        assert "what the patches say, before any word is asked for: hill, " in text
        assert "(5 % of units that it changes most, as a set)" in text
        assert "alfa" not in text
        assert "acerb" not in text
    assert "script" not in {tag for tag, _ in Tags(said._repr_html_()).found}
