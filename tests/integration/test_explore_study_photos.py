"""A study's photos come from its data set, and only where the bytes are the same."""

from __future__ import annotations

import gc
import http.client
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from explorer_served import Served, serve
from PIL import Image
from report_run import image, word, write_run
from tiny_models import tiny_captioner
from tiny_partners import square_photos, with_partners

from molyneux.cli import main
from molyneux.data.open import open_dataset
from molyneux.errors import PhotoError, UsageError
from molyneux.explore.study_photos import StudyPhotos
from molyneux.pages.runs import open_runs
from molyneux.pages.study_run import StudyRun
from molyneux.pages.views import Views
from molyneux.studies.parts import PHOTO, part_schema, write_part
from molyneux.vision.photo import photo_sha256


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photos; one of them will be changed after the study, one renamed."""
    folder = tmp_path_factory.mktemp("a-secret-place") / "photos"
    folder.mkdir()
    for number in range(5):
        Image.new("RGB", (1500, 90), (40 * number, 90, 30)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    run = tmp_path_factory.mktemp("runs") / "study"
    run.mkdir()
    model = {"preset": None, "language_model": "tiny", "encoder": "toy", "n_layers": 2}
    manifest = {
        "schema": 1,
        "kind": "study",
        "data": {"photos": 5},
        "model": model | {"n_units": 96},
        "settings": {"experiments": ["E7"]},
    }
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    schema = part_schema({"toy": pa.schema([("set", pa.string())])})
    ids = {item.source.name: item.id for item in open_dataset(photos)}  # type: ignore[union-attr]
    for number in range(5):
        row = dict.fromkeys(PHOTO.names) | {
            "index": number,
            "id": ids[f"{number}.png"],
            "sha256": photo_sha256(photos / f"{number}.png"),
            "caption": "a red square.",
            "noun": "square",
            "toy": [],
        }
        write_part(run, "photos", row, schema)
    return run


@pytest.fixture(scope="module")
def changed(photos: Path, study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photos, but for one of other pixels and one that is not there."""
    folder = tmp_path_factory.mktemp("changed") / "photos"
    shutil.copytree(photos, folder)
    Image.new("RGB", (1500, 90), "white").save(folder / "1.png")
    (folder / "2.png").rename(folder / "two.png")
    return folder


