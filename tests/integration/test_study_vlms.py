"""Studies of vision-language models: whole, resumed, by command, and of no other model."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import study_toy
import torch
from PIL import Image
from report_page import ReportPage
from tiny_vlms import VLM_KINDS, tiny_vlm, tiny_vlm_parts

from molyneux.cli import main
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import RunError
from molyneux.explain.measure_reference import measure_reference
from molyneux.models.vlm import VisionLanguageModel
from molyneux.pages.one_file import write_report
from molyneux.studies import study, texts
from molyneux.studies.e1_prompts.experiment import Prompts
from molyneux.studies.e4_fields.experiment import Fields
from molyneux.studies.e6_causality.experiment import Causality
from molyneux.studies.experiment import TextScorers
from molyneux.studies.folder import Study, find_tables, read_results
from molyneux.studies.plan import plan_study
from molyneux.studies.results import Number
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

N = 3
SETTINGS = StudySettings(
    experiments=("E1", "E2", "E3", "E4", "E6"), grid=(0, 10, 100), units=10, seeds=1, subsets=0
)
CHAT = "USER: {image} what is this ASSISTANT: A picture of"


@pytest.fixture(autouse=True)
def overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are compared by their words, which needs no weights."""
    scorers = TextScorers(study_toy.Overlap(), None, "no CLIP weights here")  # type: ignore[arg-type]
    monkeypatch.setattr(texts, "load_scorers", lambda settings, note: scorers)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_toy.save_coco(tmp_path_factory.mktemp("data") / "coco", N, turned=True)


@functools.cache
def _made(kind: str, data: Path) -> VisionLanguageModel:
    seeing = tiny_vlm(kind)
    files = sorted((data / "images").glob("*.png"))
    table, left_out = measure_reference(seeing, files, data="drawings", n_listed=100)
    assert not left_out
    # In so small a model nearly every unit is in the top 100 of all photos: let few be sinks.
    few = {view: count * (torch.arange(48) < 4) for view, count in table.top_count.items()}
    return seeing.with_reference(replace(table, top_count=few))


def run(
    seeing: VisionLanguageModel,
    data: Path,
    out: Path,
    settings: StudySettings = SETTINGS,
    on_photo: Any = lambda progress: None,
) -> Study:
    return study.run_study(seeing, data, out=out, settings=settings, on_photo=on_photo)


