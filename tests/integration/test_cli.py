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
from molyneux.explain.measure_reference import measure_reference
from molyneux.models.captioner import Captioner


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
    language = (captioner.language_model, "tiny", "")
    monkeypatch.setattr(Captioner, "load", lambda *args, **options: captioner)
    monkeypatch.setattr("molyneux.models.parts.load_language", lambda *args, **options: language)
    return captioner


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_caption_json(tiny: Any, folder: Path, capsys: Any) -> None:
    status, out, err = run(capsys, "caption", folder / "0.png", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert set(document) == {"schema", "model", "images"}
    assert document["images"][0]["caption"] == tiny.caption(folder / "0.png")


def test_a_bad_photo_is_one_line_and_the_others_go_on(tiny: Any, folder: Path, capsys: Any) -> None:
    (folder / "bad.jpg").write_bytes(b"")
    status, out, err = run(capsys, "-q", "caption", folder / "bad.jpg", folder / "1.png", "--json")
    assert status == 1
    images = json.loads(out)["images"]
    assert images[0]["caption"] is None
    assert images[1]["caption"]
    assert len(err.strip().splitlines()) == 1
    assert "bad.jpg" in err


def test_a_small_probability_keeps_two_digits(capsys: Any) -> None:
    import report_run

    from molyneux.cli.explain import show_summary
    from molyneux.explain.document import Image
    from molyneux.records import from_plain

    for value, shown in ((0.00123, "0.0012"), (0.3127, "0.31"), (1.2e-7, "1.2e-07"), (1.0, "1")):
        word = report_run.word("dog", ablated=False) | {"probability": value}
        show_summary(from_plain(Image, report_run.image("a", "a dog.", [word]), "a photo"))
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
    assert status == 2
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

    monkeypatch.setattr("molyneux.explain.run.explain_seen", interrupt)
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
    status, _, err = run(capsys, "-q", "explain", folder / "0.png", "--out", folder / "run")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "No space left" in err
    assert not list((folder / "run").rglob("*.part"))


def test_decode_units_and_words(tiny: Any, capsys: Any) -> None:
    status, out, _ = run(capsys, "decode", "L1.u7", "l2.u3-", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [(r["layer"], r["unit"], r["sign"]) for r in rows] == [(1, 7, 1), (2, 3, -1)]


@pytest.mark.parametrize(("lens", "said"), [("none", "the head alone"), ("norm", "the final norm")])
def test_decode_says_through_what_it_reads(tiny: Any, capsys: Any, lens: str, said: str) -> None:
    _, out, err = run(capsys, "decode", "L1.u7", "--lens", lens)
    assert said in err
    assert said not in out
    _, out, _ = run(capsys, "decode", "L1.u7", "L2.u3-", "--lens", lens, "--json")
    assert [row["lens"] for row in json.loads(out)] == [lens, lens]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["decode", "L99.u1"], "no unit L99.u1"),
        (["decode", "twelve"], "not a unit"),
        (["decode"], "missing argument"),
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
    status, out, err = run(capsys, *arguments, "--quiet")
    assert status == 2
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "molyneux-runs").exists() or not list((folder / "molyneux-runs").iterdir())


def test_a_wrong_call_exits_with_2(capsys: Any) -> None:
    status, _, err = run(capsys, "explain")
    assert status == 2
    assert "missing argument" in err
    assert len(err.strip().splitlines()) == 1


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
    assert table.provenance["data"] == folder.name


def test_reference_takes_a_part_of_any_data_set(tiny: Any, folder: Path, capsys: Any) -> None:
    photos = folder / "set"
    for number, photo in enumerate(tiny_photos(6)):
        split = photos / "val" / ("cat", "dog")[number % 2]
        split.mkdir(parents=True, exist_ok=True)
        photo.save(split / f"{number}.png")
    (photos / "train" / "cat").mkdir(parents=True)
    tiny_photos(1)[0].save(photos / "train" / "cat" / "other.png")

    def measured(*more: object) -> dict[str, Any]:
        out = folder / f"table-{len(list(folder.iterdir()))}"
        status, text, err = run(capsys, "reference", photos, "--out", out, "--json", *more)
        assert status == 0, err
        found: dict[str, Any] = json.loads(text)
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["data"]["chosen"] == found["photos"] + len(found["left_out"])
        return found | {"ids": manifest["data"]["ids_sha256"]}

    every, part = measured(), measured("--where", "split=val")
    assert every["photos"] + len(every["left_out"]) == 7
    assert part["photos"] + len(part["left_out"]) == 6
    draws = [measured("--images", 3, "--seed", seed) for seed in (0, 0, 1)]
    assert all(draw["photos"] + len(draw["left_out"]) == 3 for draw in draws)
    assert draws[0]["ids"] == draws[1]["ids"] != draws[2]["ids"]
    listed = folder / "list.txt"
    listed.write_text("0.png\n2.png\n", encoding="utf-8")
    status, text, _ = run(capsys, "reference", listed, "--out", folder / "of-list", "--json")
    assert status == 0
    assert json.loads(text)["photos"] == 2


