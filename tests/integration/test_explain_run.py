"""Runs of many photos: killed at any moment they go on, and a photo costs what it costs alone."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file
from tiny_models import tiny_photos

from molyneux.data.dataset import Item
from molyneux.errors import RunError, UsageError
from molyneux.explain import run as running
from molyneux.explain.document import read_document
from molyneux.explain.explanation import Explanation
from molyneux.explain.folder import find_folder, shared_names
from molyneux.explain.photo import explain_photo, explain_seen
from molyneux.explain.run import explain_photos
from molyneux.explain.settings import Settings
from molyneux.pages.one_file import write_report
from molyneux.words.nouns import find_nouns

SETTINGS = Settings(grid=[0, 5], top=3, ablate="none")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    found = [folder / f"{number}.png" for number in range(8)]
    for path, photo in zip(found, tiny_photos(8), strict=True):
        photo.save(path)
    found[1].write_bytes(b"no photo")
    return found


@pytest.fixture(scope="module")
def whole(make_captioner: Any, files: list[Path], tmp_path_factory: Any) -> Path:
    """A run of all photos that nothing interrupted."""
    out: Path = tmp_path_factory.mktemp("whole") / "run"
    explain_photos(make_captioner("llama"), files, SETTINGS, out)
    return out


def stop_at(number: int, error: type[BaseException]) -> Callable[..., Explanation]:
    """Return `explain_seen` that is stopped at a photo."""
    calls = iter(range(1000))

    def explain(*arguments: Any) -> Explanation:
        if next(calls) == number:
            raise error
        return explain_seen(*arguments)

    return explain


def contents(run: Path) -> dict[str, bytes]:
    """Return what a run leaves, without what differs by time and place."""
    files = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    files.pop("manifest.json")
    return files


@pytest.mark.parametrize("stopped", [1, 5])
def test_an_interrupted_run_is_readable_and_goes_on_to_the_same_bytes(
    captioner: Any,
    files: list[Path],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: int,
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(running, "explain_seen", stop_at(stopped, KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            explain_photos(captioner, files, SETTINGS, out)
    so_far = read_document(out)
    assert so_far.images == read_document(whole).images[:stopped]
    told: list[int] = []
    explained = explain_photos(captioner, files, SETTINGS, out, lambda n, image: told.append(n))
    assert told == list(range(stopped, len(files)))
    assert explained.photos == len(files)
    assert [name for name, _ in explained.bad] == ["1.png"]
    assert contents(out) == contents(whole)


def test_a_killed_run_has_a_page_and_goes_on(
    captioner: Any, files: list[Path], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    class Killed(BaseException):
        """Nothing runs after it."""

    def nothing(self: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(running.ExplainFolder, "join", nothing)
        patch.setattr(running, "explain_seen", stop_at(4, Killed))
        with pytest.raises(Killed):
            explain_photos(captioner, files, SETTINGS, out)
    assert not (out / "explain.json").exists()
    (out / "parts" / "0000004.json.part").write_bytes(b"{half")
    assert "3.png" in write_report(out).read_text(encoding="utf-8")
    assert len(read_document(out).images) == 4
    assert find_folder(out) is not None
    explain_photos(captioner, files, SETTINGS, out)
    assert find_folder(out) is None
    (out / "report.html").unlink()
    assert contents(out) == contents(whole)


def test_joined_tensors_are_those_of_each_photo(
    captioner: Any, files: list[Path], whole: Path
) -> None:
    joined = load_file(whole / "fields.safetensors")
    for number in (0, 2):
        fields = explain_photo(captioner, files[number], SETTINGS).fields
        assert fields
        for name, tensor in fields.items():
            assert joined[f"{number}.{name}"].equal(tensor)


def test_a_run_without_a_word_has_an_empty_tensor(captioner: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    run = explain_photos(captioner, [bad], SETTINGS, tmp_path / "run")
    assert {
        name: t.numel() for name, t in load_file(run.folder / "fields.safetensors").items()
    } == {"none": 0}
    assert run.bad == (("bad.png", run.document().images[0].error),)


def test_bytes_written_grow_with_the_photos(
    captioner: Any, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molyneux import store

    written = 0
    write = store.write_at_once

    def counting(path: Path, data: Any) -> None:
        nonlocal written
        pieces = [data] if isinstance(data, bytes) else list(data)
        written += sum(map(len, pieces))
        write(path, pieces)

    monkeypatch.setattr(store, "write_at_once", counting)
    same = [files[0]] * 12
    totals = []
    for count in (3, 6, 12):
        before = written
        explain_photos(captioner, same[:count], SETTINGS, tmp_path / str(count))
        totals.append(written - before)
    # Three photos more cost the same wherever they stand in the run.
    assert totals[2] - totals[1] < 2.2 * (totals[1] - totals[0])


def test_one_photo_s_tensors_are_held_at_a_time(
    captioner: Any, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []

    def watched(*arguments: Any) -> Explanation:
        assert not [each for each in held if each() is not None]
        explanation = explain_seen(*arguments)
        held.extend(weakref.ref(tensor) for tensor in explanation.fields.values())
        return explanation

    monkeypatch.setattr(running, "explain_seen", watched)
    explain_photos(captioner, [files[0], files[2], files[3]], SETTINGS, tmp_path / "run")
    assert held
    assert not [each for each in held if each() is not None]


def test_a_finished_run_is_left_as_it_is(
    captioner: Any, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    first = explain_photos(captioner, files[:1], SETTINGS, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(running, "explain_seen", stop_at(0, AssertionError))
    assert explain_photos(captioner, files[:1], SETTINGS, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_run_that_was_begun_otherwise_is_refused_by_name(
    captioner: Any, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    explain_photos(captioner, files[:1], SETTINGS, out)
    other = Settings(grid=[0, 5], top=4, ablate="none")
    with pytest.raises(RunError, match=r"settings\.top: 3 there, 4 now"):
        explain_photos(captioner, files[:1], other, out)
    with pytest.raises(RunError, match="photos: 1 there, 2 now"):
        explain_photos(captioner, files[:2], SETTINGS, out)
    with pytest.raises(RunError, match=r"photos\[0\]: '0.png' there, '2.png' now"):
        explain_photos(captioner, files[2:3], SETTINGS, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="already holds something"):
        explain_photos(captioner, files[:1], SETTINGS, tmp_path / "mine")
    old = json.loads((out / "manifest.json").read_text())
    del old["settings"]
    (out / "manifest.json").write_text(json.dumps(old))
    with pytest.raises(UsageError, match="already holds something"):
        explain_photos(captioner, files[:1], SETTINGS, out)


def test_a_photo_that_was_changed_in_between_is_refused(
    captioner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, photo in zip(files, tiny_photos(2), strict=True):
        photo.save(path)
    with monkeypatch.context() as patch:
        patch.setattr(running, "explain_seen", stop_at(1, KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            explain_photos(captioner, files, SETTINGS, tmp_path / "run")
    tiny_photos(3)[2].save(files[0])
    with pytest.raises(RunError, match=r"a\.png is another photo"):
        explain_photos(captioner, files, SETTINGS, tmp_path / "run")


def test_no_photo_is_said_before_a_folder_is_made(captioner: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no photo"):
        explain_photos(captioner, [], SETTINGS, tmp_path / "run")
    asked = Settings(words=["kayak"])
    with pytest.raises(UsageError, match="blank token"):
        explain_photos(captioner, [tmp_path / "a.png"], asked, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_of_the_machine_is_in_what_is_handed_on(
    captioner: Any, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    argv = ["molyneux", "explain", *map(str, files[:2]), f"--out={out}"]
    monkeypatch.setattr("sys.argv", argv)
    run = explain_photos(captioner, files[:2], SETTINGS, out)
    write_report(out)
    assert [image.path for image in run.document().images] == ["0.png", "1.png"]
    assert run.document().run == "run"
    for name, content in contents(out).items():
        assert str(tmp_path).encode() not in content, name
        assert str(files[0].parent).encode() not in content, name
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["argv"] == ["explain", "0.png", "1.png", "--out=run"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a.jpg", "b/../c.jpg"], ["a.jpg", "b/../c.jpg"]),
        (
            ["/data/sets/coco/val/1.jpg", "/data/sets/coco/train/2.jpg"],
            ["val/1.jpg", "train/2.jpg"],
        ),
        (["/data/sets/coco/val/1.jpg"], ["1.jpg"]),
        (["/home/me/1.jpg", "/media/disk/2.jpg"], ["1.jpg", "2.jpg"]),
        (["/home/me/a/1.jpg", "/home/you/b/2.jpg"], ["1.jpg", "2.jpg"]),
        (["x.jpg", "/data/sets/y.jpg"], ["x.jpg", "y.jpg"]),
        ([os.fsdecode(b"caf\xe9.jpg")], ["caf\\udce9.jpg"]),
    ],
)
def test_names_that_may_be_handed_on(given: list[str], names: list[str]) -> None:
    assert shared_names(given) == names


def test_a_photo_in_memory_is_explained_too(captioner: Any, files: list[Path]) -> None:
    with Image.open(files[0]) as photo:
        in_memory = explain_photo(captioner, photo.convert("RGB"), SETTINGS)
    of_file = explain_photo(captioner, files[0], SETTINGS)
    assert in_memory.image.caption == of_file.image.caption
    assert in_memory.image.words == of_file.image.words
    assert in_memory.image.path == "the given image"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"top": 0}, "top is at least 1, not 0"),
        ({"top": True}, "top takes a whole number, not True"),
        ({"words": [" "]}, "--word needs a word"),
        ({"ablate": "some"}, "ablate is 'first' or 'all' or 'none', not 'some'"),
        ({"positions": "patch"}, "positions is 'all' or 'patches', not 'patch'"),
        ({"grid": "long"}, "grid is 'short' or 'full', not 'long'"),
        ({"grid": []}, "grid is 'short', 'full' or numbers"),
        ({"grid": [0, 10, 5]}, "ascending"),
        ({"grid": [0, -1]}, "a number in grid is at least 0, not -1"),
        ({"seeds": 0}, "seeds is at least 1"),
        ({"seed": -1}, "seed is at least 0"),
        ({"scorer": "nothing"}, "no scorer 'nothing'"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**wrong)


def test_what_load_returns_is_taken_too(captioner: Any, files: list[Path], tmp_path: Path) -> None:
    from molyneux.model import Model

    explained = explain_photo(Model(captioner), files[0], SETTINGS)
    assert explained.caption == captioner.caption(files[0])
    run = explain_photos(Model(captioner), files[0], SETTINGS, tmp_path / "run")
    assert run.document().images[0].words == explained.words


def test_an_item_is_called_by_its_id_and_held_against_what_people_said(
    captioner: Any, files: list[Path], tmp_path: Path
) -> None:
    caption = captioner.caption(files[0])
    noun = find_nouns(caption)[0].lemma
    content = files[0].read_bytes()
    items = [
        Item("right", files[0], captions=(f"A {noun} by a river.",), credit="A. Smith, CC BY 2.0"),
        Item("wrong", content, captions=("Two rivers.",)),
        Item("unknown", files[0]),
    ]
    images = explain_photos(captioner, items, SETTINGS, tmp_path / "run").document().images
    assert [(each.path, each.agrees) for each in images] == [
        *(("right", True), ("wrong", False), ("unknown", None))
    ]
    assert (images[0].credit, images[1].credit) == ("A. Smith, CC BY 2.0", None)
    assert (images[1].known, images[2].known) == (("river",), None)
    assert {each.sha256 for each in images} == {items[0].sha256()}
    plain = explain_photos(captioner, files[0], SETTINGS, tmp_path / "plain").document().images[0]
    assert plain.words == images[0].words == images[1].words
    assert plain.known is plain.agrees is plain.credit is None


def test_settings_are_completed_for_a_model() -> None:
    short, full = Settings().of_model(46080), Settings(grid="full").of_model(46080)
    assert (short.grid, short.seeds) == ((0, 10, 50, 100, 643), 3)
    assert (full.grid[-1], full.seeds) == (643, 5)
    assert Settings(words="dog", grid=[0, 5], scorer="gradient-activation:site=preactivation") == (
        Settings(words=["dog"], grid=(0, 5), scorer="gradient-activation:site=preactivation")
    )


def test_what_is_done_is_told_and_may_be_ended_there(
    captioner: Any, files: list[Path], tmp_path: Path
) -> None:
    told: list[str] = []
    settings = Settings(grid=[0, 5], top=3, words=("dog",))
    whole = explain_photo(captioner, files[0], settings, told.append)
    assert told[:2] == ["writing the caption", "scoring every unit"]
    assert told[-1] == "what the patches say"
    switched = [f"switching units of “{word.word}” off" for word in whole.words if word.curves]
    assert [stage for stage in told if stage.startswith("switching")] == switched
    assert switched

    def stop(stage: str) -> None:
        if stage.startswith("switching"):
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        explain_photos(captioner, files[0], settings, out, on_stage=stop)
    assert not out.exists()  # a run without a photo is nothing
