"""Scorers held against exact effects: what is measured, kept, gone on with and concluded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from tiny_partners import square_photos, with_partners

from molyneux.cli import main
from molyneux.errors import RunError, UsageError
from molyneux.models.choice import ModelChoice
from molyneux.neurons.ablation import Intervention, intervened_logits
from molyneux.neurons.attribution import Attribution, attribute_units
from molyneux.neurons.scorers import Cost, find_scorer, registry
from molyneux.neurons.sight.passes import pass_prompts
from molyneux.neurons.targets import read_sentence
from molyneux.neurons.unit import Unit
from molyneux.studies.compare.agreement import agreement, area_rows, recall_rows
from molyneux.studies.compare.conclude import conclude
from molyneux.studies.compare.design import (
    GRID,
    MEAN,
    RESAMPLE,
    STRONG,
    TARGETS,
    TOP,
    UNIFORM,
    ZERO,
    phase_of,
)
from molyneux.studies.compare.gathered import MeasuredPhoto, read_photos
from molyneux.studies.compare.run import (
    ComparisonSettings,
    chosen_scorers,
    compare_scorers,
    passes_of,
)
from molyneux.studies.compare.summary import headline
from molyneux.studies.folder import find_tables, read_results
from molyneux.studies.parts import Progress, finished_parts, part_path, read_part

GRADIENT, PAPERS = "gradient-activation", "gradient-activation:site=preactivation"
N = 3


def record_of(name: str) -> dict[str, Any]:
    return find_scorer(name).record()


def contents(folder: Path) -> dict[str, bytes]:
    parts = sorted((folder / "parts").rglob("*.parquet"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in parts}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "measured").mkdir()
    return square_photos(folder)


@pytest.fixture(scope="module")
def seeing(make_captioner: Callable[..., Any], files: list[Path]) -> Any:
    return with_partners(make_captioner("llama"), files, lambda k: "volcano")


@pytest.fixture(scope="module")
def data(files: list[Path]) -> Path:
    folder = files[0].parent / "measured"
    for path in files[:N]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def run(seeing: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "compared"
    settings = ComparisonSettings((GRADIENT, PAPERS), all_units=1, areas=2)
    return compare_scorers(seeing, data, out=out, settings=settings).folder


def effects_of(rows: list[dict[str, Any]], sample: str, put_to: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["sample"], row["put_to"]) == (sample, put_to)]


def test_a_photos_truth_is_one_pass_for_each_unit(run: Path, seeing: Any, data: Path) -> None:
    model = seeing.language_model
    part = read_part(run, "truth", 0)
    words = {row["target"]: row for row in part["words"]}
    assert set(words) == set(TARGETS)
    assert words["word"]["word"] == part["noun"]
    assert words["absent"]["word"] not in part["caption"]
    photo = data / part["id"]
    prompt = seeing.see([photo])
    tokens = seeing.write(prompt)[0]
    sentence = read_sentence(model, prompt, tokens)
    until = sentence.up_to(model, prompt, sentence.words[0].target.position)
    stranger = next(p for p in seeing.reference.partners if p.name == words["word"]["resampled"])
    values: dict[str, Any] = {ZERO: 0.0, MEAN: seeing.reference.activation.mean}
    values[RESAMPLE] = pass_prompts(model, [stranger.instead_of(until)], activations=True)[
        0
    ].activation
    clean = intervened_logits(model, until, [Intervention([])])[0]
    for sample, put_to in ((UNIFORM, ZERO), (UNIFORM, MEAN), (UNIFORM, RESAMPLE), (STRONG, ZERO)):
        rows = effects_of(part["effects"], sample, put_to)
        assert rows
        for row in rows[:6]:
            unit = Unit(row["layer"], row["unit"])
            assert unit.layer < model.n_layers - 1
            edit = Intervention([unit], "patches", values[put_to])
            without = intervened_logits(model, until, [edit])[0]
            token = words[row["target"]]["token"]
            wanted = float(clean[token] - without[token])
            assert row["logit"] == pytest.approx(wanted, abs=3e-5)
            log_p = float(clean.log_softmax(-1)[token] - without.log_softmax(-1)[token])
            assert row["log_probability"] == pytest.approx(log_p, abs=3e-5)


def test_no_scorer_has_a_part_in_the_sampled_units(run: Path, seeing: Any, data: Path) -> None:
    part = read_part(run, "truth", 1)
    uniform = effects_of(part["effects"], UNIFORM, ZERO)
    model = seeing.language_model
    reach = (model.n_layers - 1) * model.d_mlp
    assert len(uniform) == 2 * min(100, reach // 2)
    strong = {(row["layer"], row["unit"]) for row in effects_of(part["effects"], STRONG, ZERO)}
    assert not strong & {(row["layer"], row["unit"]) for row in uniform}
    # Of other photos others: the draw is by the photo.
    other = effects_of(read_part(run, "truth", 2)["effects"], STRONG, ZERO)
    assert strong != {(row["layer"], row["unit"]) for row in other}


def test_a_scorers_first_units_are_measured_once(run: Path) -> None:
    seen: set[tuple[int, int]] = set()
    phases = ["truth", *(phase_of("scores", record_of(name)) for name in (GRADIENT, PAPERS))]
    for phase in phases:
        rows = read_part(run, phase, 0)["effects"]
        own = {(row["layer"], row["unit"]) for row in rows}
        if phase != "truth":
            assert all(row["sample"] == TOP for row in rows)
        assert not own & seen
        seen |= own
    for phase in phases[1:]:
        part = read_part(run, phase, 0)
        for one in part["scores"]:
            if one["target"] == "word":
                values = np.asarray(one["values"]).reshape(3, -1)[:-1]
                order = np.argsort(-values.ravel(), kind="stable")[:20]
                first = {tuple(divmod(int(place), values.shape[1])) for place in order}
                assert first <= seen


def test_sets_begin_and_end_at_the_same_two_values(run: Path) -> None:
    record = record_of(GRADIENT)
    assert finished_parts(run, phase_of("areas", record)) == [0, 1]
    rows = read_part(run, phase_of("areas", record), 0)["areas"]
    words = {row["target"]: row for row in read_part(run, "truth", 0)["words"]}
    for target in TARGETS:
        for ranking in ("total", "score"):
            at = {
                (row["set"], row["share"]): row["log_probability"]
                for row in rows
                if (row["target"], row["ranking"]) == (target, ranking)
            }
            assert len(at) == 2 * (len(GRID) + 2)
            clean = np.log(words[target]["probability"])
            assert at["necessity", 0.0] == pytest.approx(clean, abs=1e-4)
            assert at["sufficiency", 1.0] == at["necessity", 0.0]
            assert at["sufficiency", 0.0] == at["necessity", 1.0]


def test_every_unit_of_a_photo(run: Path, seeing: Any) -> None:
    model = seeing.language_model
    part = read_part(run, "truth", 0)
    wanted = {
        (row["layer"], row["unit"], row["target"]): row["logit"]
        for row in part["effects"]
        if row["put_to"] == ZERO
    }
    for layer in range(model.n_layers - 1):
        phase = f"all-L{layer:03d}"
        assert finished_parts(run, phase) == [0]
        rows = read_part(run, phase, 0)["effects"]
        assert len(rows) == 2 * model.d_mlp
        for row in rows:
            key = row["layer"], row["unit"], row["target"]
            if key in wanted:
                assert row["logit"] == pytest.approx(wanted.pop(key), abs=3e-5)
    assert not wanted


def test_scorers_are_added_to_a_folder_and_truth_is_not_measured_anew(
    seeing: Any, data: Path, run: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    layers: list[tuple[int, int, int]] = []

    def on_photo(progress: Progress) -> None:
        told.append(progress.phase)
        if progress.phase == "all":
            layers.append((progress.before, progress.done, progress.total))

    out = tmp_path / "compared"
    one = ComparisonSettings((GRADIENT,), areas=0)
    compare_scorers(seeing, data, out=out, settings=one, on_photo=on_photo)
    before = contents(out)
    assert set(told) == {"truth", phase_of("scores", record_of(GRADIENT))}
    part_path(out, "truth", 1).unlink()  # as if killed in that photo
    told.clear()
    both = ComparisonSettings((GRADIENT, PAPERS), all_units=1, areas=2)
    compare_scorers(seeing, data, out=out, settings=both, on_photo=on_photo)
    after = contents(out)
    kept = [name for name in before if "truth/0000001" not in name]
    assert all(after[name] == before[name] for name in kept)
    assert told.count("truth") == 1
    assert phase_of("scores", record_of(GRADIENT)) not in told
    assert layers == [(0, 1, 2), (0, 2, 2)]  # of both layers together
    assert set(after) == set(contents(run))
    told.clear()
    compare_scorers(seeing, data, out=out, settings=both, on_photo=on_photo)
    assert told == []


def test_other_photos_or_another_seed_are_another_comparison(
    seeing: Any, data: Path, run: Path
) -> None:
    with pytest.raises(RunError, match="seed: 0 in the folder, 1 now"):
        compare_scorers(seeing, data, out=run, seed=1, settings=ComparisonSettings((GRADIENT,)))


def test_what_a_comparison_concludes(run: Path) -> None:
    found = conclude(run)
    assert (found.photos, found.whole) == (N, 1)
    tables = {table.name: table for table in found.result.tables}
    assert list(tables) == [
        f"scorers.{name}" for name in ["truth", "layers", "areas", "recall", "cost"]
    ]
    photos = list(read_photos(run, 3, 48))
    best = headline(found.rows)[0]
    by_hand = []
    for photo in photos:
        part = read_part(run, "truth", photo.index)
        rows = effects_of(part["effects"], UNIFORM, ZERO)
        rows = [row for row in rows if row["target"] == "word"]
        score = photo.scores[best["scorer"], best["ranking"], "word"]
        said = [score[row["layer"] * 48 + row["unit"]] for row in rows]
        by_hand.append(stats.spearmanr(said, [row["logit"] for row in rows])[0])
    assert best["spearman"] == pytest.approx(np.mean(by_hand))
    assert best["n"] == N
    # The sum is what zeroing is estimated by; the largest of several numbers is not.
    assert (best["scorer"], best["ranking"]) == (GRADIENT, "total")
    assert {row["sample"] for row in found.rows} == {UNIFORM, STRONG, TOP, "all"}
    assert {row["word"] for row in found.rows} == set(TARGETS)
    # The same tables from the folder alone.
    assert find_tables(read_results(run), "scorers.cost") == [tables["scorers.cost"]]


def test_effects_are_a_data_set_of_their_own(run: Path, data: Path) -> None:
    found = conclude(run)
    rows = pq.read_table(found.effects / "effects.parquet").to_pylist()
    keys = [(row["photo"], row["layer"], row["unit"], row["put_to"], row["target"]) for row in rows]
    assert len(keys) == len(set(keys))
    whole = [row for row in rows if row["photo"] == "00.png" and row["put_to"] == ZERO]
    assert len(whole) == 2 * 2 * 48  # both words, all units of all layers but the last
    words = pq.read_table(found.effects / "words.parquet").to_pylist()
    assert [row["photo"] for row in words[::2]] == sorted(path.name for path in data.iterdir())
    card = (found.effects / "README.md").read_text(encoding="utf-8")
    assert "{" not in card.partition("```python")[0].partition("---\n# ")[2]
    assert f"| uniform | zero | {N * 48} |" in card


def test_areas_are_means_over_the_grid() -> None:
    def row(name: str, share: float, value: float) -> dict[str, Any]:
        own = {"ranking": "total", "target": "word"}
        return {**own, "set": name, "share": share, "log_probability": value}

    rows = [row("necessity", 0.0, -1.0), row("necessity", 1.0, -5.0)]
    rows += [row("sufficiency", 0.0, -5.0), row("sufficiency", 1.0, -1.0)]
    rows += [row("necessity", share, -1.0 - k) for k, share in enumerate(GRID)]
    rows += [row("sufficiency", share, -5.0 + k / 2) for k, share in enumerate(GRID)]
    (found,) = area_rows(photo_with(areas={"one": rows}))
    assert found["necessity"] == pytest.approx(np.mean([0, 1, 2, 3, 4, 5]))
    assert found["sufficiency"] == pytest.approx(np.mean([0, 0.5, 1, 1.5, 2, 2.5]))
    assert found["whole"] == 4.0


def photo_with(**known: Any) -> MeasuredPhoto:
    """Return a photo of which some is known."""
    given: dict[str, Any] = {
        **{"index": 0, "id": "a", "sha256": "", "caption": "", "words": [], "rows": []},
        **{"exact": {}, "scores": {}, "samples": {}, "areas": {}, "costs": {}},
        **{"n_layers": 3, "d_mlp": 4},
        **known,
    }
    return MeasuredPhoto(**given)


def test_recall_of_the_true_first_units() -> None:
    effect = np.arange(400, dtype=float)
    score = effect.copy()
    score[[399, 398]] = -1  # two of the four that give most
    photo = photo_with(
        exact={(ZERO, "word", "logit"): effect},
        scores={("one", "total", "word"): score, ("true", "total", "word"): effect},
        samples={"all": np.arange(400)},
        n_layers=101,
    )
    assert [row["recall"] for row in recall_rows(photo)] == [0.5, 1.0]
    assert list(recall_rows(photo_with(samples={}))) == []


def test_agreement_of_one_photos_units() -> None:
    effect = np.array([0.0, 1.0, -2.0, 3.0, np.nan])
    exact = agreement(effect, effect)
    ones = {"spearman": 1, "pearson": 1, "slope": 1, "sign": 1, "units": 4}
    assert exact == pytest.approx(ones)
    doubled = agreement(-2 * effect, effect)
    assert (doubled["spearman"], doubled["slope"], doubled["sign"]) == (-1, -0.5, 0)
    # A unit that does nothing has no sign to agree with.
    half = agreement(np.array([9.0, 1.0, 2.0, 3.0, 4.0]), effect)
    assert half["sign"] == pytest.approx(2 / 3)
    assert np.isnan(agreement(np.ones(5), effect)["spearman"])


def test_the_command(
    seeing: Any,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ModelChoice, "load", lambda self: seeing)
    monkeypatch.setattr(ModelChoice, "require_reference", lambda self: None)
    monkeypatch.setattr(ModelChoice, "require_ready", lambda self, **_: None)
    call = ["compare-scorers", str(data), "--scorer", GRADIENT, "--areas", "1", "--out"]
    assert main([*call, str(tmp_path / "out"), "--images", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["photos"] == 2
    assert {row["scorer"] for row in said["rows"]} == {GRADIENT}
    assert main([*call, str(tmp_path / "out"), "--images", "2"]) == 0
    assert f"  {GRADIENT}, total: " in capsys.readouterr().out
    assert main(["table", str(tmp_path / "out"), "scorers.truth"]) == 0
    assert "Agreement with exact effects" in capsys.readouterr().out
    assert main([*call, str(tmp_path / "out"), "--images", "1"]) == 2
    assert "was begun otherwise" in capsys.readouterr().err


@dataclass(frozen=True)
class OfFew:
    """Scores three units, and says that it takes many passes."""

    name: ClassVar[str] = "of-few"
    cost: ClassVar[Cost] = Cost(forward=10, backward_each_layer=15)

    def score(self, model: Any, prompt: Any, targets: Any, **more: Any) -> Attribution:
        found = attribute_units(model, prompt, targets)
        kept = torch.zeros_like(found.patches.total)
        kept[:, 0, :3] = found.patches.total[:, 0, :3]
        return replace(found, patches=replace(found.patches, total=kept, score=kept))

    def record(self) -> dict[str, Any]:
        return {"name": self.name}


def test_a_scorer_of_few_units_that_takes_many_passes(
    seeing: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_SCORERS", dict(registry._SCORERS))
    registry.register_scorer(OfFew())
    assert passes_of(OfFew(), 3) == 100
    said: list[str] = []
    settings = ComparisonSettings(("of-few",), areas=3, passes=200)
    out = tmp_path / "out"
    compare_scorers(seeing, data, out=out, settings=settings, note=said.append)
    phase = phase_of("scores", {"name": "of-few"})
    assert finished_parts(out, phase) == [0, 1]
    assert any("the first 2 photos" in line for line in said)
    sampled = {
        (row["layer"], row["unit"])
        for name in ("truth", phase)
        for row in read_part(out, name, 0)["effects"]
    }
    assert {(0, 0), (0, 1), (0, 2)} <= sampled
    own = {(row["layer"], row["unit"]) for row in read_part(out, phase, 0)["effects"]}
    assert own <= {(0, 0), (0, 1), (0, 2)}
    # Sets of all units cannot be made of three.
    assert read_part(out, phase_of("areas", {"name": "of-few"}), 0)["areas"] == []
    rows = conclude(out).rows
    top = next(row for row in rows if row["sample"] == TOP and row["ranking"] == "total")
    assert top["n"] == 2
    assert top["spearman"] is not None


def test_all_known_scorers_are_compared_in_the_forms_that_are_told_apart() -> None:
    found = chosen_scorers()
    assert {"random", PAPERS, GRADIENT} <= set(found)
    assert not any("last=true" in name for name in found)


@pytest.mark.parametrize("kind", ["opt", "gemma2", "bloom"])
def test_other_families(
    kind: str, make_captioner: Callable[..., Any], files: list[Path], data: Path, tmp_path: Path
) -> None:
    seeing = with_partners(make_captioner(kind), files, lambda k: "volcano")
    out = tmp_path / "out"
    settings = ComparisonSettings((GRADIENT,), areas=1)
    compare_scorers(seeing, data, out=out, settings=settings)
    rows = read_part(out, "truth", 0)["effects"]
    assert {row["put_to"] for row in rows} == {ZERO, MEAN, RESAMPLE}


def test_what_is_wrong_is_said_before_anything_is_measured(
    seeing: Any, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no scorer 'nonsense'"):
        compare_scorers(seeing, data, settings=ComparisonSettings(("nonsense",)))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("x")
    with pytest.raises(UsageError, match="already holds something"):
        compare_scorers(seeing, data, out=tmp_path / "full")
    with pytest.raises(UsageError, match="all_units"):
        ComparisonSettings(all_units=-1)
