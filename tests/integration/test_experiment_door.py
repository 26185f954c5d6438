"""An experiment of somebody else's: one class, found by the command line, tables and page."""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import study_toy
from typechecker import unchecked

from molyneux import plugins
from molyneux.cli import main
from molyneux.errors import MolyneuxError, UsageError
from molyneux.models.captioner import Captioner
from molyneux.studies import experiment
from molyneux.studies.experiment import Experiment, Needs, Rows, register_experiment
from molyneux.studies.finished import Finished
from molyneux.studies.folder import Study
from molyneux.studies.results import Number, Result, ResultTable, over_photos
from molyneux.studies.settings import StudySettings
from molyneux.studies.study import run_study
from molyneux.studies.subject import Subject

N = 4


class Lengths(Experiment):
    """How many words captions have."""

    name = "LEN"
    title = "How long are captions?"

    def tables(self) -> dict[str, pa.Schema]:
        return {"len_words": pa.schema([("words", pa.int32())])}

    def measure(self, subject: Subject) -> Rows:
        return {"len_words": [{"words": len(subject.sentence.caption.split())}]}

    def summarise(self, study: Finished) -> Result:
        words = over_photos(study.table("len_words")["words"])
        table = ResultTable("LEN.words", "Words of a caption", ("words",), ({"words": words},))
        return Result(self.name, self.title, (table,))


class Doubled(Experiment):
    """What follows from another's table, without being named."""

    name = "LEN2"
    title = "And twice that?"
    needs = Needs(tables=("len_words",))
    derived = True

    def summarise(self, study: Finished) -> Result:
        words = over_photos(2 * study.table("len_words")["words"])
        return Result(
            self.name, self.title, (ResultTable("LEN2.words", "", ("words",), ({"words": words},)),)
        )


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "_added", {})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    study_toy.save_photos(folder, N)
    return folder


@pytest.fixture
def seeing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    captioner = study_toy.seeing_captioner(photos)
    monkeypatch.setattr(Captioner, "load", lambda *args, **options: captioner)
    return captioner


def install(
    monkeypatch: pytest.MonkeyPatch, *added: type[Experiment], broken: bool = False
) -> None:
    """Pretend that a package is installed whose entry point registers experiments."""
    module = types.ModuleType("somebody_elses")
    module.register = lambda: [register_experiment(each) for each in added]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    value = "somebody_elses:nothing" if broken else "somebody_elses:register"
    points = EntryPoints([EntryPoint("lengths", value, plugins.GROUP)])
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(plugins, "_done", set())
    monkeypatch.setattr(plugins, "_failed", {})


