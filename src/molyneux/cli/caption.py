"""`molyneux caption`: what the language model writes after "A picture of"."""

from __future__ import annotations

from typing import Any

from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Photos
from molyneux.cli.output import complain, show, show_json
from molyneux.cli.photos import gather_photos
from molyneux.errors import PhotoError, printable


@takes_model(*SEES)
def caption(photos: Photos, model: ModelChoice, as_json: AsJson = False) -> int:
    """Caption photos. The language model behind a projection only ever read."""
    model.require_ready()
    paths = gather_photos(photos)
    model.begin()
    from molyneux.models.captions import caption_photos
    from molyneux.models.seeing_model import describe_model
    from molyneux.store import SCHEMA

    captioner = model.load()
    images: list[dict[str, Any]] = []
    for path, found in zip(paths, caption_photos(captioner, paths), strict=True):
        if isinstance(found, PhotoError):
            images.append({"path": str(path), "caption": None, "error": str(found)})
            complain(f"molyneux: {found}")
            continue
        images.append({"path": str(path), "caption": found, "error": None})
        if not as_json:
            show(found if photos == [str(path)] else f"{printable(path)}: {found}")
    if as_json:
        show_json({"schema": SCHEMA, "model": describe_model(captioner), "images": images})
    return int(any(image["error"] for image in images))
