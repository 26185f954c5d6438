"""Runs of the programs of `benchmarks/`: what is wrong is one line, and what was measured stays."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmark_programs import load_program
from tiny_models import tiny_photos

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, UsageError
from molyneux.models.captioner import Captioner

rows = load_program("kept_rows")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Five captioned photos in COCO's layout, the third of them cut short."""
    images = tmp_path / "coco" / "images"
    images.mkdir(parents=True)
    names = [f"{number}.png" for number in range(5)]
    for name, photo in zip(names, tiny_photos(5), strict=True):
        photo.save(images / name)
    (images / names[2]).write_bytes((images / names[2]).read_bytes()[:60])
    document = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [{"image_id": n, "caption": "a dog"} for n in range(5)],
    }
    (images.parent / "captions.json").write_text(json.dumps(document))
    return images.parent


def never(*_: object, **__: Any) -> None:
    raise AssertionError("nothing is loaded for a call that is wrong")


def call(monkeypatch: pytest.MonkeyPatch, program: Any, *arguments: object) -> int | str | None:
    """Return the status, or the line, that a program ends with."""
    monkeypatch.setattr("sys.argv", [program.__name__, *map(str, arguments)])
    try:
        rows.program(program.main)
    except SystemExit as ended:
        return ended.code
    return 0


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    for damaged in (b'{"n": 2', b"[2]", b"\xff"):
        file.write_bytes(b'{"n": 1}\n' + damaged + b'\n{"n": 3}\n')
        before = file.read_bytes()
        with pytest.raises(SystemExit, match=r"rows\.jsonl, line 2 is damaged"):
            rows.load_rows(file)
        assert file.read_bytes() == before


def test_a_last_row_without_a_line_end_stays(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"n": 1}\n{"n": 2}')
    assert rows.load_rows(file) == [{"n": 1}, {"n": 2}]
    rows.append_row(file, {"n": 3})
    assert rows.load_rows(file) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_summary_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "summary.json"
    rows.write_json(file, {"n": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = SimpleNamespace(__name__="kept_rows", main=lambda: rows.write_json(file, {"n": 2}))
    assert "No space left on device" in str(call(monkeypatch, said))
    assert json.loads(file.read_text()) == {"n": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_again_of_what_is_no_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("record.json", "summary.json"):
        (damaged / name).write_text("{")
    (damaged / "photos.jsonl").write_text('{"file": "0.png"}\n{"file": "1.png"}\n')
    for name in ("phenomenon", "captions", "spelling", "split_half", "carriers"):
        program = load_program(name)
        for run in (gone, damaged):
            place = run / "summary.json" if name == "captions" else run
            flags = ["--again"] if name in ("phenomenon", "captions") else ["--again", place]
            given = flags if len(flags) == 2 else [*flags, "--out", place]
            line = str(call(monkeypatch, program, *given))
            assert str(run) in line
            assert "cannot be read" in line or "is damaged" in line, (name, line)


def test_rows_that_lack_something_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("record.json", "summary.json"):
        (tmp_path / name).write_text('{"conditions": {"end": {}}}')
    (tmp_path / "photos.jsonl").write_text('{"file": "0.png", "sha256": "0"}\n' * 2)
    for name in ("phenomenon", "spelling", "split_half", "carriers"):
        given = ["--again", "--out"] if name == "phenomenon" else ["--again"]
        line = str(call(monkeypatch, load_program(name), *given, tmp_path))
        assert "are damaged or another version's" in line, (name, line)
    (tmp_path / "captions.json").write_text("{}")
    given = ["--again", "--out", tmp_path / "captions.json"]
    assert "another version's" in str(call(monkeypatch, load_program("captions"), *given))


def test_photos_that_cannot_be_read_are_left_out(coco: Path, capsys: Any) -> None:
    files = sorted((coco / "images").iterdir())
    items = [Item(file.name, file) for file in files]
    assert [item.id for item in rows.readable(items)] == ["0.png", "1.png", "3.png", "4.png"]
    assert "left out: " in capsys.readouterr().err
    with pytest.raises(PhotoError, match="not one photo can be read"):
        rows.readable(items[2:3])


def test_the_phenomenon_goes_on_with_what_it_was_begun_with(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    program, run = load_program("phenomenon"), tmp_path / "run"
    monkeypatch.setattr(Captioner, "load", never)
    assert call(monkeypatch, program, "--out", run) == 2
    assert "captions.json cannot be read" in str(call(monkeypatch, program, tmp_path, "--out", run))
    assert "give 2 or more" in str(
        call(monkeypatch, program, coco, "--out", run, "--limit", 1, "--split", "val2017")
    )
    measured = []

    def measure(captioner: Any, photo: dict[str, Any], *_: bool) -> dict[str, Any]:
        if len(measured) == 2:
            measured.append("interrupted")
            raise KeyboardInterrupt
        measured.append(Path(photo["file"]).name)
        return {"file": measured[-1], "caption": "a dog"}

    monkeypatch.setattr(program, "measure_photo", measure)
    monkeypatch.setattr(program, "summarise", lambda found: {"photos": len(found)})

    def loads(projection: str) -> None:
        captioner = SimpleNamespace(hashes={"projection": projection})
        monkeypatch.setattr(Captioner, "load", lambda **_: captioner)

    loads("one")
    assert call(monkeypatch, program, coco, "--out", run) == 130
    assert "left out: " in capsys.readouterr().err
    loads("another")
    line = call(monkeypatch, program, coco, "--out", run)
    assert line == f"{run} was begun with another hashes; give another --out"
    loads("one")
    assert call(monkeypatch, program, coco, "--out", run) == 0
    files = [row["file"] for row in rows.load_rows(run / "photos.jsonl")]
    assert sorted(files) == ["0.png", "1.png", "3.png", "4.png"]
    assert json.loads((run / "summary.json").read_text())["photos"] == 4


def test_captions_are_measured_of_photos_that_can_be_read(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, out = load_program("captions"), tmp_path / "captions.json"
    monkeypatch.setattr(Captioner, "load", never)
    assert call(monkeypatch, program, "--out", out) == 2
    assert call(monkeypatch, program, coco, "--out", tmp_path / "gone" / "captions.json") == 2
    with pytest.raises(UsageError, match="2 or more are compared"):
        program.run(SimpleNamespace(data=coco, where=[], images=1))
    captioner = SimpleNamespace(hashes={"projection": "one"})
    monkeypatch.setattr(Captioner, "load", lambda **_: captioner)
    monkeypatch.setattr(program, "load_bert_scorer", lambda: SimpleNamespace(name="none"))
    monkeypatch.setattr(
        program, "measure", lambda _, items, __: [{"file": item.id} for item in items]
    )
    monkeypatch.setattr(program, "summarise", lambda found: {"photos": len(found)})
    assert call(monkeypatch, program, coco, "--out", out) == 0
    assert json.loads(out.read_text())["summary"] == {"photos": 4}
