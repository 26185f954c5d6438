"""A study is one and the same however it is killed, resumed and shared out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import study_toy
import torch
from report_page import ReportPage

from molyneux.errors import RunError, UsageError
from molyneux.parquet import parquet_bytes
from molyneux.processes import Process
from molyneux.studies import experiment, study, texts
from molyneux.studies.folder import Study
from molyneux.studies.forecast import duration
from molyneux.studies.parts import MEASURED, finished_parts, part_path, read_parts
from molyneux.studies.plan import plan_study
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts

N = 7
SETTINGS = StudySettings(experiments=("TOY",), subsets=0, threads=1)
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class OneOf(Process):
    """One of several processes that are run one after another, so that nobody is met."""

    def wait(self) -> None:
        return None


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "_added", {})
    experiment.register_experiment(study_toy.Toy)
    scorers = study_toy.TextScorers(study_toy.FakeBert(), None, "no")  # type: ignore[arg-type]
    monkeypatch.setattr(texts, "load_scorers", lambda settings, note: scorers)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    study_toy.save_photos(folder, N)
    return folder


@pytest.fixture(scope="module")
def seeing(photos: Path) -> Any:
    return study_toy.seeing_captioner(photos)


def run(
    seeing: Any,
    photos: Path,
    out: Path,
    settings: StudySettings = SETTINGS,
    on_photo: Any = lambda progress: None,
) -> Study:
    return study.run_study(seeing, photos, out=out, settings=settings, on_photo=on_photo)


def hashes(out: Path) -> dict[str, str]:
    paths = sorted([*out.glob("tables/*"), *out.glob("results/*")])
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture(scope="module")
def undisturbed(
    seeing: Any, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_added", {})
        experiment.register_experiment(study_toy.Toy)
        scorers = study_toy.TextScorers(study_toy.FakeBert(), None, "no")  # type: ignore[arg-type]
        patch.setattr(texts, "load_scorers", lambda settings, note: scorers)
        out = tmp_path_factory.mktemp("run") / "undisturbed"
        assert run(seeing, photos, out).good == N
    found = hashes(out)
    assert {"photos.parquet", "toy_units.parquet", "toy_shared.parquet", "TOY.json"} <= set(found)
    return found


def test_tables_open_as_columns_with_the_photo_named(
    seeing: Any, photos: Path, tmp_path: Path
) -> None:
    run(seeing, photos, tmp_path / "run")
    table = pq.read_table(tmp_path / "run/tables/toy_units.parquet").to_pylist()
    assert [row["photo"] for row in table] == [i for i in range(N) for _ in range(3)]
    assert {row["id"] for row in table if row["photo"] == 2} == {"002.png"}
    shared = pq.read_table(tmp_path / "run/tables/toy_shared.parquet").to_pylist()
    partner = {row["id"]: row["partner"] for row in shared}
    assert sorted(partner) == sorted(partner.values())
    assert all(own != other for own, other in partner.items())


@pytest.mark.parametrize("stop_after", [1, 4, N + 2])
def test_an_interrupted_study_resumes_to_the_same_bytes(
    seeing: Any, photos: Path, tmp_path: Path, undisturbed: dict[str, str], stop_after: int
) -> None:
    seen = []

    def stop(progress: Any) -> None:
        seen.append((progress.phase, progress.id))
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeing, photos, tmp_path / "run", on_photo=stop)
    run(seeing, photos, tmp_path / "run", on_photo=lambda p: seen.append((p.phase, p.id)))
    assert len(seen) == len(set(seen)) == 2 * N, "every photo once in each phase"
    assert hashes(tmp_path / "run") == undisturbed


def test_any_number_of_processes_gives_the_same_bytes(
    seeing: Any, photos: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "run"
    begun, plan = study.begin(seeing, plan_study(photos, out=out, settings=SETTINGS))
    from molyneux.studies.parts import run_phase
    from molyneux.studies.study import photo_phase

    phase = photo_phase(ModelFacts.of(seeing), plan.settings, plan.experiments)
    for rank in (2, 0, 1):  # as many shares, in another order, one of them killed half-way
        done: list[Any] = []

        def stop(progress: Any, done: list[Any] = done, rank: int = rank) -> None:
            done.append(progress)
            if rank == 0 and len(done) == 2:
                raise KeyboardInterrupt

        try:
            run_phase(begun.folder, phase, plan.selection, OneOf(rank, 3), stop)
        except KeyboardInterrupt:
            assert rank == 0
    assert finished_parts(out, "photos") == [0, 1, 2, 3, 4, 5]
    run(seeing, photos, out)
    assert hashes(out) == undisturbed


def test_what_a_kill_leaves_behind_does_not_count(
    seeing: Any, photos: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "manifest.json.part").write_bytes(b'{"schema"')
    run(seeing, photos, out)
    part = part_path(out, "photos", 3)
    partial = part.with_name(f".{part.name}.4711")
    part.rename(partial)
    partial.write_bytes(partial.read_bytes()[:50])
    run(seeing, photos, out)
    assert hashes(out) == undisturbed


def test_a_damaged_part_is_one_line_that_says_what_to_delete(
    seeing: Any, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(seeing, photos, out)
    part_path(out, "photos", 3).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"0000003\.parquet is missing or damaged.*delete it"):
        run(seeing, photos, out)


def test_changed_settings_are_refused_with_the_difference(
    seeing: Any, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(seeing, photos, out)
    before = hashes(out)
    with pytest.raises(RunError, match=r"settings\.seed: 0 in the folder, 1 now"):
        run(seeing, photos, out, settings=replace(SETTINGS, seed=1))
    study_toy.save_photos(tmp_path / "fewer", 3)
    with pytest.raises(RunError, match=r"data\.photos: 7 in the folder, 3 now"):
        run(seeing, tmp_path / "fewer", out)
    assert hashes(out) == before


def test_a_run_that_an_earlier_version_began_goes_on_and_opens(
    seeing: Any,
    photos: Path,
    tmp_path: Path,
    undisturbed: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its photo list was hashed twice, and where it was made went without saying: on the CPU."""
    from molyneux.cli import main

    out = tmp_path / "run"

    def stop(progress: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeing, photos, out, on_photo=stop)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert "list_sha256" not in manifest["data"]
    manifest["data"]["list_sha256"] = manifest["data"]["ids_sha256"]
    manifest["reference"] = manifest["model"]["reference"]
    assert manifest["model"].pop("device") == "cpu"
    (out / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    run(seeing, photos, out)
    assert hashes(out) == undisturbed
    for arguments in (["report", str(out)], ["table", str(out)], ["runs", str(tmp_path)]):
        assert main(arguments) == 0, arguments
    assert f"finished, {N} photos" in capsys.readouterr().out
    manifest["data"]["ids_sha256"] = "0" * 64
    (out / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(RunError, match=r"data\.ids_sha256: \"0000"):
        run(seeing, photos, out)


def test_parts_from_before_a_column_was_measured_have_nulls_there(tmp_path: Path) -> None:
    old = pa.schema([("unit", pa.int32())])
    new = pa.schema([("unit", pa.int32()), ("others_place", pa.float64())])
    for number, (schema, row) in enumerate(
        ((old, {"unit": 3}), (new, {"unit": 4, "others_place": 0.5}))
    ):
        table = pa.table(
            {"index": [number], "units": pa.array([[row]], pa.list_(pa.struct(list(schema))))}
        )
        path = part_path(tmp_path, MEASURED, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parquet_bytes(table))
    wanted = pa.schema([("index", pa.int64()), ("units", pa.list_(pa.struct(list(new))))])
    found = read_parts(tmp_path, MEASURED, wanted)
    assert found.to_pylist() == [
        {"index": 0, "units": [{"unit": 3, "others_place": None}]},
        {"index": 1, "units": [{"unit": 4, "others_place": 0.5}]},
    ]


def test_another_run_is_not_written_over(seeing: Any, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="already holds something"):
        run(seeing, photos, tmp_path / "run")


def test_bad_photos_are_listed_and_the_others_measured(seeing: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    study_toy.save_photos(folder, 10)
    (folder / "004.png").write_bytes(b"")
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:300])
    outcome = run(seeing, folder, tmp_path / "run")
    assert outcome.good == 8
    assert [name for name, _ in outcome.bad] == ["004.png", "007.png"]
    assert "empty (0 bytes)" in outcome.bad[0][1]
    table = pq.read_table(tmp_path / "run/tables/photos.parquet")
    assert table.num_rows == 8


def test_bad_photos_warn_and_fail_only_if_asked_to(
    seeing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from molyneux.cli import main
    from molyneux.cli.model_choice import ModelChoice

    monkeypatch.setattr(ModelChoice, "load", lambda choice: seeing)
    folder = tmp_path / "photos"
    study_toy.save_photos(folder, 10)
    (folder / "003.png").write_bytes(b"<html>not found</html>")
    threads = str(torch.get_num_threads())
    command = ["study", str(folder), "--out", str(tmp_path / "run"), "--experiments", "toy"]
    assert main([*command, "--subsets", "0", "--threads", threads]) == 0
    said = capsys.readouterr().err
    assert "left out 003.png: " in said
    assert "warning: 1 of 10 photos could not be read" in said
    assert main([*command, "--subsets", "0", "--strict"]) == 1
    page = ReportPage(tmp_path / "run/report.html")
    ((bad, why),) = page.data["study/r0"]["bad"]
    assert f"left out {bad}: {why}" in said
    assert main(["runs", str(tmp_path)]) == 0
    assert "finished, 9 photos, 1 could not be read" in capsys.readouterr().out


def test_nothing_but_bad_photos_is_an_error(seeing: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"no photo")
    with pytest.raises(UsageError, match="not one photo could be read"):
        run(seeing, folder, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_one_of_them_killed_and_restarted(photos: Path, tmp_path: Path) -> None:
    out, alone = tmp_path / "shared", tmp_path / "alone"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    script = str(TESTS / "study_toy.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", script, str(photos), str(out)]
    said = tmp_path / "log.txt"
    with said.open("wb") as log:
        both = subprocess.Popen([*command, "1"], env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 600
        while len(finished_parts(out, "photos")) < 2 and time.monotonic() < deadline:
            assert both.poll() is None, said.read_text()
            time.sleep(0.05)
        children = Path(f"/proc/{both.pid}/task/{both.pid}/children")
        if not children.is_file():
            both.kill()
            pytest.skip("finding one of the processes takes Linux' /proc")
        os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
        assert both.wait(timeout=600) != 0
        assert len(finished_parts(out, "photos")) == 2
        for again in (command, [sys.executable, script, str(photos), str(alone)]):
            done = subprocess.run(again, env=environment, stdout=log, stderr=log, timeout=600)
            assert done.returncode == 0, said.read_text()
    assert hashes(out) == hashes(alone)
    assert len(pq.read_table(out / "tables/photos.parquet")) == N


def test_names_and_captions_that_are_no_text_do_not_end_a_study(
    seeing: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    study_toy.save_photos(folder, 3)
    bad = os.fsdecode(b"caf\xe9.png")
    try:
        (folder / "001.png").rename(folder / bad)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    (folder / "captions.jsonl").write_text(
        '{"file": "000.png", "caption": "a dog \\ud83d on it"}\n'
    )
    done = run(seeing, folder, tmp_path / "run")
    assert (done.good, done.bad) == (3, [])
    photos = done.table("photos").to_pylist()
    assert "caf\\udce9.png" in {row["id"] for row in photos}
    assert ["a dog \ufffd on it"] in [row["captions"] for row in photos]  # as loaders read it


def test_what_was_not_foreseen_ends_the_study_and_names_the_photo(
    seeing: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = study_toy.Toy.measure
    failing = [True]

    def fails(self: Any, subject: Any) -> Any:
        if failing and subject.item.id == "002.png":
            raise KeyError("no such thing")
        return measure(self, subject)

    monkeypatch.setattr(study_toy.Toy, "measure", fails)
    with pytest.raises(RunError, match=r"002\.png could not be measured.*KeyError") as found:
        run(seeing, photos, tmp_path / "run")
    assert "\n" not in str(found.value)
    failing.clear()
    assert run(seeing, photos, tmp_path / "run").good == N


def test_time_and_memory_are_said_before_the_start_and_after_the_first_photo(
    seeing: Any, photos: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    told = study.run_study(
        seeing, photos, "E3,TOY", out=tmp_path / "run", settings=SETTINGS, note=said.append,
        on_photo=lambda progress: said.append(f"photo {progress.done}"),
    )  # fmt: skip
    assert told.good == N
    first = said.index("photo 1")
    before = next(line for line in said[:first] if line.startswith("expected: "))
    assert "scaled from the default preset's seconds" in before
    assert "TOY not counted" in before
    assert re.search(r"about \d+\.\d GB of memory", before)
    assert said[first + 1].startswith("expected, from the first photo: ")
    assert f"{N - 1} photos left in the phase photos" in said[first + 1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (60, "60 s"), (600, "10 min"), (5400, "1.5 h"), (7200 * 11, "22.0 h")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sigterm_leaves_nothing_half_written_and_the_same_command_goes_on(
    seeing: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    undisturbed: dict[str, str], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """At the moment a photo is measured, and while the manifest is all that is there."""
    from molyneux.cli import main
    from molyneux.cli.model_choice import ModelChoice

    monkeypatch.setattr(ModelChoice, "load", lambda choice: seeing)
    out = tmp_path / "run"
    command = ["study", str(photos), "--out", str(out), "--experiments", "TOY"]
    command += ["--subsets", "0", "--threads", "1"]

    def ended(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise AssertionError("nobody heard")

    for place, name in (
        (study, "write_model_tables"),
        (study_toy.Toy, "measure"),
        (study, "conclude"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, ended)
            assert main(command) == 128 + signal.SIGTERM
        assert "interrupted by SIGTERM" in capsys.readouterr().err
        assert not [p for p in out.rglob("*") if p.name.endswith(".part") or p.name.startswith(".")]
    assert main(command) == 0, capsys.readouterr().err
    assert hashes(out) == undisturbed
