"""The default preset, explored; `--rewrite-docs` takes the README's picture anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from explorer_served import Tabs, serve

from molyneux import Settings, explain_photos
from molyneux.data.samples import sample_items
from molyneux.errors import WeightsError
from molyneux.models.captioner import Captioner

pytestmark = [pytest.mark.real, pytest.mark.slow]

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "explorer.png"


def test_a_cat_is_seen_and_lost_when_its_units_are_off(
    tabs: Tabs, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    try:
        seeing = Captioner.load()
    except WeightsError as error:
        pytest.skip(f"NOT TESTED: the default preset's weights cannot be had: {error}")
    items = [item for item in sample_items() if "chelsea" in item.id]
    run = explain_photos(seeing, items, Settings(grid=(0, 100)), tmp_path / "run").folder
    with serve([run], lambda: seeing) as served:
        tab = tabs.open(
            served.at("#/r0/0?word=cat&list=contrast.patches"),
            viewport={"width": 1280, "height": 1040},
            device_scale_factor=1.5,
        )
        tab.wait_for_selector(".frame canvas")
        assert "times as likely as other photos do" in tab.locator(".verdict").first.inner_text()
        if request.config.getoption("--rewrite-docs"):
            tab.screenshot(path=PICTURE)

        tab.goto(served.at("#/live?photo=r0.0&set=total&word=cat&top=200"))
        tab.wait_for_selector(".say h2.caption")
        tab.get_by_role("button", name="Switch off", exact=True).click()
        tab.wait_for_selector(".rewrite.strong dd")
        rows = tab.locator(".probabilities tbody tr td").all_inner_texts()
        before, after = (float(text) for text in rows[:2])
        assert after < 0.5 * before
