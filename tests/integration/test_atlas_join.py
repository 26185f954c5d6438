"""What runs say of an atlas's units: counts, words and effects against loops over their rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import D_MLP, N_LAYERS, tiny_photos

from molyneux.atlas import Atlas, open_atlas
from molyneux.atlas.build import build_atlas
from molyneux.atlas.join import FEWEST, join_runs, read_runs
from molyneux.atlas.pack import copy_atlas, shard_atlas
from molyneux.cli import main
from molyneux.errors import RunError, UsageError
from molyneux.explain.run import explain_photos
from molyneux.explain.settings import Settings

MODEL = {"language_model": "tiny-llama", "n_layers": N_LAYERS, "d_mlp": D_MLP, "hashes": {}}
NOUNS = ["dog", "cat", "dog", "dog", "dog", "dog"]


@pytest.fixture(scope="module")
def built(make_captioner: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    model = make_captioner("llama").language_model
    out = tmp_path_factory.mktemp("atlas") / "llama"
    build_atlas(model, out, names={"language_model": "tiny-llama", "sha256": "ab"})
    return open_atlas(out)


@pytest.fixture
def atlas(built: Atlas, tmp_path: Path) -> Atlas:
    return copy_atlas(built, tmp_path / "atlas")


def write_run(folder: Path, kind: str, **more: Any) -> Path:
    folder.mkdir(parents=True)
    manifest = {"kind": kind, "created": "then", "model": MODEL, "data": None, **more}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_table(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / "tables").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "tables" / f"{name}.parquet")


def listed(photo: int, unit: int, ranking: str = "top", view: str = "patches", **more: Any) -> Any:
    row = {"photo": photo, "view": view, "ranking": ranking, "rank": 3, "layer": 1, "unit": unit}
    return {**row, "score": 0.5, "peak_patch": 7, **more}


def silenced(photo: int, unit: int, effect: float, ranking: str = "specific", rank: int = 0) -> Any:
    row = {"photo": photo, "ranking": ranking, "rank": rank, "layer": 1, "unit": unit}
    return {**row, "effect": effect, "total": 0.0}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Six photos: unit 4 counts for five dogs and a cat, unit 9 is other photos'."""
    folder = write_run(tmp_path / "my-study", "study")
    write_table(folder, "photos", [{"id": f"p{n}", "noun": noun} for n, noun in enumerate(NOUNS)])
    write_table(
        folder,
        "e2_units",
        [
            *(listed(n, 4, score=float(n), peak_patch=n) for n in range(6)),
            *(listed(n, 4, "specific", score=float(n), peak_patch=n) for n in (0, 2)),
            listed(0, 5, rank=100),  # beyond the first hundred
            listed(0, 5, view="last"),
            listed(0, 5, "interpretable"),
            listed(1, 6, "specific"),
        ],
    )
    write_table(
        folder,
        "e6_units",
        [
            *(silenced(n, 4, 1.0 + n) for n in range(6)),
            silenced(0, 4, 1.0, "top", 1),  # listed twice: one photo, not two
            *(silenced(n, 9, 0.1 * n, "other_specific") for n in range(6)),
            silenced(0, 9, 0.5, "other_specific", 1),
        ],
    )
    fields = {"photo": 0, "kind": "asked", "category": "kite", "ranking": "top"}
    write_table(
        folder,
        "e4_fields",
        [
            {**fields, "units": "own", "best_unit": "L1.u4", "best_iou": 0.5},
            {**fields, "units": "random", "best_unit": "L0.u1", "best_iou": 0.25},
            {**fields, "units": "own", "best_unit": "L1.u4", "best_iou": 0.5, "ranking": "raw"},
        ],
    )
    classes = {"view": "patches", "ranking": "top", "layer": 1, "found_in": ["bench"]}
    write_table(
        folder,
        "e5_units",
        [
            {**classes, "role": "found", "unit": 4, "confirmed": ["bench"], "selective": True},
            {**classes, "role": "control", "unit": 11, "confirmed": [], "selective": False},
            {**classes, "role": "control", "unit": 12, "confirmed": ["bench"], "selective": True},
        ],
    )
    return folder