@pytest.fixture(scope="module")
def served(
    study: Path, changed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    partners = square_photos(tmp_path_factory.mktemp("partners"))
    model = with_partners(tiny_captioner("llama"), partners, lambda k: "xylophone")
    with serve([study], lambda: model, StudyPhotos(open_dataset(changed))) as found:
        yield found


def ask(served: Served, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(served.origin.removeprefix("http://"), timeout=20)
    connection.request("GET" if body is None else "POST", path, body, {"X-Token": served.token})
    answer = connection.getresponse()
    found = answer.status, str(answer.getheader("content-type")), answer.read()
    connection.close()
    return found


def data(served: Served, path: str) -> Any:
    status, _, found = ask(served, path)
    assert status == 200, found
    return json.loads(found)


def test_only_photos_of_the_same_bytes_are_shown(served: Served) -> None:
    while len((gallery := data(served, "/api/data/gallery/r0"))["cards"]) < 5:
        time.sleep(0.01)
    shown = [card["photo"] for card in gallery["cards"]]
    assert shown == ["/api/image/r0/0", None, None, "/api/image/r0/3", "/api/image/r0/4"]
    assert gallery["pictures"]["without"] == 2
    assert "secret" not in json.dumps(gallery)
    for number, address in enumerate(shown):
        assert data(served, f"/api/data/photo/r0/{number}")["photo"] == address
        status, kind, body = ask(served, f"/api/image/r0/{number}")
        if address is None:
            assert status == 404
            assert json.loads(body)["error"] == f"there is no picture of photo {number}"
            continue
        assert (status, kind) == (200, "image/jpeg")
        with Image.open(io.BytesIO(body)) as picture:
            red = picture.convert("RGB").getpixel((20, 20))[0]  # type: ignore[index]
            assert abs(red - 40 * number) < 12


def test_without_a_model_a_photo_is_shown_whole_and_smaller(study: Path, photos: Path) -> None:
    with serve([study], None, StudyPhotos(open_dataset(photos))) as served:
        _, _, body = ask(served, "/api/image/r0/4")
        with Image.open(io.BytesIO(body)) as picture:
            assert picture.size == (1024, 61)
        assert data(served, "/api/data/gallery/r0")["pictures"]["without"] == 0


def test_a_model_is_asked_about_a_photo_that_is_there(served: Served) -> None:
    def job(number: int) -> tuple[int, Any]:
        asked = {"kind": "caption", "photo": {"run": "r0", "n": number}}
        status, _, body = ask(served, "/api/jobs", json.dumps(asked).encode())
        return status, json.loads(body)

    status, found = job(3)
    assert status == 202
    while (state := data(served, f"/api/jobs/{found['job']}"))["state"] in ("waiting", "running"):
        time.sleep(0.01)
    assert state["result"]["caption"]
    assert state["result"]["photo"] == "/api/image/r0/3"
    status, found = job(1)
    assert (status, found["error"]) == (404, "there is no picture of photo 1")


def test_without_a_data_set_a_study_has_no_pictures(study: Path) -> None:
    views = Views(open_runs([study]), lambda run, n: f"{run}/{n}", at_once=None)
    gallery = views.get("gallery/r0")
    assert "pictures" not in gallery
    assert {card["photo"] for card in gallery["cards"]} == {None}
    with pytest.raises(UsageError, match="no picture"):
        views.picture("r0", 0)


def test_a_photo_that_went_away_is_none(study: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    pictures, run = StudyPhotos(open_dataset(folder)), StudyRun(study)
    (folder / "0.png").unlink()
    assert not pictures.has(run, 0)
    assert pictures.has(run, 3)
    (folder / "3.png").unlink()
    for read in (pictures.shown, pictures.file):
        with pytest.raises(PhotoError, match="cannot be read") as raised:
            read(run, 3)
        assert str(tmp_path) not in str(raised.value)


def test_a_photo_that_became_another_is_not_shown(
    study: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    pictures, run = StudyPhotos(open_dataset(folder)), StudyRun(study)
    assert all(pictures.has(run, number) for number in range(5))
    kept = pictures.file(run, 4)
    for number in range(5):
        Image.new("RGB", (60, 60), "white").save(folder / f"{number}.png")
    for number, read in enumerate((pictures.shown, pictures.file)):
        with pytest.raises(UsageError, match=f"no picture of photo {number}"):
            read(run, number)
        assert not pictures.has(run, number)
    # What a model is asked about is what was looked at.
    assert pictures.file(run, 4).read_bytes() == (photos / "4.png").read_bytes()
    assert kept == pictures.file(run, 4)
    del pictures, read
    gc.collect()
    assert not kept.parent.exists()


def test_what_cannot_be_shown_is_refused_before_anything_is_served(
    study: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        assert main(["explore", *arguments]) not in (0, None)
        found = capsys.readouterr().err
        assert len(found.strip().splitlines()) == 1
        return found

    others = tmp_path / "others"
    others.mkdir()
    Image.new("RGB", (20, 20)).save(others / "other.png")
    explained = write_run(tmp_path / "run", [image("a.jpg", "a woman.", [word("woman")])])
    assert "none of the photos of study" in said(str(study), "--photos", str(others))
    assert "there is no" in said(str(study), "--photos", str(tmp_path / "nowhere"))
    assert "none is shown" in said(str(explained), "--photos", str(photos))
    out = tmp_path / "pages"
    assert "server alone" in said(str(study), "--photos", str(photos), "--export", str(out))
    assert not out.exists()
