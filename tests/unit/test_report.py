"""The page of a run: whole, self-contained, safe whatever it shows; what is no run is refused."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

sys.path.append(str(Path(__file__).parents[1]))
from report_run import broken_image, image, reading, word, write_run
from trust_rows import UNDER, trust

from molyneux.errors import RunError
from molyneux.explain.claims import claim_of, percent
from molyneux.explain.document import Curves, Word
from molyneux.records import from_plain
from molyneux.report.page import caption_pieces, embedded, marked, write_photo_report

EVIL = '</script><img src=x onerror="alert(1)"><!-- \u2028 & \'"'


class Page(HTMLParser):
    """What a browser would find: elements, text outside scripts, and the contents of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside: str | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None
        elif tag in ("td", "th"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    @property
    def data(self) -> dict[str, Any]:
        *photos, shared, _ = self.scripts
        found: dict[str, Any] = json.loads(shared)
        return found | {"photos": [json.loads(photo) for photo in photos]}


def write(run: Path, *images: dict[str, Any]) -> Page:
    return Page(write_photo_report(write_run(run, images, n_units=100)))


def rewrite(run: Path, **changes: Any) -> None:
    path = run / "explain.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [image("house.jpg", "a house on a hill.", [word("house")])])


def test_the_page_says_what_the_photo_the_word_and_the_ablation_are(run: Path) -> None:
    path = write_photo_report(run)
    page = Page(path)
    assert path == run / "report.html"
    assert "A picture of a house on a hill." in page.text
    assert (
        "Switching off this photo's 100 most specific units leaves 29 % of the word's "
        "probability; another photo's (guitar) leave 97 %." in page.text
    )
    assert "leaves 5.0 % of the word's probability" in page.text
    assert re.search(r"probability\s*0\.31\b", page.text)
    assert "100 of this photo's leave 8.0 %, guitar photo's 14 %" in page.text
    assert "One photo is an illustration, not a measurement." in page.text
    (photo,) = [each for each in page.all("img") if each.get("src")]
    content = base64.b64decode((photo["src"] or "").removeprefix("data:image/jpeg;base64,"))
    assert content == (run / "photos" / "0.jpg").read_bytes()
    assert "house.jpg" in (photo["alt"] or "")


def test_the_sinks_among_the_top_units_are_named(run: Path) -> None:
    document = json.loads((run / "explain.json").read_text())
    units = document["images"][0]["words"][0]["rankings"]["raw"]
    page = Page(write_photo_report(run))
    for view, where in (("patches", "at the patches"), ("last", "at the last position")):
        sinks = [unit for unit in units[view] if unit["sink"]]
        assert f"{len(sinks)} of the raw top 100 {where} are sinks" in page.text
        assert " ".join(f"L{unit['layer']}.u{unit['unit']}" for unit in sinks) in page.text


def test_units_and_fields_reach_the_script(run: Path) -> None:
    document = json.loads((run / "explain.json").read_text())["images"][0]["words"][0]
    fields = load_file(run / "fields.safetensors")
    (found,) = Page(write_photo_report(run)).data["photos"][0]["words"]
    assert found["units"]["raw.patches"] == document["rankings"]["raw"]["patches"]
    assert found["units"]["specific.last"] == document["rankings"]["specific"]["last"]
    for name in ("total.patches", "raw.patches", "specific.patches", "raw.last", "specific.last"):
        maps = found["fields"][name]
        quanta = np.frombuffer(base64.b64decode(maps["units"]), dtype=np.int8).reshape(-1, 7, 7)
        largest = np.array(maps["largest"])[:, None, None]
        wanted = fields[f"0.0.{name}"]
        assert np.abs(quanta / 127 * largest - wanted).max() < 0.01 * np.abs(wanted).max()
        quanta = np.frombuffer(base64.b64decode(maps["set"]), dtype=np.int8).reshape(7, 7)
        wanted = fields[f"0.0.{name}.set"]
        error = np.abs(quanta / 127 * maps["setLargest"] - wanted).max()
        assert error < 0.01 * np.abs(wanted).max()


def test_nothing_in_a_run_can_break_out_of_its_place(tmp_path: Path) -> None:
    hostile = word(EVIL, note=EVIL)
    hostile["token"] = EVIL
    hostile["rankings"]["raw"]["patches"][0]["tokens"] = [EVIL] * 10
    hostile["ablation"]["other_noun"] = EVIL
    hostile["ablated_caption"]["top"] = EVIL
    page = write(tmp_path / "run", image(f"a/{EVIL}", f"a {EVIL}.", [hostile], note=EVIL))
    assert not [each for _, each in page.elements if "onerror" in each]
    assert not page.all("img", src="x")
    assert len(page.scripts) == 3
    assert page.data["photos"][0]["words"][0]["units"]["raw.patches"][0]["tokens"][0] == EVIL
    plain = write(tmp_path / "plain", image("a.jpg", "a house.", [word("house")]))
    assert page.scripts[-1] == plain.scripts[-1]


def test_embedded_json_holds_no_angle_bracket() -> None:
    text = embedded({EVIL: [EVIL]})
    assert "<" not in text
    assert json.loads(text) == {EVIL: [EVIL]}


def test_the_page_loads_nothing(run: Path) -> None:
    page = Page(write_photo_report(run))
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page.source)
    addresses = set(re.findall(r"https?://[^\s\"'<]*", page.source))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nothing fetches


