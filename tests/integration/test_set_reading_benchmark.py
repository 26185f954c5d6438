"""The benchmark of set readings: what its rows hold, and what is concluded of them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos

from molyneux.data.dataset import Item
from molyneux.explain.measure_reference import measure_reference
from molyneux.neurons.jacobian import patch_jacobians
from molyneux.neurons.lens import HeadLens, JacobianLens
from molyneux.neurons.set_reading import word_list
from molyneux.words.everyday import EVERYDAY_NOUNS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location(
        "set_reading_benchmark", BENCHMARKS / "set_reading.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def row(noun: str, human: list[str], dog: int, cat: int) -> dict[str, Any]:
    said = {"nouns": [noun], "said": human, "human": human}
    return said | {"thousandths": {"jacobian: change": [dog, cat, 500]}}


def test_how_often_a_noun_is_among_the_first(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "FIRST", 1)
    rows = [row("dog", ["cat"], 900, 800), row("dog", [], 100, 40), row("train", [], 700, 200)]
    found = benchmark.summarise(rows, ["dog", "cat", "river"])["first 1"]
    # A dog is the first of three in the first photo and not in the second (where a river is), and
    # in the third, which has none. A cat is nowhere the first.
    assert found["caption"]["jacobian: change"] == {"own": 0.5, "other photos": 1.0, "nouns": 2}
    assert found["unsaid"]["jacobian: change"] == {"own": 0.0, "other photos": 0.0, "nouns": 1}


def test_a_noun_gains_by_its_own_photos_alone(benchmark: Any) -> None:
    rows = [
        row("dog", ["dog", "cat"], 900, 800),
        row("dog", [], 700, 400),
        row("train", ["train"], 300, 200),
    ]
    found = benchmark.summarise(rows, ["dog", "cat", "river"])
    # Dog: .9 and .7 where it is, .3 where it is not. Cat, which one photo was not captioned with:
    # .8 where it is, .4 and .2 where it is not.
    cells = {kind: found[kind]["jacobian: change"] for kind in ("caption", "human", "unsaid")}
    assert cells["caption"]["value"] == pytest.approx((0.6 + 0.4) / 2)
    assert cells["caption"]["n"] == 2
    assert cells["human"]["value"] == cells["unsaid"]["value"] == pytest.approx(0.5)
    assert cells["human"]["n"] == 1


def test_rows_of_a_tiny_captioner(
    benchmark: Any, make_captioner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for number, photo in enumerate(tiny_photos(4)):
        files.append(tmp_path / f"{number}.png")
        photo.save(files[-1])
    captioner = make_captioner("llama")
    table, _ = measure_reference(captioner, files, data="drawings", n_listed=20)
    captioner = captioner.with_reference(table)
    model = captioner.language_model
    lenses = {
        "norm": HeadLens(model),
        "jacobian": JacobianLens({}, patch_jacobians(model, captioner.see(files[:1]))),
    }
    words = list(word_list(model, EVERYDAY_NOUNS).words)
    captions = ("a dog", "a dog and a cat", "a small dog")
    rows = [
        benchmark.measure(captioner, lenses, Item(str(n), file, captions), words)
        for n, file in enumerate(files)
    ]
    for one in rows:
        assert one["human"] == ["dog"]
        assert len(one["thousandths"]) == 8
        for values in one["thousandths"].values():
            assert len(values) == len(words)
            assert sum(values) == pytest.approx(500 * len(words), abs=len(words))
    run = tmp_path / "run"
    run.mkdir()
    (run / "photos.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (run / "record.json").write_text(json.dumps({"list": words}), encoding="utf-8")
    benchmark.conclude(run)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["photos"] == 4
    assert capsys.readouterr().out or not summary.get("caption")
