"""Scorers are a door: one of a few lines, and the paper's own, work wherever units are scored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from docs_tables import DOCS
from PIL import Image
from report_page import ReportPage
from study_toy import photo_files
from tiny_models import tiny_photos

from molyneux import MolyneuxError, plugins
from molyneux.cli import main
from molyneux.data.dataset import Item
from molyneux.explain.claims import CURVES
from molyneux.explain.curves import BY_GRADIENT, SETS
from molyneux.explain.document import LISTS, Curves
from molyneux.explain.measure_reference import measure_reference
from molyneux.explain.photo import explain_photo
from molyneux.explain.settings import Settings
from molyneux.models.captioner import Captioner
from molyneux.models.scoring import scoring_context
from molyneux.neurons.ablation import ablated_logits
from molyneux.neurons.attribution import VIEWS, Attribution, Target, attribute_units
from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.reference import Reference, load_reference
from molyneux.neurons.scorers import (
    DEFAULT_SCORER,
    Cost,
    GradientActivation,
    find_scorer,
    register_scorer,
    registry,
    scorer_names,
    scorer_text,
)
from molyneux.neurons.unit import top_units
from molyneux.neurons.unit_sets import (
    CONTROLS,
    DEFAULT,
    DRAWN,
    LISTED,
    NO_SINKS,
    QUOTED,
    RANKINGS,
    UNIT_SETS,
    WITH_SINKS,
)
from molyneux.records import attributes_of
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

PREACTIVATION = "gradient-activation:site=preactivation"
DIRECT = "direct-logit"
BLANK = "integrated-gradients:baseline=blank,steps=2,last=false"


def shown_in_docs(name: str) -> str:
    """Return the code of docs/extend.md that names something."""
    page = (DOCS / "extend.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return next(code for code in found if name in code)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorer that docs/extend.md shows."""
    monkeypatch.setattr(registry, "_SCORERS", dict(registry._SCORERS))
    code = shown_in_docs("register_scorer")
    shown = code.partition("\n\n\n")[2]
    assert len([line for line in shown.splitlines() if line.strip()]) < 20
    exec(compile(code, "docs/extend.md", "exec", dont_inherit=True), {"__name__": __name__})


@pytest.fixture(scope="module")
def captioner(make_captioner: Callable[..., Any]) -> Any:
    return make_captioner("llama")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photo_files(tmp_path_factory.mktemp("photos"), 6)


def first_noun(captioner: Any, photo: Image.Image) -> tuple[Any, Target]:
    from molyneux.neurons.targets import read_sentence

    model, prompt = captioner.language_model, captioner.see([photo])
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    target = sentence.words[0].target
    return sentence.up_to(model, prompt, target.position), target


def scored(captioner: Any, photo: Image.Image, name: str) -> Attribution:
    until, target = first_noun(captioner, photo)
    scorer = find_scorer(name)
    context = scoring_context(captioner, scorer, photo)
    return scorer.score(captioner.language_model, until, [target], context=context)


def test_direct_logit_is_activation_times_row_times_head(captioner: Any) -> None:
    model = captioner.language_model
    until, target = first_noun(captioner, tiny_photos(1)[0])
    found = scored(captioner, tiny_photos(1)[0], DIRECT)
    plain = attribute_units(model, until, [target])
    assert torch.equal(found.activation, plain.activation)
    assert torch.equal(found.logit, plain.logit)
    for layer in range(model.n_layers):
        written = model.output_rows(layer) @ model.unembedding()[target.token_id]
        product = plain.activation[layer] * written.detach()
        torch.testing.assert_close(found.patches.total[0, layer], product.sum(dim=0))
        torch.testing.assert_close(found.patches.score[0, layer], product.amax(dim=0))
        last = plain.activation_last[0, layer] * written.detach()
        torch.testing.assert_close(found.last.score[0, layer], last)
    # At the last position the final norm alone stands between the last layer and the head, so
    # that the gradient knows more than this.
    assert not torch.allclose(found.patches.score, plain.patches.score, atol=1e-3)


