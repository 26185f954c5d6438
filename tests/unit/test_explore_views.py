"""What pages read of run folders: the same as the documents say, and nothing else."""

from __future__ import annotations

import base64
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Picture
from report_run import broken_image, image, reading, word, write_run
from safetensors.numpy import load_file
from tiny_models import tiny_captioner
from tiny_partners import square_photos, with_partners

from molyneux import Settings, explain_photos, read_document
from molyneux.atlas import AtlasUnit, open_atlas
from molyneux.errors import RunError, UsageError
from molyneux.explain.claims import percent
from molyneux.explain.document import Document, UnitRow, Word
from molyneux.explain.opened import ExplainRun
from molyneux.explain.tables import units_table
from molyneux.explain.verdict import verdict
from molyneux.pages import atlas_view
from molyneux.pages.export import export
from molyneux.pages.joined import WEB, join_modules
from molyneux.pages.photo_view import name_of
from molyneux.pages.runs import open_runs
from molyneux.pages.study_words import TABLES, column_title, table_title
from molyneux.pages.unit_lists import WORDS
from molyneux.pages.views import Views
from molyneux.records import from_plain, to_plain
from molyneux.studies.experiment import default_names, load_experiments
from molyneux.studies.parts import PHOTO, part_schema, write_part
from molyneux.studies.results import Number, Result, Verdict

