"""The documentation against the package: links, commands, Python code, error messages."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "THIRD_PARTY.md")),
    ]
)
PAGES = [page for page in PAGES if page.is_file()]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^|[;&|$/]\s*|-m )molyneux[ \t]+(.*)$", re.MULTILINE)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [code for language, code in found if language in languages]


def anchors(page: Path) -> set[str]:
    """The headings of a page as the places that links name."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def commands(page: Path) -> Iterator[list[str]]:
    """The words after `molyneux` of every command that a page shows as code."""
    text = page.read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    shells = [code.replace("\\\n", " ") for code in blocks(page, "", "bash", "sh", "console")]
    for code in (*spans, *shells):
        for line in COMMAND.findall(code):
            yield re.split(r"[;&|#]", line)[0].split()


@pytest.fixture(scope="module")
def verbs() -> dict[str, set[str]]:
    """Every verb of the command line with its options."""
    import typer

    from molyneux.cli.app import app

    group: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in verb.params for option in parameter.opts}
        for name, verb in group.commands.items()
    }


def test_the_pages_are_there() -> None:
    assert len(PAGES) > 5


@every_page
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


@every_page
def test_commands_and_options_exist(page: Path, verbs: dict[str, set[str]]) -> None:
    wrong = []
    for words in commands(page):
        verb = next((word for word in words if not word.startswith("-")), None)
        known = {"--debug", "--help"} | (verbs.get(verb, set()) if verb else set())
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        if (verb is not None and verb not in verbs) or not options <= known:
            wrong.append(" ".join(words))
    assert not wrong


def test_every_command_is_documented(verbs: dict[str, set[str]]) -> None:
    shown = {words[0] for page in PAGES for words in commands(page) if words}
    assert set(verbs) <= shown


def test_a_wrong_option_would_be_noticed(tmp_path: Path, verbs: dict[str, set[str]]) -> None:
    page = tmp_path / "page.md"
    page.write_text("See `molyneux explain a.jpg --nonsense`.\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        test_commands_and_options_exist(page, verbs)


@every_page
def test_python_code_compiles_and_its_names_exist(page: Path) -> None:
    for code in blocks(page, "python", "py"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("molyneux"):
                module = importlib.import_module(str(node.module))
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {missing}"


def test_the_example_on_one_screen_runs(
    make_captioner: Callable[..., Any],
    photos: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from molyneux.models.captioner import Captioner
    from molyneux.words.nouns import find_nouns

    captioner, photo = next(
        (captioner, photo)
        for captioner in map(make_captioner, ("llama", "gpt2", "qwen2", "mistral", "gpt_neox"))
        for photo in photos
        if find_nouns(captioner.caption(photo))
    )
    photo.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Captioner, "load", staticmethod(lambda preset: captioner))
    code = blocks(ROOT / "docs" / "python.md", "python")[0]
    exec(compile(code.replace("photo.jpg", "photo.png"), "docs/python.md", "exec"), {})
    assert "of the probability is left" in capsys.readouterr().out


def test_the_row_of_another_family_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from molyneux.adapters import families

    monkeypatch.setattr(families, "FAMILIES", list(families.FAMILIES))
    code = next(c for c in blocks(ROOT / "docs" / "python.md", "python") if "register_family" in c)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert families.find_family("stablelm").gated


def strings_of_the_package() -> Iterator[str]:
    """Every string of the source, with a null where a value is put in."""
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "\0" for p in node.values)
                yield "".join(str(part) for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_messages_of_the_errors_page_are_the_package_s() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(messages) > 40
    found = list(strings_of_the_package())
    unknown = []
    for message in messages:
        pattern = re.compile(
            ".*".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL
        )
        if not any(pattern.search(string) for string in found):
            unknown.append(message)
    assert not unknown