def test_the_browser_is_told_to_load_nothing_and_run_one_script(run: Path) -> None:
    page = Page(write_photo_report(run))
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    digest = base64.b64encode(sha256(page.scripts[-1].encode()).digest()).decode()
    assert "default-src 'none'" in (policy["content"] or "")
    assert f"script-src 'sha256-{digest}'" in (policy["content"] or "")


def test_a_word_that_was_not_ablated_says_so(tmp_path: Path) -> None:
    page = write(tmp_path / "run", image("a.jpg", "a house.", [word("house", ablated=False)]))
    assert "No units were switched off for this word." in page.text
    assert "What is left of" not in page.text
    assert "The caption, written once more" not in page.text


def write_alone(run: Path, **settings: str) -> Page:
    """Write the page of a run whose model has no reference table."""
    alone = word("house")
    del alone["rankings"]["specific"]
    lists = (units for views in alone["rankings"].values() for units in views.values())
    for unit in (unit for units in lists for unit in units):
        unit |= {"specific": None, "sink": None}
    missing = ("specific", "other_specific", "absent_specific", "other", "matched", "interpretable")
    for name in ("ablation", "ablation_last"):
        alone[name] |= {curve: [None] * 5 for curve in (*missing, "unrelated_specific")}
        alone[name]["other_noun"] = None
    alone["ablated_caption"] |= {"specific": None, "other_specific": None}
    write_run(run, [image("a.jpg", "a house.", [alone])])
    document = json.loads((run / "explain.json").read_text())
    document["model"]["reference"] = None
    rewrite(run, model=document["model"], settings=document["settings"] | settings)
    return Page(write_photo_report(run))


def test_without_reference_photos_there_is_no_claim_but_a_reason(tmp_path: Path) -> None:
    page = write_alone(tmp_path / "run")
    assert "most specific units leaves" not in page.text
    assert "The run has no reference photos" in page.text
    assert "What is left of “house”" in page.text
    other_site = write_alone(tmp_path / "site", site="preactivation", note="left aside")
    assert "a reference table holds for one scorer" in other_site.text
    assert "The run has no reference photos" not in other_site.text


def test_without_reference_photos_nothing_of_them_is_drawn_or_offered(
    tmp_path: Path, run: Path
) -> None:
    whole, alone = Page(write_photo_report(run)), write_alone(tmp_path / "alone")
    for panel, there in (("specific", 2), ("raw", 2)):
        charts = {"class": "chart", "data-panel": panel}
        assert len(whole.all("div", **charts)) == there
        assert len(alone.all("div", **charts)) == (0 if panel == "specific" else there)
    assert whole.all("input", value="specific")
    assert not alone.all("input", value="specific")
    assert alone.all("input", value="raw")
    assert alone.all("input", value="patches")
    for text in ("Matched: of the same layers", "as many units of another photo", "Specific units"):
        assert text in whole.text
        assert text not in alone.text
    rows = alone.text.partition("The curves as tables")[2].partition("The caption, written")[0]
    assert "raw top, this photo's 100 %" in rows
    assert "random (mean)" in rows
    for gone in ("specific", "another photo's", "matched", "interpretable"):
        assert gone not in rows
    assert (whole.data["compared"], alone.data["compared"]) == (True, False)


def test_values_missing_inside_a_curve_are_dashes_and_move_the_claim(tmp_path: Path) -> None:
    short = word("house")
    short["ablation"]["other_specific"] = [1.0, 1.01, 0.99, None, None]
    page = write(tmp_path / "run", image("a.jpg", "a house.", [short]))
    assert (
        "this photo's 50 most specific units leaves 46 % of the word's probability; "
        "another photo's (guitar) leave 99 %" in page.text
    )
    assert "specific, another photo's 100 % 101 % 99 % – –" in page.text
    curves = page.data["photos"][0]["words"][0]["curves"][0]
    assert curves["other_specific"] == [1.0, 1.01, 0.99, None, None]


