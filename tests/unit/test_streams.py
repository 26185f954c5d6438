"""Streams that are closed, full or left by their reader: no traceback, no error on stdout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOLYNEUX = f"{sys.executable} -m molyneux"


def shell(line: str, tmp_path: Path) -> tuple[int, str, str]:
    """Run a line of bash; its status is that of the first command of a pipe."""
    done = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("{} models >&-", 0),
        ("{} models 2>&-", 0),
        ("{} models <&- >&- 2>&-", 0),
        ("{} caption gone.jpg >&-", 2),
        ("{} caption gone.jpg 2>&-", 2),
        ("{} --help | true", 0),
        ("{} data --json | head -c 1", 0),
    ],
)
def test_closed_streams_are_no_error(line: str, status: int, tmp_path: Path) -> None:
    found, out, err = shell(line.format(MOLYNEUX), tmp_path)
    reader_left = 141 if "|" in line else status
    assert found in (status, reader_left)
    assert "Traceback" not in err
    assert "not foreseen" not in err
    assert "Exception ignored" not in err
    assert "there is no" not in out  # an error is never data
    assert not list(tmp_path.iterdir())


def test_a_reader_who_leaves_at_once_ends_it_quietly(tmp_path: Path) -> None:
    """More is printed than a pipe holds."""
    code = "from molyneux.cli.output import show\nfor _ in range(100_000): show('x' * 80)"
    file = tmp_path / "much.py"
    file.write_text(
        "import sys\nimport molyneux.cli.app as a, molyneux.cli as c\n"
        f"def models(*_, **__):\n    {code.splitlines()[0]}\n    {code.splitlines()[1]}\n"
        "a.app = models\nsys.exit(c.main(['models']))\n"
    )
    status, out, err = shell(f"{sys.executable} {file} | head -1", tmp_path)
    assert (status, len(out.splitlines()), err) == (141, 1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    status, _, err = shell(f"{MOLYNEUX} models > /dev/full", tmp_path)
    assert status == 1
    assert err.startswith("molyneux: stdout cannot be written (No space left on device)")
    assert len(err.splitlines()) == 1


def test_python_without_docstrings_is_refused_in_one_line(tmp_path: Path) -> None:
    status, out, err = shell(f"{sys.executable} -OO -m molyneux models", tmp_path)
    assert (status, out) == (2, "")
    assert "python -OO" in err
    assert len(err.splitlines()) == 1