ODD = '"images": [\n  {\n  },\n  {\n.png'
MODELS = {"preset": None, "language_model": "tiny", "encoder": "toy", "n_layers": 3, "n_units": 144}


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three photos, the second under a name that looks like a document; one is torn."""
    folder = tmp_path_factory.mktemp("photos")
    photos = square_photos(folder)
    model = with_partners(tiny_captioner(), photos, lambda k: "xylophone")
    odd, torn = folder / ODD, folder / "torn.png"
    odd.write_bytes(photos[1].read_bytes())
    torn.write_bytes(photos[2].read_bytes()[:100])
    settings = Settings(top=12, words=["dog"], grid=(0, 5), sight="none", seeds=1)
    return explain_photos(
        model, [photos[0], odd, torn], settings, tmp_path_factory.mktemp("runs") / "explained"
    ).folder


def views_of(*folders: Path, at_once: float | None = None) -> Views:
    return Views(open_runs(folders), lambda run, n: f"/api/image/{run}/{n}", at_once=at_once)


def test_a_photo_alone_is_what_the_whole_document_has(explained: Path) -> None:
    document, run = read_document(explained), ExplainRun(explained)
    assert run.total == run.finished() == 3
    assert [run.image(n) for n in range(3)] == list(document.images)
    assert run.model == document.model
    assert run.settings == document.settings
    assert document.images[1].path == ODD
    assert run.image(2).error
    for n, whole in enumerate(document.images):
        glance = run.glance(n)
        assert (glance.path, glance.caption, glance.error) == (
            whole.path,
            whole.caption,
            whole.error,
        )
        assert [w.word for w in glance.words] == [w.word for w in whole.words]
    with pytest.raises(UsageError, match="no photo 3"):
        run.image(3)


def test_a_document_of_another_layout_is_read_as_a_whole(explained: Path, tmp_path: Path) -> None:
    document = json.loads((explained / "explain.json").read_text(encoding="utf-8"))
    (tmp_path / "explain.json").write_text(json.dumps(document), encoding="utf-8")
    run = ExplainRun(tmp_path)
    assert [run.image(n) for n in range(3)] == list(read_document(explained).images)
    assert run.glance(0).caption == document["images"][0]["caption"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[1, 2]", '{"images": [\n  {\n  }\n ]\n}', '{"schema": 7, "images": []}']
)
def test_a_damaged_document_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "explain.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError):
        ExplainRun(tmp_path)


def test_a_photo_damaged_after_opening_is_named(explained: Path, tmp_path: Path) -> None:
    text = (explained / "explain.json").read_text(encoding="utf-8")
    (tmp_path / "explain.json").write_text(text, encoding="utf-8")
    run = ExplainRun(tmp_path)
    at = text.index('"caption": ')
    (tmp_path / "explain.json").write_text(f"{text[:at]}'{text[at + 1 :]}", encoding="utf-8")
    with pytest.raises(RunError, match="photo 0"):
        run.image(0)


def test_a_run_that_goes_on_shows_what_is_finished(tmp_path: Path) -> None:
    # The last is the first once more, so that its lists bring no new unit.
    photos = [*square_photos(tmp_path)[:2], tmp_path / "00.png"]
    model, out = tiny_captioner(), tmp_path / "run"
    settings = Settings(top=5, ablate="none", sight="none")
    seen: list[tuple[int, Any]] = []

    def look(number: int, _: Any) -> None:
        views = views_of(out)
        told = views.get("runs")["runs"][0]
        assert (told["finished"], told["photos"]) == (number + 1, 3)
        cards = views.get("gallery/r0")
        assert len(cards["cards"]) == cards["finished"] == number + 1
        assert views.get("search/r0")["units"]
        seen.append((number, views.get(f"photo/r0/{number}")))
        with pytest.raises(RunError if number < 2 else UsageError):
            views.get(f"photo/r0/{number + 1}")

    explain_photos(model, photos, settings, out, look)
    assert [number for number, _ in seen] == [0, 1, 2]
    # The same of the joined run, seen through one that was opened while it went on.
    after = views_of(out)
    assert [shown for _, shown in seen] == [after.get(f"photo/r0/{n}") for n in range(3)]


def test_one_that_was_opened_while_it_went_on_finds_it_joined(tmp_path: Path) -> None:
    photos, out = square_photos(tmp_path)[:2], tmp_path / "run"
    opened: list[Views] = []

    def look(number: int, _: Any) -> None:
        opened.append(views_of(out))
        opened[-1].get("gallery/r0")

    explain_photos(
        tiny_captioner(), photos, Settings(top=3, ablate="none", sight="none"), out, look
    )
    first = opened[0]
    assert first.get("runs")["runs"][0]["finished"] == 2
    assert len(first.get("gallery/r0")["cards"]) == 2
    assert first.get("photo/r0/1")["image"]
    assert first.get("search/r0") == views_of(out).get("search/r0")


def test_maps_are_those_of_the_file_to_a_hundredth(explained: Path) -> None:
    shown = views_of(explained).get("photo/r0/0")["fields"]
    stored = {
        name.removeprefix("0."): field
        for name, field in load_file(explained / "fields.safetensors").items()
        if name.startswith("0.")
    }
    assert set(shown) == set(stored)
    for name, field in stored.items():
        packed = shown[name]
        assert packed["shape"] == list(field.shape)
        maps = field.reshape(-1, *field.shape[-2:])
        values = np.frombuffer(base64.b64decode(packed["int8"]), np.int8).reshape(maps.shape)
        scale = np.array(packed["scale"]).reshape(-1, 1, 1)
        np.testing.assert_allclose(values / 127 * scale, maps, atol=0.01 * np.abs(maps).max())


def test_cards_are_read_as_far_as_a_moment_allows(explained: Path) -> None:
    views = views_of(explained, at_once=0.0)
    sizes = [len(views.get("gallery/r0")["cards"]) for _ in range(4)]
    assert sizes == [1, 2, 3, 3]
    card = views.get("gallery/r0")["cards"][2]
    assert card["error"]
    assert card["photo"] is None
    assert views.get("gallery/r0")["cards"][0]["photo"] == "/api/image/r0/0"


def test_a_unit_is_found_wherever_it_is_listed(explained: Path) -> None:
    document, views = read_document(explained), views_of(explained)
    places: dict[str, list[tuple[int, str, str, int]]] = {}
    for n, each in enumerate(document.images):
        for one in each.words:
            for ranking, lists in one.rankings.items():
                for view, rows in (("patches", lists.patches), ("last", lists.last)):
                    for rank, row in enumerate(rows):
                        name = f"L{row.layer}.u{row.unit}"
                        places.setdefault(name, []).append((n, one.word, f"{ranking}.{view}", rank))
    searched = views.get("search/r0")
    assert [unit["id"] for unit in searched["units"]] == sorted(
        places, key=lambda name: tuple(map(int, re.findall(r"\d+", name)))
    )
    for name in list(places)[:20]:
        found = views.get(f"unit/r0/{name}")
        shown = [(p["n"], p["word"], p["ranking"], p["rank"]) for p in found["in_run"]["photos"]]
        assert sorted(shown) == sorted(places[name])
        assert [p["rank"] for p in found["in_run"]["photos"]] == sorted(p[3] for p in places[name])
        assert found["in_run"]["tokens"]
        for place in found["in_run"]["photos"]:
            assert (place["peak_patch"] is None) == place["ranking"].endswith(".last")
            row = row_of(document, place, name)
            if row.peak_patch is not None:
                assert divmod(place["peak_patch"], 4) == row.peak_patch
    listed = next(unit for unit in searched["units"] if unit["id"] == shown_name(places))
    of_words = {word for _, word, _, _ in places[listed["id"]]}
    assert set(listed["words"]) <= of_words
    assert len(listed["words"]) == min(WORDS, len(of_words))
    # A direction's name is its unit's.
    name = next(iter(places))
    assert views.get(f"unit/r0/{name}-") == views.get(f"unit/r0/{name}")


def row_of(document: Document, place: dict[str, Any], name: str) -> UnitRow:
    ranking, _, view = place["ranking"].partition(".")
    for one in document.images[place["n"]].words:
        if one.word == place["word"]:
            row = one.ranked(view=view, ranking=ranking)[place["rank"]]  # type: ignore[arg-type]
            assert row.name.rstrip("-") == name
            return row
    raise AssertionError(place)


def shown_name(places: dict[str, Any]) -> str:
    return max(places, key=lambda name: len(places[name]))


@pytest.mark.parametrize(
    "key",
    [
        *("", "nothing", "runs/", "gallery", "gallery/r1", "gallery/r0/", "photo/r0", "photo/r0/3"),
        *("photo/r0/0/..", "photo/r0/../0", "photo/r0/-1", "photo/r0/0x0", "unit/r0/u1", "../runs"),
        *("unit/r0/L1.u1/..", "unit/r9/L1.u1", "photo/r0/0\n", "search/r00000000"),
        *("photo/r0/٠", "unit/r0/L٠.u1", "unit/r0/L1.u١"),  # other scripts have digits, too
    ],
)
def test_there_is_nothing_under_other_keys(explained: Path, key: str) -> None:
    with pytest.raises(UsageError):
        views_of(explained).get(key)


@pytest.mark.parametrize("read_before", [False, True])
def test_a_run_that_was_deleted_is_said_to_be_gone(
    explained: Path, study: Path, tmp_path: Path, read_before: bool
) -> None:
    folders = tmp_path / "explained", tmp_path / "studied"
    for source, folder in zip((explained, study), folders, strict=True):
        shutil.copytree(source, folder)
    views, both = views_of(*folders), [("r0", "L0.u0"), ("r1", "L0.u0")]
    keys = ["runs"]
    for run, unit in both:
        keys += [f"{kind}/{run}" for kind in ("gallery", "search", "study", "record")]
        keys += [f"photo/{run}/0", f"unit/{run}/{unit}"]
    if read_before:
        for key in ("runs", "gallery/r0", "gallery/r1", "search/r0", "search/r1"):
            views.get(key)
    for folder in folders:
        shutil.rmtree(folder)
    for key in keys:
        with pytest.raises(RunError, match=r"the run's folder \w+ is gone"):
            views.get(key)
    with pytest.raises(RunError, match="is gone"):
        views.picture("r0", 0)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("some/where/a.jpg", "a.jpg"),
        ("caf\\udce9<b>.jpg", "caf\\udce9<b>.jpg"),
        ("some/where\\here/caf\\udce9.jpg", "caf\\udce9.jpg"),
        ("C:\\me\\guitar.jpg", "guitar.jpg"),
        ("c:\\me/photos\\guitar.jpg", "guitar.jpg"),
        ("\\\\host\\photos\\guitar.jpg", "guitar.jpg"),
        ("a: \\b.jpg", "a: \\b.jpg"),
    ],
)
def test_a_photo_is_called_by_its_whole_name(path: str, name: str) -> None:
    assert name_of(path) == name


@pytest.mark.parametrize("how", ["link", "link to a photo", "folder", "text", "linked folder"])
def test_a_picture_is_a_photo_of_the_folder_itself(tmp_path: Path, how: str) -> None:
    images = [image("a.jpg", "a woman.", [word("woman")]), image("b.jpg", "a man.", [word("man")])]
    folder = write_run(tmp_path / "run", images)
    (folder / "units.parquet").write_bytes(units_table(read_document(folder).images))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("a secret", encoding="utf-8")
    photos, whole = folder / "photos", (folder / "photos" / "0.jpg").read_bytes()
    for number in range(2):
        (elsewhere / f"{number}.jpg").write_bytes(whole)
    first = photos / "0.jpg"
    first.unlink()
    if how == "link":
        first.symlink_to(elsewhere / "secret")
    elif how == "link to a photo":
        first.symlink_to(elsewhere / "0.jpg")
    elif how == "folder":
        first.mkdir()
    elif how == "text":
        first.write_text("a secret", encoding="utf-8")
    else:
        (photos / "1.jpg").unlink()
        photos.rmdir()
        photos.symlink_to(elsewhere, target_is_directory=True)
    run, views = ExplainRun(folder), views_of(folder)
    assert run.photo(0) is None
    with pytest.raises(UsageError, match="no picture of photo 0"):
        views.picture("r0", 0)
    assert views.get("photo/r0/0")["photo"] is None
    assert (run.photo(1) is None) == (how == "linked folder")
    out = export(open_runs([folder]), tmp_path / "pages").parent
    assert not (out / "photos" / "r0" / "0.jpg").exists()


def test_a_run_that_is_opened_through_a_link_shows_its_photos(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [image("a.jpg", "a woman.", [word("woman")])])
    (tmp_path / "latest").symlink_to(folder, target_is_directory=True)
    found = ExplainRun(tmp_path / "latest").photo(0)
    assert found is not None
    assert found.read_bytes() == (folder / "photos" / "0.jpg").read_bytes()


def test_nothing_that_is_shown_is_no_json_or_names_a_folder(tmp_path: Path) -> None:
    first = image("C:\\me\\guitar.jpg", "a woman.", [word("woman")])
    first["reading"] = reading()
    first["words"][0]["ablation"]["top"] = [1.0, float("nan"), None, 0.1, float("inf")]
    run = write_run(tmp_path / "secret" / "run", [first, broken_image("x.jpg", "it is torn")])
    field = np.full((100, 7, 7), np.nan, dtype=np.float32)
    from safetensors.numpy import save_file

    save_file({"0.0.total.patches": field}, run / "fields.safetensors")
    views = views_of(run)
    for key in ("runs", "gallery/r0", "photo/r0/0", "photo/r0/1"):
        text = json.dumps(views.get(key), allow_nan=False)
        assert "secret" not in text
    shown = views.get("photo/r0/0")
    assert shown["name"] == "guitar.jpg"
    assert shown["said"]["patches"]
    (part,) = shown["said"]["parts"]
    assert part["layers"] == "layers 0 to 1"
    told = first["reading"][1]["at_patches"]
    assert [[word for word, _ in patch] for patch in part["patches"]] == [
        each["words"] for each in told
    ]
    assert shown["told"][0]["claims"][0]["absent_word"] == "piano"
    assert views.get("gallery/r0")["cards"][0]["says"][0] == "guitar"


@pytest.fixture
def of_two(tmp_path: Path) -> Path:
    """A run of two photos, each with maps."""
    return write_run(
        tmp_path / "run",
        [image("a.jpg", "a woman.", [word("woman")]), image("b.jpg", "a man.", [word("man")])],
    )


@pytest.mark.parametrize("how", ["missing", "folder"])
def test_maps_that_are_not_there_are_said_to_be_missing(of_two: Path, how: str) -> None:
    assert not any("heat maps" in line for line in views_of(of_two).get("photo/r0/0")["lines"])
    (of_two / "fields.safetensors").unlink()
    if how == "folder":
        (of_two / "fields.safetensors").mkdir()
    shown = views_of(of_two).get("photo/r0/0")
    assert shown["fields"] == {}
    assert "has no heat maps of this photo" in shown["lines"][-1]


@pytest.mark.parametrize("kind", ["grid", "units", "flat", "bfloat16", "bool"])
def test_maps_that_do_not_belong_to_a_photo_are_left_out(of_two: Path, kind: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    fields = load_file(of_two / "fields.safetensors")
    name = next(name for name in fields if name.startswith("0.") and fields[name].ndim == 3)
    there = fields[name]
    changed = {
        "grid": there[:, :-1],
        "units": there[:-1],
        "flat": there.flatten(),
        "bfloat16": there.to(torch.bfloat16),
        "bool": there > 0,
    }
    fields[name] = changed[kind].contiguous()
    save_file(fields, of_two / "fields.safetensors")
    views = views_of(of_two)
    shown = views.get("photo/r0/0")
    assert shown["fields"] == {}
    assert "are left out" in shown["lines"][-1]
    other = views.get("photo/r0/1")
    assert other["fields"]
    assert not any("heat maps" in line for line in other["lines"])


def test_a_run_that_read_patches_of_all_layers_alone_is_shown_as_it_is(tmp_path: Path) -> None:
    first = image("a.jpg", "a woman.", [word("woman")])
    first["reading"] = reading()
    del first["reading"][1]["at_patches"]
    said = views_of(write_run(tmp_path / "run", [first])).get("photo/r0/0")["said"]
    assert len(said["patches"]) == 49
    assert said["parts"] == []


# --- verdicts --------------------------------------------------------------------------------


def made(**changes: Any) -> Word:
    return from_plain(Word, word("woman") | changes, "a word")


def test_a_verdict_names_the_control_it_stands_by() -> None:
    claim = made()
    said = verdict(claim)
    assert said is not None
    assert percent(0.29) in said
    assert "piano" in said
    assert said.endswith("not evidence of sight")
    curves = word("woman")["ablation"] | {"absent_specific": [1.0, 0.9, 0.9, 0.9, 0.9]}
    assert "no evidence of sight" in str(verdict(made(ablation=curves, ablation_last=None)))
    assert verdict(made(ablation=None, ablation_last=None)) is None


def sight(gain: float, change: float | None, random: float, absent: float) -> dict[str, Any]:
    def sets(value: float | None) -> list[dict[str, Any]]:
        return [
            {
                "set": name,
                "fraction_of_units": 0.05,
                "layers": "all",
                "mediated": 0.1,
                "transplant": given,
                "fraction_mediated": None,
                "fraction_transplanted": None,
                "edit_norm": 1.0,
                "mediated_norm": 1.0,
                "transplant_caption": None,
            }
            for name, given in (("change", value), ("random", random))
        ]

    return {
        "gain": gain,
        "standard_error": 0.1,
        "partners": 8,
        "partner_caption": "a boat.",
        "sets": sets(change),
        "absent": [{"word": "piano", "gain": 0.0, "sets": sets(absent)}],
    }


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (sight(0.01, 1.0, 0.0, 0.0), "adds nothing"),
        (sight(2.0, None, 0.0, 0.0), "what carries it was not measured"),
        (
            sight(2.0, 1.5, 0.2, 0.1),
            "bring 1.50 nats of it to other photos; random units 0.20, words not named 0.10",
        ),
        (sight(2.0, 0.5, 0.6, 0.1), "random units 0.60: not shown to carry it"),
        (sight(2.0, 0.5, 0.1, 0.7), "words not named 0.70: not shown to carry it"),
    ],
)
def test_a_verdict_on_sight_follows_its_controls(found: dict[str, Any], said: str) -> None:
    assert said in str(verdict(made(sight=found)))


def test_under_the_floor_no_number_is_a_verdict() -> None:
    from trust_rows import UNDER, trust

    assert "counts" in str(verdict(made(trust=trust(**UNDER), probability=1e-5)))


# --- studies ---------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of three photos, of which two are measured: one of them could not be read."""
    run = tmp_path / "secret" / "study"
    run.mkdir(parents=True)
    manifest = {
        "schema": 1,
        "kind": "study",
        "data": {"photos": 3},
        "model": MODELS,
        "settings": {"experiments": ["E7"]},
    }
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    columns = [
        ("set", pa.string()),
        ("best_iou", pa.float64()),
        ("at_patches", pa.list_(pa.int32())),
    ]
    schema = part_schema({"toy_rows": pa.schema(columns)})
    photo = dict.fromkeys(PHOTO.names) | {
        "index": 0,
        "id": "000032",
        "caption": "a dog.",
        "noun": "dog",
        "captions": ["a dog sits"],
        "human_nouns": ["dog"],
    }
    values = (0.1234, float("nan"), None)
    own = [{"set": "change", "best_iou": each, "at_patches": [1, 2]} for each in values]
    write_part(run, "photos", photo | {"toy_rows": own}, schema)
    bad = dict.fromkeys(PHOTO.names) | {"index": 2, "id": "torn", "error": "it is torn"}
    write_part(run, "photos", bad | {"toy_rows": []}, schema)
    return run


