"""Fixtures shared by all tests, and shapes enforced in every one of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook
from PIL import Image

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
# Two threads spend longer meeting than a tiny model takes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# From here on every annotated function of the package checks its tensors' shapes and its types.
# It has to stand before the first import of the package.
install_import_hook("molyneux", "typechecker.check")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests that check generated parts of the docs write them."""
    parser.addoption("--rewrite-docs", action="store_true", help="write the tables in docs/ anew")


class LeftOut:
    """Counts the slow tests that were not asked for: a worker's count is told to the first process.

    Every worker collects all tests, so that each of them counts the same.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.count = config, 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.count += sum(item.get_closest_marker("slow") is not None for item in items)

    def pytest_sessionfinish(self) -> None:
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["left_out"] = self.count

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.count = max(self.count, getattr(node, "workeroutput", {}).get("left_out", 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.count:
            terminalreporter.write_line(
                f"{self.count} slow proofs were left out; `python -m pytest -m slow` runs them"
            )


def pytest_configure(config: pytest.Config) -> None:
    """Say at the end how many tests were left out."""
    config.pluginmanager.register(LeftOut(config), "left-out")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `kind` its values here, so that loading this file imports no model."""
    marks = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    own = any("kind" in (names if isinstance(names, tuple) else [names]) for names in marks)
    if "kind" in metafunc.fixturenames and not own:
        from tiny_models import KINDS

        metafunc.parametrize("kind", KINDS, indirect=True, scope="session")


@pytest.fixture(autouse=True)
def nothing_is_fetched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Only tests marked `real` find weights, or an index to fetch them from."""
    # Of its own, so that a test's own changes end before what else surrounds that test.
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("real") is None:
            patch.setenv("MOLYNEUX_CACHE", str(tmp_path_factory.getbasetemp() / "no-weights"))
            patch.setenv("PIP_NO_INDEX", "1")
            patch.setenv("PIP_CONFIG_FILE", os.devnull)
        yield


@pytest.fixture(autouse=True)
def every_document_fits_its_schema() -> Iterator[None]:
    """Hold whatever a verb prints with `--json`, in any test, against the schema shipped for it."""
    from molyneux.cli import output

    show = output.show_json

    def checked(document: Any) -> None:
        from documents import misfits

        from molyneux.cli.documents import DOCUMENTS

        module = str(sys._getframe(1).f_globals["__name__"])  # one file per verb
        verb = module.rpartition(".")[2].replace("_", "-")
        printed = json.loads(json.dumps(document))
        found = [misfits(name, printed) for name in DOCUMENTS if name.split()[0] == verb]
        assert not all(found), f"{verb} --json: {min(found, key=len)[:3]}"
        show(document)

    # Patches of its own, which end after a test's.
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("molyneux.cli") and getattr(module, "show_json", None) is show:
                patch.setattr(module, "show_json", checked)
        yield


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder of two photos, a.png and b.png."""
    from odd_data import photo

    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    return tmp_path


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> str:
    """One of `tiny_models.KINDS`: a test that takes it runs once for every family."""
    return str(request.param)


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Three small photos."""
    from tiny_models import tiny_photos

    return tiny_photos(3)


@pytest.fixture(scope="session")
def make_captioner() -> Callable[..., Any]:
    """Build a tiny captioner of a kind once and keep it: tests must not change its weights."""
    import functools

    from tiny_models import tiny_captioner

    return functools.cache(tiny_captioner)


@pytest.fixture
def captioner(make_captioner: Callable[..., Any]) -> Any:
    """A tiny Llama that sees, for tests that one family is enough for."""
    return make_captioner("llama")


@pytest.fixture
def family_captioner(make_captioner: Callable[..., Any], kind: str) -> Any:
    """A tiny captioner of every family in turn."""
    return make_captioner(kind)
