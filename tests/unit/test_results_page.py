"""The figures that the pages print, against the files they were measured into."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from molyneux.models import DEFAULT_PRESET
from molyneux.models.presets import find_preset
from molyneux.vision.projection import load_projection

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "benchmarks" / "results"
FIRST = MEASURED / "smollm2-effnet@1"
VALUE = r"([+-]?\d*\.?\d+)"
# A figure with its interval: `41.7 % [33.9, 51.6]`, `**0.7 % left** [.3, 1.3]`.
FIGURE = re.compile(rf"{VALUE}[^\[\]|\d\n]{{0,24}}\s?\[{VALUE}, {VALUE}(?: %)?\]")
SETS = {
    "**specific**, own": "specific",
    "specific, another photo's": "other_specific",
    "raw top, own": "top",
    "raw top, another photo's": "other",
    "raw top, 7 of 10 words": "interpretable",
    "matched to specific (layer, strength)": "matched",
    "random, same layers as raw top (3 seeds)": "random",
    "on 20 unrelated nouns: specific": "unrelated_specific",
    "on 20 unrelated nouns: raw top": "unrelated_top",
    "on 20 unrelated nouns: random": "unrelated_random",
    "**specific**, difference": "specific_minus_other",
    "specific, ratio of means": "specific_over_other",
    "specific, difference in log-probability (nats)": "specific_minus_other_logprob",
    "raw top, difference": "top_minus_other",
    "raw top, ratio of means": "top_over_other",
    "raw top, difference in log-probability (nats)": "top_minus_other_logprob",
}

Triple = tuple[float, float, float]


def triple(number: dict[str, Any]) -> Triple:
    return number["value"], number["low"], number["high"]


def measured(node: Any) -> Iterator[Triple]:
    """Every number with an interval in a result file."""
    if isinstance(node, dict):
        value = node.get("value", node.get("rate"))
        if isinstance(value, float) and node.get("low") is not None:
            yield value, node["low"], node["high"]
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from measured(inner)


def read(*files: Path) -> list[Triple]:
    return [t for file in files for t in measured(json.loads(file.read_text(encoding="utf-8")))]


def says(printed: tuple[str, ...], found: Triple) -> bool:
    """Whether printed digits are those of the measured numbers, rounded once."""
    half = [0.5 * 10 ** -len(text.partition(".")[2]) for text in printed]
    return any(
        all(
            abs(scale * number - float(text)) <= room + 1e-9
            for number, text, room in zip(each, printed, half, strict=True)
        )
        # As a share or in per cent; what falls is printed as how far it falls.
        for each in (found, (-found[0], -found[2], -found[1]))
        for scale in (1, 100)
    )


def unmeasured(text: str, found: list[Triple]) -> list[str]:
    return [
        match[0]
        for match in FIGURE.finditer(text)
        if not any(says(match.groups(), one) for one in found)
    ]


def parts_of_the_page() -> tuple[str, str]:
    text = (ROOT / "docs" / "results-1.md").read_text(encoding="utf-8")
    first, heading, second = text.partition("\n## The paper's study")
    assert heading
    return first, second


def test_every_figure_with_an_interval_is_the_measured_one_rounded_once() -> None:
    phenomenon = read(FIRST / "phenomenon.json")
    study = read(*sorted((FIRST / "study").glob("*.json")))
    first, second = parts_of_the_page()
    assert len(FIGURE.findall(first)) > 60
    assert len(FIGURE.findall(second)) > 40
    assert not unmeasured(first, phenomenon)
    assert not unmeasured(second, study)


def test_figures_of_the_default_preset_were_measured_with_its_projection() -> None:
    """So none is left from a projection before it."""
    preset = find_preset(DEFAULT_PRESET)
    projection = load_projection(preset.projection_file()).hash()
    assert preset.trust
    # What each is a measurement of: the file itself, or the record beside it.
    records = [preset.trust, MEASURED / "captions.json", MEASURED / "phenomenon.json"]
    records += [MEASURED / name / "record.json" for name in ("set-reading",)]
    records += [MEASURED / name / "manifest.json" for name in ("sight",)]
    for file in records:
        assert projection in file.read_text(encoding="utf-8"), file
    with_others = [
        MEASURED / name / "record.json" for name in ("carriers", "split-half", "spelling")
    ]
    sha256 = hashlib.sha256(preset.projection_file().read_bytes()).hexdigest()
    for file in with_others:
        text = file.read_text(encoding="utf-8")
        assert projection in text or sha256 in text, file
    summaries = [*MEASURED.glob("*/summary.json"), *MEASURED.glob("s*/results/E?.json")]
    assert len(summaries) > 3
    found = read(*records[:3], *summaries)
    for page in ("README.md", "docs/results.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert FIGURE.findall(text), page
        assert not unmeasured(text, found), page


def test_no_page_waits_for_a_figure() -> None:
    pages = [ROOT / "README.md", ROOT / "THIRD_PARTY.md", *(ROOT / "docs").glob("*.md")]
    assert [page.name for page in pages if "FILL" in page.read_text(encoding="utf-8")] == []


def test_each_row_of_the_ablation_tables_is_its_own_set_s() -> None:
    document = json.loads((FIRST / "phenomenon.json").read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| ([^|]+?) \| (.*) \|$", parts_of_the_page()[0], re.MULTILINE))
    for label, name in SETS.items():
        printed = FIGURE.findall(rows[label])
        assert len(printed) == 2, label
        for digits, view in zip(printed, ("patches", "last"), strict=True):
            assert says(digits, triple(document[view][name])), (label, view, digits)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("14 % [13, 15]", True),
        ("14 % [12, 15]", False),
        (".138 [.125, .150]", True),
        (".14 [.13, .15]", True),
        ("**falls by -.138** [-.150, -.125]", True),
        ("15 % [13, 15]", False),
    ],
)
def test_a_figure_rounded_twice_would_be_noticed(text: str, right: bool) -> None:
    assert FIGURE.search(text)
    assert (unmeasured(text, [(0.13776, 0.12539, 0.14961)]) == []) is right
