"""`molyneux find`: the units that write a word, from an atlas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json
from molyneux.models import DEFAULT_PRESET


def find(
    word: Annotated[
        str, typer.Argument(help="What they write, as one token; capitals aside.", metavar="WORD")
    ],
    prefix: Annotated[
        bool, typer.Option("--prefix", help="WORD is how a token begins, not all of it.")
    ] = False,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Of these layers alone: 7, or 5-12.")
    ] = None,
    sign: Annotated[
        Literal["+", "-"] | None,
        typer.Option("--sign", help="Those that write it when active positively, or negatively."),
    ] = None,
    by: Annotated[
        Literal["rank", "norm"],
        typer.Option("--by", help="In which order: the word's place, or how much they write."),
    ] = "rank",
    lens: Annotated[
        str | None,
        typer.Option("--lens", help="Read through none, norm or jacobian; norm if not given."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="At most so many.")] = 20,
    atlas: Annotated[
        str,
        typer.Option(
            "--atlas", help="A folder of `molyneux atlas build`, or a preset that comes with one."
        ),
    ] = DEFAULT_PRESET,
    as_json: AsJson = False,
) -> int:
    """Find the units that have a word among the ten tokens they raise most. Loads no model."""
    from molyneux.atlas import open_atlas
    from molyneux.records import to_plain

    layers = _layers(layer)
    opened = open_atlas(Path(atlas) if Path(atlas).is_dir() else atlas)
    found = opened.find(
        None if prefix else word,
        prefix=word if prefix else None,
        layer=layers,
        sign=None if sign is None else int(f"{sign}1"),
        lens=lens,
        by=by,
        top=top,
    )
    if as_json:
        show_json([to_plain(each) for each in found])
        return 0
    for each in found:
        tokens = " ".join(repr(token) for token in each.tokens)
        show(f"{each.unit:<12} rank {each.rank:<2} norm {each.output_norm:<6.3g} {tokens}")
    if not found:
        note(f"molyneux: no unit has it among its ten through {opened.as_lens(lens)}")
    return 0


def _layers(asked: str | None) -> tuple[int, int] | None:
    from molyneux.errors import UsageError

    if asked is None:
        return None
    match = re.fullmatch(r"[lL]?(\d{1,9})(?:-[lL]?(\d{1,9}))?", asked.strip())
    if match is None:
        raise UsageError(f"--layer takes one, or a first and a last, as in 5-12, not {asked!r}")
    first = int(match[1])
    return first, first if match[2] is None else int(match[2])
