"""`molyneux decode`: the tokens a unit writes."""

from __future__ import annotations

from typing import Annotated

import typer

from molyneux.cli.model_choice import READS, ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json

_LENSES = {
    "none": "the head alone",
    "norm": "the scale of the final norm",
    "jacobian": "the Jacobian lens",
}


@takes_model(*READS)
def decode(
    model: ModelChoice,
    units: Annotated[
        list[str],
        typer.Argument(
            help="Units, as L12.u905; L12.u905- for what it writes when negative.", metavar="UNIT"
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="Tokens of each unit.")] = 10,
    as_json: AsJson = False,
) -> int:
    """Decode units into tokens. Looks at weights alone; `molyneux find` goes the other way."""
    from molyneux.neurons.unit_names import read_name

    for name in units:
        read_name(name)
    model.begin(sees=False)
    model.require_units(units)
    from molyneux.neurons.decoding import decode_units

    language, decoding, lens = model.load_decoder()
    decoded = decode_units(
        language,
        units,
        top=top,
        final_norm=decoding.final_norm,
        bias=decoding.bias,
        lens=lens,
    )
    through = lens.name if lens is not None else "norm" if decoding.final_norm else "none"
    if as_json:
        show_json(
            [
                {
                    "layer": item.unit.layer,
                    "unit": item.unit.unit,
                    "sign": item.sign,
                    "tokens": item.tokens,
                    "suppressed": item.suppressed,
                    "lens": through,
                }
                for item in decoded
            ]
        )
        return 0
    note(f"molyneux: read through {_LENSES[through]} (--lens)")
    for item in decoded:
        name = f"{item.unit}{'-' if item.sign < 0 else ''}"
        tokens = " ".join(repr(token) for token in item.tokens)
        show(f"{name:<12} {tokens or 'no reading: the lens does not read its layer'}")
    return 0
