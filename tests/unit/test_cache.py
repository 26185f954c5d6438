from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from molyneux.errors import UsageError, WeightsError
from molyneux.models.presets import PRESETS, find_preset, pieces_of
from molyneux.weights import cache
from molyneux.weights.cache import (
    RECORD,
    Source,
    cache_dir,
    check_safetensors,
    require_hash,
    seal_folder,
    sha256_of,
    verify_folder,
    write_folder,
)

SOURCE = Source("a-wheel", "1.2", {"wheel": "ab" * 32})


def safetensors_bytes(values: bytes) -> bytes:
    entry = {"dtype": "U8", "shape": [len(values)], "data_offsets": [0, len(values)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "t": entry}).encode()
    return len(header).to_bytes(8, "little") + header + values


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cache" / "weights"
    with write_folder(path) as partial:
        (partial / "model.safetensors").write_bytes(safetensors_bytes(bytes(range(100))))
        (partial / "config.json").write_text("{}")
        seal_folder(partial, SOURCE)
    return path


def rehashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(cache, "sha256_of", counted)
    return names


def one_line(error: pytest.ExceptionInfo[WeightsError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"MOLYNEUX_CACHE": "/m", "XDG_CACHE_HOME": "/x"}, "/m"),
        ("linux", {"MOLYNEUX_CACHE": "~/m"}, "/home/me/m"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/molyneux"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/molyneux"),
        ("linux", {"MOLYNEUX_CACHE": ""}, "/home/me/.cache/molyneux"),
        ("darwin", {}, "/home/me/Library/Caches/molyneux"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/molyneux"),
        ("win32", {}, "/home/me/AppData/Local/molyneux"),
    ],
)
def test_cache_dir(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("MOLYNEUX_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_dir().as_posix() == expected


def test_a_cache_of_a_user_who_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLYNEUX_CACHE", "~no-such-user/cache")
    with pytest.raises(UsageError, match="MOLYNEUX_CACHE is ~no-such-user/cache, and there is no"):
        cache_dir()


def test_sha256_of_a_known_file(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(file) == known
    require_hash(file, known, "")
    with pytest.raises(WeightsError, match=r"sha256 ba7816bf8f01…, expected 000000000000…; do X"):
        require_hash(file, "0" * 64, "do X")
    with pytest.raises(WeightsError, match=r"cannot read .*nowhere.*; do X"):
        require_hash(tmp_path / "nowhere", known, "do X")


def test_a_folder_is_whole_with_its_record(folder: Path) -> None:
    record = verify_folder(folder, full=True)
    assert set(record["files"]) == {"model.safetensors", "config.json"}
    assert record["files"]["config.json"]["sha256"] == sha256_of(folder / "config.json")
    assert record["source"] == {
        "distribution": "a-wheel",
        "version": "1.2",
        "sha256": {"wheel": "ab" * 32},
    }
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_nothing_half_written_stays(tmp_path: Path, raised: type[BaseException]) -> None:
    path = tmp_path / "weights"

    def interrupted() -> None:
        with write_folder(path) as partial:
            (partial / "half").write_text("half")
            raise raised

    with pytest.raises(raised):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_second_of_two_processes_discards_its_copy(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with write_folder(path) as late:
        with write_folder(path) as early:
            (early / "who").write_text("early")
            seal_folder(early, SOURCE)
        (late / "who").write_text("late")
        seal_folder(late, SOURCE)
    assert (path / "who").read_text() == "early"
    assert list(tmp_path.iterdir()) == [path]


def test_a_foreign_folder_in_the_way_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.mkdir()
    (path / "something").write_text("else")
    with pytest.raises(OSError, match="weights"), write_folder(path) as partial:
        seal_folder(partial, SOURCE)
    assert [file.name for file in tmp_path.rglob("*")] == ["weights", "something"]


@pytest.mark.parametrize(
    "raised",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, raised: Exception) -> None:
    def fill() -> None:
        with write_folder(tmp_path / "weights", needs_mb=7) as partial:
            (partial / "half").write_text("half")
            raise raised

    with pytest.raises(WeightsError) as error:
        fill()
    message = one_line(error)
    assert "about 7 MB are needed" in message
    assert "MOLYNEUX_CACHE" in message
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5, 5))
    begun = []
    with pytest.raises(WeightsError, match="about 3 MB"), write_folder(tmp_path / "w", 3):
        begun.append(1)
    assert begun == []
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WeightsError, match=r"cannot write .*MOLYNEUX_CACHE"),
        write_folder(tmp_path / "file" / "cache" / "w"),
    ):
        pass


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / f"{cache.PARTIAL}old-1", tmp_path / f"{cache.PARTIAL}young-1"
    for path in (old, young):
        path.mkdir()
        (path / "half").write_text("half")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    with write_folder(tmp_path / "w") as partial:
        seal_folder(partial, SOURCE)
    assert not old.exists()
    assert young.exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_other_users_of_a_shared_cache_can_read_it(tmp_path: Path) -> None:
    with write_folder(tmp_path / "w") as partial:
        file = partial / "private"
        file.write_text("x")
        file.chmod(0o600)
        seal_folder(partial, SOURCE)
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("x")
    assert (tmp_path / "w" / "private").stat().st_mode == ordinary.stat().st_mode


