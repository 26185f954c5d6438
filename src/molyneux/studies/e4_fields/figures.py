"""E4's figures."""

from __future__ import annotations

from molyneux.studies.e4_fields.targets import LISTS, MAPS, TARGETS, FieldTargets
from molyneux.studies.results import Figure, Number, Series


def overall_figure(compared: FieldTargets) -> Figure:
    """Return AUPRC by ranking, with random units and the maps without units."""
    labels, series = (*LISTS.values(), *MAPS), []
    for what, label in (("single", "single units"), ("set", "mean of 20")):
        for whose in ("own", "random"):
            numbers = [
                compared.number(compared.score(ranking, whose, "AUPRC", what)) for ranking in LISTS
            ]
            if (what, whose) == ("set", "own"):
                numbers += [
                    compared.number(compared.score("", name, "AUPRC", "set")) for name in MAPS
                ]
            else:
                numbers += [Number(None)] * len(MAPS)
            name = label if whose == "own" else f"{label}, random units"
            series.append(_series(name, labels, numbers))
    return Figure(
        "E4.auprc",
        "AUPRC of receptive fields",
        "bars",
        "ranking, or map without units",
        "AUPRC",
        tuple(series),
        (TARGETS, "The maps without units stand with the means of 20: each is one map."),
    )


def category_figure(compared: FieldTargets) -> Figure:
    """Return AUPRC by category, with random units and the always-centre map."""
    names = sorted(set(compared.category.tolist()))
    parts = [compared.only(compared.category == name) for name in names]
    labels = tuple(
        f"{name} ({len(set(part.photo.tolist()))})" for name, part in zip(names, parts, strict=True)
    )
    series = [
        _series(label, labels, [p.number(p.score(ranking, whose, "AUPRC", "set")) for p in parts])
        for label, ranking, whose in (
            ("specific, mean of 20", "specific", "own"),
            ("random units, mean of 20", "specific", "random"),
            ("centre", "", "centre"),
        )
    ]
    return Figure(
        "E4.categories",
        "AUPRC by category (photos)",
        "bars",
        "category",
        "AUPRC",
        tuple(series),
        ("Categories with one photo have no interval.",),
    )


def _series(label: str, x: tuple[str, ...], numbers: list[Number]) -> Series:
    return Series(
        label,
        x,
        tuple(n.value for n in numbers),
        tuple(n.low for n in numbers),
        tuple(n.high for n in numbers),
    )