def test_a_study_that_goes_on_shows_what_is_measured(study: Path) -> None:
    views = views_of(study)
    told = views.get("runs")["runs"][0]
    assert (told["kind"], told["photos"], told["finished"], told["claims"]) == ("study", 3, 2, [])
    cards = views.get("gallery/r0")["cards"]
    assert [card["n"] for card in cards] == [0, 2]
    assert cards[0]["words"] == ["dog"]
    assert cards[1]["error"] == "it is torn"
    shown = views.get("photo/r0/0")
    assert shown["row"]["captions"] == ["a dog sits"]
    assert shown["facts"] == [
        ["name in the data set", "000032"],
        ["the caption's first noun", "dog"],
        ["what people wrote", ["a dog sits"]],
        ["nouns that people used", ["dog"]],
    ]
    assert shown["tables"] == [
        {
            "title": "toy rows",
            "columns": ["set", "best unit's IoU", "at patches"],
            "rows": [["change", "0.123", "1 2"], ["change", None, "1 2"], ["change", None, "1 2"]],
            "more": 0,
        }
    ]
    assert "secret" not in json.dumps(shown, allow_nan=False)
    with pytest.raises(UsageError, match="not measured"):
        views.get("photo/r0/1")
    assert views.get("search/r0")["photos"] == [{"n": 0, "caption": "a dog.", "words": ["dog"]}]
    assert views.get("unit/r0/L1.u1")["in_run"]["places"] == 0


