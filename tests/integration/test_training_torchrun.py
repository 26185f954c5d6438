"""The command as it is given under torchrun: two processes of the system, a model of a few kB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_encoders import write_checkpoint
from tiny_models import tiny_model, tiny_photos, tiny_tokenizer

from molyneux.cli import main

CAPTIONS = ("a dog.", "a man riding a small red horse on the beach.", "a cat and a dog.")


@pytest.mark.slow
def test_torchrun_trains_what_one_process_trains(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = []
    for number, photo in enumerate(tiny_photos(6)):
        photo.save(photos / f"{number}.png")
        rows.append({"file": f"{number}.png", "caption": CAPTIONS[number % 3]})
    (photos / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tiny_model("llama").save_pretrained(tmp_path / "lm")
    tiny_tokenizer().save_pretrained(tmp_path / "lm")
    write_checkpoint(tmp_path / "vit", "vit")
    command = ["train", str(photos), "--steps", "4", "--batch", "5", "--every", "2", "--views", "1"]
    command += ["--language-model", str(tmp_path / "lm"), "--encoder", str(tmp_path / "vit")]
    command += ["--bertscore", "none", "--device", "cpu", "--dtype", "float32", "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*launcher, "--nproc-per-node", "2", "-m", "molyneux", *command, str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    # One of them speaks, and only its summary is on stdout.
    assert ended.stdout.count("use it with --projection") == 1
    assert main([*command, str(tmp_path / "one")]) == 0
    logs = [
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("two", "one")
    ]
    for name in ("loss", "loss_held_out"):
        two, one = ([entry[name] for entry in log if name in entry] for log in logs)
        assert two == pytest.approx(one, rel=1e-5)
    assert len(logs[0]) == 4
    journals = list((tmp_path / "two" / "features").glob("*/rows-0001-*.jsonl"))
    assert any(journal.stat().st_size for journal in journals)  # the second did its share
