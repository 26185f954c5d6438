"""Training in several processes, in parts, killed and resumed."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import ToyEncoder, tiny_captioner, tiny_photos

from molyneux.errors import RunError, UsageError
from molyneux.models.parts import Parts
from molyneux.processes import Process, join_processes
from molyneux.store import Run
from molyneux.training import features as features_module
from molyneux.training.batches import Draws, TrainingSet, own_parts
from molyneux.training.caption_files import load_examples
from molyneux.training.checkpoint import LOG, STATE, Log
from molyneux.training.examples import Example, Examples
from molyneux.training.features import cache_features
from molyneux.training.live_features import LiveFeatures
from molyneux.training.recipe import Recipe, find_recipe
from molyneux.training.run import Conduct, train_projection
from molyneux.training.run_folder import SETTINGS, open_training_run
from molyneux.training.schedule import Course

TESTS = Path(__file__).parents[1]
N = 12
RECIPE = Recipe(steps=9, batch=6, every=4, patches_kept=0.5, whole=0.3, seed=5)
# Of very different lengths, so that a mean of processes' means would be another loss.
CAPTIONS = ("a dog.", "a man riding a small red horse on the beach.", "a cat and a dog.")


def write_photos(folder: Path, n: int = N) -> Path:
    folder.mkdir(exist_ok=True)
    for number, photo in enumerate(tiny_photos(n)):
        photo.save(folder / f"{number}.png")
    lines = [
        json.dumps({"file": f"{number}.png", "caption": CAPTIONS[number % len(CAPTIONS)]})
        for number in range(n)
    ]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


def run_toy(folder: Path, out: Path, **options: Any) -> Any:
    """Train tiny parts on a folder, in as many processes as the environment says.

    With `hold` a process stays in that step until it is killed.
    """
    hold = options.pop("hold", None)
    recipe = replace(RECIPE, **options.pop("recipe", {}))
    hashes = options.pop("hashes", {})
    process = join_processes(torch.device("cpu"))

    def on_step(step: int, loss: float) -> None:
        while step == hold:
            time.sleep(0.01)

    captioner = tiny_captioner("llama")
    training, held_out = load_examples(folder)
    if not process.is_first:
        process.wait()
    run = open_training_run(out)
    if process.is_first:
        process.wait()
    return train_projection(
        Parts(captioner.language_model, captioner.encoder, captioner.names, hashes),
        training,
        held_out,
        captioner.layout,
        recipe,
        run,
        data_name="drawings",
        views=options.pop("views", 2),
        conduct=Conduct(process=process, on_step=on_step, **options),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def single(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One process, every step in one go, and where its run is."""
    out = tmp_path_factory.mktemp("runs") / "single"
    return (*run_toy(folder, out), out)


def losses(log: list[dict[str, Any]]) -> list[float]:
    return [entry["loss"] for entry in log]


@functools.cache
def beginning() -> Any:
    """Begin the process that has imported all this once, and of which others are copies."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    paths = [TESTS.parent / "src", TESTS, TESTS / "integration"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
        forkserver.ensure_running()
    return context


def train_into(
    said: Path, environment: dict[str, str], folder: Path, outs: list[Path], options: dict[str, Any]
) -> None:
    """Train in this process, all that it says going into a file."""
    with said.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    # As many as the process that it is compared with: bytes are promised for one number of threads.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    process = Process(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))
    hold = options.pop("hold", None)
    for out in outs:
        holds = out == outs[-1] and process.rank == process.world - 1
        run_toy(folder, out, **options, hold=hold if holds else None)
    process.leave()


def start(folder: Path, outs: list[Path], environment: dict[str, str], **options: Any) -> Any:
    """Begin one process that trains into each of some folders, one after another.

    `hold` is for the last folder, and the last process.
    """
    said = outs[-1].parent / f"said-{time.monotonic_ns()}.txt"
    process = beginning().Process(
        target=train_into,
        args=(said, environment, folder, outs, options),
        name=str(said),
        daemon=True,
    )
    process.start()
    return process


def start_two(folder: Path, outs: list[Path], **options: Any) -> list[Any]:
    """Begin two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [start(folder, outs, {**shared, "RANK": str(rank)}, **options) for rank in range(2)]


