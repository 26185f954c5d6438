"""The benchmark at the paper's shapes, run from end to end on a model 64 times as narrow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "paper_scale"
pytestmark = pytest.mark.skipif(not SCRIPT.is_dir(), reason="there are no benchmarks here")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a file of the benchmark by its name."""
    monkeypatch.syspath_prepend(str(SCRIPT))
    known = set(sys.modules)

    def load(name: str) -> ModuleType:
        return import_module(name)

    yield load
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SCRIPT)):
            del sys.modules[name]


@pytest.mark.slow
def test_it_runs_and_says_what_it_measured(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    small = ["--width", "64", "--layers", "2", "--photos", "1", "--repeats", "1", "--rows", "6"]
    few = ["--units", "40", "--experiments", "E2,E3", "--device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *small, *few, "--out", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(out.read_text())
    found = json.loads(done.stdout)
    assert found["shape"]["units"] == 2 * 256
    assert found["shape"]["patches"] == 196
    assert found["machine"]["threads"] == 1
    assert found["machine"]["versions"]["torch"] == torch.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", found["machine"]["versions"]["molyneux"])
    assert found["machine"]["commit"] is None or len(found["machine"]["commit"]) == 40
    assert found["memory"]["peak_gb"] > 0.1
    steps = found["steps"]
    # 196 patches and three words of text, as in the paper.
    assert steps["attribution, targets 1"]["positions"] == 199
    assert steps["caption"]["tokens"] == 20
    assert steps["decoding"]["count"] == 40
    # As many rows as were asked for, give or take one for either of the positions.
    assert 4 <= steps["ablation grid"]["count"] <= 8 < steps["ablation grid"]["of"]
    assert {"study: E2", "study: E3"} <= set(steps)
    assert "study: E6" not in steps
    assert all(step["seconds"] >= 0 for step in steps.values())
    summary = found["summary"]
    assert summary["experiments"] == ["E2", "E3"]
    hours = summary["hours, extrapolated from these photos, for this many"]
    assert hours["5000"] == pytest.approx(
        5000 * steps["study: a photo"]["seconds"] / 3600, abs=0.01
    )


def test_the_shapes_are_the_papers(part: Any) -> None:
    shapes = part("shapes")
    full = shapes.Shape()
    assert full.record()["units"] == 458_752
    assert full.record()["rotary_dim"] == 64
    assert full.record()["encoder_width"] == 1024
    for width in shapes.WIDTHS:
        narrow = shapes.Shape(width, 28).language_model
        head = narrow.n_embd // narrow.n_head
        assert narrow.n_embd * width == full.language_model.n_embd
        assert 0 < narrow.rotary_dim <= head
        assert narrow.rotary_dim % 2 == 0
        assert shapes.Shape(width).encoder.hidden_size % 16 == 0
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(full.language_model)
    parameters = sum(one.numel() for one in model.parameters())
    assert parameters == 6_050_882_784  # GPT-J 6B's own count


def test_the_tokenizer_knows_as_many_tokens_and_whole_nouns(part: Any) -> None:
    shapes = part("shapes")
    tokenizer = shapes.word_tokenizer()
    assert len(tokenizer) == shapes.TOKENS
    for noun in (*shapes.EVERYDAY, *part("steps").OTHERS, *part("photos").CATEGORIES):
        ids = tokenizer(f" {noun}", add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == f" {noun}"
        assert len(ids) == 1
    assert "<|" not in tokenizer.decode(tokenizer("A picture of").input_ids)


def _document(layers: int, **changed: Any) -> dict[str, Any]:
    steps = {
        "see": {"seconds": 2.0 + layers % 2, "grows": False},
        "attribution, targets 1": {"seconds": 1.0 + 0.5 * layers},
        "attribution, targets 4": {"seconds": 4.0},
        "ablation grid": {"seconds": 10 * (0.2 + 0.1 * layers), "count": 10, "of": 200},
        "decoding": {"seconds": 5.0, "count": 100, "of": 458_752, "grows": False},
        "study: a photo": {"seconds": 2.0 * layers, "experiments": ["E3"]},
    }
    return {
        "date": "2026-01-01",
        "machine": {"cpu": "one", "threads": 1},
        "dtype": "float32",
        "shape": {"width_divided_by": 1, "layers": layers, "d_mlp": 16_384},
        "grid": [0, 50],
        "steps": steps,
        "memory": {"peak_gb": 3.0 + layers},
        "notes": [],
        **changed,
    }


def test_two_runs_make_a_line_through_their_layers(part: Any) -> None:
    found = part("extrapolate").extrapolate(_document(5), _document(2))
    assert found["extrapolated"] == "linearly in layers, from 2 and 5 to 28"
    assert found["shape"]["units"] == 458_752
    seconds = {name: step["seconds"] for name, step in found["steps"].items()}
    assert seconds["attribution, targets 1"] == pytest.approx(1 + 0.5 * 28)
    assert seconds["ablation grid"] == pytest.approx(200 * (0.2 + 0.1 * 28))
    assert seconds["decoding"] == pytest.approx(458_752 * 0.05)
    assert seconds["see"] == pytest.approx(2.5)
    assert seconds["study: a photo"] == pytest.approx(56)
    assert found["memory"]["peak_gb"] == pytest.approx(31)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dtype": "bfloat16"}, "dtype"),
        ({"machine": {"cpu": "another", "threads": 1}}, "cpu"),
        ({"shape": {"width_divided_by": 8, "layers": 5, "d_mlp": 2048}}, "width"),
        ({"shape": {"width_divided_by": 1, "layers": 2, "d_mlp": 16_384}}, "same number of layers"),
    ],
)
def test_runs_that_differ_otherwise_make_no_line(
    part: Any, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        part("extrapolate").extrapolate(_document(2), _document(5, **changed))