def hashes(out: Path) -> dict[str, str]:
    paths = sorted([*out.glob("tables/*"), *out.glob("results/*")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("vlm_kind", ["llava_next", "idefics3"])
def test_a_whole_study(vlm_kind: str, data: Path, tmp_path: Path) -> None:
    """Every number is there; LLaVA-NeXT's is killed and resumed, the other's page is drawn."""
    seeing, out = _made(vlm_kind, data), tmp_path / "run"
    lengths = {seeing.see([path]).n_positions for path in (data / "images").glob("*.png")}
    assert len(lengths) == (2 if vlm_kind == "llava_next" else 1)
    assert run(seeing, data, out).good == N
    results = read_results(out)
    assert [result.experiment for result in results] == ["E1", "E2", "E3", "E4", "E6", "U"]
    values = [
        cell.value
        for table in find_tables(results, None)
        for row in table.rows
        for cell in row.values()
        if isinstance(cell, Number) and cell.value is not None
    ]
    assert len(values) > 500
    assert np.isfinite(values).all()
    fields = pq.read_table(out / "tables/e4_fields.parquet").to_pylist()
    assert {row["category"] for row in fields} == {"dog"}
    assert {row["photo"] for row in fields} == set(range(N))
    if vlm_kind == "llava_next":
        _resumes_to_the_same_bytes(seeing, data, out, tmp_path / "again")
    else:
        _page_names_the_model(out)


def _page_names_the_model(out: Path) -> None:
    page = ReportPage(write_report(out))
    (run,) = page.data["runs"]["runs"]
    assert run["model"]["language_model"] == "tiny-idefics3"
    assert run["model"]["sees"] == "sees through its own vision network and projector"
    shown = page.data["study/r0"]
    assert "“{image}A picture of”" in shown["model"]
    assert "float32 on the cpu" in shown["model"]
    assert any("trained together with its projector" in limit for limit in shown["limits"])


def _resumes_to_the_same_bytes(
    seeing: VisionLanguageModel, data: Path, undisturbed: Path, out: Path
) -> None:
    seen: list[tuple[str, str]] = []

    def stop(progress: Any) -> None:
        seen.append((progress.phase, progress.id))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeing, data, out, on_photo=stop)
    run(seeing, data, out, on_photo=lambda p: seen.append((p.phase, p.id)))
    assert len(seen) == len(set(seen)) == 2 * N
    assert hashes(out) == hashes(undisturbed)


def subject_of(seeing: VisionLanguageModel, data: Path, number: int = 0) -> Subject:
    """A photo whose caption has a noun, with a dog in its left half."""
    items = select(open_dataset(data)).items()
    for _, item in list(items)[number:]:
        facts = ModelFacts.of(seeing)
        subject = Subject(facts, SETTINGS, item, item.read(), item.sha256())
        if subject.word is not None:
            return subject
    raise AssertionError("no caption has a noun")


@pytest.fixture(scope="module", params=["llava", "qwen2_vl", "paligemma", "gemma3"])
def other(request: pytest.FixtureRequest, data: Path) -> tuple[str, Subject]:
    seeing = _made(request.param, data)
    return request.param, subject_of(seeing, data)


def test_image_prompts_are_decoded_beside_tokens_as_the_model_embeds_them(
    other: tuple[str, Subject],
) -> None:
    vlm_kind, subject = other
    found = Prompts().measure(subject)
    seeing: Any = subject.captioner
    expected = seeing.features(seeing.pixels(subject.photo))[: len(found["e1_prompts"])]
    assert [row["norm"] for row in found["e1_prompts"]] == pytest.approx(
        expected.norm(dim=1).tolist(), rel=1e-5
    )
    stored = subject.model.input_embeddings()
    scale = stored.shape[1] ** 0.5 if vlm_kind in ("paligemma", "gemma3") else 1.0
    assert found["e1_geometry"][0]["token_norm"] == pytest.approx(
        float((stored * scale).norm(dim=1).mean()), rel=1e-3
    )
    assert {row["layer"] for row in found["e1_depth"]} == {0, 1, 2, 3}


def test_fields_are_compared_with_the_mask_that_the_model_sees(other: tuple[str, Subject]) -> None:
    found = Fields().measure(other[1])
    outcomes = {row["category"]: row["outcome"] for row in found["e4_targets"] if row["category"]}
    assert outcomes["dog"] == "compared"
    (area,) = {row["area"] for row in found["e4_fields"]}
    # The left half of the photo is the left half of what is seen: of a whole or centred view.
    assert area == pytest.approx(0.5, abs=0.03)


def test_a_silenced_set_takes_what_zeroed_weights_take(other: tuple[str, Subject]) -> None:
    _, subject = other
    found = Causality().measure(subject)
    assert {row["intervention"] for row in found["e6_curves"]} == {"zero", "patch_mean", "blank"}
    (row,) = [
        row
        for row in found["e6_curves"]
        if (row["view"], row["positions"], row["set"], row["step"], row["intervention"])
        == ("patches", "all", "top", 10, "zero")
    ]
    seeing: Any = copy.deepcopy(subject.captioner)
    for unit in subject.ranking("patches", "top", 10):
        with torch.no_grad():
            seeing.language_model.output_rows(unit.layer)[unit.unit] = 0
    until = subject.until
    with torch.no_grad():
        output = seeing.language_model.run(inputs_embeds=until.embeddings, beside=until.given())
    expected = output.logits[0, -1].softmax(dim=-1)[subject.target.token_id]
    assert row["probability"] == pytest.approx(float(expected), rel=1e-3, abs=1e-7)
    assert row["ratio"] != pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("vlm_kind", VLM_KINDS)
def test_a_mask_falls_on_the_patches_that_show_it(vlm_kind: str, data: Path) -> None:
    """`test_vlms` shows by changing the photo that a patch shows what lies under it."""
    eye = tiny_vlm(vlm_kind).encoder
    for size in ((160, 96), (90, 150)):
        photo = Image.new("RGB", size)
        left, top, right, bottom = eye.preprocessing.region(photo)
        wide, high = (right - left) / eye.grid.columns, (bottom - top) / eye.grid.rows
        for patch in range(eye.grid.n_patches):
            row, column = eye.grid.place(patch)
            mask = torch.zeros(size[1], size[0], dtype=torch.bool)
            x, y = round(left + column * wide), round(top + row * high)
            mask[y : round(y + high), x : round(x + wide)] = True
            seen = eye.preprocessing.crop_mask(mask).float()
            cells = torch.nn.functional.adaptive_avg_pool2d(
                seen[None], (eye.grid.rows, eye.grid.columns)
            ).flatten()
            assert int(cells.argmax()) == patch
            assert cells[patch] > 0.6
            assert float(cells.sum() - cells[patch]) < 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("prompt", r"model\.layout\.prompt: \"\{image\}A picture of\" in the folder"),
        ("weights", r"model\.hashes\.language_model: \"0000"),
        ("dtype", r"model\.dtype: \"float32\" in the folder, \"bfloat16\" now"),
        ("table", r"model\.reference\.data: \"drawings\" in the folder, \"others\" now"),
    ],
)
def test_another_model_does_not_go_on_with_a_study(
    change: str, said: str, data: Path, tmp_path: Path
) -> None:
    seeing = _made("llava", data)
    plan = plan_study(data, "E3", out=tmp_path / "run", settings=SETTINGS)
    study.begin(seeing, plan)
    before = (tmp_path / "run/manifest.json").read_bytes()
    study.begin(seeing, plan)
    if change == "prompt":
        layout = replace(seeing.layout, prompt=CHAT)
        other = replace(seeing, layout=layout)
    elif change == "weights":
        other = replace(seeing, hashes={"language_model": "1" * 64})
    elif change == "dtype":
        other = replace(tiny_vlm("llava", dtype=torch.bfloat16), reference=seeing.reference)
    else:
        assert seeing.reference is not None
        record = {**seeing.reference.provenance, "data": "others"}
        other = replace(seeing, reference=replace(seeing.reference, provenance=record))
    with pytest.raises(RunError, match=said):
        study.begin(other, plan)
    assert (tmp_path / "run/manifest.json").read_bytes() == before