def test_what_a_study_says_of_a_unit(atlas: Atlas, study: Path) -> None:
    joined = join_runs(atlas, read_runs(atlas, [study]))
    told = joined.unit("L1.u4").measured
    assert told is not None
    assert (told.n_top, told.n_specific) == (6, 2)
    words = {each.word: each for each in told.words}
    assert [each.word for each in told.words] == ["dog", "cat"]
    assert (words["dog"].n_top, words["dog"].n_specific, words["dog"].n_effect) == (5, 2, 5)
    assert words["dog"].effect == pytest.approx((1 + 3 + 4 + 5 + 6) / 5)
    assert words["cat"].effect == 2.0
    assert [(each.photo, each.patch) for each in told.photos] == [
        ("p5", 5), ("p4", 4), ("p3", 3), ("p2", 2), ("p1", 1),
    ]  # fmt: skip
    effect, other = told.effect, told.mismatched_effect
    assert effect is not None
    assert other is not None
    assert (effect.mean, effect.n) == (pytest.approx(3.5), 6)
    assert effect.low is not None
    assert effect.high is not None
    assert 1.0 <= effect.low < 3.5 < effect.high <= 6.0
    # Of photo 0 the other photos' units at both its places: 0.0 and 0.5.
    assert other.mean == pytest.approx((0.25 + 0.1 + 0.2 + 0.3 + 0.4 + 0.5) / 6)
    assert told.elsewhere_effect is None
    assert (told.iou, told.random_iou, told.n_iou) == (0.5, 0.25, 1)
    assert (told.selective, told.selective_for) == (True, ("bench",))
    assert told.control_selective == 0.5
    stranger = joined.unit("L1.u9").measured
    assert stranger is not None
    assert (stranger.effect, stranger.n_top) == (None, 0)
    assert stranger.elsewhere_effect is not None
    assert stranger.elsewhere_effect.n == 6
    assert joined.unit("L1.u5").measured is None
    assert joined.unit("L1.u6").measured.words[0].word == "cat"  # type: ignore[union-attr]


def test_a_fake_stands_beside_a_unit(atlas: Atlas, study: Path) -> None:
    fake = atlas.unit("L1.u4").fake
    assert fake is not None
    rows = pq.read_table(study / "tables" / "e2_units.parquet").to_pylist()
    number = int(fake.partition(".u")[2])
    write_table(study, "e2_units", [*rows, listed(3, number, "specific")])
    joined = join_runs(atlas, read_runs(atlas, [study]))
    unit = joined.unit("L1.u4")
    assert unit.fake_measured == joined.unit(fake).measured
    assert unit.fake_measured is not None
    (row,) = (r for r in joined.effects.to_pylist() if (r["layer"], r["unit"]) == (1, 4))  # type: ignore[union-attr]
    assert (row["n_specific"], row["fake_n_specific"], row["fake_n_top"]) == (2, 1, 0)


def test_shards_keep_what_was_joined(atlas: Atlas, study: Path, tmp_path: Path) -> None:
    joined = join_runs(atlas, read_runs(atlas, [study]))
    sharded = shard_atlas(joined, tmp_path / "shards")
    assert sharded.unit("L1.u4") == joined.unit("L1.u4")
    assert sharded.runs == joined.runs
    assert copy_atlas(joined, tmp_path / "copy").runs == []


def test_few_photos_have_no_interval(atlas: Atlas, study: Path) -> None:
    rows = [silenced(n, 4, 1.0 + n) for n in range(FEWEST - 1)]
    write_table(study, "e6_units", rows)
    told = join_runs(atlas, read_runs(atlas, [study])).unit("L1.u4").measured
    assert told is not None
    assert told.effect is not None
    assert (told.effect.n, told.effect.low, told.mismatched_effect) == (FEWEST - 1, None, None)