def test_the_default_scorer_is_attribute_units(captioner: Any) -> None:
    until, target = first_noun(captioner, tiny_photos(1)[0])
    for of, site in (("logit", "activation"), ("logprob", "preactivation")):
        name = f"gradient-activation:of={of},site={site}"
        found = scored(captioner, tiny_photos(1)[0], name)
        plain = attribute_units(
            captioner.language_model,
            until,
            [target],
            of=of,
            site=site,  # type: ignore[arg-type]
        )
        assert torch.equal(found.patches.total, plain.patches.total)
        assert torch.equal(found.last.score, plain.last.score)


@pytest.mark.parametrize("name", [DIRECT, PREACTIVATION, BLANK])
def test_a_scorer_works_in_reference_explain_the_page_and_study(
    captioner: Any,
    files: list[Path],
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, _ = measure_reference(captioner, files, data="drawings", n_listed=20)

    def load(*_: object, reference: Path | None = None, **__: object) -> Any:
        return captioner.with_reference(load_reference(reference) if reference else own)

    def run(*arguments: object) -> str:
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert status == 0, said.err
        return said.out

    monkeypatch.setattr(Captioner, "load", load)
    table = tmp_path / "table"
    run("reference", files[0].parent, "--scorer", name, "--out", table)
    reference = load_reference(table / "reference.safetensors")
    assert reference.scorer == find_scorer(name).record()
    each = [scored(captioner, photo, name).patches.score[0] for photo in tiny_photos(6)]
    torch.testing.assert_close(reference.mean["patches"], torch.stack(each).mean(dim=0))

    given = ("--scorer", name, "--reference", table / "reference.safetensors")
    photo = tmp_path / "photo.png"
    tiny_photos(7)[6].save(photo)
    options = ("--top", 8, "--ablate", "all", "--out", tmp_path / "explained", "--json")
    document = json.loads(run("explain", photo, *given, *options))
    found = scored(captioner, tiny_photos(7)[6], name)
    word, score = document["images"][0]["words"][0], found.patches.score[0]
    lists = {
        "raw": score,
        "total": found.patches.total[0],
        "specific": reference.specific(score, "patches"),
    }
    for key, sorted_by in lists.items():
        rows = word["rankings"][key]["patches"]
        listed = [(row["layer"], row["unit"]) for row in rows]
        assert listed == [tuple(unit) for unit in top_units(sorted_by, 8)]
        # More targets in one batch round otherwise where a scorer makes passes of its own.
        assert [row["score"] for row in rows] == pytest.approx([float(score[u]) for u in listed])
    assert word["ablation"]["other_specific"][0] == 1
    assert document["settings"].get("scorer", {"name": "gradient-activation"})["name"] in name
    page = ReportPage(tmp_path / "explained" / "report.html")
    own = name.partition(":")[0]
    said = "gradient × activation in logits" if name == PREACTIVATION else own
    assert page.photo()["score"] == said

    out = tmp_path / "study"
    run("study", files[0].parent, *given, "--experiments", "E3", "--subsets", 0, "--out", out)
    kept = json.loads((out / "manifest.json").read_text())
    assert kept["settings"]["scorer"] == name
    rows = pq.read_table(out / "tables" / "e3_layers.parquet").to_pylist()
    first = next(r for r in rows if (r["photo"], r["view"], r["ranking"]) == (0, "patches", "top"))
    best = top_units(each[0], len(first["units"]))
    d_mlp = captioner.language_model.d_mlp
    assert first["units"] == [unit.layer * d_mlp + unit.unit for unit in best]


QUICK = (
    PREACTIVATION,
    "activation",
    "activation-direct-logit",
    "activation-jacobian-lens",
    "integrated-gradients:steps=2",
    "integrated-gradients:steps=2,baseline=mean",
    "integrated-gradients:steps=2,baseline=blank,last=false",
    "conductance:steps=2",
    "grad-drop",
    "relp",
    "shapley:players=3,pairs=2",
    "random",
)


def test_every_scorer_is_tried_here() -> None:
    assert {name.partition(":")[0] for name in QUICK} == {*scorer_names()} - {DIRECT}


@pytest.mark.parametrize("name", QUICK)
def test_every_scorer_measures_a_table_explains_and_studies(
    captioner: Any, files: list[Path], name: str
) -> None:
    model, scorer = captioner.language_model, find_scorer(name)
    size = (model.n_layers - 1, model.d_model, model.d_stream)
    drawn = torch.randn(size, generator=torch.Generator().manual_seed(1))
    lens = JacobianLens({"photos": 1, "data": "none"}, drawn)
    own, _ = measure_reference(captioner, files[:2], data="drawings", n_listed=5)
    seeing = replace(captioner.with_reference(own), lens=lens)
    table, _ = measure_reference(seeing, files[:3], data="drawings", n_listed=5, scorer=scorer)
    assert table.fits(scorer)
    photo = tiny_photos(7)[6]
    until, target = first_noun(seeing, photo)
    context = scoring_context(seeing, scorer, photo)
    plain = scorer.score(model, until, [target], context=context)
    # The table that a scorer finds on its way here is its own, and says the same of activations.
    asked = seeing.with_reference(replace(table, activation=own.activation))
    settings = Settings(scorer=name, top=5, ablate="none", sight="none")
    explained = explain_photo(asked, photo, settings).image.words[0]
    rows = explained.rankings["raw"].patches
    score = plain.patches.score[0]
    best = score.flatten().topk(5).values.tolist()
    assert [row.score for row in rows] == pytest.approx(best, rel=1e-5)
    assert [float(score[row.layer, row.unit]) for row in rows] == pytest.approx(best, rel=1e-5)
    facts = ModelFacts.of(asked, scorer)
    item = Item("drawing", files[0])
    subject = Subject(facts, StudySettings(scorer=name), item, photo, "0" * 64)
    studied = subject.attribution.patches.total[0]
    torch.testing.assert_close(studied, plain.patches.total[0])


def test_a_scorer_without_what_it_needs_is_one_line(
    captioner: Any,
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Captioner, "load", lambda *_, **__: captioner)
    for name, said in (
        ("activation-jacobian-lens", "molyneux lens build"),
        ("integrated-gradients:baseline=mean", "molyneux reference DATA"),
    ):
        command = ["explain", str(files[0]), "--scorer", name, "--out", str(tmp_path / name[:9])]
        assert main(command) != 0
        assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_table_goes_with_the_scorer_it_was_measured_with(
    captioner: Any, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, _ = measure_reference(captioner, files[:3], data="drawings", n_listed=5)
    assert table.fits(DEFAULT_SCORER)
    assert not table.fits(find_scorer(PREACTIVATION))
    assert not table.fits(find_scorer(DIRECT))
    with pytest.raises(MolyneuxError, match=f"reference DATA --scorer {DIRECT}"):
        table.require_scorer(find_scorer(DIRECT))
    # Before a model is loaded: the preset's own table is not of this scorer.
    status = main(["study", str(files[0].parent), "--scorer", DIRECT, "--experiments", "E3"])
    assert status == 2
    assert f"--scorer {DIRECT}" in capsys.readouterr().err


def test_tables_from_before_there_were_scorers_are_of_gradient_activation(
    captioner: Any, files: list[Path]
) -> None:
    table, _ = measure_reference(captioner, files[:3], data="drawings", n_listed=5)
    old = {k: v for k, v in table.provenance.items() if k != "scorer"}
    for of, site in (("logit", "activation"), ("logprob", "preactivation")):
        parts = {name: getattr(table, name) for name in ("mean", "deviation", "top_count")}
        older = Reference(
            {**old, "of": of, "site": site},
            **parts,
            interpretable=table.interpretable,
            others=table.others,
        )
        assert older.fits(GradientActivation(of, site))  # type: ignore[arg-type]
        assert older.fits(DEFAULT_SCORER) == (of == "logit")


def test_a_name_and_its_choices_are_one_scorer() -> None:
    assert find_scorer("gradient-activation") == DEFAULT_SCORER
    found = find_scorer(" gradient-activation: site = preactivation , of=logit")
    assert found == GradientActivation(site="preactivation")
    assert scorer_text(found.record()) == PREACTIVATION
    assert scorer_text(DEFAULT_SCORER.record()) == StudySettings().scorer
    assert DIRECT in scorer_names()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gradient", "no scorer 'gradient'; give one of .*direct-logit, .*gradient-activation, "),
        ("gradient-activation:steps=3", "no choice 'steps'; it has of, site"),
        ("direct-logit:of=logit", "no choice 'of'; it has none"),
        ("", "no scorer ''"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, said: str) -> None:
    with pytest.raises(MolyneuxError, match=said):
        find_scorer(name)


def test_what_is_no_scorer_is_not_registered() -> None:
    class Rival:
        name = "gradient-activation"
        cost = Cost(forward=1)

        def score(self, *_: Any, **__: Any) -> Any: ...

        def record(self) -> dict[str, Any]:
            return {"name": self.name}

    for wrong, said in ((Rival, "register an instance"), (Rival(), "already")):
        with pytest.raises(MolyneuxError, match=said):
            register_scorer(wrong)  # type: ignore[arg-type]


def test_the_ranking_shown_in_the_docs_ranks_by_totals(captioner: Any) -> None:
    code = shown_in_docs("UnitSet")
    shown: dict[str, Any] = {}
    exec(compile(code, "docs/extend.md", "exec"), shown)
    until, target = first_noun(captioner, tiny_photos(1)[0])
    totals, top, drawn = shown["largest_totals"](
        captioner.language_model, until, target.token_id, n=12
    )
    found = attribute_units(captioner.language_model, until, [target])
    assert totals == top_units(found.patches.total[0], 12)
    assert top == top_units(found.patches.score[0], 12) != totals
    assert [unit.layer for unit in drawn] == [unit.layer for unit in top]
    assert not {*drawn} & {*top}


def test_an_installed_package_s_scorer_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "my_scorers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_scorers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[molyneux]\nmine = my_scorers\n")
    code = shown_in_docs("register_scorer").replace("direct-logit", "mine")
    (tmp_path / "my_scorers.py").write_text(code, encoding="utf-8")
    with pytest.raises(MolyneuxError, match="no scorer 'mine'"):
        find_scorer("mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_done", set())
    assert find_scorer("mine").name == "mine"
    assert "mine" in scorer_names()


def test_every_set_of_the_table_has_its_place_in_the_document() -> None:
    keys = {row.key for row in UNIT_SETS.values()}
    assert all(UNIT_SETS[row.name] is UNIT_SETS[row.key] is row for row in UNIT_SETS.values())
    assert {*RANKINGS, *CONTROLS, *DRAWN} < keys
    assert {*RANKINGS} == {*WITH_SINKS, *NO_SINKS}
    assert all(UNIT_SETS[row.control_of].own for row in UNIT_SETS.values() if row.control_of)
    # Without sinks there are lists in studies alone; specific by total is asked for by name.
    curves, said = set(attributes_of(Curves)), {*SETS, *DRAWN}
    assert said == keys - {*NO_SINKS, "specific_total"} <= curves
    assert {f"unrelated_{name}" for name in (DEFAULT, *QUOTED)} <= curves
    assert {f"absent_{name}" for name in BY_GRADIENT} <= curves & {*CURVES}
    assert {name for name in CURVES if name in keys} == said
    assert LISTED[0] == DEFAULT
    assert set(LISTS) == {(name, view) for name in LISTED for view in VIEWS}


def test_other_values_of_the_docs_are_given(captioner: Any) -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    code = next(
        c
        for c in re.findall(r"```python\n(.*?)^```$", page, re.M | re.S)
        if "def other_values" in c
    )
    shown: dict[str, Any] = {}
    exec(compile(code, "docs/python.md", "exec"), shown)
    model = captioner.language_model
    until, target = first_noun(captioner, tiny_photos(1)[0])
    found = attribute_units(model, until, [target])
    units = top_units(found.patches.score[0], 20)
    effects = shown["other_values"](model, until, units, found.activation, target.token_id)
    clean, off = ablated_logits(model, until, [[], units])[:, target.token_id]
    assert effects[0] == 0
    torch.testing.assert_close(effects[1], off - clean)
    assert len(set(effects.tolist())) == 5
