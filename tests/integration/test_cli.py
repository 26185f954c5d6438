"""The command line: data to stdout, one line for a mistake, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos

from molyneux.cli import main
from molyneux.models.captioner import Captioner, Parts
from molyneux.neurons.measure_reference import measure_reference


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.fixture
def tiny(make_captioner: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The commands' captioner replaced by a tiny one with a reference table."""
    captioner = make_captioner("llama")
    files = sorted(folder.glob("*.png"))
    table, _ = measure_reference(captioner, files, data="drawings", n_listed=100)
    captioner = captioner.with_reference(table)
    parts = Parts(captioner.language_model, captioner.encoder, captioner.names, {})
    monkeypatch.setattr(Captioner, "load", lambda *args, **options: captioner)
    monkeypatch.setattr(Parts, "load", lambda *args, **options: parts)
    return captioner


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_caption_json(tiny: Any, folder: Path, capsys: Any) -> None:
    status, out, _ = run(capsys, "caption", folder / "0.png", "--json")
    document = json.loads(out)
    assert status == 0
    assert set(document) == {"schema", "model", "images"}
    assert document["images"][0]["caption"] == tiny.caption(folder / "0.png")


def test_a_bad_photo_is_one_line_and_the_others_go_on(tiny: Any, folder: Path, capsys: Any) -> None:
    (folder / "bad.jpg").write_bytes(b"")
    status, out, err = run(capsys, "caption", folder / "bad.jpg", folder / "1.png", "--json")
    assert status == 1
    images = json.loads(out)["images"]
    assert images[0]["caption"] is None
    assert images[1]["caption"]
    assert len(err.strip().splitlines()) == 1
    assert "bad.jpg" in err


def test_a_small_probability_keeps_two_digits(capsys: Any) -> None:
    from molyneux.cli.explain import show_summary

    nothing = {"patches": [], "last": []}
    word = {"specific_units": nothing, "units": nothing, "note": None}
    word |= {"ablation": None, "ablation_last": None}
    for value, shown in ((0.00123, "0.0012"), (0.3127, "0.31"), (1.2e-7, "1.2e-07"), (1.0, "1")):
        words = [word | {"word": "dog", "probability": value}]
        show_summary({"path": "a", "caption": "b", "note": None, "error": None, "words": words})
        assert f"  dog  p = {shown}\n" in capsys.readouterr().out


def test_explain_writes_the_run_and_its_page(tiny: Any, folder: Path, capsys: Any) -> None:
    status, out, _ = run(
        capsys, "explain", folder / "0.png", "--json", "--out", folder / "run", "--top", 5
    )
    document = json.loads(out)
    assert status == 0
    assert {p.name for p in (folder / "run").iterdir()} >= {
        "manifest.json",
        "explain.json",
        "fields.safetensors",
        "photos",
        "report.html",
    }
    assert document["images"][0]["words"]
    assert json.loads((folder / "run" / "explain.json").read_text()) == document


def test_explain_says_what_it_found(tiny: Any, folder: Path, capsys: Any) -> None:
    status, out, err = run(capsys, "explain", folder / "0.png", "--out", folder / "run")
    assert status == 0
    assert tiny.caption(folder / "0.png") in out
    assert "report.html" in out
    assert "left]" in err


def test_a_run_is_never_written_over(tiny: Any, folder: Path, capsys: Any) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "mine.txt").write_text("mine")
    status, out, err = run(capsys, "explain", folder / "0.png", "--out", folder / "run")
    assert status == 1
    assert out == ""
    assert "already holds" in err
    assert [p.name for p in (folder / "run").iterdir()] == ["mine.txt"]


def test_the_default_run_folder_is_here(
    tiny: Any, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    status, out, _ = run(capsys, "explain", "0.png", "--json", "--ablate", "none", "--top", 3)
    assert status == 0
    assert Path(json.loads(out)["run"]).parent == Path("molyneux-runs")


def test_an_interrupted_run_leaves_nothing_half_written(
    tiny: Any, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("molyneux.explain.run.explain_photo", interrupt)
    status, _, err = run(capsys, "explain", folder / "0.png", "--out", folder / "run")
    assert status == 130
    assert "interrupted" in err
    assert not (folder / "run").exists()


def test_a_full_disk_is_one_line(
    tiny: Any, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("molyneux.store.os.fsync", full)
    status, _, err = run(capsys, "explain", folder / "0.png", "--out", folder / "run")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "No space left" in err
    assert not list((folder / "run").rglob("*.part"))


def test_decode_units_and_words(tiny: Any, capsys: Any) -> None:
    status, out, _ = run(capsys, "decode", "L1.u7", "l2.u3-", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [(r["layer"], r["unit"], r["sign"]) for r in rows] == [(1, 7, 1), (2, 3, -1)]
    status, out, _ = run(capsys, "decode", "--word", "dog", "--json")
    found = json.loads(out)
    assert status == 0
    assert set(found[0]) >= {"layer", "unit", "sign", "rank", "tokens"}
    assert [r["rank"] for r in found] == sorted(r["rank"] for r in found)
    assert found[0]["tokens"][found[0]["rank"]].strip() == "dog"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["decode", "L99.u1"], "no unit L99.u1"),
        (["decode", "twelve"], "not a unit"),
        (["decode"], "give one of them"),
        (["report", "nowhere"], "nowhere"),
        (["reference", "nowhere"], "nowhere"),
        (["explain", "x.png", "--word", " "], "--word"),
    ],
)
def test_a_mistake_is_one_line(
    tiny: Any, folder: Path, capsys: Any, monkeypatch: Any, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "0.png").rename(folder / "x.png")
    status, out, err = run(capsys, *arguments)
    assert status == 1
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "molyneux-runs").exists() or not list((folder / "molyneux-runs").iterdir())


def test_a_wrong_call_exits_with_2(capsys: Any) -> None:
    status, _, err = run(capsys, "explain")
    assert status == 2
    assert "Missing argument" in err


def test_debug_shows_the_traceback(tiny: Any) -> None:
    from molyneux.errors import UsageError

    with pytest.raises(UsageError):
        main(["decode", "twelve", "--debug"])


def test_prompts_are_decoded_beside_random_vectors(tiny: Any, folder: Path, capsys: Any) -> None:
    status, out, _ = run(capsys, "prompts", folder / "0.png", "--json", "--top", 3)
    image = json.loads(out)["images"][0]
    assert status == 0
    assert len(image["patches"]) == tiny.encoder.grid.n_patches
    assert len(image["patches"][0]["tokens"]) == 3
    assert -1 <= image["random_cosine"] <= 1


def test_reference_measures_a_folder(
    tiny: Any, folder: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("molyneux.vision.projection.load_projection", lambda path: tiny.projection)
    status, out, _ = run(capsys, "reference", folder, "--out", folder / "table", "--json")
    assert status == 0
    from molyneux.neurons.reference import load_reference

    table = load_reference(Path(json.loads(out)["reference"]))
    assert table.provenance["projection"] == tiny.projection.hash()


def test_models_states_the_limits(capsys: Any) -> None:
    status, out, _ = run(capsys, "models", "--json")
    assert status == 0
    limits = " ".join(json.loads(out)[0]["limits"])
    assert "category-supervised" in limits
    assert "localise weakly" in limits


def test_importing_is_free_and_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, molyneux, molyneux.cli.app\n"
        "heavy = {'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