def test_every_table_of_a_photo_that_a_study_measures_has_a_title() -> None:
    measured = {
        name: schema
        for one in load_experiments(default_names())
        for name, schema in one.tables().items()
    }
    assert len(measured) > 10
    assert set(measured) <= set(TABLES)
    for name, schema in measured.items():
        assert table_title(name).startswith(f"{name[:2].upper()}: ")
        assert not any("_" in column_title(column) for column in schema.names)


def number(value: str, low: str, high: str) -> dict[str, Any]:
    """Return a number of 194 photos as pages have it."""
    return {"value": value, "low": low, "high": high, "n": 194, "few": False, "why": None}


def test_a_finished_study_tells_its_claims_with_their_controls(study: Path) -> None:
    verdict = Verdict(
        "sight", Number(0.93, 0.8, 1.1, 194), Number(0.03, 0.0, 0.1, 194), None, "holds"
    )
    result = Result("E7", "Sight", (), verdicts=(verdict,))
    (study / "results").mkdir()
    (study / "results" / "E7.json").write_text(json.dumps(result.document()), encoding="utf-8")
    assert views_of(study).get("runs")["runs"][0]["claims"] == [
        {
            "experiment": "E7",
            "claim": "sight",
            "here": number("0.930", "0.800", "1.10"),
            "control": number("0.0300", "0", "0.100"),
            "paper": None,
            "verdict": "holds",
        }
    ]


