"""Loaders that others add: by a call, and by an entry point of a package that is installed."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from molyneux import plugins
from molyneux.data import open as opening
from molyneux.data.dataset import Item
from molyneux.data.loader import Loader, Sure, in_folder
from molyneux.data.open import kind_of, loaders, open_dataset, register_dataset
from molyneux.data.selection import select
from molyneux.errors import UsageError

MODULE = """
from pathlib import Path

from molyneux.data.dataset import Item
from molyneux.data.loader import Loader, in_folder
from molyneux.data.open import register_dataset

log = Path(__file__).with_suffix(".log")
log.write_text((log.read_text() if log.exists() else "") + "imported\\n")


class Diary:
    name = "diary"

    def __init__(self, place):
        lines = (Path(place) / "diary.txt").read_text().splitlines()
        self.days = [line.split("|") for line in lines]
        self.place = Path(place)

    def __len__(self):
        return len(self.days)

    def __getitem__(self, position):
        file, said = self.days[position]
        return Item(file, self.place / file, captions=(said.strip(),))

    def __iter__(self):
        return (self[day] for day in range(len(self)))

    def record(self):
        return {"name": self.name, "where": str(self.place), "licence": None}


def register():
    there = in_folder(lambda place: (place / "diary.txt").is_file())
    register_dataset(Loader("diary", "diary.txt, a photo and a sentence a line", there, Diary))
"""


@pytest.fixture(autouse=True)
def as_if_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No loader was added, and no entry point loaded, neither before a test nor after it."""
    monkeypatch.setattr(opening, "_ADDED", {})
    monkeypatch.setattr(plugins, "_done", set())
    monkeypatch.setattr(plugins, "_failed", {})
    yield
    for name in [name for name in sys.modules if name.startswith("molyneux_diary")]:
        del sys.modules[name]


def install(folder: Path, module: str, entry: str, code: str) -> Path:
    """Lay a package out as `pip install` would, with one entry point."""
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[molyneux]\n{entry}\n")
    (folder / f"{module}.py").write_text(code)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = install(tmp_path / "site", "molyneux_diary", "d = molyneux_diary:register", MODULE)
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """A set that only the diary's loader reads; without it, it is a folder of photos."""
    place = tmp_path / "holiday"
    place.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(place / name)
    (place / "diary.txt").write_text("a.png|a dog on a beach.\nb.png|a boat.\n")
    return place


def test_without_the_package_it_is_a_folder(diary: Path) -> None:
    assert kind_of(diary) == "folder"
    with pytest.raises(UsageError, match="no kind of data set is called diary"):
        open_dataset(diary, kind="diary")


def test_an_installed_package_s_loader_is_found(installed: Path, diary: Path) -> None:
    assert not (installed / "molyneux_diary.log").exists()  # nothing was looked up yet
    assert kind_of(diary) == "diary"
    for _ in range(2):
        chosen = select(open_dataset(diary), ["captions"])
        assert [item.captions for _, item in chosen.items()] == [
            ("a dog on a beach.",),
            ("a boat.",),
        ]
    assert loaders()["diary"].known_by.startswith("diary.txt")
    assert (installed / "molyneux_diary.log").read_text() == "imported\n"