def test_numbers_no_browser_can_parse_are_left_out(run: Path) -> None:
    path = run / "explain.json"
    path.write_text(path.read_text().replace("0.29,", "NaN,", 1), encoding="utf-8")
    curves = Page(write_photo_report(run)).data["photos"][0]["words"][0]["curves"][0]
    assert curves["specific"][3] is None


def test_captions_that_could_not_be_written_again_are_left_out(tmp_path: Path) -> None:
    some = word("house")
    some["ablated_caption"] |= {"other_specific": None, "specific": ""}
    page = write(tmp_path / "run", image("a.jpg", "a house.", [some]))
    assert "another photo's specific off" not in page.text
    assert "A picture of (nothing)" in page.text
    assert "A picture of the, the, the, the" in page.text


def test_a_caption_without_a_noun_shows_its_note(tmp_path: Path) -> None:
    page = write(tmp_path / "run", image("a.jpg", "running.", [], note="the caption has no noun"))
    assert "A picture of running." in page.text
    assert "the caption has no noun" in page.text
    assert not page.all("button", **{"class": "word"})


def test_a_photo_that_was_refused_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [broken_image("dir/x.jpg", "x.jpg is empty; give a photo")])
    page = Page(write_photo_report(run))
    assert "x.jpg is empty; give a photo" in page.text
    assert not [each for each in page.all("img") if each.get("src")]


def test_several_photos_have_an_index(tmp_path: Path) -> None:
    page = write(
        tmp_path / "run",
        image("a.jpg", "a house.", [word("house")]),
        broken_image("b.jpg", "b.jpg is empty"),
        image("c.jpg", "a boat and a hill.", [word("boat"), word("hill", seed=1)]),
    )
    # The surest first noun leads; what was not read comes last.
    assert [each["href"] for each in page.all("a")] == ["#photo-1", "#photo-3", "#photo-2"]
    assert [each["id"] for each in page.all("article")] == ["photo-1", "photo-3", "photo-2"]
    assert [each["data-word"] for each in page.all("button", **{"class": "word"})] == [
        *("0", "0", "1")
    ]
    assert len({each["id"] for _, each in page.elements if "id" in each}) == len(
        [each for _, each in page.elements if "id" in each]
    )


def test_the_word_it_is_surest_of_leads_and_a_photo_keeps_its_own_maps(tmp_path: Path) -> None:
    photos = [
        image(f"{name}.jpg", f"a {name}.", [word(name, seed=seed) | {"probability": sure}])
        for seed, (name, sure) in enumerate([("house", 0.1), ("boat", 0.9), ("hill", 0.5)])
    ]
    page = write(tmp_path / "run", *photos)
    assert [each["href"] for each in page.all("a")] == ["#photo-2", "#photo-3", "#photo-1"]
    shown = [photo["words"][0] for photo in page.data["photos"]]
    assert [each["word"] for each in shown] == ["boat", "hill", "house"]
    alone = write(tmp_path / "alone", *photos[1:]).data["photos"][0]["words"][0]
    assert shown[0]["units"] == alone["units"]
    document = json.loads((tmp_path / "run" / "explain.json").read_text(encoding="utf-8"))
    assert [each["path"] for each in document["images"]] == ["house.jpg", "boat.jpg", "hill.jpg"]


def test_a_caption_known_to_be_wrong_is_shown_as_wrong_and_a_credit_beside_its_photo(
    tmp_path: Path,
) -> None:
    about = {"credit": "A. Smith <CC BY>", "known": ["rocket", "tower"]}
    wrong = image("a.jpg", "a beach.", [word("beach")]) | about | {"agrees": False}
    right = image("b.jpg", "a rocket.", [word("rocket")]) | about | {"agrees": True}
    page = write(tmp_path / "wrong", wrong)
    assert "People see something else here: rocket, tower" in page.text
    assert "A. Smith <CC BY>" in page.text
    for number, other in enumerate((right, image("c.jpg", "a beach.", [word("beach")]))):
        assert "people see here" not in write(tmp_path / str(number), other).text.lower()


def test_the_page_says_how_often_a_first_noun_is_right(tmp_path: Path) -> None:
    page = write(
        tmp_path / "run",
        image("a.jpg", "a house.", [word("house") | {"trust": trust()}]),
        image("b.jpg", "a boat.", [word("boat")]),
    )
    assert "house: right on 7 of 10 photos at this probability" in page.text  # in the index
    assert "68 %, 95 % interval 55 to 79 %, 54 photos" in page.text
    (titled,) = [each for each in page.all("button", **{"class": "word"}) if each.get("title")]
    assert titled["title"].startswith("right on 7 of 10 photos at this probability: 68 %")


