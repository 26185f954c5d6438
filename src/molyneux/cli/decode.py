"""`molyneux decode`: the tokens a unit writes, or the units that write a word."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from molyneux.cli.app import app
from molyneux.cli.options import (
    AsJson,
    Device,
    Dtype,
    LanguageModelSource,
    PresetOrParts,
    load_language,
    note,
    show,
    show_json,
)


@app.command()
def decode(
    units: Annotated[
        list[str] | None,
        typer.Argument(help="Units, as L12.u905; L12.u905- for what it writes when negative."),
    ] = None,
    word: Annotated[
        str | None, typer.Option("--word", help="Find the units that write it.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Tokens a unit, or units a word.")] = 10,
    as_json: AsJson = False,
    final_norm: Annotated[
        bool | None,
        typer.Option(
            "--final-norm/--no-final-norm",
            help="Whether the scale of the final norm takes part; as the preset's if not given.",
        ),
    ] = None,
    preset: PresetOrParts = None,
    language_model: LanguageModelSource = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> int:
    """Decode units into tokens, or a word into units. Looks at weights alone."""
    from molyneux.errors import UsageError
    from molyneux.neurons.decoding import decode_units, find_writers
    from molyneux.neurons.unit import parse_unit

    if bool(units) == bool(word):
        raise UsageError(
            "decode takes either units (L12.u905 ...) or --word WORD; give one of them"
        )
    model, decoding = load_language(preset, language_model, dtype=dtype, device=device)
    norm = decoding.final_norm if final_norm is None else final_norm
    rows: list[dict[str, Any]] = []
    if word:
        token_ids = model.encode(" " + word.strip())
        if not token_ids:
            raise UsageError("--word needs a word; give one, as in --word water")
        if len(token_ids) > 1:
            note(f"{word!r} is {len(token_ids)} tokens; ranking {model.token_text(token_ids[0])!r}")
        found = find_writers(model, token_ids[0], top=top, final_norm=norm)
        chosen = [(unit, sign) for unit, sign, _ in found]
        ranks: list[int | None] = [rank for _, _, rank in found]
    else:
        chosen = [parse_unit(name, model.n_layers, model.d_mlp) for name in units or []]
        ranks = [None] * len(chosen)
    decoded = decode_units(
        model,
        [u for u, _ in chosen],
        [s for _, s in chosen],
        top=10 if word else top,
        final_norm=norm,
        bias=decoding.bias,
    )
    for item, rank in zip(decoded, ranks, strict=True):
        row = {"layer": item.unit.layer, "unit": item.unit.unit, "sign": item.sign}
        rows.append(row | {"rank": rank, "tokens": item.tokens, "suppressed": item.suppressed})
        if not as_json:
            name = f"{item.unit}{'-' if item.sign < 0 else ''}"
            place = "" if rank is None else f"rank {rank:<4} "
            show(f"{name:<12} {place}{' '.join(repr(token) for token in item.tokens)}")
    if as_json:
        show_json(rows)
    return 0
