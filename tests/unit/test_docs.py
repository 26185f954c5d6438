"""The documentation against the package: links, commands, Python code, error messages."""

from __future__ import annotations

import ast
import importlib
import json
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
        known = {"--debug", "--help", "--quiet", "--version", "--install-completion"}
        known |= verbs.get(verb, set()) if verb else set()
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


def private_imports(page: Path) -> list[str]:
    """What a page's code imports of the package, but for the names that are public."""
    import molyneux

    found = []
    for code in blocks(page, "python", "py"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("molyneux."):
                found.append(ast.unparse(node))
            elif isinstance(node, ast.ImportFrom) and node.module == "molyneux":
                names = [alias.name for alias in node.names]
                found += [name for name in names if name not in molyneux.__all__]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                found += [name for name in names if name.startswith("molyneux.")]
    return found


@every_page
def test_python_code_imports_public_names_alone(page: Path) -> None:
    assert not private_imports(page)


def test_a_private_import_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    code = ("from molyneux.vision.layout import Layout", "from molyneux import _PLACES")
    lines = "\n".join((*code, "import molyneux.hooks", "import molyneux as mx"))
    page.write_text(f"```python\n{lines}\n```\n", encoding="utf-8")
    assert private_imports(page) == [code[0], "_PLACES", "molyneux.hooks"]


def test_every_public_name_is_there_once() -> None:
    import molyneux

    assert sorted(molyneux.__all__) == sorted(molyneux._PLACES) == dir(molyneux)
    for name in molyneux.__all__:
        assert getattr(molyneux, name).__doc__, name


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
    code = blocks(ROOT / "docs" / "python.md", "python")[1]
    exec(compile(code.replace("photo.jpg", "photo.png"), "docs/python.md", "exec"), {})
    assert "of the probability is left" in capsys.readouterr().out


def test_the_short_way_does_what_it_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, captioner: Any, photos: list[Any]
) -> None:
    from molyneux import Model

    photos[0].save(tmp_path / "photo.png")
    photos[1].save(tmp_path / "other.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("molyneux.model.load", lambda preset: Model(captioner))
    code = blocks(ROOT / "docs" / "python.md", "python")[0]
    found: dict[str, Any] = {}
    exec(compile(code.replace("photo.jpg", "photo.png"), "docs/python.md", "exec"), found)
    assert found["e"].caption == captioner.caption(photos[0])
    assert (tmp_path / "word.png").exists() == bool(found["e"].words)


def test_the_row_of_another_family_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from molyneux.adapters import find_family, registry

    monkeypatch.setattr(registry, "FAMILIES", list(registry.FAMILIES))
    code = next(c for c in blocks(ROOT / "docs" / "python.md", "python") if "register_family" in c)
    exec(compile(code, "docs/python.md", "exec"), {})
    assert find_family("stablelm").gated


def provenance_rows() -> list[tuple[set[str], set[str]]]:
    """What the table of provenance documents: the names of each row, and all names in its text."""
    text = (ROOT / "docs" / "document.md").read_text(encoding="utf-8")
    section = text.partition("\n## Provenance\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE)
    return [
        (set(re.findall(r"`([^`]+)`", names)), set(re.findall(r"`([^`]+)`", value)))
        for names, value in cells
    ]


def undocumented(record: dict[str, Any]) -> set[str]:
    """The names in a projection's record, at any depth, that its row does not have.

    Names that the user or the parts give (settings of the recipe, sources, categories, parts) are
    no names of the record.
    """
    given = {"recipe", "examples", "hashes", "by_annotation", "by_caption", "versions"}
    given |= {"annotations", "parts", "shards"}
    missing = set()

    def look(value: Any, known: set[str], where: str) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if key not in known:
                missing.add(f"{where}{key}")
            if key not in given:
                look(inner, known, f"{where}{key}.")

    for key, value in record.items():
        row = next((inside for names, inside in provenance_rows() if key in names), None)
        if row is None:
            missing.add(key)
        elif key not in given:
            look(value, row, f"{key}.")
    return missing


@pytest.fixture
def trained_record(
    make_captioner: Callable[..., Any],
    photos: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """The record that `molyneux train` writes, of a caption list and a set in COCO's layout."""
    from molyneux.cli import main
    from molyneux.models.parts import Parts
    from molyneux.vision.projection import load_projection

    captioner = make_captioner("llama")
    parts = Parts(captioner.language_model, captioner.encoder, captioner.names, {"encoder": "0"})
    monkeypatch.setattr(Parts, "load", lambda *args, **options: parts)
    tokenizer = captioner.language_model.tokenizer
    monkeypatch.setattr("molyneux.models.parts.load_tokenizer", lambda *args: (tokenizer, "tiny"))
    own, coco = tmp_path / "own", tmp_path / "coco"
    (coco / "val2017").mkdir(parents=True)
    own.mkdir()
    lines = []
    for number, photo in enumerate([*photos, *photos]):
        photo.save(own / f"{number}.png")
        photo.save(coco / "val2017" / f"held-{number}.png")
        word = "dog" if number else "cat"
        lines.append({"file": f"{number}.png", "captions": [f"a {word}."], "categories": [word]})
    (own / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    images = [{"id": n, "file_name": f"held-{n}.png"} for n in range(len(lines))]
    said = [{"id": n, "image_id": n, "caption": "a dog."} for n in range(len(lines))]
    (coco / "annotations").mkdir()
    (coco / "annotations" / "captions_val2017.json").write_text(
        json.dumps({"images": images, "annotations": said}), encoding="utf-8"
    )
    command = ["train", str(own), "--validation", str(coco), "--validation-where", "split=val2017"]
    command += ["--steps", "2", "--batch", "2", "--every", "1", "--views", "1", "--device", "cpu"]
    command += ["--hold-out-categories", "cat", "--bertscore", "none", "--begin"]
    assert main([*command, captioner.layout.begin or "", "--out", str(tmp_path / "run")]) == 0
    return dict(load_projection(tmp_path / "run" / "projection.safetensors").provenance)


def test_every_name_in_a_projection_s_record_is_documented(
    trained_record: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"patches", "sets", "held_out_categories", "how", "evaluation"} <= set(trained_record)
    assert len(trained_record["sets"]["validation"]) > 5
    assert trained_record["evaluation"]["loss"]["control"] is not None
    assert not undocumented(trained_record)


def test_an_undocumented_name_would_be_noticed() -> None:
    record = {"kind": "trained", "mood": 1, "how": {"device": "cpu", "weather": 2}}
    deep = {"evaluation": {"loss": {"value": 1.0, "guess": 2.0}}}
    assert undocumented({**record, **deep}) == {"mood", "how.weather", "evaluation.loss.guess"}


def test_what_limber_s_projections_record_is_documented() -> None:
    tree = ast.parse((ROOT / "src/molyneux/weights/limber.py").read_text(encoding="utf-8"))
    written = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(
            isinstance(target, ast.Name) and target.id == "provenance" for target in node.targets
        )
        and isinstance(node.value, ast.Dict)
    ]
    assert len(written) == 1

    def plain(node: ast.Dict) -> dict[str, Any]:
        return {
            str(ast.literal_eval(key)): plain(value) if isinstance(value, ast.Dict) else None
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }

    record = plain(written[0])
    assert "git_blob" in record["source"]
    assert not undocumented(record)


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
