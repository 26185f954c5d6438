"""`molyneux prompts`: the input embeddings nearest to each image prompt."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Photos
from molyneux.cli.output import complain, show, show_json
from molyneux.cli.photos import gather_photos
from molyneux.errors import PhotoError, UsageError, printable


@takes_model(*SEES, "lens")
def prompts(
    photos: Photos,
    model: ModelChoice,
    top: Annotated[int, typer.Option("--top", min=1, help="Tokens of each patch.")] = 5,
    layer: Annotated[
        int | None,
        typer.Option(
            "--layer", min=0, help="With --lens: after which layer patches are read too; a third."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Decode every image prompt into its nearest tokens. By cosine, beside random vectors.

    With --lens also what each patch's position holds further up, after --layer.
    """
    if layer is not None and model.lens is None:
        raise UsageError("--layer goes with --lens; give --lens norm, or a file")
    model.require_ready()
    paths = gather_photos(photos)
    model.begin()
    if layer is not None:
        model.require_layer(layer)
    from molyneux.models.seeing_model import describe_model
    from molyneux.neurons.streams import nearest_tokens, patch_tokens, random_prompts
    from molyneux.store import SCHEMA

    captioner = model.load()
    language, grid = captioner.language_model, captioner.encoder.grid
    lens, up = captioner.lens, language.n_layers // 3 if layer is None else layer
    images: list[dict[str, Any]] = []
    for path in paths:
        try:
            seen = captioner.image_prompts([path])[0]
        except PhotoError as error:
            complain(f"molyneux: {error}")
            images.append({"path": str(path), "patches": [], "error": str(error)})
            continue
        rows: list[dict[str, Any]] = [
            {"patch": list(grid.place(i)), "tokens": near.tokens, "cosine": near.cosine}
            for i, near in enumerate(nearest_tokens(language, seen, top))
        ]
        if lens is not None:
            said = patch_tokens(language, captioner.see([path]), lens, up, top)
            for row, read in zip(rows, said, strict=True):
                row["lens_tokens"] = read
        control = nearest_tokens(language, random_prompts(seen, seed=0), top)
        chance = sum(near.cosine[0] for near in control) / len(control)
        images.append({"path": str(path), "patches": rows, "random_cosine": chance, "error": None})
        if not as_json:
            show(printable(path))
            for row in rows:
                tokens = " ".join(repr(token) for token in row["tokens"])
                show(
                    f"  patch {row['patch'][0]},{row['patch'][1]}  {row['cosine'][0]:.2f}  {tokens}"
                )
                if lens is not None:
                    further = " ".join(repr(token) for token in row["lens_tokens"])
                    show(f"             after layer {up}: {further}")
            show(f"  nearest token of random vectors of the same norms: {chance:.2f} on average")
    if as_json:
        show_json({"schema": SCHEMA, "model": describe_model(captioner), "images": images})
    return int(any(image["error"] for image in images))
