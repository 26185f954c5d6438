"""`molyneux calibrate-bertscore`: a backbone's BERTScore of the pairs that the paper prints."""

from __future__ import annotations

from typing import Annotated

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json


def calibrate_bertscore(
    model: Annotated[
        str | None,
        typer.Argument(help="A folder or hub name; all-MiniLM-L6-v2 if none.", metavar="MODEL"),
    ] = None,
    layer: Annotated[
        int | None, typer.Option("--layer", min=0, help="One hidden layer, not all of them.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Score the paper's text pairs with any backbone. Beside its own scores of them."""
    from dataclasses import asdict

    from molyneux.checkpoints.sources import require_there

    if model is not None:
        require_there(model)
    note("loading torch and the backbone")
    from molyneux.metrics.bertscore import load_backbone
    from molyneux.metrics.calibration import PAIRS, PAPER, calibrate_layer

    backbone = load_backbone(model, note)
    layers = range(1, backbone.n_layers + 1) if layer is None else [layer]
    found = [calibrate_layer(backbone, each) for each in layers]
    closest = min(found, key=lambda row: row.distance)
    if as_json:
        show_json(
            {
                "backbone": backbone.name,
                "default_layer": backbone.chosen_layer,
                "pairs": [{"candidate": a, "reference": b, "paper": f1} for a, b, f1 in PAIRS],
                "layers": [asdict(row) for row in found],
                "closest_layer": closest.layer,
            }
        )
        return 0
    show(f"BERTScore F1 on {backbone.name}, against {PAPER}")
    for number, (candidate, reference, _) in enumerate(PAIRS, start=1):
        show(f"  {number}: {candidate!r} / {reference!r}")
    show(f"{'layer':>7}{''.join(f'{n:>8}' for n in range(1, len(PAIRS) + 1))}  distance")
    show(f"{'paper':>7}{''.join(f'{f1:>8.2f}' for _, _, f1 in PAIRS)}")
    for row in found:
        mark = "  all digits agree" if row.agrees else ""
        figures = "".join(f"{f1:>8.4f}" for f1 in row.f1)
        show(f"{row.layer:>7}{figures}{row.distance:>10.4f}{mark}")
    if len(found) > 1:
        show(f"closest: layer {closest.layer}, {closest.distance:.4f} from the paper on average")
    return 0
