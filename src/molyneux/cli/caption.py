"""`molyneux caption`: what the language model writes after "A picture of"."""

from __future__ import annotations

from typing import Any

from molyneux.cli.app import app
from molyneux.cli.options import (
    AsJson,
    Device,
    Dtype,
    EncoderSource,
    LanguageModelSource,
    Photos,
    PresetOrParts,
    ProjectionFile,
    VisionLanguage,
    load_captioner,
    note,
    show,
    show_json,
)


@app.command()
def caption(
    photos: Photos,
    as_json: AsJson = False,
    preset: PresetOrParts = None,
    language_model: LanguageModelSource = None,
    encoder: EncoderSource = None,
    projection: ProjectionFile = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    vlm: VisionLanguage = None,
) -> int:
    """Caption photos with a language model that only ever read."""
    from molyneux.errors import PhotoError
    from molyneux.explain.run import describe_model
    from molyneux.store import SCHEMA

    captioner = load_captioner(
        preset,
        projection,
        language_model=language_model,
        encoder=encoder,
        dtype=dtype,
        device=device,
        vlm=vlm,
    )
    images: list[dict[str, Any]] = []
    for path in photos:
        try:
            images.append({"path": str(path), "caption": captioner.caption(path), "error": None})
        except PhotoError as error:
            images.append({"path": str(path), "caption": None, "error": str(error)})
            note(f"molyneux: {error}")
        if not as_json and images[-1]["error"] is None:
            show(f"{path}: {images[-1]['caption']}" if len(photos) > 1 else images[-1]["caption"])
    if as_json:
        show_json({"schema": SCHEMA, "model": describe_model(captioner), "images": images})
    return int(any(image["error"] for image in images))