def ended(processes: list[Any]) -> list[str]:
    """Return what processes said, once they have ended; none outlives this."""
    deadline = time.monotonic() + 600
    try:
        for process in processes:
            process.join(max(0, deadline - time.monotonic()))
            assert not process.is_alive(), f"{process.name} has not ended"
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [Path(process.name).read_text() for process in processes]


def wait_for_steps(out: Path, steps: int, process: Any) -> None:
    """Return once a run's log has so many steps."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        log = out / LOG
        if log.exists() and log.read_bytes().count(b"\n") >= steps:
            return
        assert process.is_alive(), Path(process.name).read_text()
        time.sleep(0.01)


def test_two_processes_equal_one(folder: Path, tmp_path: Path, single: Any) -> None:
    """Gradients averaged by DistributedDataParallel over gloo, each step also in two parts."""
    one, log, _ = single
    out = tmp_path / "two"
    both = start_two(folder, [out], accumulate=2)
    said = ended(both)
    assert [process.exitcode for process in both] == [0, 0], said
    lines = (out / LOG).read_text().splitlines()
    assert losses([json.loads(line) for line in lines]) == pytest.approx(losses(log), rel=1e-6)
    from molyneux.vision.projection import load_projection

    two = load_projection(out / "projection.safetensors")
    torch.testing.assert_close(two.linear.weight, one.linear.weight, rtol=0, atol=1e-6)
    moved = float((one.linear.weight - initial(one.linear)).abs().max())
    assert moved > 1000 * 1e-6  # the tolerance is small beside what was learned
    assert two.provenance["how"] == {
        "processes": 2,
        "accumulate": 2,
        "device": "cpu",
        "features": "cache",
        "recompute": False,
    }
    assert len(list((out / "features").glob("*/rows-0001-*.jsonl"))) == 2  # each encoded its share
    journals = [p.read_text().splitlines() for p in (out / "features").glob("*/rows-*.jsonl")]
    assert sum(map(len, journals)) == N  # no photo twice


def initial(like: torch.nn.Linear) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RECIPE.seed)
        return torch.nn.Linear(like.in_features, like.out_features).weight.detach()


def test_accumulation_equals_the_large_batch(folder: Path, tmp_path: Path, single: Any) -> None:
    whole, log, _ = single
    for parts in (2, 6):
        made, log_in_parts = run_toy(folder, tmp_path / str(parts), accumulate=parts)
        assert losses(log_in_parts) == pytest.approx(losses(log), rel=1e-6)
        torch.testing.assert_close(made.linear.weight, whole.linear.weight, rtol=0, atol=1e-6)


def test_a_mean_of_means_would_be_noticed(
    folder: Path, tmp_path: Path, single: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weighing parts alike, whatever their tokens, is the usual mistake: it is another result."""
    from molyneux.training import loop

    true = loop.caption_nats

    def mean(*arguments: Any) -> torch.Tensor:
        nats = true(*arguments)
        return nats / loop.count_tokens(arguments[3]).sum()

    whole, _, _ = single
    monkeypatch.setattr(loop, "caption_nats", mean)
    made, _ = run_toy(folder, tmp_path / "wrong", accumulate=6)
    assert float((made.linear.weight - whole.linear.weight).abs().max()) > 1e-3


def test_a_killed_run_ends_with_the_same_bytes(folder: Path, tmp_path: Path, single: Any) -> None:
    """SIGKILL between two checkpoints, so that logged steps are taken back and run again."""
    _, _, uninterrupted = single
    out = tmp_path / "killed"
    process = start(folder, [out], {}, checkpoint=3, hold=6)
    try:
        wait_for_steps(out, 5, process)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        ended([process])
    assert process.exitcode == -signal.SIGKILL
    assert 5 <= (out / LOG).read_bytes().count(b"\n") < RECIPE.steps
    assert not (out / "projection.safetensors").exists()
    with (out / LOG).open("ab") as torn:
        torn.write(b'{"step": 7, "lo')
    run_toy(folder, out, checkpoint=3)
    for name in ("projection.safetensors", LOG):
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes(), name


def test_a_finished_run_given_again_changes_nothing(folder: Path, single: Any) -> None:
    _, _, out = single
    names = ("projection.safetensors", LOG, STATE, "MODEL_CARD.md")
    before = {name: (out / name).read_bytes() for name in names}
    run_toy(folder, out)
    assert {name: (out / name).read_bytes() for name in names} == before


