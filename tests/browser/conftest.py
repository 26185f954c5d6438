"""A made-up run, a tiny model, an explorer of both, and Debian's Chromium to look at it with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from explorer_served import CHROMIUM, FLAGS, Served, Tabs, serve
from report_run import broken_image, image, reading, word, write_run

from molyneux.explain.document import read_document
from molyneux.explain.tables import units_table


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three photos that were explained, and one that could not be read."""
    first = image("guitar.jpg", "a woman with a guitar.", [word("woman"), word("guitar", seed=1)])
    second = image("river.jpg", "a river.", [word("river", seed=2)])
    third = image("table.jpg", "a table with a book.", [word("table", seed=3)])
    first["reading"] = reading()
    # One share stands far above any plot.
    first["words"][0]["ablation"]["unrelated_top"] = [1.0, 1.2, 2.5, 3.1, 4.0]
    broken = broken_image("torn.jpg", "the file ends early")
    folder = tmp_path_factory.mktemp("run") / "photos"
    write_run(folder, [first, second, third, broken])
    (folder / "units.parquet").write_bytes(units_table(read_document(folder).images))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model with reference photos to take a third photo's values from."""
    from tiny_models import tiny_captioner
    from tiny_partners import square_photos, with_partners

    photos = square_photos(tmp_path_factory.mktemp("partners"))
    return with_partners(tiny_captioner("llama"), photos, lambda k: "xylophone")


@pytest.fixture(scope="session")
def served(run: Path, model: Any) -> Iterator[Served]:
    with serve([run], lambda: model) as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; without one the pages are not tested, and the summary says so."""
    sync = pytest.importorskip(
        "playwright.sync_api", reason="THE EXPLORER'S PAGES ARE NOT TESTED: there is no playwright"
    )
    if not Path(CHROMIUM).exists():
        pytest.skip("THE EXPLORER'S PAGES ARE NOT TESTED: there is no chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tabs(chromium: Any) -> Iterator[Tabs]:
    """Tabs that may ask only the explorer's own host, and in which nothing may go wrong."""
    with ExitStack() as closing:
        found = Tabs(chromium, closing, set(), [])
        yield found
    elsewhere = {host for host in found.asked if host and not host.startswith("127.0.0.1:")}
    assert elsewhere == set(), "a page asked another host"
    folders = {page.parent for page in found.pages}
    outside = {file for file in found.files if not folders & set(file.parents)}
    assert outside == set(), "a page read a file outside its folder"
    assert found.wrong == [], "a page said that something went wrong"
