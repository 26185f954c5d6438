"""`molyneux find`: the units that write a word, from an atlas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json
from molyneux.models import DEFAULT_PRESET

if TYPE_CHECKING:
    from molyneux.atlas import Found


def find(
    word: Annotated[
        str, typer.Argument(help="What they write, as one token; capitals aside.", metavar="WORD")
    ],
    prefix: Annotated[
        bool, typer.Option("--prefix", help="WORD is how a token begins, not all of it.")
    ] = False,
    concept: Annotated[
        bool,
        typer.Option(
            "--concept", help="WORD is a noun of photos: units that counted there, in joined runs."
        ),
    ] = False,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Of these layers alone: 7, or 5-12.")
    ] = None,
    sign: Annotated[
        Literal["+", "-"] | None,
        typer.Option("--sign", help="Those that write it when active positively, or negatively."),
    ] = None,
    by: Annotated[
        Literal["rank", "effect", "norm", "count"],
        typer.Option(
            "--by",
            help="In which order: the word's place, what photos' words lose without the unit, how "
            "much it writes, in how many photos' lists it is.",
        ),
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
    from molyneux.errors import UsageError
    from molyneux.records import to_plain

    if prefix and concept:
        raise UsageError("WORD is a prefix or a concept, not both; give one of the options")
    layers = _layers(layer)
    opened = open_atlas(Path(atlas) if Path(atlas).is_dir() else atlas)
    found = opened.find(
        **{"prefix" if prefix else "concept" if concept else "word": word},
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
        place = "" if each.rank is None else f"rank {each.rank:<2} "
        show(f"{each.unit:<12} {place}norm {each.output_norm:<6.3g}{_told(each)} {tokens}")
    if not found:
        note(f"molyneux: no unit of those has it among its ten through {opened.as_lens(lens)}")
    return 0


def _told(found: Found) -> str:
    """Return what runs say of a unit, in a few words."""
    if found.n_top is None:
        return ""
    counted = f" in the specific lists of {found.n_specific} photos"
    if found.effect is None:
        return counted
    low, high = found.effect_low, found.effect_high
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    beside = found.mismatched_effect
    others = "" if beside is None else f", others' units {beside:.3f}"
    return f"{counted}, takes {found.effect:.3f}{interval} (n {found.n_effect}{others})"


def _layers(asked: str | None) -> tuple[int, int] | None:
    from molyneux.errors import UsageError

    if asked is None:
        return None
    match = re.fullmatch(r"[lL]?(\d{1,9})(?:-[lL]?(\d{1,9}))?", asked.strip())
    if match is None:
        raise UsageError(f"--layer takes one, or a first and a last, as in 5-12, not {asked!r}")
    first = int(match[1])
    return first, first if match[2] is None else int(match[2])