# --- the atlas -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run that says it is of the default preset's weights."""
    run = tmp_path_factory.mktemp("atlas") / "run"
    write_run(run, [image("a.jpg", "a woman.", [word("woman")])])
    document = json.loads((run / "explain.json").read_text(encoding="utf-8"))
    document["model"]["hashes"]["language_model"] = open_atlas().index.model["sha256"]
    (run / "explain.json").write_text(json.dumps(document), encoding="utf-8")
    return run


def test_an_atlas_is_shown_of_the_same_weights_alone(of_preset: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "run", [image("a.jpg", "a woman.", [word("woman")])])
    assert views_of(other).first_atlas() is None
    assert views_of(other).get("runs")["atlas"] is False
    views = views_of(of_preset)
    assert views.get("runs")["atlas"] is True
    given = Views(open_runs([other]), lambda run, n: "", atlas=open_atlas())
    assert given.first_atlas() is not None
    assert given.of_atlas(given.runs["r0"], 12, 905) is None


def test_a_unit_is_told_with_its_neighbours_and_its_fake(of_preset: Path) -> None:
    views, atlas = views_of(of_preset), open_atlas()
    there, shown = atlas.unit("L12.u905"), views.of_atlas(views.runs["r0"], 12, 905)
    assert shown is not None
    assert from_plain(AtlasUnit, json.loads(json.dumps(shown, allow_nan=False)), "a unit") == there
    assert shown["chance"] == atlas.chance
    for near in there.neighbours:
        found = shown["neighbour_tokens"][near.unit]
        assert found == atlas.unit(near.unit).writes[-1].tokens[: len(found)]
    with pytest.raises(UsageError, match="no unit"):
        views.of_atlas(views.runs["r0"], 99, 0)