def test_on_the_page_a_word_under_the_floor_is_flagged_and_claims_nothing(tmp_path: Path) -> None:
    asked = word("xyzzyplugh", note="scored by 'x'") | {"trust": UNDER, "probability": 3e-8}
    page = write(tmp_path / "run", image("a.jpg", "a house.", [asked]))
    assert "p = 3e-08, under the floor of 0.001: of nouns asked for" in page.text
    assert "asked for, under the floor" in page.text
    assert "these curves say nothing about the photo" in page.text
    assert "of the word's probability" not in page.text
    assert "this photo's leave" not in page.text


def test_one_photo_has_no_index(run: Path) -> None:
    assert not Page(write_photo_report(run)).all("nav")


def test_a_run_without_its_photos_and_fields_still_has_a_page(run: Path) -> None:
    (run / "photos" / "0.jpg").unlink()
    (run / "fields.safetensors").unlink()
    (run / "manifest.json").unlink()
    page = Page(write_photo_report(run))
    assert "The run folder holds no copy of this photo." in page.text
    assert page.data["photos"][0]["words"][0]["fields"] == {}


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no explain\.json; give the folder"):
        write_photo_report(tmp_path)
    with pytest.raises(RunError, match=r"has no explain\.json"):
        write_photo_report(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schema", [0, 3, "1", None])
def test_an_unknown_schema_is_refused(run: Path, schema: object) -> None:
    rewrite(run, schema=schema)
    with pytest.raises(RunError, match=r"has schema .*, this molyneux reads 1 and 2") as caught:
        write_photo_report(run)
    assert "\n" not in str(caught.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "images": 3}'])
def test_a_damaged_document_is_refused_in_one_line(run: Path, text: str) -> None:
    (run / "explain.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"anew|reads") as caught:
        write_photo_report(run)
    assert "\n" not in str(caught.value)


def test_a_document_without_a_name_the_page_needs_is_refused(run: Path) -> None:
    images = json.loads((run / "explain.json").read_text())["images"]
    del images[0]["words"][0]["probability"]
    rewrite(run, images=images)
    with pytest.raises(RunError, match="probability"):
        write_photo_report(run)


def test_damaged_fields_are_refused(run: Path) -> None:
    (run / "fields.safetensors").write_bytes(b"not tensors")
    with pytest.raises(RunError, match=r"fields\.safetensors is damaged"):
        write_photo_report(run)


def test_a_failed_write_leaves_the_old_page_and_nothing_else(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_photo_report(run).read_bytes()
    before = sorted(run.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("molyneux.store.os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device"):
        write_photo_report(run)
    assert (run / "report.html").read_bytes() == old
    assert sorted(run.iterdir()) == before


def test_the_page_depends_on_the_run_alone(run: Path) -> None:
    first = write_photo_report(run).read_bytes()
    assert write_photo_report(run).read_bytes() == first


def test_the_page_needs_no_torch(run: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import molyneux.report as report; "
        "assert 'torch' not in sys.modules; report.write_report(Path(sys.argv[1])); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(run)], check=True)
    assert (run / "report.html").is_file()


def test_what_the_patches_say_stands_by_layer_and_at_each_patch(tmp_path: Path) -> None:
    photo = image("a.jpg", "a guitar.", [word("guitar", n_units=2)])
    silent = write(tmp_path / "silent", photo)
    assert "What the patches say" not in silent.text
    page = write(tmp_path / "said", photo | {"reading": reading()})
    assert "What the patches say" in page.text
    assert "all layers guitar, table, river" in page.text
    assert "too few other photos" not in page.text
    assert "guitar +2.1, tax −0.5" in page.text
    assert "guitar: above 100 % of the nouns, in other photos 44 %" in page.text
    alone = reading()
    for one in alone:
        one |= {"effects_up": [], "effects_down": []}
        for each in one["words"]:
            del each["in_other_photos"]
    few = write(tmp_path / "alone", photo | {"reading": alone})
    assert "too few other photos" in few.text
    assert "layers 0 to 1 guitar, table" in page.text
    assert "was not measured" in page.text
    (data,) = page.data["photos"]
    assert len(data["atPatches"]) == 49
    assert data["atPatches"][1][0] == ["table", 5.0]
    whole = write(tmp_path / "whole", photo | {"reading": reading(grid=None)})
    assert whole.data["photos"][0]["atPatches"] is None
    assert not whole.all("div", **{"class": "cells"})
    norm = write(tmp_path / "norm", photo | {"reading": reading(lens="norm")})
    assert "What the patches say" not in norm.text


def test_a_badge_says_how_often_a_fake_has_it_or_is_left_out(tmp_path: Path) -> None:
    photo = image("a.jpg", "a guitar.", [word("guitar", n_units=2)])
    page = write(tmp_path / "many", photo)  # 200 reference photos of 46,080 units
    assert "under 0.1\u00a0% of units" in page.data["sinks"]
    run = tmp_path / "many"
    document = json.loads((run / "explain.json").read_text())
    for n_units, photos, said in ((200, 4, None), (46080, 2, "0.4\u00a0%"), (46080, None, None)):
        document["model"] |= {"n_units": n_units, "reference": {"photos": photos}}
        (run / "explain.json").write_text(json.dumps(document))
        badge = Page(write_photo_report(run)).data["sinks"]
        assert (badge is None) if said is None else (said in badge)


def test_a_list_says_how_much_of_others_lists_is_in_it(tmp_path: Path) -> None:
    one = word("guitar", n_units=2)
    one["rankings"]["raw"]["others_in_patches"] = 0.41
    page = write(tmp_path / "run", image("a.jpg", "a guitar.", [one]))
    (told,) = page.data["photos"][0]["words"]
    assert told["others"]["raw.patches"] == 0.41
    assert told["others"]["raw.last"] is None


def test_a_preset_whose_maps_localise_weakly_says_so_beside_them(tmp_path: Path) -> None:
    run = write_run(tmp_path, [image("a.jpg", "a guitar.", [word("guitar", n_units=2)])])
    limit = "Its 49 cells see far, so heat maps localise weakly."
    assert limit not in Page(write_photo_report(run)).text
    document = json.loads((run / "explain.json").read_text())
    document["model"]["limits"] = ["It is small.", limit]
    (run / "explain.json").write_text(json.dumps(document))
    page = Page(write_photo_report(run))
    # Beside the map, once more than any limit: those stand in the small print and the record.
    assert page.text.count(limit) == page.text.count("It is small.") + 1
    assert page.all("p", **{"class": "hint localises"})


def test_a_caption_is_cut_at_its_words_and_what_was_asked_for_comes_last() -> None:
    spans = {"giraffe": None, "hill": [13, 17], "house": [2, 7], "house on": [2, 10]}
    words = [
        from_plain(Word, word(text) | {"span": span}, "a word") for text, span in spans.items()
    ]
    assert caption_pieces("a house on a hill.", words) == [
        *[("a ", None), ("house", 2), (" on a ", None), ("hill", 1), (".", None)],
        *[("giraffe", 0), ("house on", 3)],
    ]
    assert caption_pieces("", []) == []


def test_only_the_word_itself_is_marked() -> None:
    assert marked("A house, a housefly. House", "house") == [
        *[("A ", False), ("house", True), (", a housefly. ", False), ("House", True)]
    ]


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (None, "–"),
        (0, "0 %"),
        (0.0004, "under 0.1 %"),
        (0.05, "5.0 %"),
        (0.0996, "10 %"),
        (0.291, "29 %"),
        (0.9968, "99.6 %"),
        (1.0, "100 %"),
        (1.204, "120 %"),
    ],
)
def test_percentages_are_read_easily(fraction: float | None, text: str) -> None:
    assert percent(fraction).replace("\u00a0", " ") == text


def as_curves(**changes: Any) -> Curves:
    made: Curves = from_plain(Curves, word("house")["ablation"] | changes, "curves")
    return made


def test_a_claim_needs_both_curves_and_at_most_the_listed_units() -> None:
    claim = claim_of(as_curves(), 100)
    assert claim is not None
    assert (claim.units, claim.own, claim.other) == (100, 0.29, 0.97)
    claim = claim_of(as_curves(), 60)
    assert claim is not None
    assert claim.units == 50
    assert claim_of(as_curves(other_specific=[None] * 5), 100) is None
    assert claim_of(as_curves(specific=[1.0, None, None, None, 0.1]), 100) is None


def test_a_claim_over_several_other_photos_carries_its_interval() -> None:
    against = {
        "others": [{"noun": "bear", "left": 0.8}] * 4,
        "difference": -0.43,
        "low": -0.5,
        "high": -0.36,
    }
    claim = claim_of(as_curves(own_minus_others=against))
    assert claim is not None
    assert claim.units == 100
    assert claim.interval is not None
    assert "4 other photos: −43 points" in claim.interval
    assert "−50 to −36" in claim.interval
    without = claim_of(as_curves())
    assert without is not None
    assert without.interval is None