def test_a_reference_without_usable_photos_says_why(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    photos = tmp_path / "bad"
    photos.mkdir()
    for number in range(5):
        (photos / f"{number}.jpg").write_bytes(b"")
    status, out, err = run(capsys, "reference", photos, "--out", tmp_path / "table")
    said = err.strip().splitlines()[-1]
    assert status == 1
    assert out == ""
    assert said.startswith("molyneux: only 0 of 5 photos gave a noun; a reference table takes 2 or")
    assert "200 to be steady" in said
    assert said.count("the file is empty") == 3
    assert said.endswith("and 2 more")
    assert not (tmp_path / "table").exists()


def test_a_copy_is_held_against_the_full_set(tmp_path: Path, capsys: Any) -> None:
    for number, photo in enumerate(tiny_photos(4)):
        place = tmp_path / "val" / ("n01443537", "n02124075")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        photo.save(place / f"{number}.png")
    status, out, _ = run(capsys, "data", "tiny-imagenet", tmp_path)
    assert status == 0
    assert "  photos: 4; the full set has 100,000 train, 10,000 val\n" in out
    assert "  without a file: 0 of the 4\n" in out
    assert "  val: 4 of 10,000 photos\n" in out
    document = json.loads(run(capsys, "data", "tiny-imagenet", tmp_path, "--json")[1])
    assert document["full"] == {"train": 100_000, "val": 10_000}
    assert document["splits"] == {"val": 4}


def test_models_say_what_they_keep(capsys: Any) -> None:
    status, out, _ = run(capsys, "models")
    assert status == 0
    heads = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert heads
    assert all("; keeps " in line and line.count("in the cache") == 1 for line in heads)


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


def test_reference_takes_partners_of_their_own(
    tiny: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    from molyneux.neurons.reference import load_reference

    photos = tiny_photos(9)
    sets = {"own": photos[:4], "apart": photos[4:8], "both": [photos[8], photos[0]]}
    for name, held in sets.items():
        (tmp_path / name).mkdir()
        for number, photo in enumerate(held):
            photo.save(tmp_path / name / f"{name}{number}.png")
    people = {"file": "apart0.png", "captions": ["A boat.", "A boat.", "Boats on water."]}
    (tmp_path / "apart" / "captions.jsonl").write_text(json.dumps(people), encoding="utf-8")

    def asked(partners: Path, *more: object) -> tuple[int, str, str]:
        into = ("--out", tmp_path / f"table of {partners.name}")
        return run(capsys, "reference", tmp_path / "own", "--partners", partners, *into, *more)

    status, out, err = asked(tmp_path / "apart", "--partner-images", 3, "--json")
    assert status == 0, err
    found = json.loads(out)
    table = load_reference(Path(found["reference"]))
    manifest = json.loads((tmp_path / "table of apart" / "manifest.json").read_text())
    assert manifest["partners"]["chosen"] == 3
    assert found["partners"]["photos"] == len(table.partners) > 0
    people_said = sum(bool(one.human_nouns) for one in table.partners)
    assert found["partners"]["with_human_nouns"] == people_said
    assert found["controls"]["photos"] == len(table.others)
    assert table.provenance["partners"]["data"] == "apart"

    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing slow comes before the check")

    monkeypatch.setattr("molyneux.cli.model_choice.ModelChoice.load", loaded)
    status, out, err = asked(tmp_path / "both")
    assert status != 0
    assert "are the same photo" in err
    assert len(err.strip().splitlines()) == 1