def test_an_installed_experiment_is_found_measured_shown(
    photos: Path,
    seeing: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(inspect.getsource(Lengths).splitlines()) < 20
    install(monkeypatch, Lengths, Doubled)
    out = tmp_path / "run"
    assert main(["study", str(photos), "--experiments", "E3,len", "--out", str(out)]) == 0
    study = Study.open(out)
    assert study.experiments == ("E3", "LEN")
    captions = [seeing.caption(path) for path in sorted(photos.glob("*.png"))]
    measured = study.table("len_words").to_pylist()
    assert [row["words"] for row in measured] == [len(caption.split()) for caption in captions]
    assert [row["id"] for row in measured] == [f"{n:03d}.png" for n in range(N)]
    mean = study.result("LEN.words").rows[0]["words"]
    twice = study.result("LEN2.words").rows[0]["words"]
    assert isinstance(mean, Number)
    assert isinstance(twice, Number)
    assert mean.value == pytest.approx(sum(row["words"] for row in measured) / N)
    assert twice.value == 2 * (mean.value or 0)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert Lengths.title in page
    assert '"experiment":"LEN2"' in page
    capsys.readouterr()
    assert main(["table", str(out), "LEN", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert table["rows"][0]["words"]["value"] == mean.value


def test_a_broken_package_is_one_line(
    photos: Path,
    seeing: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(monkeypatch, broken=True)
    out = tmp_path / "run"
    assert main(["study", str(photos), "--experiments", "E3", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lengths = somebody_elses:nothing" in line
    assert not out.exists()


def test_what_needs_another_s_table_is_refused_without_it(tmp_path: Path, photos: Path) -> None:
    from molyneux.studies.plan import plan_study

    register_experiment(Doubled)
    with pytest.raises(UsageError, match="LEN2 needs the table len_words"):
        plan_study(photos, "E3,LEN2")
    with pytest.raises(UsageError, match="U needs the table e2_units, which E2 measures"):
        plan_study(photos, ["E3", "U"])
    register_experiment(Lengths)
    assert plan_study(photos, "LEN,LEN2").settings.experiments == ("LEN",)


def test_what_is_no_experiment_is_no_experiment() -> None:
    class Half(Experiment):
        name = "HALF"
        title = "What is missing?"

    class Nameless(Lengths):
        name = ""

    class Spaced(Lengths):
        name = "my experiment"

    class Taken(Lengths):
        name = "e1"

    for wrong, said in (
        (Half, "it lacks summarise"),
        (Nameless, "has no name"),
        (Spaced, "is no name of an experiment"),
        (Taken, "choose another name"),
    ):
        with pytest.raises(UsageError, match=said):
            register_experiment(wrong)
    assert not experiment._added


def test_the_names_stand_in_order_and_come_without_torch() -> None:
    import subprocess

    code = (
        "import sys; from molyneux.studies.experiment import experiment_names as names; "
        "print(*names()); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    names = ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "R", "U"]
    assert done.stdout.split() == names, done.stderr
    for each in experiment.load_experiments(experiment.experiment_names()):
        assert each.title
        for name in (*each.tables(), *each.text_tables()):
            assert name.startswith(f"{each.name.lower()}_")


def test_the_experiment_of_the_docs_is_one(photos: Path, seeing: Any, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/extend.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = next(snippet for snippet in snippets if "(Experiment)" in snippet)
    assert len(code.partition("@register_experiment")[2].strip().splitlines()) < 20
    exec(compile(code, "docs/extend.md", "exec", dont_inherit=True), {})
    settings = StudySettings(threads=1, subsets=0)
    study = run_study(seeing, photos, ["LEN"], out=tmp_path / "run", settings=settings)
    captions = [seeing.caption(path) for path in sorted(photos.glob("*.png"))]
    mean = study.result("LEN.words").rows[0]["words"]
    assert isinstance(mean, Number)
    assert mean.value == pytest.approx(sum(len(text.split()) for text in captions) / N)
    assert mean.few
    assert "LEN" in repr(study)


@pytest.mark.parametrize(
    "wrong",
    [
        {"experiments": 3},
        {"experiments": ["E1", None]},
        {"data": 3},
        {"data": "nowhere"},
        {"labelled": 3.5},
        {"out": 7},
        {"settings": {"seed": 1}},
        {"chosen": {"seeds": 0}},
        {"chosen": {"classes": "ten"}},
        {"chosen": {"classes": ["cat", "dog"]}},
        {"chosen": {"threads": "2"}},
        {"chosen": {"grid": 3}},
        {"chosen": {"experiments": "E99"}},
        {"chosen": {"experiments": "E9"}},
        {"chosen": {"found": "run"}},
        {"chosen": {"scorer": "nobody"}},
        {"model": None},
        {"model": "smollm2-effnet"},
    ],
)
def test_wrong_arguments_are_one_line(
    wrong: dict[str, Any], photos: Path, seeing: Any, tmp_path: Path
) -> None:
    given = {"model": seeing, "data": photos, "out": tmp_path / "run", **wrong}
    with unchecked():
        if "chosen" in given:
            given["settings"] = StudySettings(**given.pop("chosen"))
        with pytest.raises(MolyneuxError) as found:
            run_study(**given)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "run").exists()