def test_untouched_files_are_not_hashed_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = rehashed(monkeypatch)
    verify_folder(folder)
    assert names == []
    verify_folder(folder, full=True)
    assert sorted(names) == ["config.json", "model.safetensors"]


def test_a_copied_folder_is_hashed_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    names = rehashed(monkeypatch)
    verify_folder(copy)
    assert sorted(names) == ["config.json", "model.safetensors"]
    verify_folder(copy)
    assert len(names) == 2
    assert sorted(path.name for path in copy.iterdir()) == sorted(
        ["config.json", RECORD, "model.safetensors"]
    )


def test_one_flipped_byte_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    before = sha256_of(file)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError) as error:
        verify_folder(folder)
    message = one_line(error)
    assert str(file) in message
    assert before[:12] in message
    assert sha256_of(file)[:12] in message
    assert f"delete the folder {folder} and run again" in message


@pytest.mark.skipif(os.name != "posix", reason="ctime is the time of creation elsewhere")
def test_a_swap_that_keeps_size_and_time_is_refused(folder: Path, tmp_path: Path) -> None:
    file = folder / "model.safetensors"
    stat = file.stat()
    other = tmp_path / "other"
    other.write_bytes(safetensors_bytes(bytes(range(1, 101))))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    with pytest.raises(WeightsError, match="swapped"):
        verify_folder(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*config\.json .*delete the folder"):
        verify_folder(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema":1,"files":[]}', '{"schema":9}'])
def test_a_folder_without_a_readable_record_is_refused(folder: Path, text: str) -> None:
    (folder / RECORD).write_text(text)
    with pytest.raises(WeightsError, match=r"cannot read .*hashes\.json .*delete the folder"):
        verify_folder(folder)
    (folder / RECORD).unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*hashes\.json .*delete the folder"):
        verify_folder(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        (20).to_bytes(8, "little") + b"not json, 20 letters",
        (2).to_bytes(8, "little") + b"[]",
        safetensors_bytes(b"tensor")[:-1],
        safetensors_bytes(b"tensor") + b"x",
        (2).to_bytes(8, "little") + b"{}" + b"x",
    ],
)
def test_safetensors_that_cannot_be_parsed(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=r"not a whole safetensors file .*; do X") as error:
        check_safetensors(file, "do X")
    one_line(error)


def test_real_safetensors_pass(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    import numpy as np

    file = tmp_path / "model.safetensors"
    numpy.save_file({"a": np.ones((2, 3), np.float32), "b": np.zeros(1, np.int64)}, file)
    check_safetensors(file, "")
    numpy.save_file({}, file)
    check_safetensors(file, "")


def test_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = find_preset("smollm2-effnet")
    assert preset is PRESETS["smollm2-effnet"]
    with pytest.raises(UsageError, match="did you mean smollm2-effnet"):
        find_preset("smolm2-efnet")
    with pytest.raises(UsageError, match="there are: smollm2-effnet"):
        find_preset("xyz")
    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path))
    for name in preset.folders:
        assert not any(piece.here for piece in pieces_of(preset))
        with write_folder(tmp_path / name) as partial:
            seal_folder(partial, SOURCE)
    assert all(piece.here for piece in pieces_of(preset))
