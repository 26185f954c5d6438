"""A run's page as one opens it: from disk, offline, in a real browser, and without scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from explorer_served import Tabs, serve, until, until_address
from report_run import image, word, write_run

from molyneux.pages.one_file import write_report
from molyneux.store import SCHEMA
from molyneux.studies.parts import MEASURED, PHOTO, write_part
from molyneux.studies.results import Figure, Number, Result, ResultTable, Series, Verdict

OWN = ((0, 10, 100), (1.0, 0.3, 0.05), (1.0, 0.2, 0.01), (1.0, 0.35, 0.2))
LINES = Figure(
    *("E9.lines", "What is left", "lines", "units off", "share left"),
    (Series("own", *OWN), Series("another photo's", (0, 10, 100), (1.0, None, 0.8))),
    log_x=True,
)
BARS = Figure(
    *("E9.bars", "Where they are", "bars", "layer", "units"),
    (
        Series("own", ("L0", "L1", "L2"), (3.0, 0.5, 7.0), (2.0, 0.1, 6.5), (3.5, 0.6, 9.0)),
        Series("control", ("L2", "L0"), (0.25, 1.5)),
    ),
)
MATRIX = Figure(
    *("E9.matrix", "Which class", "matrix", "photo of", "units of"),
    (
        Series("bench", ("bench", "truck", "cow"), (0.71, 0.2, None)),
        Series("truck", ("bench", "truck", "cow"), (0.1, 0.62, 0.04)),
    ),
)
TABLE = ResultTable(
    *("E9.made_up", "Shares", ("set", "left")),
    tuple({"set": f"set {n}", "left": Number(0.1 * n, 0.0, 0.2 * n, 8)} for n in range(1, 4)),
)
VERDICTS = (
    Verdict("units carry it", Number(0.9, 0.8, 1.0, 194), Number(0.1), None, "holds"),
    Verdict("it is lost without them", Number(0.1, 0.0, 0.2, 8), Number(0.1), "0.5", "open"),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study of three photos, one of which could not be read."""
    folder = tmp_path_factory.mktemp("study") / "run"
    result = Result("E9", "Made up", (TABLE,), (LINES, BARS, MATRIX), ("a note",), VERDICTS)
    model = {
        "preset": None,
        "language_model": "a model",
        "encoder": "an eye",
        "projection": {},
        "layout": {"begin": None, "text": "A picture of"},
        "dtype": "float32",
        "reference": {"photos": 200},
        "n_layers": 3,
        "n_units": 30,
    }
    manifest = {
        "schema": SCHEMA,
        "kind": "study",
        "created": "2024-05-01T12:00:00+0000",
        "argv": ["study", "coco"],
        "settings": {"experiments": ["E2"]},
        "data": {"photos": 3},
        "model": model,
    }
    for index, error in enumerate((None, "it is no <image>", None)):
        row = {"index": index, "id": f"{index}.jpg", "error": error}
        write_part(folder, MEASURED, row, PHOTO)
    (folder / "results").mkdir()
    (folder / "results" / "E9.json").write_text(json.dumps(result.document()), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pages(run: Path, study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of several photos, of one, and of a study."""
    one = tmp_path_factory.mktemp("one") / "run"
    write_run(one, [image("house.jpg", "a house on a hill.", [word("house"), word("hill")])])
    return {
        name: write_report(each)
        for name, each in (("several", run), ("one", one), ("study", study))
    }


def opened(tabs: Tabs, page: Path, view: str = "", **options: Any) -> Any:
    """Return a page in a tab without a network, which may ask for no other file either."""
    tab = tabs.open(**options)
    tab.context.set_offline(True)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"{page.as_uri()}{view}")
    tab.wait_for_selector("main h1, main h2, main .error")
    others = [url for url in asked if not url.startswith(("data:", page.as_uri()))]
    assert others == []
    return tab


def numbers(marks: Any, *names: str) -> list[list[float]]:
    """Return attributes of marks, those of each together."""
    found: list[list[float]] = marks.evaluate_all(
        "(all, names) => all.map((one) => names.map((name) => Number(one.getAttribute(name))))",
        list(names),
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_has_a_serious_accessibility_fault_or_runs_over(
    tabs: Tabs, pages: dict[str, Path], scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    for name, view in (("several", ""), ("several", "#/r0/0"), ("one", ""), ("study", "")):
        tab = opened(tabs, pages[name], view, **options)
        for folded in tab.locator("main summary").all():
            folded.click()
        faults = axe.run(tab, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [
            f"{name}: {fault['id']}: {fault['nodes'][0]['html'][:160]}"
            for fault in faults
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == []
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_several_photos_are_a_gallery_that_the_surest_leads(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    tab = opened(tabs, pages["several"])
    names = tab.locator(".photo-card .name").all_inner_texts()
    assert names == ["guitar.jpg", "river.jpg", "table.jpg", "torn.jpg"]
    assert tab.locator(".photo-card img").count() == 3
    assert tab.locator(".photo-card img").first.evaluate("image => image.naturalWidth") == 448
    # What needs a server or other files is not offered.
    offered = tab.locator(".masthead nav a").all_inner_texts()
    assert offered == ["Photos", "Compare"]
    tab.locator(".photo-card").first.click()
    tab.get_by_role("button", name="guitar", exact=True).click()
    tab.wait_for_selector(".frame canvas")
    tab.locator(".ranked .unit").first.click()
    until_address(tab, "unit=")
    assert "molyneux decode L" in tab.locator(".of-unit").inner_text()
    assert tab.locator("main a", has_text="All about").count() == 0
    tab.get_by_role("link", name="The next photo").click()
    until(lambda: "a river." in tab.locator("main h1").inner_text())
    assert "2 of 4" in tab.locator(".steps").inner_text()
    for link in tab.locator("main a").all():
        assert re.match(r"#/r0(/\d+)?(\?.*)?$|#/compare\?", link.get_attribute("href") or "")
    tab.get_by_role("link", name="Compare with the next").click()
    tab.wait_for_selector(".two .frame img >> nth=1")


def test_one_photo_is_the_page(tabs: Tabs, pages: dict[str, Path]) -> None:
    tab = opened(tabs, pages["one"])
    assert tab.title() == "house.jpg · molyneux"
    assert tab.locator("main h1").inner_text() == "A picture of a house on a hill."
    assert tab.locator(".steps, .masthead nav a").count() == 0
    tab.locator("summary", has_text="Where this comes from").click()
    tab.wait_for_selector(".where-from .record")
    record = tab.locator(".where-from").inner_text()
    assert "0f" * 32 in record
    assert "language_model" in record
    tab.get_by_role("button", name="hill", exact=True).click()
    until_address(tab, "word=hill")
    assert "are sinks" in tab.locator(".listed-sinks").first.inner_text()


@pytest.mark.parametrize("name", ["t-shirt", "o'clock", "hot dog", "c++ (old)"])
def test_a_word_may_hold_any_character(tabs: Tabs, tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "run", [image("shop.jpg", f"a {name} on a hook.", [word(name)])])
    tab = opened(tabs, write_report(tmp_path / "run"))
    assert tab.locator("#units").inner_text() == f"The units behind “{name}”"
    assert tab.locator("#rewrites").count() == 1
    assert tab.locator("main .error").count() == 0


@pytest.mark.parametrize("typed", ["#/%", "#/%zz/3", "#/r0/unit/x"])
def test_an_address_that_means_nothing_is_told(
    tabs: Tabs, pages: dict[str, Path], typed: str
) -> None:
    tab = opened(tabs, pages["several"], typed)
    assert "start" in tab.locator("main .error").inner_text()


def test_what_the_file_does_not_hold_is_said_and_nothing_breaks(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    for name in ("several", "study"):
        for view in ("#/find?q=woman", "#/live", "#/transplant", "#/r0/unit/L1.u2", "#/r0/77"):
            tab = opened(tabs, pages[name])
            tab.evaluate(f"location.hash = '{view}'")
            tab.wait_for_selector("main .error")
            assert "explore" in tab.locator("main .error").inner_text()


def test_data_is_parsed_when_it_is_asked_for(tabs: Tabs, run: Path, tmp_path: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    start = page.index('data-key="photo/r0/1">') + len('data-key="photo/r0/1">')
    broken.write_text(f"{page[:start]}x{page[start:]}", encoding="utf-8")
    tab = opened(tabs, broken)
    assert tab.locator(".photo-card").count() == 4
    tab.evaluate("location.hash = '#/r0/1'")
    tab.wait_for_selector("main .error")


def test_a_study_leads_with_its_verdicts_and_draws_its_figures(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    tab = opened(tabs, pages["study"])
    assert tab.locator("main h1").inner_text() == "2 photos, 1 result"
    marks = tab.locator("section.verdicts .verdict-mark").all_inner_texts()
    assert marks == ["holds", "open"]
    assert "0.900 [0.800, 1.00] n = 194" in " ".join(
        tab.locator("section.verdicts").inner_text().split()
    )
    tab.locator("summary", has_text="Shares").click()
    assert "n = 8, few" in tab.locator(".result-table").inner_text()
    assert "1.jpg: it is no <image>" in tab.locator(".note .bad").inner_text()
    names = tab.locator("figure.plot").evaluate_all("all => all.map((one) => one.dataset.figure)")
    assert names == ["E9.lines", "E9.bars", "E9.matrix"]
    tab.locator("section.verdicts a").first.click()
    until_address(tab, "at=E9")
    until(lambda: tab.evaluate("document.activeElement.id") == "result-E9")


def test_lines_go_through_their_numbers_and_have_a_gap_where_one_is_missing(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    tab = opened(tabs, pages["study"])
    plot = tab.locator("[data-figure='E9.lines']")
    own, other = (numbers(plot.locator(f".series-{n} .dot"), "cx", "cy") for n in (0, 1))
    assert (len(own), len(other)) == (3, 2)
    # Heights are linear in the numbers: of all five points, by two of them.
    top, bottom = own[0][1], own[2][1]
    per = (bottom - top) / (1.0 - 0.05)
    for (_, y), value in zip([*own, *other], [*OWN[1], 1.0, 0.8], strict=True):
        assert y == pytest.approx(top + (1.0 - value) * per, abs=0.5)
    # A logarithm has no place for 0; it stands one step before 1, and 10 and 100 a decade apart.
    (zero, _), (ten, _), (hundred, _) = own
    assert (ten - zero) / (hundred - ten) == pytest.approx(2.0, abs=0.01)
    assert plot.locator(".series-1 .curve").get_attribute("d").count("M") == 2
    corners = plot.locator(".series-0 .band").get_attribute("points").split(" ")
    heights = [float(corner.split(",")[1]) for corner in corners]
    wanted = [top + (1.0 - value) * per for value in (*OWN[3], *reversed(OWN[2]))]
    assert heights == pytest.approx(wanted, abs=0.5)
    assert plot.locator(".series-1 .band").count() == 0
    assert plot.locator(".keys li").all_inner_texts() == ["own", "another photo's"]


def test_bars_are_as_high_as_their_numbers_and_whiskers_are_the_intervals(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    tab = opened(tabs, pages["study"])
    plot = tab.locator("[data-figure='E9.bars']")
    bars = numbers(plot.locator(".block"), "data-value", "height", "x", "width")
    assert sorted(value for value, *_ in bars) == [0.25, 0.5, 1.5, 3.0, 7.0]
    per = max(height for _, height, *_ in bars) / 7.0
    for value, height, _, _ in bars:
        assert height == pytest.approx(per * value, abs=0.01)
    at = {value: (x, width) for value, _, x, width in bars}
    assert sum(at[3.0]) == pytest.approx(at[1.5][0])  # both at L0, beside each other
    assert at[7.0][0] < at[0.25][0]  # both at L2
    lengths = plot.locator(".whisker").evaluate_all(
        "all => all.map((line) => line.getAttribute('y1') - line.getAttribute('y2'))"
    )
    assert lengths == pytest.approx([per * 1.5, per * 0.5, per * 2.5], abs=0.01)


def test_a_matrix_shows_and_prints_its_numbers_row_by_row(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    tab = opened(tabs, pages["study"])
    plot = tab.locator("[data-figure='E9.matrix']")
    shades = numbers(plot.locator(".shade"), "data-value", "fill-opacity", "x", "y")
    assert [value for value, *_ in shades] == [0.71, 0.2, 0.1, 0.62, 0.04]
    for value, opacity, *_ in shades:
        assert opacity == pytest.approx(value / 0.71, abs=0.001)
    places = [tuple(place) for *_, x, y in shades for place in [(x, y)]]
    columns, rows = sorted({x for x, _ in places}), sorted({y for _, y in places})
    assert [(columns.index(x), rows.index(y)) for x, y in places] == [
        *((0, 0), (1, 0), (0, 1), (1, 1), (2, 1))
    ]
    assert plot.locator(".on-shade, .beside-shade").all_text_contents() == [
        *("0.71", "0.20", "0.10", "0.62", "0.04")
    ]
    assert plot.locator(".keys").count() == 0


def test_without_scripts_photos_captions_and_verdicts_are_read(
    tabs: Tabs, pages: dict[str, Path]
) -> None:
    for name, said in (
        ("several", "A picture of a woman with a guitar."),
        ("one", "“house”: "),
        ("study", "units carry it"),
    ):
        tab = tabs.open(java_script_enabled=False)
        tab.context.set_offline(True)
        tab.goto(pages[name].as_uri())
        assert tab.get_by_text(said).first.is_visible()
    with_scripts = opened(tabs, pages["one"])
    assert not with_scripts.locator(".plain").first.is_visible()


def test_the_explorer_shows_the_same_study(tabs: Tabs, study: Path) -> None:
    with serve([study], None) as served:
        tab = tabs.open(served.at("#/r0"))
        tab.get_by_role("link", name="All figures and tables of the study").click()
        tab.wait_for_selector("figure.plot >> nth=2")
        assert tab.locator("section.verdicts .verdict-mark").count() == 2
        assert tab.locator(".masthead nav a[aria-current]").inner_text() == "Results"
