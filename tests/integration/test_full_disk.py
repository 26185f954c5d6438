"""A disk that fills up, or a key that is pressed, in the midst of writing: one line, no halves."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from explorer_served import serve
from PIL import Image
from report_run import image, reading, word, write_run

from molyneux.atlas import Atlas, open_atlas
from molyneux.atlas.build import build_atlas
from molyneux.atlas.join import join_runs, read_runs
from molyneux.cli import main
from molyneux.errors import PhotoError, RunError, UsageError
from molyneux.explain.document import read_document
from molyneux.explain.tables import units_table
from molyneux.explore.uploads import Uploads
from molyneux.store import Run

NAMES = {"language_model": "tiny-llama", "sha256": "ab"}


class Disk:
    """Calls of `fsync`, from one on which something goes wrong."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wrong: type[BaseException] = OSError
        self.room, self.written = 10**9, 0
        real = os.fsync

        def sync(file: int) -> None:
            self.written += 1
            if self.written <= self.room:
                real(file)
            elif self.wrong is OSError:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            else:
                raise self.wrong

        patch.setattr("molyneux.store.os.fsync", sync)

    def fill_after(self, files: int, wrong: type[BaseException] = OSError) -> None:
        self.written, self.room, self.wrong = 0, files, wrong

    def free(self) -> None:
        self.room = 10**9


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(scope="module")
def model(make_captioner: Callable[..., Any]) -> Any:
    return make_captioner("llama").language_model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of `explain` whose units are those of the tiny model."""
    first = image("a.jpg", "a woman.", [word("woman"), word("guitar", seed=1)])
    first["reading"] = reading()
    folder = write_run(tmp_path / "run", [first, image("b.jpg", "a river.", [word("river")])])
    (folder / "units.parquet").write_bytes(units_table(read_document(folder).images))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    if not folder.exists():
        return {}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return str(line)


# --- an atlas that is built ------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 3])
def test_an_atlas_that_found_no_room_goes_on_to_the_same_bytes(
    model: Any, disk: Disk, tmp_path: Path, room: int
) -> None:
    whole = tmp_path / "whole"
    build_atlas(model, whole, names=NAMES)
    out = tmp_path / "atlas"
    disk.fill_after(room)
    with pytest.raises(RunError, match=r"No space left.*free some space"):
        build_atlas(model, out, names=NAMES)
    left = files(out)
    assert len(left) == room
    assert not any(name.endswith(".part") for name in left)
    disk.free()
    build_atlas(model, out, names=NAMES)
    expected, found = files(whole), files(out)
    for each in (expected, found):
        del each["manifest.json"]  # it says when
    assert found == expected


# --- runs that are joined --------------------------------------------------------------------


@pytest.fixture
def atlas(model: Any, tmp_path: Path) -> Atlas:
    out = tmp_path / "joined-to"
    build_atlas(model, out, names=NAMES)
    return open_atlas(out)


def study(folder: Path, units: list[int]) -> Path:
    """Return a folder that says it is a study's, with lists of some units."""
    (folder / "tables").mkdir(parents=True)
    facts = {"language_model": "tiny-llama", "hashes": {}}
    manifest = {"kind": "study", "created": "then", "model": facts, "data": None}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    place = {"photo": 0, "view": "patches", "ranking": "top", "layer": 0, "score": 1.0}
    tables = {
        "photos": [{"id": "p", "noun": "dog"}],
        "e2_units": [
            place | {"rank": n, "unit": unit, "peak_patch": 0} for n, unit in enumerate(units)
        ],
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / "tables" / f"{name}.parquet")
    return folder


