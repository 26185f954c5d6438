"""Wrong calls: one line, exit status 2, and neither torch's models nor a folder for them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos

from molyneux.cli import main
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import RunError
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.store import Run
from molyneux.studies.plan import require_begun_alike
from molyneux.studies.settings import DEFAULT_SCORER, StudySettings

WRONG: list[tuple[str, str]] = [
    ("atlas", "missing argument"),
    ("atlas build", "needs --out DIR"),
    ("atlas build --out full", "already holds something"),
    ("atlas build full --out new", "takes no folder"),
    ("atlas join", "takes an atlas and the runs to join"),
    ("atlas join gone full", "there is no atlas"),
    ("atlas join smollm2-effnet full", "part of the package"),
    ("atlas join smollm2-effnet full --out new", "is no run folder"),
    ("atlas build --out full --vlm ./gone", "already holds something"),
    ("atlas build --out new --vlm ./gone", "there is no gone"),
    ("calibrate-bertscore ./nowhere", "there is no nowhere"),
    ("calibrate-bertscore --layer -1", "--layer"),
    ("cache clear gone --yes", "the cache has no gone"),
    ("cache sell", "invalid value"),
    ("caption", "missing argument"),
    ("caption gone.png", "there is no gone.png"),
    ("caption 0.png gone.png", "there is no gone.png"),
    ("caption empty", "no photos in empty"),
    ("caption http://example.org/a.jpg", "nothing is fetched"),
    ("caption HTTPS://example.org/a.jpg", "nothing is fetched"),
    ("caption s3://photos/a.jpg", "nothing is fetched"),
    ("caption 0.png --nonsense", "no such option"),
    ("caption 0.png --preset nothing", "there is no preset"),
    ("caption 0.png --preset gptj-clip", "which transformers does not have"),
    ("caption 0.png --dtype int8", "no dtype 'int8'"),
    ("caption 0.png --device tpu", "no device 'tpu'"),
    ("caption 0.png --decoding nonsense", "no part 'nonsense'"),
    ("caption 0.png --projection gone.safetensors", "gone.safetensors (--projection)"),
    ("caption 0.png --projection empty", "is a folder, not a file"),
    ("caption 0.png --language-model ./gone --encoder a/b --projection 0.png", "no gone"),
    ("caption 0.png --language-model a/b --encoder gone --projection 0.png", "no folder gone"),
    ("caption 0.png --vlm ./gone", "there is no gone"),
    ("caption 0.png --vlm gpt2 --prompt plain", "must hold {image} once"),
    ("caption 0.png --vlm gpt2 --preset gptj-beit", "brings its own language model"),
    ("data nothing", "no data set is called"),
    ("data coco ./gone", "there is no folder gone"),
    ("decode", "missing argument 'UNIT'"),
    ("decode L0.u1 twelve", "'twelve' is not a unit"),
    ("decode --word dog", "no such option: --word"),
    ("decode L0.u1 --language-model ./gone", "there is no gone"),
    ("decode L0.u1 --top 0", "--top"),
    ("demo --preset nothing", "there is no preset"),
    ("demo --out full", "already holds something"),
    ("doctor --dtype int8", "no dtype 'int8'"),
    ("doctor --fixtures", "choose --preset gptj-beit"),
    ("doctor --coco gone", "--coco goes with --fixtures"),
    ("explain gone.png", "there is no gone.png"),
    ("explain 0.png --word=", "--word needs a word"),
    ("explain 0.png --out full", "already holds something"),
    ("explain 0.png --out 0.png/run", "nothing can be written in"),
    (f"explain 0.png --out {'a' * 300}", "nothing can be written in"),
    ("explain 0.png --reference gone.safetensors", "gone.safetensors (--reference)"),
    ("explain 0.png --ablate some", "--ablate"),
    ("explain 0.png --top none", "--top"),
    ("find", "missing argument"),
    ("explore gone", "gone is not there"),
    ("explore 0.png", "is not a folder"),
    ("explore --no-live", "there is nothing to show"),
    ("explore --export new", "there is nothing to write"),
    ("explore --port 0", "--port"),
    ("explore --atlas gone", "there is no atlas"),
    ("explore --preset nothing", "there is no preset"),
    ("explore --vlm ./gone", "there is no gone"),
    ("find water --layer five", "--layer takes one"),
    ("find water --layer 40", "a layer"),
    ("find water --atlas gone", "there is no atlas"),
    ("find water --atlas full", "holds no finished atlas"),
    ("find qqqqzz", "look for a shorter word"),
    ("find water --lens none", "lens is"),
    ("find water --prefix --concept", "not both"),
    ("find water --by beauty", "--by"),
    ("lens build gone --out j.safetensors", "there is no gone"),
    ("lens build .", "needs --out"),
    ("models fetch nothing", "there is no preset"),
    ("models fetch", "name the preset to fetch"),
    ("models sell", "invalid value"),
    ("prompts gone.png", "there is no gone.png"),
    ("reference gone", "there is no gone"),
    ("reference . --where split=gone", "no photo of"),
    ("reference . --out full", "already holds something"),
    ("report gone", "gone is not there"),
    ("report 0.png", "is not a folder"),
    ("runs gone", "gone is not a folder"),
    ("size ./gone", "there is no gone"),
    ("study gone", "there is no gone"),
    ("study . --experiments E99", "there is no experiment"),
    ("study . --experiments E9", "`molyneux transfer RUN DATA` does"),
    ("study . --experiments E8", "E8 takes 5 photos or more of each of two concepts"),
    ("study . --reference gone", "gone (--reference)"),
    ("study . --preset gptj-beit --projection 0.png", "needs a reference table"),
    ("table gone", "gone is not there"),
    ("compare-scorers gone", "there is no gone"),
    ("compare-scorers", "missing argument 'DATA'"),
    ("transfer gone .", "gone is not there"),
    ("transfer .", "missing argument"),
    ("trust gone --check .", "there is no gone"),
    ("trust .", "--check"),
    ("trust . --check . --out full", "already holds something"),
    ("train gone", "there is no gone"),
    ("train . --validation gone", "there is no gone"),
    ("train . --recipe none", "there is no recipe"),
    ("train . --device tpu", "no device 'tpu'"),
    ("train . --out full", "already holds something"),
    ("units gone", "gone is not there"),
    ("nothing", "no such command"),
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo, an empty folder and one that holds something of the user's."""
    for number, photo in enumerate(tiny_photos(2)):
        photo.save(tmp_path / f"{number}.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)

    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("something was loaded")

    monkeypatch.setattr(Captioner, "load", load)
    monkeypatch.setattr(Captioner, "from_sources", load)
    monkeypatch.setattr(Parts, "load", load)
    for name in (
        "models.parts.load_language",
        "models.parts.load_tokenizer",
        "models.vlm_loading.load_vlm",
        "metrics.bertscore.load_backbone",
        "metrics.bertscore.load_bert_scorer",
    ):
        monkeypatch.setattr(f"molyneux.{name}", load)
    return tmp_path


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(("call", "said"), WRONG, ids=[call for call, _ in WRONG])
def test_a_wrong_call_is_one_line_before_anything_is_loaded(
    call: str, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = below(place)
    status = main([*call.split(), "--quiet"])
    out, err = capsys.readouterr()
    assert (status, out) == (2, ""), err
    assert said in err
    assert len(err.splitlines()) == 1
    assert err.startswith("molyneux: ")
    assert below(place) == before


def test_an_empty_name_is_not_the_folder_here(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", ""]) == 2
    assert "a photo's name is empty" in capsys.readouterr().err


def test_every_command_is_called_wrongly() -> None:
    import typer

    from molyneux.cli.app import app

    group: Any = typer.main.get_command(app)
    assert set(group.commands) <= {call.split()[0] for call, _ in WRONG}


def test_a_folder_of_another_study_is_refused_before_anything_is_loaded(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    selection = select(open_dataset("."))
    settings = StudySettings(seed=3, scorer=DEFAULT_SCORER)
    record = selection.record()
    manifest = {"settings": asdict(settings), "data": {**record, "photos": len(selection)}}
    Run.create(Path("study"), "study", **manifest)
    require_begun_alike(Path("study"), settings, selection)
    before = below(place)
    assert main(["study", ".", "--out", "study"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "settings.seed: 3 in the folder, 0 now" in line
    assert below(place) == before
    with pytest.raises(RunError, match=r"data\.photos: 2 in the folder, 1 now"):
        require_begun_alike(Path("study"), settings, select(open_dataset("."), images=1))
