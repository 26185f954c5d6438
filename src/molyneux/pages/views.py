"""What pages read of run folders: plain data under a key, the same from a server or in an export.

Every answer is JSON that holds no NaN and no path. Nothing here needs torch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from molyneux.atlas import Atlas
from molyneux.errors import RunError, UsageError
from molyneux.explain.opened import ExplainRun
from molyneux.neurons.unit_names import read_name
from molyneux.pages import atlas_view, photo_view, record_view, study_view, unit_view
from molyneux.pages.glossary import GLOSSARY
from molyneux.pages.runs import OpenRun
from molyneux.pages.study_run import StudyRun
from molyneux.pages.unit_lists import UnitLists

PhotoAddress = Callable[[str, int], str]
"""Where the picture of a run's photo is, seen from a page."""

_KEY = re.compile(
    r"(?P<runs>runs)|(?P<kind>gallery|search|study|record)/(?P<run>r\d{1,4})|photo/(?P<of>r\d{1,4})/(?P<n>\d{1,7})"
    r"|unit/(?P<at>r\d{1,4})/(?P<unit>L\d{1,5}\.u\d{1,7}[+-]?)",
    re.ASCII,
)


@runtime_checkable
class StudyPictures(Protocol):
    """Pictures of studies' photos, whose folders keep none.

    Attributes:
        name: where they are from.
    """

    name: str

    def has(self, run: StudyRun, number: int) -> bool:
        """Return whether the picture of a study's photo is there."""
        ...


AT_ONCE = 0.12
"""Seconds that one answer spends on reading photos which no answer has read before."""


