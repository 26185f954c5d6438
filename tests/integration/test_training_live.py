"""Live features: the same training as with cached ones, from files and shards, whatever breaks."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training_scale import (
    CAPTIONS,
    LOG,
    RECIPE,
    ended,
    losses,
    require_alike,
    run_toy,
    start_two,
    wait_for_steps,
    write_photos,
)
from tiny_models import ToyEncoder, tiny_captioner, tiny_photos

from molyneux.data.dataset import Span
from molyneux.data.webdataset import Shards
from molyneux.errors import PhotoError, RunError, UsageError
from molyneux.training.batches import Draws, TrainingSet
from molyneux.training.crops import draw_look, views_of
from molyneux.training.data import Wanted, open_data
from molyneux.training.examples import Example, Examples
from molyneux.training.features import cache_features
from molyneux.training.live_features import AHEAD, LiveFeatures
from molyneux.vision.projection import load_projection


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of which two cannot be read, and one that can be is held out."""
    folder = write_photos(tmp_path_factory.mktemp("damaged"))
    names = sorted(p.name for p in folder.glob("*.png"))
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    held_out = [row for row in rows if row["file"] == names[-1]]
    kept = [row for row in rows if row["file"] != names[-1]]
    (folder / "held_out.jsonl").write_text("\n".join(map(json.dumps, held_out)))
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, kept)))
    for name in names[:2]:
        (folder / name).write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def around(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A live run on the damaged photos, in one process and in one go."""
    out = tmp_path_factory.mktemp("runs") / "around"
    return (*run_toy(damaged, out, features="live"), out)


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


@pytest.mark.parametrize("options", [{}, {"accumulate": 3, "workers": 1}, {"recompute": True}])
def test_live_features_train_as_cached_ones(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    cached, log = run_toy(folder, tmp_path / "cached", **options)
    live, _ = run_toy(folder, tmp_path / "live", features="live", **options)
    # A photo is encoded at another place of a batch, so that its features may be rounded otherwise.
    assert losses(read_log(tmp_path / "live")) == pytest.approx(losses(log), rel=1e-5)
    torch.testing.assert_close(live.linear.weight, cached.linear.weight, rtol=0, atol=1e-5)
    assert live.provenance["how"]["features"] == "live"
    assert "| features | live |" in (tmp_path / "live" / "MODEL_CARD.md").read_text()
    # Only the held-out photo's features are on disk.
    (rows,) = (tmp_path / "live" / "features").glob("*/rows-0000-*.f16")
    assert rows.stat().st_size == 2 * 16 * 24


def test_a_view_does_not_depend_on_which_others_are_made() -> None:
    (photo,) = tiny_photos(1)
    example = Example(Path("a.png"), ("a dog.",), crop=(5, 5, 95, 75))
    every = views_of(example, photo, range(5), 3)
    for number in range(5):
        (alone,) = views_of(example, photo, [number], 3)
        assert alone.tobytes() == every[number].tobytes()
    assert len({view.tobytes() for view in every}) == 5
    assert views_of(example, photo, [1], 4)[0].tobytes() != every[1].tobytes()
    assert every[0].size == (90, 70)
    looks = [draw_look((90, 70), random.Random(n)) for n in range(200)]
    areas = [(b[2] - b[0]) * (b[3] - b[1]) / 6300 for b, _ in looks if b is not None]
    assert 0.55 < min(areas) < 0.65 < 0.9 < max(areas) <= 1.0
    assert 70 < sum(mirrored for _, mirrored in looks) < 130


def written_shards(place: Path, mode: str = "w", ending: str = ".tar") -> Path:
    place.mkdir()
    for shard in range(2):
        with tarfile.open(place / f"{shard:05d}{ending}", mode) as tar:  # type: ignore[call-overload]
            for number in range(5 * shard, 5 * shard + 5):
                picture = io.BytesIO()
                tiny_photos(number + 1)[number].save(picture, "PNG")
                text = CAPTIONS[number % 3].encode()
                for extension, data in (("txt", text), ("png", picture.getvalue())):
                    info = tarfile.TarInfo(f"{number:09d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return place


def test_shards_are_read_in_any_order_and_not_unpacked(tmp_path: Path) -> None:
    shards = written_shards(tmp_path / "shards")
    items = list(Shards(shards).entries())
    assert all(isinstance(item.source, Span) for item in items)
    for entry, whole in reversed(list(zip(items, Shards(shards), strict=True))):
        assert isinstance(entry.source, Span)
        assert entry.source.read() == whole.source
        assert entry.sha256() == whole.sha256()
        assert entry.read().tobytes() == whole.read().tobytes()
    examples = open_data(Wanted(str(shards)), None).training
    assert examples.any_order
    n = len(examples)
    cached, first, _ = cache_features(ToyEncoder(), examples, [2] * n, tmp_path / "f", 7)
    live = LiveFeatures(ToyEncoder(), examples, [2] * n, 7, workers=2)
    rows = [3, 0, 2 * n - 1, 3, 4]
    live.expect(rows)
    there = [int(first[row // 2]) + row % 2 for row in rows]
    for one, other in zip(live.take(rows), cached.take(there), strict=True):
        require_alike(one, other)
    assert live.shape == cached.shape
    live.close()


def test_a_shard_that_has_shrunk_is_a_photo_that_does_not_read(tmp_path: Path) -> None:
    shards = written_shards(tmp_path / "shards")
    last = list(Shards(shards).entries())[-1]
    assert isinstance(last.source, Span)
    with last.source.file.open("r+b") as shard:
        shard.truncate(last.source.start + 10)
    with pytest.raises(PhotoError, match="ends within the photo"):
        last.read()
    last.source.file.unlink()
    with pytest.raises(PhotoError, match="No such file"):
        last.read()


def test_compressed_shards_need_a_cache(tmp_path: Path) -> None:
    shards = written_shards(tmp_path / "shards", "w:gz", ".tar.gz")
    examples = open_data(Wanted(str(shards)), None).training
    assert not examples.any_order
    with pytest.raises(UsageError, match="give --features cache"):
        LiveFeatures(ToyEncoder(), examples, [1] * len(examples), 0)


def test_what_does_not_read_is_drawn_anew_and_named(damaged: Path, around: Any) -> None:
    made, log, out = around
    named = {line for entry in log for line in entry.get("unreadable", ())}
    assert {line.split(":")[0].rpartition("/")[2] for line in named} == {"0.png", "1.png"}
    assert made.provenance["unreadable"] == 2
    assert "| photos that did not read | 2 |" in (out / "MODEL_CARD.md").read_text()
    assert read_log(out) == log


@pytest.mark.parametrize("parts", [3, 6])
def test_what_is_drawn_anew_does_not_depend_on_parts(
    damaged: Path, tmp_path: Path, around: Any, parts: int
) -> None:
    one, log, _ = around
    made, log_in_parts = run_toy(damaged, tmp_path, features="live", accumulate=parts)
    assert losses(log_in_parts) == pytest.approx(losses(log), rel=1e-6)
    torch.testing.assert_close(made.linear.weight, one.linear.weight, rtol=0, atol=1e-6)
    assert [e.get("unreadable") for e in log_in_parts] == [e.get("unreadable") for e in log]


def live_set(damaged: Path, weights: list[float]) -> TrainingSet:
    rows = [
        Example(damaged / f"{number}.png", tuple(CAPTIONS), weight=weight)
        for number, weight in enumerate(weights)
    ]
    examples = Examples(rows)
    live = LiveFeatures(ToyEncoder(), examples, [1] * len(rows), 0)
    return TrainingSet(live, live.first, [1] * len(rows), examples)


def test_what_is_drawn_anew_follows_the_weights(damaged: Path) -> None:
    """As if the photos that cannot be read were not in the set."""
    data = live_set(damaged, [5, 1, 1, 3])
    draws = Draws(data, replace(RECIPE, batch=3000))
    batch, why = draws.readable(draws.step(0))
    assert len(why) > 1500
    shares = np.bincount(batch.rows, minlength=4) / 3000
    assert shares == pytest.approx([0, 0, 0.25, 0.75], abs=0.03)
    again, _ = draws.readable(draws.step(0).part(1, 3))
    assert again.rows == batch.rows[1000:2000]
    assert again.captions == batch.captions[1000:2000]


def test_a_set_without_a_readable_photo_ends(damaged: Path) -> None:
    data = live_set(damaged, [1, 1])
    draws = Draws(data, RECIPE)
    with pytest.raises(PhotoError, match="drawn one after another could not be read"):
        draws.readable(draws.step(0))


def test_photos_are_read_ahead_but_not_all_of_them(folder: Path, monkeypatch: Any) -> None:
    asked: list[int] = []
    rows = [Example(folder / f"{number % 12}.png", ("a dog.",)) for number in range(3 * AHEAD)]
    live = LiveFeatures(ToyEncoder(), Examples(rows), [1] * len(rows), 0, workers=2)
    true = live._read

    def read(row: int) -> Any:
        asked.append(row)
        return true(row)

    monkeypatch.setattr(live, "_read", read)
    live.expect(range(2 * AHEAD))
    live.take([0, 1, 2])
    for _, reading in live._reading:
        reading.result()
    assert set(range(3)) <= set(asked) <= set(range(AHEAD + 3))
    assert len(asked) == len(set(asked))
    monkeypatch.undo()
    assert (live.take([7, 3]) == live.take([7, 3])).all()  # neither expected nor next


def test_a_part_larger_than_what_is_read_ahead_is_read_by_threads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 2 * AHEAD + 10
    rows = [Example(folder / f"{number % 12}.png", ("a dog.",)) for number in range(n)]
    live = LiveFeatures(ToyEncoder(), Examples(rows), [1] * n, 0, workers=2)
    readers: list[threading.Thread] = []
    most = 0
    true = live._read

    def read(row: int) -> Any:
        nonlocal most
        readers.append(threading.current_thread())
        most = max(most, len(live._reading))
        return true(row)

    monkeypatch.setattr(live, "_read", read)
    part = list(range(n))
    live.expect(part)
    for step in range(3):
        if step < 2:
            live.expect(part)
        live.missing(part)
        live._held.clear()
        assert len(live._reading) + len(live._expected) == (n if step < 2 else 0)
    assert len(readers) == 3 * n
    assert threading.current_thread() not in readers
    assert most <= AHEAD
    live.close()


def test_two_processes_are_killed_and_resumed(damaged: Path, tmp_path: Path, around: Any) -> None:
    """SIGKILL of one: the other ends with a line; resumed, both end with the same bytes."""
    one, log, _ = around
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options: dict[str, Any] = {"features": "live", "accumulate": 2, "checkpoint": 3}
    both = start_two(damaged, [whole, killed], **options, hold=6)
    try:
        wait_for_steps(killed, 5, both[0])
        os.kill(both[1].pid, signal.SIGKILL)
    finally:
        said = ended(both)
    assert both[1].exitcode == -signal.SIGKILL
    assert both[0].exitcode not in (0, -signal.SIGKILL)
    assert "RunError: process 0 of 2 lost another one" in said[0]
    assert "to resume from the last checkpoint" in said[0]
    assert 5 <= len(read_log(killed)) < RECIPE.steps
    again = start_two(damaged, [killed], **options)
    said = ended(again)
    assert [process.exitcode for process in again] == [0, 0], said
    for name in ("projection.safetensors", LOG):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert losses(read_log(whole)) == pytest.approx(losses(log), rel=1e-6)
    assert [e.get("unreadable") for e in read_log(whole)] == [e.get("unreadable") for e in log]
    two = load_projection(whole / "projection.safetensors")
    torch.testing.assert_close(two.linear.weight, one.linear.weight, rtol=0, atol=1e-6)


def test_other_views_or_layouts_do_not_resume(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_toy(folder, tmp_path / "run", recipe={"steps": 1})
    with pytest.raises(RunError, match="another views;"):
        run_toy(folder, tmp_path / "run", recipe={"steps": 1}, views=3)
    captioner = tiny_captioner("llama", begin=None)
    monkeypatch.setattr("test_training_scale.tiny_captioner", lambda kind: captioner)
    with pytest.raises(RunError, match="another layout;"):
        run_toy(folder, tmp_path / "run", recipe={"steps": 1})