class Counting(ToyEncoder):
    """Counts the pictures it is given, without the copies that fill up a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.stop_after = 10**9

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        distinct = dict.fromkeys(picture.numpy().tobytes() for picture in pixels)
        if len(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += distinct
        return super().encode(pixels)


def counted(folder: Path, encoder: ToyEncoder, cache: Path, **options: Any) -> Any:
    examples = [Example(folder / f"{i}.png", ("a dog.",)) for i in range(N)]
    return cache_features(encoder, examples, [1 + i % 2 for i in range(N)], cache, 3, **options)


@pytest.fixture
def batches_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "BATCH", 4)


@pytest.mark.usefixtures("batches_of_four")
def test_features_are_taken_up_where_they_stood(folder: Path, tmp_path: Path) -> None:
    whole, first, _ = counted(folder, Counting(), tmp_path / "whole")
    encoder = Counting()
    encoder.stop_after = 8
    with pytest.raises(KeyboardInterrupt):
        counted(folder, encoder, tmp_path / "cut")
    (journal,) = (tmp_path / "cut").glob("*/rows-0000-*.jsonl")
    done = journal.read_bytes().count(b"\n")
    with journal.open("ab") as torn, journal.with_suffix(".f16").open("ab") as data:
        torn.write(b'{"example": 5, "r')
        data.write(b"half a row")
    encoder.stop_after = 10**9
    again, first_again, _ = counted(folder, encoder, tmp_path / "cut")
    n_views = 18
    # At most one photo's views had been written in part: everything else was encoded once.
    assert done == 5
    assert n_views <= len(encoder.seen) <= n_views + 1
    for i in range(N):
        for view in range(1 + i % 2):
            require_alike(whole[first[i] + view], again[first_again[i] + view])
    encoder.seen.clear()
    counted(folder, encoder, tmp_path / "cut")
    assert not encoder.seen


class Alone(Process):
    """One of several processes that need not be waited for."""

    def wait(self) -> None:
        """Return at once."""


@pytest.mark.usefixtures("batches_of_four")
def test_another_number_of_processes_takes_up_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Counting()
    encoder.stop_after = 4
    with monkeypatch.context() as patch:
        patch.setattr(features_module, "gather", lambda own, process: [own])
        with pytest.raises(KeyboardInterrupt):
            counted(folder, encoder, tmp_path, process=Alone(2, 3))
    encoder.stop_after = 10**9
    features, first, _ = counted(folder, encoder, tmp_path)
    assert len(list(tmp_path.glob("*/*.jsonl"))) == 2
    expected, expected_first, _ = counted(folder, Counting(), tmp_path / "other")
    assert len(encoder.seen) == 18
    for i in range(N):
        require_alike(features[first[i]], expected[expected_first[i]])


def require_alike(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold a row against one that was encoded at another place of a batch.

    There a kernel may sum in another order: one rounding to float16, of features below 1.
    """
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def require_equal(found: Any, expected: Any) -> None:
    """Hold two answers of `counted` against one another, row by row."""
    for i in range(N):
        for view in range(1 + i % 2):
            require_alike(found[0][found[1][i] + view], expected[0][expected[1][i] + view])


class Meeting(Counting):
    """Calls something between two of its batches."""

    def __init__(self, meet: Any) -> None:
        super().__init__()
        self.meet = meet

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        if len(self.seen) == 8:
            self.meet()
        return super().encode(pixels)


@pytest.mark.usefixtures("batches_of_four")
@pytest.mark.parametrize("stop_after", [4, 10**9])
def test_two_runs_at_once_share_a_cache(folder: Path, tmp_path: Path, stop_after: int) -> None:
    """One begins, and ends or is killed, while the other one writes: no row is the wrong one."""
    other = Counting()
    other.stop_after = stop_after
    theirs: list[Any] = []

    def meet() -> None:
        if stop_after == 4:
            with pytest.raises(KeyboardInterrupt):
                counted(folder, other, tmp_path / "shared")
        else:
            theirs.append(counted(folder, other, tmp_path / "shared"))

    ours = counted(folder, Meeting(meet), tmp_path / "shared")
    expected = counted(folder, Counting(), tmp_path / "alone")
    again = Counting()
    for found in (ours, *theirs, counted(folder, again, tmp_path / "shared")):
        require_equal(found, expected)
    assert not again.seen
    assert other.seen
    assert len(other.seen) <= 18 - 7  # what was journalled by then is not encoded again


