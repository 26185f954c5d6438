"""What a visitor does with the explorer, done in a real browser."""

from __future__ import annotations

import io
import json
import re
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from explorer_served import Served, Tabs, serve, until, until_address
from PIL import Image

from molyneux.explore.live import Live

VIEWS = {
    "transplant": "#/transplant?from=r0.0&into=r0.1",
    "gallery": "#/r0",
    "photo": "#/r0/0?word=woman&list=specific.patches&patch=2,3",
    "broken photo": "#/r0/3",
    "unit": "#/r0/unit/{unit}",
    "live": "#/live?photo=r0.0",
    "find": "#/find?q=wom",
    "compare": "#/compare?a=r0.0&b=r0.1",
}


def _a_unit(run: Path) -> dict[str, Any]:
    """Return the first unit of the first word's list, as the run has it."""
    document = json.loads((run / "explain.json").read_text(encoding="utf-8"))
    unit: dict[str, Any] = document["images"][0]["words"][0]["rankings"]["total"]["patches"][0]
    return unit


def _name(unit: dict[str, Any]) -> str:
    return f"L{unit['layer']}.u{unit['unit']}"


def _photo(colour: str = "#b03020") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _give(tab: Any, photo: bytes, name: str = "mine.png") -> None:
    file = {"name": name, "mimeType": "image/png", "buffer": photo}
    tab.set_input_files("input[type=file] >> nth=0", file)


def _units(tab: Any, text: str) -> None:
    """Name the units to change, and have them changed."""
    tab.get_by_label("Which units").select_option("named")
    tab.get_by_label("Their names").fill(text)
    tab.get_by_label("Their names").press("Tab")
    tab.get_by_role("button", name="Switch off", exact=True).click()


