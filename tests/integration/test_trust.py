"""`molyneux trust`, and every place where its scale is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from report_page import ReportPage
from tiny_models import tiny_photos
from tiny_vlms import tiny_vlm
from trust_rows import scale_of

from molyneux.cli import main
from molyneux.errors import PhotoError, WeightsError
from molyneux.explain.document import Image, read_document
from molyneux.explain.measure_reference import measure_reference
from molyneux.explain.measure_trust import TrustPhotos, measure_trust
from molyneux.explain.photo import explain_photo
from molyneux.explain.settings import Settings
from molyneux.models.captioner import Captioner
from molyneux.models.captions import read_captions
from molyneux.models.trust import load_trust, save_trust
from molyneux.records import from_plain, to_plain

NONSENSE = "vrk"  # which the tiny vocabulary has


@pytest.fixture
def tiny(make_captioner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The commands' captioner replaced by a tiny one, with a scale where one is asked for."""
    captioner = make_captioner("llama")
    files = [tmp_path / f"reference-{number}.png" for number in range(4)]
    for file, photo in zip(files, tiny_photos(4), strict=True):
        photo.save(file)
    table, _ = measure_reference(captioner, files, data="drawings", n_listed=100)
    captioner = captioner.with_reference(table)

    def load(*args: object, **options: Any) -> Any:
        scale = options.get("trust")
        return captioner if scale is None else captioner.with_trust(load_trust(scale))

    monkeypatch.setattr(Captioner, "load", load)
    return captioner


@pytest.fixture
def lists(make_captioner: Any, tmp_path: Path) -> tuple[Path, Path]:
    """Photos with what the model writes of them as human captions: all it says is right."""
    captioner = make_captioner("llama")
    photos = tiny_photos(90)
    captions = [read.caption for read in read_captions(captioner, photos)]  # type: ignore[union-attr]
    files = []
    for name, numbers in (("scale", range(60)), ("check", range(60, 90))):
        lines = []
        for number in numbers:
            photos[number].save(tmp_path / f"{number}.png")
            lines.append(json.dumps({"file": f"{number}.png", "captions": [captions[number]]}))
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("\n".join(lines))
    return files[0], files[1]


@pytest.fixture
def scale_file(tiny: Any, tmp_path: Path) -> Path:
    save_trust(tmp_path / "trust.json", scale_of(tiny))
    return tmp_path / "trust.json"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_probability_read_is_the_one_that_explain_reports(tiny: Any) -> None:
    photos = tiny_photos(3)
    for read, photo in zip(read_captions(tiny, photos), photos, strict=True):
        explained = explain_photo(tiny, photo, Settings(ablate="none", words=("dog",)))
        assert not isinstance(read, PhotoError)
        assert read.caption == explained.caption
        assert read.probability == pytest.approx(explained.words[0].probability, rel=1e-4)
        asked = explained.words[-1]
        assert float(read.logprobs[asked.token_id].exp()) == pytest.approx(
            asked.probability, rel=1e-4
        )
        assert torch.exp(read.logprobs).sum() <= 1 + 1e-5


def test_a_vision_language_model_is_read_and_has_a_scale_of_its_own(make_captioner: Any) -> None:
    seeing = tiny_vlm("llava")
    photos = tiny_photos(2)
    for read, photo in zip(read_captions(seeing, photos), photos, strict=True):
        assert not isinstance(read, PhotoError)
        assert read.caption == seeing.caption(photo)
    own = scale_of(seeing)
    assert seeing.with_trust(own).trust is own
    other = replace(own, provenance={**own.provenance, "layout": {"text": "Another prompt"}})
    with pytest.raises(WeightsError, match="the trust scale was measured with another"):
        seeing.with_trust(other)
    with pytest.raises(WeightsError, match="the trust scale was measured with another"):
        make_captioner("llama").with_trust(own)


