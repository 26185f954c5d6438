"""all-MiniLM-L6-v2's real weights: the calibration pairs are those that the docs print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from filelock import FileLock

from molyneux.errors import WeightsError
from molyneux.metrics.bertscore import Backbone, BertScorer, load_backbone, load_bert_scorer
from molyneux.metrics.calibration import PAIRS, calibrate_layer
from molyneux.weights import minilm
from molyneux.weights.cache import cache_dir, verify_folder

pytestmark = pytest.mark.real
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
MEASURED = {
    1: (0.8772, 0.6839, 0.6278, 0.7664),
    2: (0.8813, 0.6639, 0.6271, 0.7756),
    3: (0.8837, 0.6472, 0.6089, 0.7883),
    4: (0.8880, 0.6042, 0.5953, 0.7982),
    5: (0.9016, 0.6076, 0.6354, 0.8151),
    6: (0.8672, 0.4185, 0.3968, 0.7692),
}


@pytest.fixture(scope="module")
def backbone(fetching: FileLock) -> Backbone:
    try:
        with fetching:
            return load_backbone()
    except WeightsError as error:
        pytest.skip(f"NOT TESTED, the real weights cannot be had: {error}")


@pytest.mark.parametrize("layer", sorted(MEASURED))
def test_calibration_pairs_as_measured(backbone: Backbone, layer: int) -> None:
    found = calibrate_layer(backbone, layer)
    assert found.f1 == pytest.approx(MEASURED[layer], abs=1e-4)
    assert not found.agrees  # it is not the paper's backbone


def test_the_docs_print_them() -> None:
    rows = re.findall(r"^\| (\d) \|([^\n]*)\|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    printed = {int(layer): [float(f) for f in re.findall(r"\d\.\d+", row)] for layer, row in rows}
    for layer, measured in MEASURED.items():
        assert printed[layer][: len(PAIRS)] == list(measured)


def test_layer_6_is_the_default(backbone: Backbone) -> None:
    scorer = load_bert_scorer()
    assert scorer.name == "all-MiniLM-L6-v2, layer 6"
    assert backbone.n_layers == 6
    texts = [text for pair in PAIRS for text in pair[:2]]
    assert scorer.f1(texts, texts) == pytest.approx(BertScorer(backbone, 6).f1(texts, texts))


def test_related_texts_are_nearer_than_unrelated_ones(backbone: Backbone) -> None:
    found = BertScorer(backbone).f1(
        ["two people ride horses on the beach", "a bowl of noodle soup"],
        ["a man and a woman on horses by the sea", "a dish of pasta in broth"],
    )
    assert found[0, 0] > found[0, 1] + 0.1
    assert found[1, 1] > found[1, 0] + 0.1


def test_the_cached_folder_is_whole(backbone: Backbone) -> None:
    record = verify_folder(cache_dir() / minilm.FOLDER, full=True)
    assert {name: entry["sha256"] for name, entry in record["files"].items()} == minilm.FILES
    assert record["source"]["distribution"] == minilm.DISTRIBUTION