def test_a_word_is_looked_for_in_the_atlas() -> None:
    atlas = open_atlas()
    rows = atlas_view.search(atlas, "water", "5-12", "norm", "", 5)["rows"]
    assert rows == [to_plain(one) for one in atlas.find("water", layer=(5, 12), by="norm", top=5)]
    # Those that write the word come before those that write a longer one.
    both = [row["token"].strip().lower() for row in atlas_view.search(atlas, "wat")["rows"]]
    assert all(token.startswith("wat") for token in both)
    assert both[0] == "wat"
    assert "water" in both
    assert both == sorted(both, key=lambda token: token != "wat")
    begins = atlas_view.search(atlas, "photograp")["rows"]
    assert begins
    assert all(row["token"].strip().lower().startswith("photograp") for row in begins)
    layers = [row["layer"] for row in atlas_view.search(atlas, "water", by="layer")["rows"]]
    assert layers == sorted(layers)
    negative = atlas_view.search(atlas, "water", sign="-1")["rows"]
    assert {row["sign"] for row in negative} == {-1}
    assert len(atlas_view.search(atlas, "the", limit=10**9)["rows"]) <= atlas_view.MOST
    for wrong in ({"q": ""}, {"q": "water", "layer": "x"}, {"q": "water", "layer": "99"}):
        with pytest.raises(UsageError):
            atlas_view.search(atlas, **wrong)
    with pytest.raises(UsageError, match="not by"):
        atlas_view.search(atlas, "water", by="magic")


