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
        Literal["build", "join"],
        typer.Argument(
            help="build: read every unit's weights. join: add what runs say of units.",
            metavar="ACTION",
        ),
    ],
    model: ModelChoice,
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            help="Of join: the atlas (its folder, or a preset that comes with one), then run "
            "folders of `explain` and `study`.",
            metavar="FOLDER",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The atlas's folder; a build that was begun is gone on with. Of join: where to "
            "copy the atlas first; into itself if not given.",
        ),
    ] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=0, help="How many each unit has.")
    ] = 5,
    as_json: AsJson = False,
) -> int:
    """Build an atlas: what every unit writes, from weights alone; `molyneux find` searches it.

    Ended before, it goes on where it was when it is called again. Runs that are joined say for
    which photos and words a unit counted, and what a word loses without it.
    """
    from molyneux.errors import UsageError

    given = folders or []
    if action == "join":
        return _join(given, out, as_json)
    if given:
        raise UsageError(f"atlas build takes no folder, and was given {given[0]}; give --out DIR")
    return _build(model, out, neighbours, as_json)


def _join(given: list[str], out: Path | None, as_json: bool) -> int:
    from molyneux.atlas import open_atlas
    from molyneux.atlas.join import join_runs, read_runs
    from molyneux.atlas.pack import copy_atlas
    from molyneux.errors import UsageError
    from molyneux.store import require_free, whole_or_nothing

    if len(given) < 2:
        raise UsageError(
            "atlas join takes an atlas and the runs to join, as in molyneux atlas join atlas my-run"
        )
    opened = open_atlas(given[0])
    if out is not None:
        require_free(out)
    elif not Path(given[0]).is_dir():
        raise UsageError(
            f"the atlas of {given[0]} is part of the package; give --out DIR for one with the runs"
        )
    rows = read_runs(opened, given[1:])
    if out is None:
        joined = join_runs(opened, rows)
    else:
        with whole_or_nothing(out):
            joined = join_runs(copy_atlas(opened, out), rows)
    effects = joined.effects
    assert effects is not None
    tried = effects.num_rows - effects["effect"].null_count
    runs = [{name: run[name] for name in ("run", "kind", "photos")} for run in joined.runs]
    if as_json:
        show_json(
            {
                "atlas": str(joined.folder),
                "runs": runs,
                "units": effects.num_rows,
                "tried": tried,
            }
        )
    else:
        of = ", ".join(f"{run['run']} ({run['photos']} photos)" for run in runs)
        show(
            f"{joined.folder}: {effects.num_rows:,} units are in the lists of {of}; {tried:,} of "
            "them were switched off by themselves"
        )
    return 0


def _build(model: ModelChoice, out: Path | None, neighbours: int, as_json: bool) -> int:
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
