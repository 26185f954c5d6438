"""`molyneux atlas`: what every unit of a model writes, kept to be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from molyneux.cli.model_choice import ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json
from molyneux.cli.progress import Bar

_Lens = Annotated[
    str | None,
    typer.Option(
        "--lens",
        help="Beside the head's own two: a file of `molyneux lens build`; the preset's, if it has "
        "one, needs no asking.",
    ),
]


@takes_model(
    *("preset", "language_model", "vlm", "lens", "dtype", "device"), others={"lens": (_Lens, None)}
)
def atlas(
    action: Annotated[
        Literal["build"], typer.Argument(help="Read every unit's weights.", metavar="ACTION")
    ],
    model: ModelChoice,
    out: Annotated[
        Path | None, typer.Option("--out", help="The atlas's folder; one begun is gone on with.")
    ] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=0, help="How many each unit has.")
    ] = 5,
    as_json: AsJson = False,
) -> int:
    """Build an atlas: what every unit writes, from weights alone; `molyneux find` searches it.

    Ended before, it goes on where it was when it is called again.
    """
    from molyneux.errors import UsageError
    from molyneux.store import MANIFEST, require_free

    if out is None:
        raise UsageError("atlas build needs --out DIR, as in --out atlas")
    if not (out / MANIFEST).is_file():
        require_free(out)
    model.begin(sees=model.vlm is not None)
    from molyneux.atlas.build import build_atlas

    language, names = model.load_described()
    lens = model.measured_lens(language)
    bar, found = Bar(language.n_layers, "layer"), []

    def on_layer(layer: int, kept: bool) -> None:
        found.append(kept)
        bar.reach(layer + 1, "was there" if kept else "")

    index = build_atlas(
        language, out, lens=lens, names=names, neighbours=neighbours, on_layer=on_layer
    )
    bar.close()
    if any(found):
        note(f"molyneux: {sum(found)} layers were there")
    units = language.n_units
    if as_json:
        show_json(
            {
                "atlas": str(out),
                "units": units,
                "lenses": index.lens_names,
                "chance": index.chance["random_tokens"],
            }
        )
    else:
        through = ", ".join(index.lens_names)
        show(f"{out}: {units:,} units through {through}; `molyneux find WORD --atlas {out}`")
    return 0
