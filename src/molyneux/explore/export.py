"""The same pages without a server: a folder that opens from disk, or from any static host.

A page opened from disk may fetch nothing and import no module. So its modules are joined into one
classic script inside the page, and what it reads lies in classic scripts, loaded when it is asked
for. The page's policy lets only these run: by the hash of what is inside, and what that loads.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from molyneux.atlas import Atlas
from molyneux.errors import RunError
from molyneux.explain.document import UnitRow
from molyneux.explain.opened import ExplainRun
from molyneux.explore import unit_view
from molyneux.explore.app import PAGES
from molyneux.explore.runs import OpenRun
from molyneux.explore.study_run import StudyRun
from molyneux.explore.views import Views
from molyneux.store import Run, require_free, write_at_once

ENTRY = "app.js"
SHARD = 64
"""Units of a layer whose views share a script; the page's `data.js` knows it, too."""
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\./[\w/.-]+)";\n', re.MULTILINE)
_DECLARED = re.compile(r"^export ((?:async )?function\*?|const|class) (\w+)", re.MULTILINE)
_LISTED = re.compile(r"\bexport ?\{([^}]*)\};?")
_RENAMED = re.compile(r"([\w$]+) as ([\w$]+)")
_POLICY = (
    "default-src 'none'; script-src 'sha256-{script}' 'strict-dynamic'; style-src "
    "'sha256-{style}'; img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'"
)


def export(
    runs: Mapping[str, OpenRun],
    out: Path,
    on_step: Callable[[str], None] = lambda step: None,
    atlas: Atlas | None = None,
) -> Path:
    """Write runs as pages that need no server to a folder, and return the page to open.

    Args:
        out: the folder, which must be empty or not there.
        on_step: told what is written.
        atlas: of the runs' model; else those that come with their presets.

    Raises:
        UsageError: the folder holds something.
        RunError: a run is damaged, or something cannot be written.
    """
    require_free(out)
    with Run.writing():
        out.mkdir(parents=True, exist_ok=True)
        views = Views(runs, _picture, at_once=None, atlas=atlas)
        for opened in runs.values():
            on_step(f"{opened.name}: {opened.run.total} photos")
            for key, data in _of_run(views, opened):
                _write_data(out, key, [(key, data)])
            for shard, units in _of_units(views, opened):
                _write_data(out, shard, units)
            _copy_pictures(opened, out)
        _write_data(out, "runs", [("runs", views.get("runs"))])
        page = out / "index.html"
        write_at_once(page, _page().encode())
    return page


def _picture(run: str, number: int) -> str:
    return f"photos/{run}/{number}.jpg"


def _of_run(views: Views, opened: OpenRun) -> Iterator[tuple[str, Any]]:
    for kind in ("gallery", "search"):
        yield f"{kind}/{opened.id}", views.get(f"{kind}/{opened.id}")
    run = opened.run
    numbers = run.measured() if isinstance(run, StudyRun) else range(run.finished())
    for number in numbers:
        key = f"photo/{opened.id}/{number}"
        yield key, views.get(key)