def test_the_command_line_finds_it(installed: Path, diary: Path) -> None:
    def run(*arguments: str) -> str:
        code = "import sys; from molyneux.cli import main; sys.exit(main(sys.argv[1:]))"
        source = Path(plugins.__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", code, "data", *arguments],
            env={"PYTHONPATH": f"{source}:{installed}", "PATH": ""},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "  diary: diary.txt, a photo and a sentence a line" in run().splitlines()
    assert f"diary at {diary}" in run(str(diary)).splitlines()
    found = json.loads(run(str(diary), "--json"))
    assert (found["data"]["name"], found["photos"], found["captions"]) == ("diary", 2, 2)


def test_the_page_s_loader_registers_when_it_is_imported(
    tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "data.md"
    code = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[0]
    lines = [line for line in code.splitlines() if line.strip() and "import" not in line]
    assert len(lines) < 20
    site = install(tmp_path / "site", "molyneux_diary", "d = molyneux_diary", code)
    monkeypatch.syspath_prepend(str(site))
    assert kind_of(diary) == kind_of(diary) == "diary"
    chosen = select(open_dataset(diary), ["captions"])
    assert [item.captions for _, item in chosen.items()] == [("a dog on a beach.",), ("a boat.",)]
    assert list(chosen.dataset.record()["annotations"]) == ["diary.txt"]


BROKEN = {
    "a module that is not there": ("d = molyneux_diary_of_another", MODULE, "ModuleNotFoundError"),
    "a name that is not there": ("d = molyneux_diary:gone", MODULE, "AttributeError"),
    "a module that fails": ("d = molyneux_diary", "1 / 0", "ZeroDivisionError: division by zero"),
    "a module that exits": ("d = molyneux_diary", "raise SystemExit(3)", "SystemExit: 3"),
    "a module with a fault": ("d = molyneux_diary", "def", "SyntaxError"),
    "a kind that is there": (
        "d = molyneux_diary:register",
        MODULE.replace('Loader("diary"', 'Loader("coco"'),
        "'coco' is there already",
    ),
}


@pytest.mark.parametrize(("entry", "code", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_one_line_that_names_it(
    tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str, said: str
) -> None:
    site = install(tmp_path / "site", "molyneux_diary", entry, code)
    monkeypatch.syspath_prepend(str(site))
    for opens in (lambda: open_dataset(diary), loaders, lambda: kind_of(diary)):
        with pytest.raises(UsageError) as caught:
            opens()
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert message.startswith(f"cannot load the entry point {entry} of the package molyneux_d")
        assert said in message
        assert message.endswith("mend or uninstall that package")


def test_the_others_are_loaded_all_the_same(
    tmp_path: Path, installed: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(tmp_path / "other", "molyneux_diary_broken", "a = molyneux_diary_broken", "1/0")
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(UsageError, match="molyneux_diary_broken"):
        plugins.load_plugins()
    assert "diary" in opening._ADDED


# The door itself.


class Two:
    """A set of two photos, wherever it is opened."""

    name = "two"

    def __init__(self, place: Any) -> None:
        self.place = place

    def __len__(self) -> int:
        return 2

    def __getitem__(self, position: int) -> Item:
        return Item(str(position), b"")

    def __iter__(self) -> Iterator[Item]:
        return (self[position] for position in range(2))

    def record(self) -> dict[str, Any]:
        return {"name": self.name}


def test_a_place_need_not_be_a_folder() -> None:
    there = lambda spec: Sure.NAMED if str(spec).startswith("two:") else Sure.NO  # noqa: E731
    loader = Loader("two", "two:NAME", there, Two)
    assert register_dataset(loader) is loader
    assert len(select(open_dataset("two:anything"))) == 2
    assert len(select(open_dataset("anything", kind="two"))) == 2
    with pytest.raises(UsageError, match="two:NAME"):
        open_dataset(__file__)
    with pytest.raises(UsageError, match="'two' is there already"):
        register_dataset(loader)


def test_of_two_that_are_sure_the_added_one_reads(diary: Path) -> None:
    def loader(kind: str, sure: Sure) -> Loader:
        return Loader(kind, kind, in_folder(lambda place: sure), Two)

    register_dataset(loader("below", Sure.BELOW))
    assert kind_of(diary) == "folder"
    register_dataset(loader("beside", Sure.BESIDE))
    register_dataset(loader("beside too", Sure.BESIDE))
    assert kind_of(diary) == "beside"
    (diary / "captions.jsonl").write_text('{"file": "a.png"}')
    assert kind_of(diary) == "folder"
    assert kind_of(diary / "diary.txt") == "list"


def test_a_loader_that_fails_to_look_is_named(diary: Path) -> None:
    register_dataset(Loader("odd", "odd", lambda spec: 1 / 0, Two))  # type: ignore
    with pytest.raises(UsageError, match=r"of the kind odd failed .*ZeroDivisionError.*--kind"):
        open_dataset(diary)
    assert len(list(open_dataset(diary, kind="folder"))) == 2


def test_a_loader_that_fails_to_open_is_named(diary: Path) -> None:
    for kind, opens in (("broken", lambda place: 1 / 0), ("empty", lambda place: None)):
        register_dataset(Loader(kind, kind, lambda spec: Sure.NO, opens))  # type: ignore
    with pytest.raises(UsageError, match=r"of the kind broken failed to open .*ZeroDivision"):
        open_dataset(diary, kind="broken")
    with pytest.raises(UsageError, match="of the kind empty opens takes a Dataset, not None"):
        open_dataset(diary, kind="empty")


def test_entry_points_that_do_not_read_are_one_line(
    tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(tmp_path / "site", "molyneux_diary", "a line without a value", "")
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(UsageError, match="entry points of the installed packages do not read"):
        open_dataset(diary)


@pytest.mark.parametrize("wrong", [None, 5, b"photos", ["photos"], 1.5])
def test_what_names_no_place_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="is named by a path or a text"):
        open_dataset(wrong)


@pytest.mark.parametrize("kind", ["", " ", "coco"])
def test_a_kind_is_a_name_of_its_own(kind: str) -> None:
    with pytest.raises(UsageError, match="another name"):
        register_dataset(Loader(kind, "x", in_folder(lambda place: False), Two))


@pytest.mark.parametrize("wrong", ["diary", None, Two])
def test_what_is_no_loader_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="register_dataset takes a Loader"):
        inspect.unwrap(register_dataset)(wrong)  # as without the tests' check of types