@pytest.mark.parametrize("wrong", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("room", [0, 1])
def test_what_was_joined_before_stays_whole(
    atlas: Atlas, disk: Disk, tmp_path: Path, room: int, wrong: type[BaseException]
) -> None:
    join_runs(atlas, read_runs(atlas, [study(tmp_path / "first", [1, 2])]))
    before = files(atlas.folder)
    rows = read_runs(atlas, [study(tmp_path / "second", [3])])
    disk.fill_after(room, wrong)
    with pytest.raises(RunError if wrong is OSError else wrong):
        join_runs(atlas, rows)
    assert files(atlas.folder) == before
    told = open_atlas(atlas.folder).unit("L0.u1").measured
    assert told is not None
    assert told.n_top == 1
    disk.free()
    again = join_runs(atlas, rows)
    assert again.unit("L0.u1").measured is None
    assert again.unit("L0.u3").measured is not None


@pytest.mark.parametrize(("wrong", "status"), [(OSError, 1), (KeyboardInterrupt, 130)])
def test_a_joined_copy_is_whole_or_not_there(
    atlas: Atlas,
    disk: Disk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: type[BaseException],
    status: int,
) -> None:
    run, out = study(tmp_path / "first", [1, 2]), tmp_path / "out"
    command = ["-q", "atlas", "join", str(atlas.folder), str(run), "--out", str(out)]
    of_copy = len(atlas.index.files) + 1
    for room in (2, of_copy, of_copy + 1):
        disk.fill_after(room, wrong)
        assert main(command) == status
        assert "No space left" in (said := one_line(capsys)) or wrong is KeyboardInterrupt, said
        assert not out.exists()
    disk.free()
    assert main(command) == 0
    assert open_atlas(out).unit("L0.u1").measured is not None


# --- an export -------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "status"), [(OSError, 1), (KeyboardInterrupt, 130)])
@pytest.mark.parametrize("there", [False, True])
def test_an_export_is_whole_or_not_there(
    run: Path,
    disk: Disk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: type[BaseException],
    status: int,
    there: bool,
) -> None:
    out = tmp_path / "pages"
    if there:
        out.mkdir()
    command = ["-q", "explore", str(run), "--export", str(out)]
    for room in (0, 2, 9):
        disk.fill_after(room, wrong)
        assert main(command) == status
        assert disk.written == room + 1
        assert "No space left" in (said := one_line(capsys)) or wrong is KeyboardInterrupt, said
        assert out.exists() == there
        assert files(out) == {}
    disk.free()
    assert main(command) == 0
    assert "index.html" in files(out)


@pytest.mark.parametrize("wrong", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.part", "notes.txt"])
def test_an_export_that_fails_leaves_what_was_there(
    run: Path,
    disk: Disk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: type[BaseException],
    name: str,
) -> None:
    out = tmp_path / "pages"
    out.mkdir()
    (out / name).write_text('{"schema": 1, "kind": "explain", "created": "then"}')
    before = files(out)
    disk.fill_after(0, wrong)
    assert main(["-q", "explore", str(run), "--export", str(out)]) == 2
    said = one_line(capsys)
    assert "already holds something" in said
    assert "--export" in said
    assert "--out" not in said
    assert files(out) == before


def test_a_full_disk_advises_the_option_of_the_export(
    run: Path, disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.fill_after(2)
    assert main(["-q", "explore", str(run), "--export", str(tmp_path / "pages")]) == 1
    said = one_line(capsys)
    assert "give --export a folder" in said
    assert "--out" not in said


@pytest.mark.parametrize("text", ["my own", '{"name": "my own"}', "[1]"])
def test_a_manifest_that_no_run_wrote_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="already holds something"):
        Run.create(tmp_path, "explain")
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == text


def test_a_manifest_that_a_killed_run_began_with_is_nothing(tmp_path: Path) -> None:
    Run.create(tmp_path, "explain", first=True)
    Run.create(tmp_path, "explain", second=True)
    assert "second" in json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))


# --- photos that are given -------------------------------------------------------------------


def test_a_photo_that_finds_no_room_is_refused_and_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((60, 60), 50).save(path)
    content = path.read_bytes()
    uploads = Uploads()
    write = Path.write_bytes

    def half(self: Path, data: Any) -> int:
        write(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    try:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", half)
            with pytest.raises(PhotoError, match=r"cannot keep my\.png: No space left.*free some"):
                uploads.add(content, "my.png")
            assert list(uploads._folder.iterdir()) == []
        assert uploads.add(content, "my.png").width == 60
    finally:
        uploads.close()


def test_without_room_for_photos_nothing_is_served(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("molyneux.explore.uploads.tempfile.mkdtemp", full)
    with (
        pytest.raises(RunError, match="free some space for temporary files"),
        serve([run], lambda: None),
    ):
        pass
