"""The page of the command line is what `--help` says; `--rewrite-docs` writes it anew."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from docs_tables import DOCS, require

from molyneux.cli import main
from molyneux.cli.app import app
from molyneux.cli.help import EXAMPLES

GROUP: Any = typer.main.get_command(app)
VERBS = sorted(GROUP.commands)


def help_of(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([verb, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_has_the_help_of_every_command(
    verb: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    text = help_of(verb, capsys, monkeypatch)
    page = DOCS / "cli.md"
    if request.config.getoption("--rewrite-docs"):
        made = page.read_text(encoding="utf-8")
        begin = f"<!-- table of {verb}: begin -->\n"
        if begin not in made:
            end = f"<!-- table of {verb}: end -->\n"
            page.write_text(f"{made}\n## `molyneux {verb}`\n\n{begin}{end}", encoding="utf-8")
    require(page, verb, f"```text\n{text.strip()}\n```\n", request)


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_readable_on_80_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_of(verb, capsys, monkeypatch)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert not re.search(r"<(int|str|path|float|list\[)", text)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_read_as_calls_of_the_command(verb: str) -> None:
    """What an example gives is what the command takes; nothing is run."""
    assert EXAMPLES[verb]
    for line in EXAMPLES[verb]:
        words = shlex.split(line.rpartition("| ")[2].partition(" > ")[0])
        assert words[0] == "molyneux"
        command = GROUP.commands[words[1]]
        parser = command.make_parser(typer.Context(command))
        parser.parse_args(args=words[2:])  # an unknown option would raise