def _of_units(views: Views, opened: OpenRun) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the views of listed units, some of a layer together."""
    rows = _listed_rows(opened.run) if isinstance(opened.run, ExplainRun) else {}
    gathered: list[tuple[str, Any]] = []
    last: str | None = None
    address = views.addresses(opened)
    for (layer, number), places in views.lists_of(opened).all_places():
        shard = f"unit/{opened.id}/L{layer}.{number // SHARD}"
        if last is not None and shard != last:
            yield last, gathered
            gathered = []
        last = shard
        found = unit_view.unit(layer, number, places, rows.get((layer, number)), address)
        found["atlas"] = views.of_atlas(opened, layer, number)
        gathered.append((f"unit/{opened.id}/L{layer}.u{number}", found))
    if last is not None:
        yield last, gathered


def _listed_rows(run: ExplainRun) -> dict[tuple[int, int], UnitRow]:
    """Return what the document says of each listed unit, the first time that it does."""
    found: dict[tuple[int, int], UnitRow] = {}
    for number in range(run.finished()):
        for word in run.image(number).words:
            for lists in word.rankings.values():
                for row in (*lists.patches, *lists.last):
                    found.setdefault((row.layer, row.unit), row)
    return found


def _copy_pictures(opened: OpenRun, out: Path) -> None:
    if isinstance(opened.run, StudyRun):
        return
    folder = out / "photos" / opened.id
    folder.mkdir(parents=True)
    for number in range(opened.run.finished()):
        picture = opened.run.photo(number)
        if picture is not None:
            shutil.copyfile(picture, folder / f"{number}.jpg")


def _write_data(out: Path, name: str, found: list[tuple[str, Any]]) -> None:
    """Write data as a classic script, which hands each key's to the page."""
    path = out / "data" / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_at_once(
        path,
        # As a text of JSON: it is read faster than a script, and no name in it is special.
        (
            f"MOLYNEUX_DATA({json.dumps(key)}, JSON.parse({json.dumps(_json(data))}));\n".encode()
            for key, data in found
        ),
    )


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _page() -> str:
    """Return the page with its style and its script inside, and the policy that names them."""
    script = f"\nwindow.MOLYNEUX_EXPORT = true;\n{join_modules(_sources())}"
    style = f"\n{(PAGES / 'style.css').read_text(encoding='utf-8')}"
    if "</script" in script.lower() or "</style" in style.lower():
        raise RunError("the pages hold what would end their own script; install molyneux anew")
    policy = _POLICY.format(script=_digest(script), style=_digest(style))
    page = (PAGES / "index.html").read_text(encoding="utf-8")
    for there, instead in (
        ("<title>", f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>'),
        ('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>"),
        ('<script type="module" src="app.js"></script>\n', ""),
        ("</body>", f"<script>{script}</script>\n</body>"),
    ):
        if page.count(there) != 1:
            raise RunError(f"the page has not one {there}; install molyneux anew")
        page = page.replace(there, instead)
    return page


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()


def _sources() -> dict[str, str]:
    return {
        path.relative_to(PAGES).as_posix(): path.read_text(encoding="utf-8")
        for path in PAGES.rglob("*.js")
    }


def join_modules(sources: Mapping[str, str], entry: str = ENTRY) -> str:
    """Return modules as one classic script: each a function of its own, those it needs ahead of it.

    They import names alone, at their top, and export declarations or one list of names.

    Raises:
        RunError: one is not there, or they import one another in a circle.
    """
    done: dict[str, str] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above or name not in sources:
            raise RunError(f"the pages' {name} cannot be joined; install molyneux anew")
        if name in done:
            return
        for _, needed in _IMPORT.findall(sources[name]):
            add(_beside(name, needed), (*above, name))
        done[name] = _as_function(name, sources[name])

    add(entry, ())
    return '(() => {\n"use strict";\nconst modules = {};\n' + "".join(done.values()) + "})();\n"


def _beside(name: str, needed: str) -> str:
    return (Path(name).parent / needed).as_posix()


def _as_function(name: str, source: str) -> str:
    taken = []
    for names, needed in _IMPORT.findall(source):
        renamed = _RENAMED.sub(r"\1: \2", names)
        taken.append(f"const {{{renamed}}} = modules[{json.dumps(_beside(name, needed))}];")
    body = _IMPORT.sub("", source)
    given = [declared for _, declared in _DECLARED.findall(body)]
    body = _DECLARED.sub(r"\1 \2", body)
    for listed in _LISTED.findall(body):
        given += [
            _RENAMED.sub(r"\2: \1", part.strip()) for part in listed.split(",") if part.strip()
        ]
    body = _LISTED.sub("", body)
    return (
        f"modules[{json.dumps(name)}] = (() => {{\n{' '.join(taken)}\n{body}\n"
        f"return {{{', '.join(given)}}};\n}})();\n"
    )