def test_trust_measures_a_scale(
    tiny: Any, lists: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    scale, check = lists
    out = tmp_path / "scale"
    status, said, err = run(capsys, "trust", scale, "--check", check, "--out", out, "--json")
    assert status == 0, err
    document = json.loads(said)
    found = load_trust(out / "trust.json")
    assert document["verified"] == found.is_verified
    assert [each.photos for each in found.data] == [60, 30]
    assert sum(each.right for each in found.bins) == sum(each.photos for each in found.bins)
    # Another photo's captions hold the noun less often: the control fails.
    assert found.control is not None
    assert not found.control.fits
    assert found.is_verified
    assert tiny.with_trust(found).trust is found
    assert str(tmp_path) not in (out / "trust.json").read_text()


def test_trust_in_words(tiny: Any, lists: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    scale, check = lists
    status, said, _ = run(capsys, "trust", scale, "--check", check, "--out", tmp_path / "scale")
    assert status == 0
    assert "first nouns" in said
    assert "control, wrong captions" in said


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captioner that must not be loaded."""

    def load(*_: object, **__: Any) -> None:
        raise AssertionError("nothing is loaded for a call that is wrong")

    monkeypatch.setattr(Captioner, "load", load)


def test_a_photo_in_both_parts_is_refused(
    lists: tuple[Path, Path], tmp_path: Path, capsys: Any, no_model: None
) -> None:
    out = tmp_path / "scale"
    status, _, err = run(capsys, "trust", lists[0], "--check", lists[0], "--out", out)
    assert status == 2
    assert "0.png are the same photo, in both" in err
    assert not out.exists()


def test_too_few_captioned_photos_are_refused(
    lists: tuple[Path, Path], tmp_path: Path, capsys: Any, no_model: None
) -> None:
    scale, check = lists
    out = tmp_path / "scale"
    status, _, err = run(capsys, "trust", check, "--check", scale, "--out", out)
    assert status == 2
    assert "check.jsonl has 30 photos with captions, and a trust scale takes 50 or more" in err
    assert not out.exists()


def test_files_of_two_sets_may_be_called_alike(
    lists: tuple[Path, Path], tmp_path: Path, capsys: Any, tiny: Any
) -> None:
    scale, check = lists
    moved = tmp_path / "other"
    moved.mkdir()
    lines = [json.loads(line) for line in check.read_text().splitlines()]
    for number, line in enumerate(lines):
        (tmp_path / line["file"]).rename(moved / f"{number}.png")
        line["file"] = f"other/{number}.png"
    check.write_text("\n".join(map(json.dumps, lines)))
    status, _, err = run(capsys, "trust", scale, "--check", check, "--out", tmp_path / "scale")
    assert status == 0, err


def test_a_file_that_is_no_scale_is_refused_before_the_model(
    tmp_path: Path, capsys: Any, no_model: None
) -> None:
    photo = tmp_path / "0.png"
    tiny_photos(1)[0].save(photo)
    for file in (photo, tmp_path / "cut.json"):
        file.touch()
        status, _, err = run(capsys, "explain", photo, "--trust", file)
        assert status == 1
        (line,) = err.strip().splitlines()
        assert f"{file.name} is not a trust scale" in line
        assert "makes one" in line


def test_a_photo_counts_once_and_too_few_are_refused(tiny: Any, lists: tuple[Path, Path]) -> None:
    from molyneux.data.open import open_dataset

    scale, check = (open_dataset(each) for each in lists)
    twice = [replace(item, id=f"{item.id} again") for item in list(scale)[:3]]
    found, left_out = measure_trust(tiny, TrustPhotos([*scale, *twice], {}), TrustPhotos(check, {}))
    assert found.data[0].photos == 60
    assert [line.endswith("it is the same photo as 0.png") for line in left_out] == [
        *(True, False, False)
    ]
    with pytest.raises(PhotoError, match="takes 50 or more"):
        measure_trust(tiny, TrustPhotos(list(scale)[:20], {}), TrustPhotos(check, {}))


def test_another_model_s_scale_is_refused(make_captioner: Any) -> None:
    other = scale_of(make_captioner("gpt2"))
    with pytest.raises(WeightsError, match="the trust scale was measured with another"):
        make_captioner("llama").with_trust(other)


def test_caption_says_it_beside_and_stdout_stays_the_captions(
    tiny: Any, scale_file: Path, tmp_path: Path, capsys: Any
) -> None:
    photo = tmp_path / "0.png"
    tiny_photos(1)[0].save(photo)
    _, plain, _ = run(capsys, "caption", photo)
    status, out, err = run(capsys, "caption", photo, "--trust", scale_file)
    assert status == 0
    assert out == plain
    assert re.search(r"\[\w+: right on .* of 10 photos at this probability\]", err)
    _, out, _ = run(capsys, "caption", photo, "--trust", scale_file, "--json")
    (image,) = json.loads(out)["images"]
    assert image["first_noun"]["trust"]["rate"] >= 0
    assert image["first_noun"]["word"] in image["caption"]
    assert json.loads(out)["model"]["trust"]["verified"] is True


def test_explain_flags_a_word_under_the_floor_everywhere(
    tiny: Any, scale_file: Path, tmp_path: Path, capsys: Any
) -> None:
    photo, out = tmp_path / "0.png", tmp_path / "run"
    tiny_photos(1)[0].save(photo)
    made = load_trust(scale_file)
    # A model of a few words says each of them at more than the floor; here it is above them all.
    high = replace(made, floor=1.0)
    assert high.floor_is_verified
    save_trust(scale_file, high)
    status, said, err = run(
        capsys, *("explain", photo, "--word", NONSENSE, "--trust", scale_file, "--out", out)
    )
    assert status == 0, err
    document = read_document(out)
    first, *later = document.images[0].words
    asked = later.pop()
    assert asked.word == NONSENSE
    assert asked.trust is not None
    assert asked.trust.under_floor
    assert first.trust is not None
    assert not first.trust.under_floor
    assert all(word.trust is None for word in later)
    warning = f"p = {asked.probability:.2g}, under the floor of 1: of nouns asked for"
    assert warning in said
    assert warning in repr(asked)
    assert warning in asked._repr_html_()
    assert f"{first.word}  p = " in said
    assert f", {first.trust.short}" in said
    page = ReportPage(out / "report.html")
    told = {
        w["word"]: t
        for w, t in zip(page.photo()["image"]["words"], page.photo()["told"], strict=True)
    }
    assert warning in told[asked.word]["warning"]
    assert told[first.word]["trust"] == first.trust.interval
    again = from_plain(Image, json.loads(json.dumps(to_plain(document.images[0]))), "it")
    assert again == document.images[0]


def test_without_a_scale_nothing_is_claimed(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    photo, out = tmp_path / "0.png", tmp_path / "run"
    tiny_photos(1)[0].save(photo)
    _, said, err = run(capsys, "explain", photo, "--word", "dog", "--out", out)
    assert "right on" not in said
    assert "no trust scale" in err
    assert "right on" not in ReportPage(out / "report.html").said
    assert all(word.trust is None for word in read_document(out).images[0].words)
    _, _, err = run(capsys, "caption", photo)
    assert "trust" not in err