def test_parts_of_a_study_that_goes_on_say_the_same(
    atlas: Atlas, study: Path, tmp_path: Path
) -> None:
    whole = join_runs(atlas, read_runs(atlas, [study])).effects
    begun = write_run(tmp_path / "begun", "study")
    parts = begun / "parts" / "photos"
    parts.mkdir(parents=True)
    tables = {}
    for name in ("e2_units", "e6_units", "e4_fields"):
        table = pq.read_table(study / "tables" / f"{name}.parquet")
        of_row = table.schema.remove(table.schema.get_field_index("photo"))
        tables[name] = (table.to_pylist(), pa.list_(pa.struct(list(of_row))))
    texts = [(name, pa.string()) for name in ("id", "noun", "error")]
    schema = pa.schema([*texts, *((name, kind) for name, (_, kind) in tables.items())])
    photos = [*enumerate(NOUNS)]
    for place, (number, noun) in enumerate([*photos[:2], (99, None), *photos[2:]]):
        part = {"id": f"p{number}", "noun": noun, "error": None if noun else "cannot be read"}
        own = {n: [r for r in rows if r["photo"] == number] for n, (rows, _) in tables.items()}
        pq.write_table(
            pa.Table.from_pylist([{**part, **own}], schema=schema), parts / f"{place:07d}.parquet"
        )
    joined = join_runs(atlas, read_runs(atlas, [begun]))
    assert joined.runs[0]["photos"] == len(NOUNS)
    assert joined.effects is not None
    assert whole is not None
    for name in ("n_top", "words", "photos", "effect", "mismatched_effect_high", "iou"):
        assert joined.effects[name] == whole[name], name


def test_units_are_found_by_effect_count_and_concept(atlas: Atlas, study: Path) -> None:
    for by in ("effect", "count"):
        with pytest.raises(UsageError, match="no run was joined"):
            atlas.find("dog", by=by)
    with pytest.raises(UsageError, match="no run was joined"):
        atlas.find(concept="dog")
    assert {each.n_top for each in atlas.find("dog")} == {None}
    joined = join_runs(atlas, read_runs(atlas, [study]))
    assert [each.unit for each in joined.find(concept="Dog")] == ["L1.u4"]
    assert [each.unit for each in joined.find(concept="bench")] == ["L1.u4"]
    (first, second) = joined.find(concept="cat", layer=1, by="effect")
    assert (first.unit, second.unit) == ("L1.u4", "L1.u6")
    assert (first.rank, first.token, first.n_effect) == (None, None, 6)
    assert first.effect == pytest.approx(3.5)
    assert second.effect is None
    every = joined.find("dog", top=None)
    measured = {each.unit for each in every if each.n_top}
    for by in ("effect", "count"):
        found = joined.find("dog", by=by, top=None)
        assert {each.unit for each in found} == {each.unit for each in every}
        assert {each.unit for each in found[: len(measured)]} == measured
    for wrong in ({"concept": "volcano"}, {"concept": "dog", "sign": 1}):
        with pytest.raises(UsageError):
            joined.find(**wrong)


def test_several_runs_are_joined_and_joined_again(
    atlas: Atlas, study: Path, tmp_path: Path
) -> None:
    once = join_runs(atlas, read_runs(atlas, [study])).effects
    other = write_run(tmp_path / "other", "study")
    for path in (study / "tables").iterdir():
        (other / "tables").mkdir(exist_ok=True)
        (other / "tables" / path.name).write_bytes(path.read_bytes())
    both = join_runs(atlas, read_runs(atlas, [study, other]))
    told = both.unit("L1.u4").measured
    assert told is not None
    assert told.effect is not None
    assert (told.n_top, told.effect.n) == (12, 12)  # a photo of another run is another photo
    assert [run["run"] for run in both.runs] == ["my-study", "other"]
    assert join_runs(atlas, read_runs(atlas, [study])).effects == once


@pytest.mark.parametrize(
    ("kind", "model", "said"),
    [
        ("train", MODEL, "give one of explain or study"),
        ("study", MODEL | {"language_model": "gpt2"}, "of another language model"),
        ("study", MODEL | {"hashes": {"language_model": "cd"}}, "sha256 differs"),
        ("study", MODEL | {"d_mlp": 7}, "d_mlp differs"),
    ],
)
def test_other_runs_are_one_line(
    atlas: Atlas, tmp_path: Path, kind: str, model: Any, said: str
) -> None:
    folder = write_run(tmp_path / "run", kind, model=model)
    write_table(folder, "photos", [{"id": "p", "noun": "dog"}])
    with pytest.raises(UsageError, match=said):
        read_runs(atlas, [folder])


