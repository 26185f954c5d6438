"""The page of a run: whole, self-contained, safe whatever it shows; what is no run is refused."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

sys.path.append(str(Path(__file__).parents[1]))
from report_page import ReportPage, unpacked
from report_run import broken_image, image, reading, word, write_run
from trust_rows import UNDER, trust

from molyneux.errors import RunError
from molyneux.explain.claims import claim_of, percent
from molyneux.explain.document import Curves
from molyneux.pages.one_file import embedded, write_report
from molyneux.pages.packed import packed
from molyneux.records import from_plain

EVIL = '</script><img src=x onerror="alert(1)"><!-- \u2028 & \'"'


def write(run: Path, *images: dict[str, Any]) -> ReportPage:
    return ReportPage(write_report(write_run(run, images, n_units=100)))


def rewrite(run: Path, **changes: Any) -> None:
    path = run / "explain.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [image("house.jpg", "a house on a hill.", [word("house")])])


def test_the_page_says_what_the_photo_the_word_and_the_ablation_are(run: Path) -> None:
    path = write_report(run)
    page = ReportPage(path)
    assert path == run / "report.html"
    shown = page.photo()
    assert (shown["lead"], shown["image"]["caption"]) == ("A picture of", "a house on a hill.")
    patches, last = shown["told"][0]["claims"]
    assert (
        "Switching off this photo's 100 most specific units leaves 29\u00a0% of the word's "
        "probability; another photo's (guitar) leave 97\u00a0%." in patches["sentence"]
    )
    assert "leaves 5.0\u00a0% of the word's probability" in last["sentence"]
    assert shown["image"]["words"][0]["probability"] == 0.312
    raw = shown["told"][0]["raw"]["patches"]
    assert raw == "100 of this photo's leave 8.0\u00a0%, guitar photo's 14\u00a0%"
    (photo,) = page.all("img")
    content = base64.b64decode((photo["src"] or "").removeprefix("data:image/jpeg;base64,"))
    assert content == (run / "photos" / "0.jpg").read_bytes()
    assert "house.jpg" in (photo["alt"] or "")
    # Its place is what the script is told.
    assert shown["photo"] == f"#{photo['id']}"


def test_without_scripts_there_are_photo_caption_words_and_what_is_concluded(run: Path) -> None:
    page = ReportPage(write_report(run))
    (verdict,) = page.photo()["verdicts"].values()
    for text in ("house.jpg", "A picture of a house on a hill.", f"“house”: {verdict}"):
        assert text.replace("\u00a0", " ") in page.text.replace("\u00a0", " ")
    (style,) = re.findall(r"<noscript><style>(.*?)</style>", page.source)
    assert ".plain" in style
    (article,) = page.all("article")
    assert article["class"] == "plain"


def test_the_licences_of_what_is_inside_go_with_the_page(run: Path) -> None:
    page = ReportPage(write_report(run))
    (notices,) = re.findall(r"<!--(.*?)-->", page.source, re.DOTALL)
    for text in ("Jason Miller", "Permission is hereby granted", "Google Inc.", "Apache License"):
        assert text in notices
        assert text not in page.text


def test_where_it_comes_from_is_kept(run: Path) -> None:
    page = ReportPage(write_report(run))
    record = page.data["record/r0"]
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert record["made"] == manifest["created"]
    assert record["command"] == " ".join(manifest["argv"])
    document = json.loads((run / "explain.json").read_text(encoding="utf-8"))
    assert record["parts"]["settings"].items() >= document["settings"].items()
    assert record["parts"]["model"]["language_model"] == document["model"]["language_model"]
    assert record["reference"] == 200
    assert page.photo()["image"]["sha256"] == "0f" * 32


def test_the_sinks_among_the_top_units_are_named(run: Path) -> None:
    document = json.loads((run / "explain.json").read_text())
    units = document["images"][0]["words"][0]["rankings"]["raw"]
    told = ReportPage(write_report(run)).photo()["told"][0]["listed_sinks"]
    views = (("patches", "at the patches"), ("last", "at the last position"))
    for line, (view, where) in zip(told, views, strict=True):
        sinks = [unit for unit in units[view] if unit["sink"]]
        assert f"{len(sinks)} of the raw top 100 {where} are sinks" in line
        assert line.endswith(" ".join(f"L{unit['layer']}.u{unit['unit']}" for unit in sinks))


def test_units_and_fields_reach_the_script(run: Path) -> None:
    document = json.loads((run / "explain.json").read_text())["images"][0]["words"][0]
    fields = load_file(run / "fields.safetensors")
    shown = ReportPage(write_report(run)).photo()
    found = shown["image"]["words"][0]["rankings"]
    for ranking, view in (("raw", "patches"), ("specific", "last")):
        for row, wanted in zip(
            found[ranking][view], document["rankings"][ranking][view], strict=True
        ):
            assert row.items() >= wanted.items()
    for name in ("total.patches", "raw.patches", "specific.patches", "raw.last", "specific.last"):
        for kept in (name, f"{name}.set"):
            maps = shown["fields"][f"0.{kept}"]
            quanta = np.frombuffer(base64.b64decode(maps["int8"]), dtype=np.int8).reshape(-1, 7, 7)
            largest = np.array(maps["scale"])[:, None, None]
            wanted = fields[f"0.0.{kept}"]
            assert maps["shape"] == list(wanted.shape)
            error = np.abs((quanta / 127 * largest).reshape(wanted.shape) - wanted).max()
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
    assert page.scripts == len(page.data) + 1
    units = page.photo()["image"]["words"][0]["rankings"]["raw"]["patches"]
    assert units[0]["tokens"][0] == EVIL
    plain = write(tmp_path / "plain", image("a.jpg", "a house.", [word("house")]))
    assert page.script == plain.script
    refused = write(tmp_path / "refused", broken_image(EVIL, EVIL))
    assert not [each for _, each in refused.elements if "onerror" in each]
    assert refused.scripts == len(refused.data) + 1


def test_embedded_json_holds_no_angle_bracket() -> None:
    text = embedded({EVIL: [EVIL]})
    assert "<" not in text
    assert json.loads(text) == {EVIL: [EVIL]}


@pytest.mark.parametrize(
    "data",
    [
        [{"a": 1, "b": [{"c": n} for n in range(5)]} for _ in range(6)],
        [{"a": 1}, {"a": 1, "b": 2}, {"a": 3}, {"a": 4}],
        [{"a": 1, "b": 2}, {"b": 1, "a": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2}],
        {"rows": [], "none": None, "few": [{"x": 1}], "text": "t"},
        [[], {}, [{}] * 5],
    ],
)
def test_packed_data_is_the_same_data(data: Any) -> None:
    assert unpacked(json.loads(json.dumps(packed(data)))) == data
    rows = [{"name": n, "value": 2 * n} for n in range(50)]
    assert len(json.dumps(packed(rows))) < 0.6 * len(json.dumps(rows))


def test_the_page_loads_nothing(run: Path) -> None:
    page = ReportPage(write_report(run))
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert not re.search(r"@import|url\((?!#)", page.source)
    # What would search, or ask a model, is not in it.
    assert "MiniSearch" not in page.script
    assert 'modules["live.js"] = {};' in page.script


def test_the_browser_is_told_to_load_nothing_and_run_one_script(run: Path) -> None:
    page = ReportPage(write_report(run))
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.strip().split(" ", 1) for rule in (policy["content"] or "").split(";"))
    digest = base64.b64encode(sha256(page.script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    styles = re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL)
    digests = [base64.b64encode(sha256(style.encode()).digest()).decode() for style in styles]
    assert sorted(rules["style-src"].split()) == sorted(f"'sha256-{one}'" for one in digests)
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    assert "connect-src" not in rules


def test_a_word_that_was_not_ablated_says_so(tmp_path: Path) -> None:
    page = write(tmp_path / "run", image("a.jpg", "a house.", [word("house", ablated=False)]))
    (told,) = page.photo()["told"]
    assert told["missing"].startswith("no units were switched off for this word")
    assert (told["claims"], told["curves"], told["listed_sinks"]) == ([], [], [])


def write_alone(run: Path, **settings: str) -> ReportPage:
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
    return ReportPage(write_report(run))


def test_without_reference_photos_there_is_no_claim_but_a_reason(tmp_path: Path) -> None:
    (told,) = write_alone(tmp_path / "run").photo()["told"]
    assert told["claims"] == []
    assert "the run has no reference photos" in told["missing"]
    assert told["curves"]
    other_site = write_alone(tmp_path / "site", site="preactivation", note="left aside")
    (told,) = other_site.photo()["told"]
    assert "a reference table holds for one scorer" in told["missing"]


def test_without_reference_photos_nothing_of_them_is_drawn_or_offered(
    tmp_path: Path, run: Path
) -> None:
    whole, alone = ReportPage(write_report(run)).photo(), write_alone(tmp_path / "alone").photo()
    (word_alone,) = alone["image"]["words"]
    assert "specific" in whole["image"]["words"][0]["rankings"]
    assert "specific" not in word_alone["rankings"]
    assert not any(word_alone["ablation"]["specific"])
    rows = [name for name, _ in alone["told"][0]["curves"][0]["rows"]]
    assert "raw top, this photo's" in rows
    assert "random (mean)" in rows
    for gone in ("specific", "another photo's", "matched", "interpretable"):
        assert not any(gone in name for name in rows)
    assert (whole["reference"], alone["reference"]) == (200, None)
    assert whole["told"][0]["missing"] is None


def test_values_missing_inside_a_curve_are_dashes_and_move_the_claim(tmp_path: Path) -> None:
    short = word("house")
    short["ablation"]["other_specific"] = [1.0, 1.01, 0.99, None, None]
    shown = write(tmp_path / "run", image("a.jpg", "a house.", [short])).photo()
    (told,) = shown["told"]
    assert (
        "this photo's 50 most specific units leaves 46\u00a0% of the word's probability; "
        "another photo's (guitar) leave 99\u00a0%" in told["claims"][0]["sentence"]
    )
    rows = dict(told["curves"][0]["rows"])
    cells = [cell.replace("\u00a0", " ") for cell in rows["specific, another photo's"]]
    assert cells == ["100 %", "101 %", "99 %", "–", "–"]
    curves = shown["image"]["words"][0]["ablation"]
    assert curves["other_specific"] == [1.0, 1.01, 0.99, None, None]


def test_numbers_no_browser_can_parse_are_left_out(run: Path) -> None:
    path = run / "explain.json"
    path.write_text(path.read_text().replace("0.29,", "NaN,", 1), encoding="utf-8")
    curves = ReportPage(write_report(run)).photo()["image"]["words"][0]["ablation"]
    assert curves["specific"][3] is None


def test_captions_that_could_not_be_written_again_are_left_out(tmp_path: Path) -> None:
    some = word("house")
    some["ablated_caption"] |= {"other_specific": None, "specific": ""}
    shown = write(tmp_path / "run", image("a.jpg", "a house.", [some])).photo()
    found = shown["image"]["words"][0]["ablated_caption"]
    assert (found["other_specific"], found["specific"]) == (None, "")
    assert found["top"] == " the, the, the, the"


def test_a_caption_without_a_noun_shows_its_note(tmp_path: Path) -> None:
    page = write(tmp_path / "run", image("a.jpg", "running.", [], note="the caption has no noun"))
    assert "A picture of running." in page.text
    assert "the caption has no noun" in page.text
    assert "the caption has no noun" in page.photo()["lines"]
    assert page.photo()["image"]["words"] == []


def test_a_photo_that_was_refused_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [broken_image("dir/x.jpg", "x.jpg is empty; give a photo")])
    page = ReportPage(write_report(run))
    assert "This photo was not explained. x.jpg is empty; give a photo" in page.text
    assert page.photo()["image"]["error"] == "x.jpg is empty; give a photo"
    assert page.all("img") == []


def test_the_surest_photo_leads_and_what_was_not_read_comes_last(tmp_path: Path) -> None:
    page = write(
        tmp_path / "run",
        image("a.jpg", "a house.", [word("house")]),
        broken_image("b.jpg", "b.jpg is empty"),
        image("c.jpg", "a boat and a hill.", [word("boat"), word("hill", seed=1)]),
    )
    assert page.order == [0, 2, 1]
    assert page.data["gallery/r0"]["order"] == "surest"
    assert [key for key in page.data if key.startswith("photo/")] == [
        f"photo/r0/{n}" for n in page.order
    ]
    names = ("a.jpg", "c.jpg", "b.jpg is empty")
    assert [page.text.index(name) for name in names] == sorted(map(page.text.index, names))
    named = [each["id"] for _, each in page.elements if "id" in each]
    assert len(set(named)) == len(named)


def test_the_word_it_is_surest_of_leads_and_a_photo_keeps_its_own_maps(tmp_path: Path) -> None:
    photos = [
        image(f"{name}.jpg", f"a {name}.", [word(name, seed=seed) | {"probability": sure}])
        for seed, (name, sure) in enumerate([("house", 0.1), ("boat", 0.9), ("hill", 0.5)])
    ]
    page = write(tmp_path / "run", *photos)
    assert page.order == [1, 2, 0]
    shown = [page.photo(n)["image"]["words"][0] for n in page.order]
    assert [each["word"] for each in shown] == ["boat", "hill", "house"]
    alone = write(tmp_path / "alone", *photos[1:]).photo(0)["image"]["words"][0]
    assert shown[0]["rankings"] == alone["rankings"]
    fields = load_file(tmp_path / "run" / "fields.safetensors")
    for n in page.order:
        scale = page.photo(n)["fields"]["0.total.patches"]["scale"]
        assert scale == pytest.approx(np.abs(fields[f"{n}.0.total.patches"]).max((1, 2)), rel=1e-3)
    document = json.loads((tmp_path / "run" / "explain.json").read_text(encoding="utf-8"))
    assert [each["path"] for each in document["images"]] == ["house.jpg", "boat.jpg", "hill.jpg"]


def test_a_caption_known_to_be_wrong_is_shown_as_wrong_and_a_credit_beside_its_photo(
    tmp_path: Path,
) -> None:
    about = {"credit": "A. Smith <CC BY>", "known": ["rocket", "tower"]}
    wrong = image("a.jpg", "a beach.", [word("beach")]) | about | {"agrees": False}
    right = image("b.jpg", "a rocket.", [word("rocket")]) | about | {"agrees": True}
    page = write(tmp_path / "wrong", wrong)
    for text in (page.text, page.said):
        assert "people see something else here: rocket, tower" in text
        assert "A. Smith <CC BY>" in text
    assert page.data["gallery/r0"]["cards"][0]["agrees"] is False
    for number, other in enumerate((right, image("c.jpg", "a beach.", [word("beach")]))):
        assert "people see" not in write(tmp_path / str(number), other).text.lower()


def test_the_page_says_how_often_a_first_noun_is_right(tmp_path: Path) -> None:
    page = write(
        tmp_path / "run",
        image("a.jpg", "a house.", [word("house") | {"trust": trust()}]),
        image("b.jpg", "a boat.", [word("boat")]),
    )
    trusts = {card["name"]: card["trust"] for card in page.data["gallery/r0"]["cards"]}
    assert trusts["a.jpg"]["text"] == "right on 7 of 10 photos at this probability"
    assert trusts["b.jpg"] is None
    assert page.data["gallery/r0"]["cards"][0]["found"] == (
        "29\u00a0% left, another photo's units 97\u00a0%"
    )
    assert "68 %, 95 % interval 55 to 79 %, 54 photos" in page.photo(0)["told"][0]["trust"]


def test_on_the_page_a_word_under_the_floor_is_flagged_and_claims_nothing(tmp_path: Path) -> None:
    asked = word("xyzzyplugh", note="scored by 'x'") | {"trust": UNDER, "probability": 3e-8}
    page = write(tmp_path / "run", image("a.jpg", "a house.", [asked]))
    (told,) = page.photo()["told"]
    assert "p = 3e-08, under the floor of 0.001: of nouns asked for" in told["warning"]
    assert (told["claims"], told["raw"], told["missing"]) == ([], {}, None)
    assert "nothing that is measured of it counts" in page.text
    assert "of the word's probability" not in page.text


def test_a_page_is_called_by_its_photo_or_how_many_there_are(run: Path, tmp_path: Path) -> None:
    assert "<title>house.jpg · molyneux</title>" in ReportPage(write_report(run)).source
    two = [image(f"{n}.jpg", "a house.", [word("house")]) for n in range(2)]
    assert "<title>2 photos · molyneux</title>" in write(tmp_path / "two", *two).source


def test_a_run_without_its_photos_and_fields_still_has_a_page(run: Path) -> None:
    (run / "photos" / "0.jpg").unlink()
    (run / "fields.safetensors").unlink()
    (run / "manifest.json").unlink()
    page = ReportPage(write_report(run))
    assert page.all("img") == []
    assert page.photo()["photo"] is None
    assert page.photo()["fields"] == {}
    assert page.data["record/r0"]["made"] is None


def test_a_name_that_is_no_text_does_not_cost_the_page(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    # As a manifest keeps a file name that is not UTF-8.
    changed = json.dumps(manifest | {"argv": ["explain", "caf\udce9.jpg"]})
    (run / "manifest.json").write_text(changed, encoding="utf-8")
    page = ReportPage(write_report(run))
    assert page.data["record/r0"]["command"] == "explain caf?.jpg"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no explain\.json; give the folder"):
        write_report(tmp_path)
    with pytest.raises(RunError, match=r"has no explain\.json"):
        write_report(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schema", [0, 3, "1", None])
def test_an_unknown_schema_is_refused(run: Path, schema: object) -> None:
    rewrite(run, schema=schema)
    with pytest.raises(RunError, match=r"has schema .*, this molyneux reads 1 and 2") as caught:
        write_report(run)
    assert "\n" not in str(caught.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "images": 3}'])
def test_a_damaged_document_is_refused_in_one_line(run: Path, text: str) -> None:
    (run / "explain.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"anew|reads") as caught:
        write_report(run)
    assert "\n" not in str(caught.value)


def test_a_document_without_a_name_the_page_needs_is_refused(run: Path) -> None:
    images = json.loads((run / "explain.json").read_text())["images"]
    del images[0]["words"][0]["probability"]
    rewrite(run, images=images)
    with pytest.raises(RunError, match="probability"):
        write_report(run)


def test_damaged_fields_are_refused(run: Path) -> None:
    (run / "fields.safetensors").write_bytes(b"not tensors")
    with pytest.raises(RunError, match=r"fields\.safetensors is damaged"):
        write_report(run)


def test_a_failed_write_leaves_the_old_page_and_nothing_else(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_report(run).read_bytes()
    before = sorted(run.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("molyneux.store.os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device"):
        write_report(run)
    assert (run / "report.html").read_bytes() == old
    assert sorted(run.iterdir()) == before


def test_the_page_depends_on_the_run_alone(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_the_page_needs_no_torch(run: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import molyneux.pages.one_file as pages; "
        "assert 'torch' not in sys.modules; pages.write_report(Path(sys.argv[1])); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(run)], check=True)
    assert (run / "report.html").is_file()


def test_what_the_patches_say_stands_by_layer_and_at_each_patch(tmp_path: Path) -> None:
    photo = image("a.jpg", "a guitar.", [word("guitar", n_units=2)])
    silent = write(tmp_path / "silent", photo).photo()["said"]
    assert silent == {"layers": [], "patches": None, "parts": [], "share": None}
    page = write(tmp_path / "said", photo | {"reading": reading()})
    said = page.photo()["said"]
    whole = said["layers"][0]
    assert whole["layers"] == "all layers"
    assert whole["words"][:3] == [["guitar", True], ["table", False], ["river", False]]
    assert (whole["up"], whole["down"]) == ([["guitar", "+2.1"]], [["tax", "−0.5"]])
    assert whole["places"] == [["guitar", "100\u00a0%", "44\u00a0%"]]
    assert said["share"].endswith("\u00a0%")
    assert "what the patches say, before any word is asked for: guitar" in page.text
    alone = reading()
    for one in alone:
        one |= {"effects_up": [], "effects_down": []}
        for each in one["words"]:
            del each["in_other_photos"]
    few = write(tmp_path / "alone", photo | {"reading": alone}).photo()["said"]["layers"]
    assert not any(one["places"] or one["up"] for one in few)
    assert said["layers"][1]["layers"] == "layers 0 to 1"
    assert len(said["patches"]) == 49
    assert said["patches"][1][0] == ["table", 5.0]
    # Nothing is there twice.
    assert page.photo()["image"]["reading"] is None
    whole = write(tmp_path / "whole", photo | {"reading": reading(grid=None)}).photo()
    assert whole["said"]["patches"] is None
    norm = write(tmp_path / "norm", photo | {"reading": reading(lens="norm")}).photo()
    assert norm["said"]["layers"] == []


def test_a_badge_says_how_often_a_fake_has_it_or_is_left_out(tmp_path: Path) -> None:
    photo = image("a.jpg", "a guitar.", [word("guitar", n_units=2)])
    page = write(tmp_path / "many", photo)  # 200 reference photos of 46,080 units
    assert "under 0.1\u00a0% of units" in page.photo()["sinks"]
    run = tmp_path / "many"
    document = json.loads((run / "explain.json").read_text())
    for n_units, photos, said in ((200, 4, None), (46080, 2, "0.4\u00a0%"), (46080, None, None)):
        document["model"] |= {"n_units": n_units, "reference": {"photos": photos}}
        (run / "explain.json").write_text(json.dumps(document))
        badge = ReportPage(write_report(run)).photo()["sinks"]
        assert (badge is None) if said is None else (said in badge)


def test_a_list_says_how_much_of_others_lists_is_in_it(tmp_path: Path) -> None:
    one = word("guitar", n_units=2)
    one["rankings"]["raw"]["others_in_patches"] = 0.41
    page = write(tmp_path / "run", image("a.jpg", "a guitar.", [one]))
    raw = page.photo()["image"]["words"][0]["rankings"]["raw"]
    assert (raw["others_in_patches"], raw.get("others_in_last")) == (0.41, None)


def test_a_preset_whose_maps_localise_weakly_says_so_beside_them(tmp_path: Path) -> None:
    run = write_run(tmp_path, [image("a.jpg", "a guitar.", [word("guitar", n_units=2)])])
    limit = "Its 49 cells see far, so heat maps localise weakly."
    assert ReportPage(write_report(run)).photo()["localises"] == []
    document = json.loads((run / "explain.json").read_text())
    document["model"]["limits"] = ["It is small.", limit]
    (run / "explain.json").write_text(json.dumps(document))
    shown = ReportPage(write_report(run)).photo()
    assert shown["localises"] == [limit]
    assert shown["limits"] == ["It is small.", limit]


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