# --- the export ------------------------------------------------------------------------------


def scripts(folder: Path) -> dict[str, Any]:
    """Return what the data scripts hand to a page, by key."""
    found = {}
    for path in (folder / "data").rglob("*.js"):
        for line in path.read_text(encoding="ascii").splitlines():
            key, text = re.fullmatch(
                r'MOLYNEUX_DATA\((".*?"), JSON\.parse\((".*")\)\);', line
            ).groups()  # type: ignore[union-attr]
            found[json.loads(key)] = json.loads(json.loads(text))
    return found


def test_an_export_says_what_a_server_would(explained: Path, study: Path, tmp_path: Path) -> None:
    page = export(open_runs([explained, study]), tmp_path / "out")
    found = scripts(tmp_path / "out")
    views = Views(
        open_runs([explained, study]), lambda run, n: f"photos/{run}/{n}.jpg", at_once=None
    )
    for key in found:
        whole = json.loads(json.dumps(views.get(key)))
        if key.startswith("unit/"):  # what it writes is told from another photo perhaps
            for each in (whole, found[key]):
                for name in ("sign", "tokens", "suppressed"):
                    each["in_run"].pop(name)
        assert found[key] == whole
    listed = {f"unit/r0/{unit['id']}" for unit in found["search/r0"]["units"]}
    assert listed <= set(found)
    assert {"runs", "gallery/r0", "gallery/r1", "photo/r0/2", "photo/r1/0", "photo/r1/2"} <= set(
        found
    )
    assert found["runs"]["live"] is False
    for name in ("0.jpg", "1.jpg"):
        with Picture.open(tmp_path / "out" / "photos" / "r0" / name) as picture:
            assert picture.format == "JPEG"
    text = page.read_text(encoding="utf-8")
    assert str(tmp_path) not in text + json.dumps(found)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    for inside in (script, style):
        digest = base64.b64encode(sha256(inside.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
    assert "unsafe" not in text.partition("</head>")[0]
    assert 'type="module"' not in text
    assert not re.search(r"^(import|export) ", script, flags=re.MULTILINE)


def test_a_unit_lies_where_the_page_looks_for_it(explained: Path, tmp_path: Path) -> None:
    export(open_runs([explained]), tmp_path / "out")
    data = (WEB / "data.js").read_text(encoding="utf-8")
    assert "Math.floor(Number(unit[2]) / 64)" in data
    for path in (tmp_path / "out" / "data" / "unit" / "r0").iterdir():
        layer, shard = re.fullmatch(r"(L\d+)\.(\d+)\.js", path.name).groups()  # type: ignore[union-attr]
        for key in re.findall(r'^MOLYNEUX_DATA\("(.*?)"', path.read_text(), flags=re.MULTILINE):
            at, number = re.fullmatch(r"unit/r0/(L\d+)\.u(\d+)", key).groups()  # type: ignore[union-attr]
            assert (at, int(number) // 64) == (layer, int(shard))


def test_an_export_goes_nowhere_where_something_is(explained: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UsageError, match="already holds"):
        export(open_runs([explained]), tmp_path)


def test_modules_are_joined_in_the_order_of_need() -> None:
    joined = join_modules(
        {
            "app.js": 'import { a, b as c } from "./one.js";\nimport {\n  default as D,\n} from '
            '"./vendor/two.js";\nexport function run() { return a(c) + D; }\nrun();\n',
            "one.js": 'import { d } from "./three.js";\nexport const a = (x) => x + d, z = 1;\n'
            "export async function b() {}\nexport class Thing {}\nconst d2 = 2;\n",
            "three.js": "export const d = 5;\n",
            "vendor/two.js": "const X = 1, Y = 2;export{X as default,Y};\n",
        }
    )
    order = re.findall(r'^modules\["(.*?)"\]', joined, flags=re.MULTILINE)
    assert order == ["three.js", "one.js", "vendor/two.js", "app.js"]
    assert 'const { a, b: c } = modules["one.js"];' in joined
    assert re.search(r'const \{\s*default: D,\s*\} = modules\["vendor/two.js"\];', joined)
    assert "return {default: X, Y};" in joined
    assert "return {b, a, Thing};" in joined or "return {a, b, Thing};" in joined
    assert not re.search(r"\b(import|export)\b", joined)


def test_a_module_that_is_left_out_is_there_and_empty() -> None:
    sources = {
        "app.js": 'import { a } from "./one.js";\nimport { b } from "./two.js";\n',
        "one.js": 'import { c } from "./three.js";\nexport const a = c;\n',
        "two.js": "export const b = 2;\n",
        "three.js": "export const c = 3;\n",
    }
    joined = join_modules(sources, left_out=("one.js",))
    assert 'modules["one.js"] = {};' in joined
    assert "three.js" not in joined
    assert "const b = 2;" in joined


@pytest.mark.parametrize(
    "sources",
    [
        {"app.js": 'import { a } from "./none.js";\n'},
        {
            "app.js": 'import { a } from "./b.js";\n',
            "b.js": 'import { c } from "./app.js";\nexport const a = 1;\n',
        },
        {},
    ],
)
def test_modules_that_cannot_be_joined_are_refused(sources: dict[str, str]) -> None:
    with pytest.raises(RunError, match="cannot be joined"):
        join_modules(sources)


def test_runs_of_both_kinds_are_numbered_in_the_order_given(
    explained: Path, study: Path, tmp_path: Path
) -> None:
    opened = open_runs([study, explained, study])
    assert [(each.id, each.kind) for each in opened.values()] == [
        ("r0", "study"),
        ("r1", "explain"),
        ("r2", "study"),
    ]
    assert isinstance(read_document(explained), Document)
    with pytest.raises(UsageError, match="is not there"):
        open_runs([tmp_path / "none"])
