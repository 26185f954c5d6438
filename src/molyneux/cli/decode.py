"""`molyneux decode`: the tokens a unit writes, or the units that write a word."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from molyneux.cli.model_choice import READS, ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json


@takes_model(*READS)
def decode(
    model: ModelChoice,
    units: Annotated[
        list[str] | None,
        typer.Argument(
            help="Units, as L12.u905; L12.u905- for what it writes when negative.", metavar="UNIT"
        ),
    ] = None,
    word: Annotated[
        str | None, typer.Option("--word", help="Find the units that write it.")
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Tokens of each unit, or units of the word.")
    ] = 10,
    as_json: AsJson = False,
) -> int:
    """Decode units into tokens, or a word into units. Looks at weights alone."""
    from molyneux.errors import UsageError
    from molyneux.neurons.unit_names import read_name

    if bool(units) == (word is not None):
        raise UsageError(
            "decode takes either units (L12.u905 ...) or --word WORD; give one of them"
        )
    if word is not None and not word.strip():
        raise UsageError("--word needs a word; give one, as in --word dog")
    for name in units or ():
        read_name(name)
    model.begin(sees=False)
    model.require_units(units or ())
    from molyneux.neurons.decoding import decode_units, find_writers
    from molyneux.neurons.targets import require_tokens
    from molyneux.neurons.unit import parse_unit

    language, decoding, lens = model.load_decoder()
    rows: list[dict[str, Any]] = []
    if word:
        token_ids = require_tokens(language, word)
        if len(token_ids) > 1:
            pieces = [language.token_text(token) for token in token_ids]
            note(
                f"molyneux: {word.strip()!r} is no token of this model, which writes it as "
                f"{' + '.join(map(repr, pieces))}; ranked are the units that write its first "
                f"piece, {pieces[0]!r}, whatever word goes on from it"
            )
        found = find_writers(
            language, token_ids[0], top=top, final_norm=decoding.final_norm, lens=lens
        )
        chosen = [(unit, sign) for unit, sign, _ in found]
        ranks: list[int | None] = [rank for _, _, rank in found]
    else:
        chosen = [parse_unit(name, language.n_layers, language.d_mlp) for name in units or []]
        ranks = [None] * len(chosen)
    decoded = decode_units(
        language,
        [u for u, _ in chosen],
        [s for _, s in chosen],
        top=10 if word else top,
        final_norm=decoding.final_norm,
        bias=decoding.bias,
        lens=lens,
    )
    for item, rank in zip(decoded, ranks, strict=True):
        row = {"layer": item.unit.layer, "unit": item.unit.unit, "sign": item.sign}
        rows.append(row | {"rank": rank, "tokens": item.tokens, "suppressed": item.suppressed})
        if not as_json:
            name = f"{item.unit}{'-' if item.sign < 0 else ''}"
            place = "" if rank is None else f"rank {rank:<4} "
            tokens = " ".join(repr(token) for token in item.tokens)
            show(f"{name:<12} {place}{tokens or 'no reading: the lens does not read its layer'}")
    if as_json:
        show_json(rows)
    return 0
