"""Where the units lie that carry it: thirds of the layers, and layer by layer."""

from __future__ import annotations

from molyneux.studies.e3_layers.summary import band
from molyneux.studies.e7_sight.cells import difference, mean
from molyneux.studies.e7_sight.sights import ALL, CAPTION, PEOPLE, Sights, Units
from molyneux.studies.e7_sight.tables import OWN
from molyneux.studies.results import Cell, Figure, ResultTable, Series


def layer_tables(sights: Sights, *notes: str) -> list[ResultTable]:
    """Return what sets of some layers carry; none in the short form.

    Args:
        notes: to stand below, beside the table's own.
    """
    n_layers = sights.study.model.n_layers
    inside = set(band(n_layers))
    random = [units.layers for units in sights.measured() if units.name == "random"]
    rows: list[dict[str, Cell]] = []
    for units in (one for one in sights.measured() if one.layers != ALL and one.name == "change"):
        ends = [int(end) for end in units.layers.split("-")]
        of = {*range(ends[0], ends[-1] + 1)}
        control = Units("random", units.fraction, units.layers)
        row: dict[str, Cell] = {
            "layers": f"L{units.layers.replace('-', ' to L')}",
            "share in the paper's band": f"{len(of & inside) / len(of):.0%}",
        }
        for words in (PEOPLE, CAPTION):
            put, beside = sights.pair("transplant", words, units)
            lost, lost_beside = sights.pair("mediated", words, units)
            row |= {
                f"{words.label}: transplant": mean(put),
                f"{words.label}: minus beside": difference(put, beside),
                f"{words.label}: mediated": mean(lost),
                f"{words.label}: mediated minus beside": difference(lost, lost_beside),
            }
        row["people's nouns: transplant, random units"] = (
            mean(sights.cells("transplant", PEOPLE, control)) if control.layers in random else None
        )
        rows.append(row)
    if not rows:
        return []
    edges = f"L{min(inside)} to L{max(inside)}" if inside else "none"
    return [
        ResultTable(
            "E7.layers",
            "What 5 % of the units of some layers carry",
            tuple(rows[0]),
            tuple(rows),
            (
                "Thirds of the layers but the last, then layer by layer: of each the 5 % of its "
                "units that change most.",
                f"The paper found most of its units in layers 5 to 10 of 28; of this model's "
                f"{n_layers} layers that depth is {edges}. It has no experiment like this one.",
                *notes,
            ),
        )
    ]


def layer_figures(sights: Sights) -> list[Figure]:
    """Return the transplant along the layers; none in the short form."""
    alone = [
        units for units in sights.measured() if units.name == "change" and units.layers.isdigit()
    ]
    if not alone:
        return []
    series = []
    for words in (PEOPLE, CAPTION):
        for beside, label in ((False, words.label), (True, f"beside {words.label}")):
            numbers = [
                mean(sights.cells("transplant", words, units, OWN, beside)) for units in alone
            ]
            series.append(
                Series(
                    label,
                    tuple(float(units.layers) for units in alone),
                    tuple(number.value for number in numbers),
                    tuple(number.low for number in numbers),
                    tuple(number.high for number in numbers),
                )
            )
    return [
        Figure(
            "E7.layers",
            "Transplant of the 5 % of a layer's units that change most",
            "lines",
            "layer",
            "nats",
            tuple(series),
            ("Bands: 95 % intervals over photos and partners.",),
        )
    ]