def saved(kind: str, folder: Path) -> Path:
    for part in tiny_vlm_parts(kind):
        part.save_pretrained(folder)
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_line_studies_what_it_explains(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved("idefics3", tmp_path / "tiny vlm")
    images, one = data / "images", data / "images" / "000.png"
    vlm = ["--vlm", folder, "--prompt", CHAT]
    table, out = tmp_path / "table", tmp_path / "run"

    status, text, _ = said(capsys, "caption", one, "--json", *vlm)
    document = json.loads(text)
    assert status == 0
    assert document["model"]["layout"]["prompt"] == CHAT
    assert document["model"]["device"] == "cpu"
    plain = json.loads(said(capsys, "caption", one, "--json", "--vlm", folder)[1])
    assert plain["images"][0]["caption"] != document["images"][0]["caption"]

    asked = ["study", data, "--out", out, "--threads", torch.get_num_threads(), *vlm]
    status, _, err = said(capsys, *asked)
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert f"`molyneux reference DATA --out TABLE --vlm '{folder}' --prompt '{CHAT}'`" in err
    assert not out.exists()

    status, text, _ = said(capsys, "reference", images, "--out", table, "--json", *vlm)
    assert status == 0
    reference = ["--reference", json.loads(text)["reference"]]
    status, _, err = said(capsys, *asked, *reference, "--experiments", "E3")
    assert status == 0, err
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    model = manifest["model"]
    assert model["language_model"] == "tiny vlm"
    assert (model["dtype"], model["device"]) == ("float32", "cpu")
    assert model["layout"]["prompt"] == CHAT
    assert (
        manifest["hashes"]
        == model["hashes"]
        == {"language_model": model["reference"]["projection"]}
    )
    page = ReportPage(out / "report.html")
    assert CHAT in page.data["study/r0"]["model"]

    # Again, all is done; with the family's own prompt the table is another's.
    assert said(capsys, *asked, *reference, "--experiments", "E3")[0] == 0
    own = ["study", data, "--out", tmp_path / "own", "--vlm", folder, *reference]
    status, _, err = said(capsys, *own, "--experiments", "E3")
    assert status == 1
    assert "another prompt (USER: {image}" in err.strip().splitlines()[-1]
    status, _, err = said(
        capsys, "explain", one, "--out", tmp_path / "x", "--vlm", folder, *reference
    )
    assert status == 1
    assert "another prompt" in err


def test_the_square_that_is_shown_is_chosen_and_recorded(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, one = saved("qwen2_vl", tmp_path / "tiny"), data / "images" / "000.png"
    status, _, err = said(capsys, "caption", one, "--vlm", folder)
    assert status == 2
    assert "takes squares of 448 pixels as" in err  # more than its image processor allows
    caption = ["caption", one, "--json", "--vlm", folder, "--centre"]
    sizes = {}
    for centre in (32, 48):
        status, out, err = said(capsys, *caption, centre)
        assert status == 0, err
        sizes[centre] = json.loads(out)["model"]["layout"]
    assert sizes[32] != sizes[48]
    status, _, err = said(capsys, *caption, 30)
    assert status == 2
    assert "a multiple of 8" in err

    table, vlm = tmp_path / "table", ["--vlm", folder, "--centre", 32]
    status, out, _ = said(capsys, "reference", data / "images", "--out", table, "--json", *vlm)
    assert status == 0
    given = ["--reference", json.loads(out)["reference"], "--experiments", "E3"]
    asked = ["study", data, "--out", tmp_path / "run", *given]
    status, _, err = said(capsys, *asked, *vlm)
    assert status == 0, err
    manifest = json.loads((tmp_path / "run/manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"]["layout"] == sizes[32]
    status, _, err = said(capsys, *asked, "--vlm", folder, "--centre", 48)
    assert status == 1
    other = saved("llava", tmp_path / "other")
    status, _, err = said(capsys, "caption", one, "--vlm", other, "--centre", 32)
    assert status == 2
    assert "leave the size out" in err


def test_a_file_of_weights_is_no_vision_language_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    for arguments in (["caption", "a.png"], ["decode", "L1.u1"], ["doctor"]):
        status, out, err = said(capsys, *arguments, "--vlm", file)
        assert (status, out) == (2, "")
        assert "takes the folder of the whole model" in err
        assert str(tmp_path) in err.strip().splitlines()[-1]


def test_the_other_verbs_take_a_vision_language_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, one = saved("llava", tmp_path / "tiny"), data / "images" / "000.png"
    status, out, _ = said(capsys, "prompts", one, "--json", "--vlm", folder)
    assert status == 0
    assert len(json.loads(out)["images"][0]["patches"]) == 16
    status, out, _ = said(capsys, "decode", "L1.u7", "--json", "--vlm", folder)
    assert status == 0
    assert len(json.loads(out)[0]["tokens"]) == 10
    status, out, _ = said(capsys, "doctor", "--json", "--vlm", folder)
    checks = {check["claim"]: check for check in json.loads(out)["checks"]}
    assert status == 0
    assert checks["patches lie where the family's row says"]["measured"].endswith(
        "5 moved furthest"
    )
    assert len(checks) > 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["caption", "a.png", "--prompt", CHAT], "--prompt goes with --vlm"),
        (["study", "photos", "--prompt", CHAT], "--prompt goes with --vlm"),
        (["caption", "a.png", "--centre", "64"], "--centre goes with --vlm"),
        (["study", "photos", "--vlm", "x", "--centre", "64"], "TABLE --vlm x --centre 64`"),
        (["study", "photos", "--vlm", "x", "--encoder", "y"], "give it without"),
        (["decode", "L1.u1", "--vlm", "x", "--language-model", "y"], "give it without"),
        (["study", "photos", "--vlm", "x"], "`molyneux reference DATA --out TABLE --vlm x`"),
        (["study", "photos", "--preset", "gptj-beit"], "TABLE --preset gptj-beit`"),
        (
            ["study", "photos", "--language-model", "a", "--encoder", "b", "--projection", "c",
             "--dtype", "bf16"],
            "--language-model a --encoder b --projection c --dtype bf16`",
        ),
        (["study", "photos", "--language-model", "a"], "give --encoder and --projection too"),
        (["doctor", "--fixtures", "--vlm", "x"], "the fixtures are GPT-J's"),
    ],
)  # fmt: skip
def test_a_choice_that_is_none_is_one_line_before_anything_is_loaded(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, *arguments)
    assert (status, out) == (2, "")
    assert expected in err
    assert len(err.strip().splitlines()) == 1