@dataclass
class Views:
    """The views of some runs.

    Attributes:
        runs: by id.
        address: of photos.
        live: what `runs` says of a model that is there to be asked; nothing in an export.
        at_once: how long one answer may read on; None for as long as it takes.
        atlas: of every run's model, if one was given; else the one that comes with a run's preset.
        pictures: of studies' photos, if some were given.
    """

    runs: Mapping[str, OpenRun]
    address: PhotoAddress
    live: Callable[[], Mapping[str, Any]] = lambda: {"live": False}
    at_once: float | None = AT_ONCE
    atlas: Atlas | None = None
    pictures: StudyPictures | None = None
    _cards: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    _lists: dict[str, UnitLists] = field(default_factory=dict)
    _grids: dict[str, tuple[int, int]] = field(default_factory=dict)
    _atlases: dict[str, Atlas | None] = field(default_factory=dict)

    def get(self, key: str) -> dict[str, Any]:
        """Return the data of a key.

        Raises:
            UsageError: there is no such key, run, photo or unit.
            RunError: a run's folder is gone, a file is damaged, or a photo is not finished.
        """
        found = _KEY.fullmatch(key)
        if found is None:
            raise UsageError("there is no such page")
        if found["runs"]:
            return self._runs()
        run = self._run(found["run"] or found["of"] or found["at"])
        if found["kind"]:
            return self._of_run[found["kind"]](run)
        if found["unit"]:
            return self._unit(run, found["unit"])
        return self._photo(run, int(found["n"]))

    def ahead(self) -> Iterator[None]:
        """Read what pages would wait for, piece by piece: once, also where one asks meanwhile.

        Raises:
            RunError: a file is damaged.
        """
        for opened in self.runs.values():
            yield from self.lists_of(opened).ahead()
            yield from self._read_cards(opened)

    @property
    def _of_run(self) -> dict[str, Callable[[OpenRun], dict[str, Any]]]:
        return {
            "gallery": self._gallery,
            "search": self._search,
            "study": _study,
            "record": record_view.record,
        }

    def picture(self, run: str, number: int) -> Path:
        """Return the file of a photo's picture.

        Raises:
            UsageError: there is no such run or picture.
        """
        found = self._run(run).run
        path = found.photo(number) if isinstance(found, ExplainRun) else None
        if path is None:
            raise UsageError(f"there is no picture of photo {number}")
        return path

    def name(self, run: str, number: int) -> str:
        """Return what a run's photo is called.

        Raises:
            UsageError: there is no such run or photo.
            RunError: it is not finished, or damaged.
        """
        found = self._run(run).run
        if isinstance(found, StudyRun):
            return str(found.row(number)["id"])
        return photo_view.name_of(found.glance(number).path)

    def study(self, run: str) -> StudyRun | None:
        """Return a run if it is a study.

        Raises:
            UsageError: there is no such run.
        """
        found = self._run(run).run
        return found if isinstance(found, StudyRun) else None

    def _run(self, name: str) -> OpenRun:
        if name not in self.runs:
            raise UsageError(f"there is no run {name}; there are {len(self.runs)}")
        return _there(self.runs[name])

    def _runs(self) -> dict[str, Any]:
        return {
            "runs": [self.described(_there(each)) for each in self.runs.values()],
            **self.live(),
            "atlas": self.first_atlas() is not None,
            "glossary": GLOSSARY,
        }

    def _gallery(self, opened: OpenRun) -> dict[str, Any]:
        """Return the cards that were read, and as many more as can be in a moment."""
        until = None if self.at_once is None else time.monotonic() + self.at_once
        for _ in self._read_cards(opened):
            if until is not None and time.monotonic() > until:
                break
        run = opened.run
        cards = [card for _, card in sorted(self._cards[opened.id].items())]
        found: dict[str, Any] = {"cards": cards}
        found |= {"finished": len(_numbers(run)), "total": run.total}
        if self.pictures is not None and isinstance(run, StudyRun):
            without = sum(card["photo"] is None and card["error"] is None for card in cards)
            found["pictures"] = {"of": self.pictures.name, "without": without}
        return found

    def _read_cards(self, opened: OpenRun) -> Iterator[None]:
        """Read the cards that no one has read, and stop after each."""
        cards, run = self._cards.setdefault(opened.id, {}), opened.run
        for number in _numbers(run):
            if number in cards:
                continue
            read = study_view.card if isinstance(run, StudyRun) else photo_view.card
            card = read(run, number)  # type: ignore[arg-type]
            cards[number] = card | {"photo": self.addresses(opened)(number)}
            yield

    def _search(self, opened: OpenRun) -> dict[str, Any]:
        """Return what is searched in a page: the listed units, and the photos read so far."""
        return {
            "units": self.lists_of(opened).searched(),
            "photos": [
                {"n": card["n"], "caption": card["caption"], "words": card["words"]}
                for card in self._gallery(opened)["cards"]
                if card["caption"]
            ],
        }

    def _unit(self, opened: OpenRun, name: str) -> dict[str, Any]:
        run = opened.run

        layer, number, _ = read_name(name)
        places = self.lists_of(opened).places(layer, number)
        listed = None
        if places and isinstance(run, ExplainRun):
            listed = unit_view.listed_row(run, layer, number, places[0])
        shown = unit_view.unit(layer, number, places, listed, self.addresses(opened))
        return shown | {"atlas": self.of_atlas(opened, layer, number)}

    def of_atlas(self, opened: OpenRun, layer: int, number: int) -> dict[str, Any] | None:
        """Return what the atlas of a run's model says of a unit; None where there is none."""
        atlas = self.atlas_of(opened)
        return None if atlas is None else atlas_view.unit(atlas, layer, number)

    def atlas_of(self, opened: OpenRun) -> Atlas | None:
        """Return the atlas of a run's model; None where none of these weights is at hand."""
        if opened.id not in self._atlases:
            found = self.atlas
            if found is None:
                found = atlas_view.shipped_atlas(opened.preset, opened.hashes)
            elif not atlas_view.is_of(found, opened.hashes):
                found = None
            self._atlases[opened.id] = found
        return self._atlases[opened.id]

    def first_atlas(self) -> Atlas | None:
        """Return the atlas that is searched: the one that was given, else the first run's."""
        of_runs = (self.atlas_of(opened) for opened in self.runs.values())
        return self.atlas or next((found for found in of_runs if found is not None), None)

    def addresses(self, opened: OpenRun) -> Callable[[int], str | None]:
        """Return what says where the picture of a run's photo is; None where it has none."""
        run = opened.run

        def address(number: int) -> str | None:
            if isinstance(run, StudyRun):
                shown = self.pictures is not None and self.pictures.has(run, number)
            else:
                shown = run.photo(number) is not None
            return self.address(opened.id, number) if shown else None

        return address

    def grid_of(self, opened: OpenRun) -> tuple[int, int] | None:
        """Return rows and columns of patches, where they are known."""
        if opened.id not in self._grids and isinstance(opened.run, ExplainRun):
            found = photo_view.grid_of(opened.run)
            if found is None:
                return None
            self._grids[opened.id] = found
        return self._grids.get(opened.id)

    def lists_of(self, opened: OpenRun) -> UnitLists:
        """Return the places of units in a run's lists."""
        return self._lists.setdefault(opened.id, UnitLists(opened.run))

    def _photo(self, opened: OpenRun, number: int) -> dict[str, Any]:
        run = opened.run
        if isinstance(run, StudyRun):
            found = study_view.photo(run, number)
            return found | {"photo": self.addresses(opened)(number)}
        image = run.image(number)
        fields, missing = photo_view.maps(run, number, image)
        found = photo_view.photo(run.model, run.settings, image, fields)
        if missing is not None:
            found["lines"].append(missing)
        return found | {"photo": self.addresses(opened)(number)}

    def described(self, opened: OpenRun) -> dict[str, Any]:
        """Return what a list of runs shows of one.

        Raises:
            RunError: a file is damaged.
        """
        run, named = opened.run, {"id": opened.id, "name": opened.name, "kind": opened.kind}
        if isinstance(run, StudyRun):
            return named | study_view.described(run)
        return named | photo_view.described(run, self.grid_of(opened))


def _there(opened: OpenRun) -> OpenRun:
    """Return a run whose folder is still there.

    Raises:
        RunError: it is not.
    """
    if not opened.run.folder.is_dir():
        raise RunError(
            f"the run's folder {opened.name} is gone; put it back, or start anew without it"
        )
    return opened


def _numbers(run: ExplainRun | StudyRun) -> Sequence[int]:
    """Return the photos that can be read by now."""
    return run.measured() if isinstance(run, StudyRun) else range(run.finished())


def _study(opened: OpenRun) -> dict[str, Any]:
    if not isinstance(opened.run, StudyRun):
        raise UsageError(f"{opened.name} is no study")
    return study_view.study(opened.run)