def test_damaged_runs_are_one_line(atlas: Atlas, study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run folder"):
        read_runs(atlas, [tmp_path])
    (study / "tables" / "e6_units.parquet").write_bytes(b"no table")
    with pytest.raises(RunError, match="is not finished, or damaged"):
        read_runs(atlas, [study])
    for kind in ("study", "explain"):
        with pytest.raises(RunError, match="is not finished, or damaged"):
            read_runs(atlas, [write_run(tmp_path / kind, kind)])
    (study / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_runs(atlas, [study])


def test_what_was_joined_is_checked_when_it_is_read(atlas: Atlas, study: Path) -> None:
    join_runs(atlas, read_runs(atlas, [study]))
    path = atlas.folder / "effects.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RunError, match="join the runs anew"):
        open_atlas(atlas.folder).unit("L1.u4")
    (atlas.folder / "effects.json").write_text("[]")
    with pytest.raises(RunError, match="is not what a join wrote"):
        open_atlas(atlas.folder).find("dog")


def test_the_command_joins_a_run_of_explain(
    atlas: Atlas,
    make_captioner: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A real run: its table of units, whose first words' patch lists are counted by hand."""
    photos = [tmp_path / f"{number}.png" for number in range(4)]
    for path, photo in zip(photos, tiny_photos(4), strict=True):
        photo.save(path)
    run = tmp_path / "run"
    explain_photos(make_captioner("llama"), photos, Settings(top=12, ablate="none"), run)
    out = tmp_path / "joined"
    status = main(["atlas", "join", str(atlas.folder), str(run), "--out", str(out), "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    document = json.loads(said.out)
    joined = open_atlas(out)
    assert document["runs"] == [
        {"run": "run", "kind": "explain", "photos": joined.runs[0]["photos"]}
    ]
    images = json.loads((run / "explain.json").read_text())["images"]
    expected: dict[tuple[int, int], dict[str, tuple[str, int]]] = {}
    for image in images:
        for word in image["words"][:1]:
            for row in word["rankings"]["raw"]["patches"]:
                patch = row["peak_patch"][0] * image["grid"][1] + row["peak_patch"][1]
                found = expected.setdefault((row["layer"], row["unit"]), {})
                found[image["path"]] = (word["word"], patch)
    assert expected
    for (layer, unit), photos_of in expected.items():
        told = joined.unit(f"L{layer}.u{unit}").measured
        assert told is not None
        assert told.n_top == len(photos_of)
        assert told.effect is None
        for each in told.photos:
            if each.photo in photos_of:
                assert (each.word, each.patch) == photos_of[each.photo]
    assert not (atlas.folder / "effects.json").exists()
    for arguments, expected_line in (
        (["join", str(atlas.folder)], "takes an atlas and the runs to join"),
        (["join", "smollm2-effnet", str(run)], "part of the package"),
        (["join", str(tmp_path / "gone"), str(run)], "there is no atlas"),
        (["join", str(atlas.folder), str(run), "--out", str(out)], "already holds something"),
        (["build", str(atlas.folder)], "takes no folder"),
    ):
        assert main(["atlas", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert expected_line in said.err.strip().splitlines()[-1]
    status = main(["find", "dog", "--atlas", str(out), "--by", "count", "--top", "3"])
    assert status == 0
    assert "in the specific lists of" in capsys.readouterr().out


def test_numbers_are_finite(atlas: Atlas, study: Path) -> None:
    rows = pq.read_table(study / "tables" / "e6_units.parquet").to_pylist()
    write_table(study, "e6_units", [*rows, silenced(5, 4, float("nan"))])
    effects = join_runs(atlas, read_runs(atlas, [study])).effects
    assert effects is not None
    values = np.array([v for v in effects["effect"].to_pylist() if v is not None])
    assert np.isfinite(values).all()


def test_the_query_of_the_page_reads_effects(atlas: Atlas, study: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    join_runs(atlas, read_runs(atlas, [study]))
    page = Path(__file__).parents[2] / "docs" / "atlas.md"
    query = page.read_text(encoding="utf-8").split("```sql\n")[2].split("```")[0]
    rows = duckdb.sql(query.replace("'joined/", f"'{atlas.folder}/")).fetchall()
    assert [row[:3] for row in rows] == [("dog", 1, 4), ("cat", 1, 4)]
    assert rows[0][3] == pytest.approx(3.5)