@pytest.mark.usefixtures("batches_of_four")
def test_processes_agree_on_what_is_left_while_another_run_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process looks later, and sees what another run has done meanwhile."""
    barrier = threading.Barrier(2, timeout=30)
    lefts: dict[int, Any] = {}

    class Meets(Process):
        def wait(self) -> None:
            if self.world > 1:
                barrier.wait()

    def gather(own: Any, process: Process) -> list[Any]:
        if process.world == 1:
            return [own]
        lefts[process.rank] = own
        process.wait()
        return [lefts[rank] for rank in range(process.world)]

    monkeypatch.setattr(features_module, "gather", gather, raising=False)
    first = threading.Thread(
        target=counted,
        args=(folder, Counting(), tmp_path),
        kwargs={"process": Meets(0, 2)},
        daemon=True,
    )
    first.start()
    while not barrier.n_waiting:
        assert first.is_alive()
        time.sleep(0.01)
    other = Counting()
    other.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        counted(folder, other, tmp_path)
    found = counted(folder, Counting(), tmp_path, process=Meets(1, 2))
    first.join()
    require_equal(found, counted(folder, Counting(), tmp_path / "alone"))


@pytest.mark.usefixtures("batches_of_four")
def test_caches_without_a_token_in_their_names_are_read(folder: Path, tmp_path: Path) -> None:
    expected = counted(folder, Counting(), tmp_path)
    for file in list(tmp_path.glob("*/rows-*")):
        file.rename(file.with_name(f"rows-0000{file.suffix}"))
    encoder = Counting()
    require_equal(counted(folder, encoder, tmp_path), expected)
    assert not encoder.seen


@pytest.mark.parametrize("factor", [1e6, float("nan")])
def test_features_that_float16_does_not_hold_are_refused(
    folder: Path, tmp_path: Path, factor: float
) -> None:
    class Large(ToyEncoder):
        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().encode(pixels) * factor

    examples = Examples([Example(folder / "0.png", ("a dog.",))])
    with pytest.raises(UsageError, match=r"toy-encoder gives features .*another --encoder"):
        cache_features(Large(), examples, [1], tmp_path, 0)
    live = LiveFeatures(Large(), examples, [1], 0, workers=1)
    with pytest.raises(UsageError, match="toy-encoder gives features"):
        live.take([0])
    live.close()


def test_other_weights_of_the_same_name_do_not_resume(folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"recipe": {"steps": 1}}
    weights = {"language_model": "a" * 64, "encoder": "b" * 64}
    run_toy(folder, tmp_path, hashes=weights, **options)
    for part in weights:
        with pytest.raises(RunError, match=f"holds a run with another {part}_sha256;"):
            run_toy(folder, tmp_path, hashes={**weights, part: "c" * 64}, **options)
    # A run that was begun before they were recorded.
    settings = json.loads((tmp_path / SETTINGS).read_text())
    old = {key: value for key, value in settings.items() if not key.endswith("_sha256")}
    assert len(old) == len(settings) - 2
    (tmp_path / SETTINGS).write_text(json.dumps(old))
    run_toy(folder, tmp_path, hashes=weights, **options)
    assert json.loads((tmp_path / SETTINGS).read_text()) == settings


def test_other_weights_or_photos_have_another_cache(folder: Path, tmp_path: Path) -> None:
    counted(folder, Counting(), tmp_path, encoder_hash="one")
    counted(folder, Counting(), tmp_path, encoder_hash="two")
    examples = [Example(folder / "0.png", ("a dog.",))]
    cache_features(Counting(), examples, [1], tmp_path, 3, encoder_hash="one")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_photo_that_did_not_read_is_tried_again_by_the_next_run(
    folder: Path, tmp_path: Path
) -> None:
    """Runs share a cache; one that has begun keeps to the photos it began with."""
    photos = write_photos(tmp_path / "photos")
    whole = (photos / "3.png").read_bytes()
    (photos / "3.png").write_bytes(whole[:40])
    shared: dict[str, Any] = {"cache": tmp_path / "cache"}
    first, log = run_toy(photos, tmp_path / "first", **shared)
    assert first.provenance["unreadable"] == 1
    (photos / "3.png").write_bytes(whole)
    second, _ = run_toy(photos, tmp_path / "second", **shared)
    assert second.provenance["unreadable"] == 0
    again = tmp_path / "first"
    for name in (STATE, LOG):
        (again / name).unlink()
    resumed, log_resumed = run_toy(photos, again, **shared)
    assert resumed.provenance["unreadable"] == 1
    assert losses(log_resumed) == losses(log)
    third, _ = run_toy(photos, tmp_path / "third", **shared)
    assert torch.equal(third.linear.weight, second.linear.weight)


def toy_set(n: int) -> TrainingSet:
    rows = [Example(Path(f"{i}"), tuple(CAPTIONS), weight=1 + i) for i in range(n)]
    store = features_module.FeatureRows([np.zeros((n, 4, 2), np.float16)], (4, 2))
    return TrainingSet(store, np.arange(n), [1] * n, Examples(rows))


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (3, 2), (1, 7)])
def test_the_parts_of_a_step_are_the_step(world: int, accumulate: int) -> None:
    batch = Draws(toy_set(5), replace(RECIPE, batch=7)).step(3)
    parts = [p for rank in range(world) for p in own_parts(batch, Process(rank, world), accumulate)]
    assert [row for part in parts for row in part.rows] == batch.rows
    assert [text for part in parts for text in part.captions] == batch.captions
    assert torch.equal(torch.cat([part.patches for part in parts]), batch.patches)
    assert [place for part in parts for place in part.places] == list(range(7))
    assert max(len(p.rows) for p in parts) - min(len(p.rows) for p in parts) <= 1


def test_a_batch_too_small_to_split_is_one_line() -> None:
    batch = Draws(toy_set(5), replace(RECIPE, batch=3)).step(0)
    with pytest.raises(UsageError, match="give --batch 4 or more"):
        own_parts(batch, Process(0, 2), 2)


def test_examples_are_drawn_by_weight_and_step_alone() -> None:
    draws = Draws(toy_set(4), replace(RECIPE, batch=4000))
    counts = np.bincount(draws.step(0).rows, minlength=4) / 4000
    assert np.abs(counts - np.array([1, 2, 3, 4]) / 10).max() < 0.03
    again = Draws(toy_set(4), replace(RECIPE, batch=4000))
    assert again.step(7).rows == draws.step(7).rows != draws.step(8).rows


def test_dropout_is_drawn_by_place_and_keeps_the_mean() -> None:
    from molyneux.training.batches import drop_out

    batch = Draws(toy_set(5), replace(RECIPE, batch=6)).step(2)
    recipe = replace(RECIPE, dropout=0.25)
    prompts = torch.ones(6, 40, 50)
    whole = drop_out(prompts, batch, recipe)
    assert torch.equal(whole[2:4], drop_out(prompts[2:4], batch.part(1, 3), recipe))
    assert whole.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float((whole == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    later = drop_out(prompts, replace(batch, step=3), recipe)
    assert not torch.equal(whole, later)
    assert drop_out(prompts, batch, replace(recipe, dropout=0.0)) is prompts


def test_a_log_that_lacks_steps_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    log = Log(tmp_path, 2, writes=True)
    log.close()
    assert (tmp_path / LOG).read_text() == '{"step": 1}\n{"step": 2}\n'
    with pytest.raises(RunError, match="ends before step 4"):
        Log(tmp_path, 4, writes=True)


def test_a_name_that_is_no_utf8_is_logged(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    log = Log(tmp_path, 0, writes=True)
    log.add({"step": 1, "unreadable": [name]})
    log.close()
    again = Log(tmp_path, 1, writes=False)
    assert again.entries[0]["unreadable"] == [name]


def test_a_damaged_checkpoint_is_one_line(folder: Path, tmp_path: Path) -> None:
    run_toy(folder, tmp_path / "run", recipe={"steps": 2})
    state = tmp_path / "run" / STATE
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(RunError, match="does not read"):
        run_toy(folder, tmp_path / "run", recipe={"steps": 2})


def test_limber_is_its_published_recipe() -> None:
    limber = find_recipe("limber")
    recipe = limber.recipe
    assert (recipe.steps, recipe.batch, limber.accumulate) == (15_000, 2048, 8)
    assert (recipe.learning_rate, recipe.dropout, recipe.weight_decay) == (8e-4, 0.1, 0.0)
    assert (recipe.betas, recipe.clip, recipe.end_token) == ((0.9, 0.95), 1.0, True)
    assert (recipe.patches_kept, limber.begins, limber.data) == (1, False, "CC3M")
    # DeepSpeed's WarmupDecayLR: log(k + 1) / log(100), then down to 0 at the last step.
    for step, share in ((0, 0), (9, 0.5), (99, 1), (100, 1), (7550, 0.5), (15_000, 0)):
        assert Course.of(recipe, []).learning_rate_at(step) == pytest.approx(8e-4 * share), step
    with pytest.raises(UsageError, match="did you mean limber"):
        find_recipe("limbre")
    with pytest.raises(UsageError, match="there is no rise 'steep'; take linear or logarithmic"):
        replace(recipe, rise="steep")


def test_fewer_steps_do_not_shorten_limber_s_warm_up() -> None:
    recipe = find_recipe("limber").recipe
    for steps in (1000, 200, 60):
        fewer = replace(recipe, steps=steps)
        for step in range(min(100, steps)):
            rate = Course.of(recipe, []).learning_rate_at(step)
            assert Course.of(fewer, []).learning_rate_at(step) == rate
    assert Course.of(replace(recipe, steps=1000), []).learning_rate_at(999) < 1e-6


def test_a_recipe_s_betas_are_adam_s(folder: Path, tmp_path: Path, single: Any) -> None:
    """AdamW written out: the first step is the same with any, the second is not."""
    from molyneux.training import loop

    taken: list[Any] = []
    begin = loop._begin

    def watched(*arguments: Any) -> Any:
        taken.append(begin(*arguments)[2].defaults["betas"])
        return begin(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_begin", watched)
        _, log = run_toy(folder, tmp_path / "run", recipe={"betas": (0.9, 0.95)})
    assert taken == [(0.9, 0.95)]
    _, plain, _ = single
    # Adam divides m / (1 - b1) by the root of v / (1 - b2): equal on paper, rounded otherwise.
    assert losses(log)[:2] == pytest.approx(losses(plain)[:2], rel=1e-6)
    assert losses(log)[4:] != pytest.approx(losses(plain)[4:], rel=1e-4)


def test_a_run_of_a_version_with_fewer_settings_is_resumed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_toy(folder, out)
    settings = json.loads((out / SETTINGS).read_text())
    for name in ("betas", "warmup_steps", "rise", "end_token"):
        del settings[name]
    (out / SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(RunError, match="another end_token;"):
        run_toy(folder, out, recipe={"end_token": True})
    run_toy(folder, out)


def test_bfloat16_learns_in_float32(folder: Path, tmp_path: Path) -> None:
    captioner = tiny_captioner("llama", dtype=torch.bfloat16)
    training, held_out = load_examples(folder)
    projection, log = train_projection(
        Parts(captioner.language_model, captioner.encoder, captioner.names, {}),
        training,
        held_out,
        captioner.layout,
        replace(RECIPE, steps=4, every=2),
        Run.create(tmp_path / "run", "train"),
        data_name="drawings",
    )
    assert projection.provenance["dtype"] == "bfloat16"
    assert projection.linear.weight.dtype == torch.float32
    assert all(np.isfinite(losses(log)))


def test_patches_cannot_be_left_out_where_positions_are_counted_inside() -> None:
    captioner = tiny_captioner("bloom")
    n = captioner.encoder.grid.n_patches
    from molyneux.training.loss import caption_ids, caption_nats

    prompts = torch.randn(1, n - 1, captioner.language_model.d_model)
    captions = caption_ids(captioner.language_model, ["a dog."])
    with pytest.raises(UsageError, match="--patches-kept 1"):
        caption_nats(
            captioner.language_model,
            captioner.layout,
            prompts,
            captions,
            torch.arange(n - 1)[None],
            n,
        )