def test_no_view_has_a_serious_accessibility_fault_or_runs_over(
    tabs: Tabs, served: Served, run: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = tabs.open()
    found = {}
    for name, view in VIEWS.items():
        tab.set_viewport_size({"width": 1280, "height": 900})
        tab.emulate_media(color_scheme="light")
        tab.goto("about:blank")
        tab.goto(served.at(view.format(unit=_name(_a_unit(run)))))
        tab.wait_for_selector("main h1, main h2, main .caption, main .error")
        tab.wait_for_load_state("networkidle")
        faults = axe.run(tab, options={"resultTypes": ["violations"]}).response["violations"]
        # What a dark page may do worse is its colours.
        tab.emulate_media(color_scheme="dark")
        colours = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
        faults += axe.run(tab, options=colours).response["violations"]
        found[name] = [
            f"{fault['id']}: {fault['nodes'][0]['html'][:160]}"
            for fault in faults
            if fault["impact"] in ("serious", "critical")
        ] + _over(tab)
        tab.set_viewport_size({"width": 400, "height": 860})
        found[name] += _over(tab)
    assert found == {name: [] for name in VIEWS}


def _over(tab: Any) -> list[str]:
    """Return what reaches out of the window, where one would have to scroll sideways."""
    over: list[str] = tab.evaluate(
        """document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("main *")]
          .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
          .map((e) => `over ${innerWidth}: ${e.className}`)"""
    )
    return over


def test_a_word_a_patch_and_a_unit_are_chosen_and_the_address_restores_them(
    tabs: Tabs, served: Served, run: Path
) -> None:
    tab = tabs.open(served.at("#/r0/0"))
    assert tab.locator(".word[aria-pressed=true]").inner_text() == "woman"
    tab.get_by_role("button", name="guitar", exact=True).click()
    tab.locator("label", has_text=re.compile("^specific$")).click()
    tab.locator("label", has_text="last position").click()
    tab.locator(".cell").nth(10).click()
    said = tab.locator(".patch-card .at-patch li").all_inner_texts()
    assert len(said) == 5
    (part,) = tab.locator(".patch-parts tbody tr").all_inner_texts()
    names = [line.split()[0] for line in said]
    assert part.startswith("layers 0 to 1")
    assert [part.index(name) for name in names[3:]] == sorted(part.index(n) for n in names[3:])
    assert names[0] not in part  # a set of its own, and so words of its own
    unit = tab.locator(".ranked .row").nth(2).get_attribute("data-unit")
    tab.locator(".ranked .unit").nth(2).click()
    tab.wait_for_selector(".of-unit")
    assert "token" not in tab.evaluate("location.search")

    other = tabs.beside(tab.context, served.at(tab.evaluate("location.hash")))
    assert other.locator(".word[aria-pressed=true]").inner_text() == "guitar"
    assert other.locator("input[name=ranking]:checked").get_attribute("value") == "specific"
    assert other.locator("input[name=view]:checked").get_attribute("value") == "last"
    assert other.locator(".cell[aria-pressed=true]").get_attribute("data-place") == "10"
    assert other.locator(".patch-card .at-patch li").all_inner_texts() == said
    assert other.locator(".row.pinned").get_attribute("data-unit") == unit
    other.get_by_role("link", name=f"All about {unit}").click()
    other.locator("h1.mono", has_text=unit).wait_for()
    other.wait_for_selector(".peaks img")


def test_lists_show_no_token_that_cannot_be_seen(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0?word=woman"))
    tokens = tab.locator(".ranked .token").all_inner_texts()
    assert tokens
    assert all(token.strip("␣ \n\\n�") for token in tokens)
    # The line break, which every unit of this run writes, is counted.
    assert "unseen" in tab.locator(".ranked .row").first.inner_text()


def test_a_share_above_the_plot_is_marked(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0?word=woman"))
    marked = tab.locator(".chart .beyond title").all_text_contents()
    assert any("400" in text and "above the top" in text for text in marked)
    other = tabs.open(served.at("#/r0/1"))
    assert other.locator(".chart").count()
    assert not other.locator(".chart .beyond").count()


def test_what_is_said_of_a_photo_ends_in_a_full_stop(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0"))
    for kind in (".verdict", ".line", ".told"):
        lines = tab.locator(f".say {kind}").all_inner_texts()
        assert lines
        assert [line for line in lines if not line.endswith((".", "!", "?"))] == []


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("a marker that is standing in front of a marker that is standing in", True),
        ("a man a man a man a man", True),
        ("a dog in front of a house in front of a hill", False),
        ("a cat.", False),
        ("", False),
    ],
)
def test_a_caption_that_goes_round_in_circles_is_told(
    tabs: Tabs, served: Served, caption: str, told: bool
) -> None:
    tab = tabs.open(served.at("#/r0"))
    asked = "text => import('./text.js').then(module => module.repeats(text))"
    assert tab.evaluate(asked, caption) is told


def test_pointing_at_a_unit_paints_its_map(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0?word=woman"))
    pixels = "document.querySelector('.frame canvas').toDataURL()"
    tab.wait_for_selector(".frame canvas")
    of_all = tab.evaluate(pixels)
    tab.locator(".ranked .row").nth(3).hover()
    tab.wait_for_selector(".frame .peak")
    assert tab.evaluate(pixels) != of_all
    # The patches can be told apart while one points at the photo.
    tab.locator(".cell").nth(0).hover()
    border = tab.locator(".cell").nth(20).evaluate("e => getComputedStyle(e).borderRightColor")
    assert border not in ("transparent", "rgba(0, 0, 0, 0)")


def test_the_gallery_is_filtered_by_text_and_by_noun(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0"))
    assert tab.locator(".photo-card").count() == 4
    tab.get_by_label("Text").fill("book")
    until(lambda: tab.locator(".photo-card").count() == 1)
    assert "table" in tab.locator(".photo-card").inner_text()
    tab.get_by_label("Text").fill("")
    tab.get_by_label("First noun").select_option("river")
    until(lambda: tab.locator(".photo-card").count() == 1)
    other = tabs.beside(tab.context, served.at(tab.evaluate("location.hash")))
    other.wait_for_selector(".photo-card")
    assert other.locator(".photo-card").count() == 1


def test_units_are_found_by_the_beginning_of_a_word(tabs: Tabs, served: Served, run: Path) -> None:
    tab = tabs.open(served.at("#/find"))
    tab.get_by_label("Word", exact=True).fill("daugh")
    tab.wait_for_selector(".found-units li")
    first = tab.locator(".found-units li").first
    assert "daughter" in first.locator("mark").first.inner_text()
    name = _name(_a_unit(run))
    tab.get_by_label("Word", exact=True).fill(name)
    until(lambda: tab.locator(".found-units li a").all_inner_texts()[:1] == [name])
    tab.get_by_label("Layers").fill("98-99")
    until(lambda: tab.locator(".found-units").count() == 0)


def test_a_glossary_word_says_what_it_means(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0"))
    term = tab.locator("button.term", has_text="share").first
    term.focus()
    said = tab.locator(f"#{term.get_attribute('aria-describedby')}")
    assert said.is_visible()
    assert len(said.inner_text()) > 20
    term.press("Escape")
    assert not said.is_visible()


def test_units_are_switched_off_in_a_photo_that_was_given(
    tabs: Tabs, served: Served, model: Any
) -> None:
    tab = tabs.open(served.at("#/live"))
    _give(tab, _photo())
    until_address(tab, "upload")
    tab.wait_for_selector(".say h2.caption")
    before = tab.locator(".say h2.caption").inner_text()
    width = model.language_model.d_mlp
    _units(tab, ", ".join(f"L{layer}.u{u}" for layer in (0, 1) for u in range(width)))
    tab.wait_for_selector(".rewrite.strong dd")
    after = tab.locator(".rewrite.strong dd").inner_text()
    assert after not in ("", before)
    assert "becomes" in tab.locator(".part .verdict").inner_text()
    tab.get_by_role("button", name="Undo").click()
    until(lambda: tab.locator(".rewrite.strong").count() == 0)

    # All that a run would hold of it can be had, and what it says is of this photo.
    tab.get_by_role("button", name="Explain this photo").click()
    tab.wait_for_selector(".photo .ranked .unit")
    assert tab.locator(".photo .frame img").first.evaluate("image => image.naturalWidth") > 0

    # None off changes nothing: the same way says so.
    tab.locator("label", has_text="scaled").click()
    tab.get_by_label("Times").fill("1")
    tab.get_by_label("Times").press("Tab")
    tab.get_by_label("Their names").fill("L0.u1")
    tab.get_by_label("Their names").press("Tab")
    tab.get_by_role("button", name="Change", exact=True).click()
    tab.wait_for_selector(".part .verdict")
    assert "stays as it was" in tab.locator(".part .verdict").inner_text()


def test_the_slider_says_how_many_units_are_off(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/live?photo=r0.0&set=total&word=table&top=2"))
    tab.wait_for_selector(".say h2.caption")
    slider = tab.get_by_role("slider")
    assert tab.locator("output").inner_text() == "2"
    for number in ("5", "10"):
        slider.press("ArrowRight")
        until_address(tab, f"top={number}")
        tab.locator(".part .verdict", has_text=f"{number} units").wait_for()
    other = tabs.beside(tab.context, served.at(tab.evaluate("location.hash")))
    assert other.locator("output").inner_text() == "10"


def test_a_photo_is_put_into_another_beside_its_controls(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.address)  # it is the first thing that one meets
    tab.get_by_role("button", name="Choose the second photo").click()
    tab.get_by_role("group", name="Photos for the second photo").get_by_role("button").nth(
        1
    ).click()
    until_address(tab, "into=")
    tab.locator(".cell").nth(5).click()
    tab.locator(".cell").nth(6).click()
    until_address(tab, "patches=")
    tab.get_by_label("Words to ask for").fill("table")
    tab.get_by_role("button", name="Transplant", exact=True).click()
    tab.wait_for_selector(".result .rewrite")
    named = tab.locator(".result .rewrite dt").all_inner_texts()
    assert [text.split("\n")[0] for text in named] == [
        "as it is",
        "with the first photo's values",
        "as many random units",
        "a third photo's values",
    ]
    assert tab.locator(".result .verdict").inner_text()
    assert tab.locator(".probabilities tbody th").all_inner_texts() == ["table"]


def test_two_tabs_are_served_and_each_gets_its_own_answer(tabs: Tabs, served: Served) -> None:
    pages = [tabs.open(served.at(f"#/live?photo=r0.{n}")) for n in (0, 1)]
    for number, tab in enumerate(pages):
        tab.wait_for_selector(".say h2.caption")
        _units(tab, ", ".join(f"L0.u{u}" for u in range(number + 2)))
    for number, tab in enumerate(pages):
        tab.wait_for_selector(".part .verdict")
        assert f"With {number + 2} units" in tab.locator(".part .verdict").inner_text()


def test_what_waits_is_seen_and_can_be_cancelled(tabs: Tabs, run: Path, model: Any) -> None:
    gate = threading.Event()

    def load() -> Any:
        gate.wait(60)
        return model

    with serve([run], load) as served:
        try:
            tab = tabs.open(served.at("#/transplant?from=r0.0&into=r0.1"))
            assert "being loaded" in tab.locator(".loading-model").inner_text()
            tab.get_by_role("button", name="Transplant", exact=True).click()
            tab.wait_for_selector(".job.waiting")
            tab.get_by_role("button", name="Cancel").click()
            tab.wait_for_selector(".job.cancelled")
        finally:
            gate.set()
        # And the next one is done.
        tab.get_by_role("button", name="Transplant", exact=True).click()
        tab.wait_for_selector(".result .rewrite")


def test_a_file_that_is_no_photo_is_refused_in_a_line(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/live"))
    _give(tab, b"no photo at all", "notes.png")
    tab.wait_for_selector(".picker .error")
    assert "notes.png" in tab.locator(".picker .error").inner_text()
    tabs.wrong.clear()  # the browser reports the refusal, too


def test_a_page_of_another_site_can_neither_read_nor_ask(
    tabs: Tabs, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[Any] = []

    def ask(live: Live, asked: Any) -> dict[str, Any]:
        reached.append(asked)
        return {"job": "x", "place": 0}

    monkeypatch.setattr(Live, "ask", ask)
    asked = '{"kind": "caption", "photo": {"run": "r0", "n": 0}}'
    tab = tabs.open()
    tab.context.route(
        "http://elsewhere.test/**",
        lambda route: route.fulfill(body="<h1>elsewhere</h1>", content_type="text/html"),
    )
    tab.goto("http://elsewhere.test/")
    outcome = tab.evaluate(
        """async ([origin, token, asked]) => {
          const tried = async (path, options) => {
            try { return (await fetch(origin + path, options)).status; } catch { return "refused"; }
          };
          return [
            await tried("/api/data/runs"),
            await tried("/api/data/runs", { headers: { "X-Token": token } }),
            await tried(`/api/data/runs?token=${token}`),
            await tried("/api/jobs", {
              method: "POST", headers: { "X-Token": token }, body: asked,
            }),
          ];
        }""",
        [served.origin, served.token, asked],
    )
    assert outcome == ["refused"] * 4
    # What a browser sends without asking first, and hides from the page: no work comes of it.
    tab.evaluate(
        """([origin, asked]) => fetch(`${origin}/api/jobs`, {
          method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: asked,
        }).catch(() => null)""",
        [served.origin, asked],
    )

    def post(**headers: str) -> int:
        sent = {"Content-Type": "text/plain"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection = HTTPConnection(served.origin.removeprefix("http://"), timeout=20)
        connection.request("POST", "/api/jobs", asked, sent)
        status = connection.getresponse().status
        connection.close()
        return status

    elsewhere = "http://elsewhere.test"
    assert post(Origin=elsewhere) == post() == 403
    assert post(Origin=elsewhere, X_Token=served.token) == 403
    assert reached == []
    assert post(Origin=served.origin, X_Token=served.token) == 202
    assert len(reached) == 1
    tabs.asked.discard("elsewhere.test")
    tabs.wrong.clear()  # the browser reports what it refused


def test_an_export_opens_from_disk_without_a_network(tabs: Tabs, run: Path, tmp_path: Path) -> None:
    from molyneux.pages.export import export
    from molyneux.pages.runs import open_runs

    page = export(open_runs([run]), tmp_path / "pages")
    tab = tabs.open()
    tab.context.set_offline(True)
    tab.goto(f"{page.as_uri()}#/")
    tab.locator(".photo-card").first.click()
    tab.get_by_role("button", name="guitar", exact=True).click()
    tab.wait_for_selector(".frame canvas")
    picture = tab.locator(".frame img").first
    assert picture.evaluate("image => image.naturalWidth") == 448
    tab.locator(".ranked .unit").first.click()
    address = tab.url
    tab.get_by_role("link", name=re.compile("All about")).click()
    tab.wait_for_selector(".unit-page .peaks img")

    other = tabs.beside(tab.context, address)
    other.wait_for_selector(".of-unit")
    assert other.locator(".word[aria-pressed=true]").inner_text() == "guitar"
    other.get_by_role("link", name="Find").click()
    other.get_by_label("Word", exact=True).fill("daughter")
    other.wait_for_selector(".found-units li")
    # What needs a model is not offered.
    assert other.get_by_role("link", name="Live").count() == 0


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an export with the atlas that comes with the default preset."""
    from report_run import image, word, write_run

    from molyneux.atlas import open_atlas
    from molyneux.explain.document import read_document
    from molyneux.explain.tables import units_table
    from molyneux.pages.export import export
    from molyneux.pages.runs import open_runs

    folder = write_run(
        tmp_path_factory.mktemp("of-preset") / "run", [image("a.jpg", "a cat.", [word("cat")])]
    )
    path = folder / "explain.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["model"]["hashes"]["language_model"] = open_atlas().index.model["sha256"]
    path.write_text(json.dumps(document), encoding="utf-8")
    (folder / "units.parquet").write_bytes(units_table(read_document(folder).images))
    return export(open_runs([folder]), tmp_path_factory.mktemp("exported") / "pages")


@pytest.mark.parametrize(
    "asked",
    [
        *({"q": "water"}, {"q": "wat"}, {"q": "Photogr"}, {"q": "the", "sign": "-1"}),
        *({"q": "dog", "layer": "5-12"}, {"q": "dog", "layer": "29", "by": "layer"}),
        *({"q": "wo", "by": "effect"}, {"q": "s", "by": "effect", "layer": "20-29", "sign": "1"}),
    ],
    ids=lambda asked: "-".join(asked.values()),
)
def test_the_atlas_in_an_export_finds_what_the_server_would(
    tabs: Tabs, exported: Path, asked: dict[str, str]
) -> None:
    from molyneux.atlas import open_atlas
    from molyneux.pages import atlas_view

    expected = atlas_view.search(open_atlas(), **asked, limit=40)["rows"]
    assert expected
    tab = tabs.open()
    tab.context.set_offline(True)
    tab.goto(f"{exported.as_uri()}#/find?{urlencode(asked)}")
    rows = tab.locator("section[aria-labelledby=in-atlas] li")
    rows.first.wait_for()
    assert rows.locator("a").all_inner_texts() == [row["unit"] for row in expected]
    shown = rows.evaluate_all("all => all.map((each) => each.innerText)")
    for row, text in zip(expected, shown, strict=True):
        assert ("takes" in text) == (row["effect"] is not None)
        seen = [token.strip() for token in row["tokens"] if token.strip().isalnum()]
        assert not seen or seen[0] in text
    files = {path.name for path in (exported.parent / "data" / "atlas").iterdir()}
    assert all(
        (exported.parent / "data" / "atlas" / name).stat().st_size < 100_000 for name in files
    )


def test_a_unit_that_was_found_opens_without_a_list_that_has_it(tabs: Tabs, exported: Path) -> None:
    from molyneux.atlas import open_atlas

    tab = tabs.open()
    tab.context.set_offline(True)
    tab.goto(f"{exported.as_uri()}#/find?q=water")
    first = tab.locator("section[aria-labelledby=in-atlas] li a").first
    name = first.inner_text()
    first.click()
    tab.wait_for_selector(".unit-page h2")
    assert tab.locator("h1").inner_text() == name.rstrip("-")
    text = tab.locator(".unit-page").inner_text()
    writes = open_atlas().unit(name).writes[0]
    for token in (*writes.tokens, *writes.suppressed):
        assert token.strip() in text or not token.strip().isalnum()
    assert "in no list" in text
    tab.goto(f"{exported.as_uri()}#/find?q=zzqqzz")
    tab.get_by_text("no token of").wait_for()
    tab.goto(f"{exported.as_uri()}#/find?q=water&layer=44")
    tab.get_by_text("there are no layers 44").wait_for()
    tabs.wrong[:] = [line for line in tabs.wrong if "ERR_FILE_NOT_FOUND" not in line]


def test_a_list_of_units_can_be_passed_over_with_the_keyboard(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0"))
    tab.wait_for_selector(".ranked")
    tab.get_by_role("button", name="Skip the list of units").press("Enter")
    tab.keyboard.press("Tab")
    assert not tab.evaluate("Boolean(document.activeElement.closest('.ranked'))")
    below = "document.activeElement.compareDocumentPosition(document.querySelector('.ranked'))"
    assert tab.evaluate(below) & 2  # the list stands before it


def test_patches_are_chosen_with_the_keyboard(tabs: Tabs, served: Served) -> None:
    tab = tabs.open(served.at("#/r0/0?patch=2,3"))
    chosen = tab.locator(".cell[aria-pressed=true]")
    assert chosen.get_attribute("data-place") == "17"
    chosen.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        tab.keyboard.press(key)
    until_address(tab, "patch=3,4")
    tab.keyboard.press("Escape")
    until(lambda: "patch=" not in tab.evaluate("location.href"))
    # Another view is read from its beginning.
    tab.get_by_role("link", name="All photos").press("Enter")
    tab.wait_for_selector(".photo-card")
    until(lambda: tab.evaluate("document.activeElement.id") == "main")


def test_a_study_opens_with_its_verdicts_and_says_how_far_it_is(tabs: Tabs, served: Served) -> None:
    rows = [
        {"claim": "units carry it", "here": "0.9 [0.8, 1.0]", "control": "0.1", "paper": "–"},
        {"claim": "it is lost without them", "here": "0.1", "control": "0.1", "paper": "0.5"},
    ]
    verdicts = ["holds", "does not hold"]

    def with_claims(route: Any) -> None:
        answer = route.fetch()
        found = answer.json()
        found["runs"][0]["claims"] = [
            row | {"verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True)
        ]
        route.fulfill(response=answer, json=found)

    def half_way(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"total": 9})

    tab = tabs.open()
    tab.context.route("**/api/data/runs", with_claims)
    tab.context.route("**/api/data/gallery/r0", half_way)
    tab.goto(served.at("#/r0"))
    tab.wait_for_selector(".verdicts")
    assert tab.locator(".verdict-mark").all_inner_texts() == verdicts
    assert tab.locator(".verdict-mark.holds").count() == 1
    assert tab.locator(".verdict-mark.fails").count() == 1
    # It stands above the photos, and the photos are not all.
    verdict, photo = (tab.locator(one).first.bounding_box() for one in (".verdicts", ".photo-card"))
    assert verdict["y"] < photo["y"]
    assert "4 of 9 photos" in tab.locator(".progress").inner_text()
    tab.context.unroute_all(behavior="ignoreErrors")


def _told(effect: float | None) -> dict[str, Any]:
    """Return what the atlas says of a unit, as the server sends it."""
    from molyneux.atlas.records import AtlasUnit, Measured, Neighbour, Taken, WordCount, Writes
    from molyneux.records import to_plain

    def measured(own: float) -> Measured:
        return Measured(
            *(31, 4, (WordCount("woman", 12, 1, own, 9),), ()),
            *(Taken(own, own - 0.1, own + 0.1, 31), Taken(0.05, -0.02, 0.1, 31), None),
            *(0.12, 0.1, 7, True, ("woman",), 0.12),
        )

    unit = AtlasUnit(
        *("L1.u2", 1, 2, 4.2),
        (Writes("norm", (" woman", "women"), ("\n", " king"), True, False),),
        (Neighbour("L1.u3", 0.8),),
        "L1.u4",
        None if effect is None else measured(effect),
        None if effect is None else measured(0.01),
    )
    beside = {"chance": {"random_tokens": 0.37}, "neighbour_tokens": {"L1.u3": [" girl"]}}
    return to_plain(unit) | beside


@pytest.mark.parametrize(
    ("effect", "said"),
    [(0.4, "more than other photos' units"), (0.06, "no more than chance"), (None, "in no list")],
)
def test_a_unit_of_the_atlas_stands_beside_its_controls(
    tabs: Tabs, served: Served, effect: float | None, said: str
) -> None:
    tab = tabs.open()
    shown = {"unit": "L1.u2", "layer": 1, "in_run": {"photos": [], "words": []}}
    tab.context.route(
        "**/api/data/unit/r0/L1.u2",
        lambda route: route.fulfill(json=shown | {"atlas": _told(effect)}),
    )
    tab.goto(served.at("#/r0/unit/L1.u2"))
    tab.wait_for_selector(".unit-page")
    assert said in tab.locator(".verdict").inner_text()
    assert tab.locator(".lens .token").all_inner_texts()[:2] == ["␣woman", "women"]
    assert "1 unseen" in tab.locator(".lens").inner_text()
    assert tab.get_by_role("link", name="L1.u3").count() == 1
    assert tab.get_by_role("link", name="L1.u4").get_attribute("href") == "#/r0/unit/L1.u4"
    # The unit's own effect, what other photos' units do to the same words, and its fake's.
    rows = tab.locator("section[aria-labelledby=changes] .effects").first.locator("li")
    assert rows.count() == (0 if effect is None else 3)


def test_the_atlas_is_searched_where_there_is_one(tabs: Tabs, served: Served) -> None:
    from molyneux.atlas.records import Found
    from molyneux.records import to_plain

    tokens = (" woman", " women", " lady")
    unit = Found(
        "L1.u2-", 1, 2, -1, " woman", 0, tokens, (), True, 4.2, 3, 0, 0.4, 0.3, 0.5, 31, 0.05
    )
    asked = []

    def with_atlas(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"atlas": {"model": "tiny"}})

    def found(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(json={"rows": [to_plain(unit)]})

    tab = tabs.open()
    tab.context.route("**/api/data/runs", with_atlas)
    tab.context.route("**/api/atlas/search*", found)
    tab.goto(served.at("#/find?q=wom&layer=0-5&by=effect&sign=-1"))
    row = tab.locator("section[aria-labelledby=in-atlas] li")
    row.wait_for()
    assert row.locator("a").get_attribute("href") == "#/r0/unit/L1.u2"
    assert "+0.400 [+0.300, +0.500] logits, n = 31; other photos' units +0.050" in row.inner_text()
    assert all(part in asked[-1] for part in ("q=wom", "layer=0-5", "by=effect", "sign=-1"))
    tab.context.unroute_all(behavior="ignoreErrors")
