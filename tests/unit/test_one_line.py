"""What others called something cannot make a second line of output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from molyneux.cli import main
from molyneux.cli.output import note, show, show_text
from molyneux.errors import on_one_line

NASTY = ["a\nb", "a\rb", "a\u2028b", "a\x85b", "a\x0bb", "a\x1b[31mb", "a\u202eb"]
NASTY += ["a\udcffb", "a\0b"]
PLAIN = ["Übung 1.jpg", "猫 の 写真", "a\xa0b", "a\u202fb", "👩‍👧", "می‌خواهم", "\ufffd"]


@pytest.mark.parametrize("name", NASTY)
def test_what_would_end_a_line_is_an_escape(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = on_one_line(name)
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    show(name)
    note(name)
    captured = capsys.readouterr()
    assert captured.out == captured.err == f"{shown}\n"


@pytest.mark.parametrize("name", PLAIN)
def test_every_script_stays_as_it_is(name: str) -> None:
    assert on_one_line(name) == name


def test_a_text_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_text("a\nb")
    assert capsys.readouterr().out == "a\nb\n"


def test_a_stderr_that_cannot_be_written_changes_no_status(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    call = [sys.executable, "-m", "molyneux", "data", str(tmp_path / "gone")]
    with full.open("w") as stderr:
        assert subprocess.run(call, stderr=stderr, timeout=60).returncode == 2


def test_the_command_line_s_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("no\nsuch\nset", "no/such\nfolder", "\x1b[31mred"):
        assert main(["data", name]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        assert captured.err.rstrip("\n").isprintable()


def test_names_in_a_data_set_are_lines_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    documents: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "a.png", "split": "x\nmissing: nothing"},
            {"id": 2, "file_name": "b\n  left out: all.png", "split": "x\nmissing: nothing"},
        ]
    }
    (tmp_path / "captions.json").write_text(json.dumps(documents))
    assert main(["data", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("  missing:") for line in lines) == 1
    assert not any(line.startswith(("  left out:", "missing:")) for line in lines)
    assert any("b\\n  left out: all.png" in line for line in lines)
