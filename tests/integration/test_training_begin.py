"""How `molyneux train` begins: what is wrong is said early, leaves nothing, and the begin token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import BEGIN, ToyEncoder, tiny_model, tiny_photos, tiny_tokenizer

from molyneux.cli import main
from molyneux.models import parts as parts_module
from molyneux.models.presets import find_preset
from molyneux.training.begin_token import choose_begin
from molyneux.training.recipe import find_recipe
from molyneux.vision.layout import Layout
from molyneux.vision.projection import load_projection

NONE = {"begin": None, "text": "A picture of"}


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(folder / f"{number}.png")
    lines = [json.dumps({"file": f"{n}.png", "caption": "a dog."}) for n in range(4)]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model whose tokenizer has a begin token, and one whose tokenizer has none."""
    root = tmp_path_factory.mktemp("models")
    for name in ("with", "without"):
        tiny_model("llama").save_pretrained(root / name)
        tokenizer = tiny_tokenizer()
        if name == "without":
            tokenizer.bos_token = None
        tokenizer.save_pretrained(root / name)
    return root


@pytest.fixture
def run(
    photos_folder: Path,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """The command on tiny parts of one's own; gives its status and what it says on stderr."""
    monkeypatch.setattr(parts_module, "_encoder", lambda *args: (ToyEncoder(), "0"))
    monkeypatch.chdir(tmp_path)

    def run(*options: str, model: str = "with", out: str | None = "run") -> tuple[int, str]:
        command = ["train", str(photos_folder), "--language-model", str(models / model)]
        command += ["--steps", "1", "--batch", "2", "--views", "1", "--bertscore", "none"]
        command += ["--device", "cpu", "--dtype", "float32", *options]
        status = main(command if out is None else [*command, "--out", out])
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object, **options: object) -> None:
        raise AssertionError("the language model's weights were loaded")

    monkeypatch.setattr(parts_module, "load_language", load)


def left_by(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--begin", "<|nowhere|>"), "has no token '<|nowhere|>' to begin with"),
        (("--language-model", "./nowhere"), "there is no nowhere"),
        (("--preset", "nothing"), "there is no preset"),
        (("--preset", "gptj-clip"), "no photo can be seen from the command line"),
        (("--features", "none"), "there are no 'none' features"),
        (("--accumulate", "3"), "give --batch 3 or more"),
        (("--validation", "./nowhere"), "nowhere"),
        (("--dtype", "int8"), "there is no dtype"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_cheap_to_see_is_said_before_weights_are_loaded(
    run: Any, tmp_path: Path, options: tuple[str, str], said: str
) -> None:
    for out in ("run", None):
        status, told = run(*options, out=out)
        assert (status in (1, 2), said in told) == (True, True), told
        assert not left_by(tmp_path)


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_language_model_that_lacks_a_file_leaves_nothing(
    run: Any, models: Path, tmp_path: Path, file: str
) -> None:
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in (models / "with").iterdir():
        if path.name != file:
            (cut / path.name).write_bytes(path.read_bytes())
    status, told = run("--language-model", str(cut))
    # A folder without it is no model: that is known before anything is read.
    assert status == (2 if file == "config.json" else 1)
    assert str(cut) in told
    assert left_by(tmp_path) == ["cut"]


@pytest.mark.usefixtures("never_loaded")
def test_a_wrong_encoder_is_said_before_the_language_model_is_loaded(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parts_module, "load_language", lambda *args: pytest.fail("loaded"))
    status, told = run("--encoder", "./nowhere")
    assert (status, "there is no folder ./nowhere" in told) == (2, True), told
    assert not left_by(tmp_path)


@pytest.mark.usefixtures("never_loaded")
def test_a_folder_that_is_taken_is_refused_first(run: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    status, told = run("--language-model", "./nowhere")
    assert (status, "run already holds something and is not written over" in told) == (2, True)
    assert left_by(tmp_path / "run") == ["thesis.txt"]


@pytest.mark.parametrize("out", ["deep/run", None])
def test_a_run_that_fails_before_anything_is_computed_is_taken_back(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str | None
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 0}))
        status, told = run(out=out)
    assert (status, "the features need" in told) == (1, True), told
    assert not list(tmp_path.rglob("manifest.json"))
    assert not list(tmp_path.glob("molyneux-runs"))
    status, told = run(out=out)
    assert status == 0, told


def test_what_was_computed_stays(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("molyneux.training.run.train", lambda *args, **options: 1 / 0)
        assert run()[0] == 1
    (rows, _) = sorted((tmp_path / "run").rglob("*.f16"))
    written = rows.stat().st_mtime_ns
    assert run()[0] == 0
    assert rows.stat().st_mtime_ns == written


def layout_of(run_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_projection(run_folder / "projection.safetensors").provenance[
        "layout"
    ]
    return found


@pytest.mark.parametrize(
    ("model", "options", "begin", "said"),
    [
        ("with", (), BEGIN, f"begin token: {BEGIN}, the tokenizer's own: it keeps the first"),
        ("without", (), None, "begin token: none, for the tokenizer has none of its own"),
        ("with", ("--recipe", "limber"), None, "begin token: none, as in the recipe limber"),
        ("with", ("--begin", ""), None, ""),
        ("without", ("--begin", "<|end|>"), "<|end|>", ""),
    ],
)
def test_the_begin_token_is_the_language_models_own(
    run: Any, tmp_path: Path, model: str, options: tuple[str, ...], begin: str | None, said: str
) -> None:
    few = ("--accumulate", "1") if "limber" in options else ()
    status, told = run(*options, *few, model=model)
    assert status == 0, told
    assert said in told
    assert ("begin token" in told) == bool(said)
    assert layout_of(tmp_path / "run") == {**NONE, "begin": begin}


def test_a_resumed_run_keeps_its_layout(run: Any, tmp_path: Path) -> None:
    """Also where it was not begun with what would be taken today."""
    assert run("--begin", "<|end|>")[0] == 0
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    status, told = run()
    assert (status, "begin token: <|end|>, as this run was begun" in told) == (0, True), told
    assert layout_of(tmp_path / "run")["begin"] == "<|end|>"
    status, told = run("--begin", "")
    assert (status, "holds a run with another layout" in told) == (2, True), told
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before


def test_the_presets_keep_theirs() -> None:
    default = find_recipe("default")
    for name, begin in (("smollm2-effnet", "<|im_start|>"), ("gptj-beit", None)):
        found, why = choose_begin(tiny_tokenizer(), default, find_preset(name))
        assert (found, name in why) == (begin, True)
    before = Layout("<|x|>")
    assert choose_begin(tiny_tokenizer(), find_recipe("limber"), None, before)[0] == "<|x|>"
