"""`molyneux caption`: what the language model writes after "A picture of"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from molyneux.cli.model_choice import SEES, TRUSTS, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Photos
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.photos import gather_photos
from molyneux.errors import PhotoError, printable

if TYPE_CHECKING:
    from molyneux.models.captions import ReadCaption
    from molyneux.models.trust import TrustScale


@takes_model(*SEES, *TRUSTS)
def caption(photos: Photos, model: ModelChoice, as_json: AsJson = False) -> int:
    """Caption photos. The language model behind a projection only ever read."""
    model.require_ready()
    paths = gather_photos(photos)
    model.begin()
    from molyneux.models.captions import ReadCaption, caption_photos, read_captions
    from molyneux.models.seeing_model import describe_model
    from molyneux.store import SCHEMA

    captioner = model.load()
    images: list[dict[str, Any]] = []
    # Only a trust scale needs what the model expected, which is one more pass a photo.
    written: Iterator[str | ReadCaption | PhotoError] = (
        caption_photos(captioner, paths)
        if captioner.trust is None
        else read_captions(captioner, paths)
    )
    for path, found in zip(paths, written, strict=True):
        if isinstance(found, PhotoError):
            images.append({"path": str(path), "caption": None, "error": str(found)})
            complain(f"molyneux: {found}")
            continue
        text = found if isinstance(found, str) else found.caption
        images.append({"path": str(path), "caption": text, "error": None})
        if not as_json:
            show(text if photos == [str(path)] else f"{printable(path)}: {text}")
        if isinstance(found, ReadCaption) and captioner.trust is not None:
            first = _first_noun(found, captioner.trust)
            images[-1] |= {} if first is None else {"first_noun": first}
            if first is not None and first["said"] is not None:
                note(f"  [{first['word']}: {first['said']}]")
    if as_json:
        show_json({"schema": SCHEMA, "model": describe_model(captioner), "images": images})
    return int(any(image["error"] for image in images))


def _first_noun(read: ReadCaption, scale: TrustScale) -> dict[str, Any] | None:
    """Return a caption's first noun and how often such a one is right; None without a noun."""
    if read.noun is None or read.probability is None:
        return None
    trust = scale.of_first_noun(read.probability)
    return {
        "word": read.noun.word,
        "probability": read.probability,
        "trust": None if trust is None else asdict(trust),
        "said": None if trust is None else trust.short,
    }
