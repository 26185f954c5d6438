"""An explorer as a whole: runs, perhaps a model, the photos it is given, and its address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.explore.ahead import reading_ahead
from molyneux.explore.app import make_app
from molyneux.explore.guard import Guard, new_token
from molyneux.explore.live import Live
from molyneux.explore.serve import HOST
from molyneux.explore.study_photos import StudyPhotos
from molyneux.explore.uploads import MAX_BYTES, MAX_PIXELS, Uploads
from molyneux.pages.runs import OpenRun
from molyneux.pages.views import Views

if TYPE_CHECKING:
    from molyneux.atlas import Atlas
    from molyneux.models.seeing_model import SeeingModel

LIMITS = {"bytes": MAX_BYTES, "pixels": MAX_PIXELS}


@contextmanager
def explorer(
    runs: Mapping[str, OpenRun],
    load: Callable[[], SeeingModel] | None = None,
    atlas: Atlas | None = None,
    pictures: StudyPhotos | None = None,
) -> Iterator[tuple[Guard, str]]:
    """Give an explorer's application and its token; what it kept is deleted at the end.

    Args:
        load: returns the model that can be asked; called on another thread. None: runs are shown,
            and nothing can be asked.
        atlas: of the model, to be searched; else those that come with the runs' presets.
        pictures: of studies' photos; without them none are shown.
    """
    token = new_token()
    state: dict[str, Any] = {"live": False}
    views = Views(
        runs, _address, lambda: state | {"limits": LIMITS}, atlas=atlas, pictures=pictures
    )
    views.get("runs")  # what is built once is built before somebody waits for it
    with reading_ahead(views):
        if load is None:
            yield make_app(views, token, pictures=pictures), token
            return
        uploads = Uploads()
        live = Live(load, views, uploads, _samples(), pictures)
        views.live = lambda: live.state | {"limits": LIMITS}
        try:
            yield make_app(views, token, live, uploads, pictures), token
        finally:
            live.close()
            uploads.close()


def address_of(at: socket.socket, token: str) -> str:
    """Return what to open in a browser."""
    return f"http://{HOST}:{at.getsockname()[1]}/?token={token}"


def _address(run: str, number: int) -> str:
    return f"/api/image/{run}/{number}"


def _samples() -> dict[str, Path]:
    from molyneux.data.samples import sample_photos

    return sample_photos()
