"""The same pages without a server: a folder that opens from disk, or from any static host.

A page opened from disk may fetch nothing. So what it reads lies in classic scripts, loaded when it
is asked for. The page's policy lets only these run: by the hash of what is inside, and what that
loads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from molyneux.atlas import Atlas
from molyneux.explain.document import UnitRow
from molyneux.explain.opened import ExplainRun
from molyneux.pages import unit_view
from molyneux.pages.atlas_parts import atlas_parts
from molyneux.pages.joined import joined_page
from molyneux.pages.runs import OpenRun
from molyneux.pages.study_run import StudyRun
from molyneux.pages.views import Views
from molyneux.store import Run, whole_or_nothing, write_at_once

SHARD = 64
"""Units of a layer whose views share a script; the page's `data.js` knows it, too."""
_OPTION = "--export"
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
    with Run.writing(_OPTION), whole_or_nothing(out, _OPTION):
        out.mkdir(parents=True, exist_ok=True)
        views = Views(runs, _picture, at_once=None, atlas=atlas)
        for opened in runs.values():
            on_step(f"{opened.name}: {opened.run.total} photos")
            for key, data in _of_run(views, opened):
                _write_data(out, key, [(key, data)])
            for shard, units in _of_units(views, opened):
                _write_data(out, shard, units)
            _copy_pictures(opened, out)
        atlas = views.first_atlas()
        if atlas is not None:
            on_step(f"the atlas of {atlas.index.model['language_model']}")
            for key, data in atlas_parts(atlas):
                _write_data(out, key, [(key, data)])
        _write_data(out, "runs", [("runs", views.get("runs"))])
        page = out / "index.html"
        write_at_once(
            page, "".join(joined_page("window.MOLYNEUX_EXPORT = true;", _POLICY)).encode()
        )
    return page


def _picture(run: str, number: int) -> str:
    return f"photos/{run}/{number}.jpg"


def _of_run(views: Views, opened: OpenRun) -> Iterator[tuple[str, Any]]:
    study = isinstance(opened.run, StudyRun) and opened.run.results()
    for kind in ("gallery", "search", "record", *(("study",) if study else ())):
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
            write_at_once(folder / f"{number}.jpg", picture.read_bytes())


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
