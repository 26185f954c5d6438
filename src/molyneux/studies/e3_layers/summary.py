"""What E3 concludes: histograms by layer, and how many write words, beside base rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from molyneux.neurons.unit_sets import QUOTED, UNIT_SETS
from molyneux.studies.e3_layers.measure import LISTS
from molyneux.studies.finished import Finished
from molyneux.studies.results import (
    Cell,
    Figure,
    Number,
    Result,
    ResultTable,
    Series,
    difference,
    over_photos,
)

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment

PAPER_BAND = (5, 10)
PAPER_LAYERS = 28
PAPER_WHERE = "mostly layers 5-10 of 28"
PAPER_INTERPRETABLE = "50 %"

VIEWS = ("patches", "last")
LABELS = {name: UNIT_SETS[name].label for name in LISTS}

_UNIT_NOTE = (
    "Each photo gives one list of unique units: the first {n} for its caption's first noun; top "
    "ranks by the highest score over patches (or at the last position), specific by how far the "
    "score lies above the same unit's on reference photos. Only positive specific scores rank."
)
_SINK_NOTE = (
    "No sinks: scored without the sink patches (residual norm above 10 times the photo's median) "
    "and without the sink units (in the top 100 of at least half of the reference photos)."
)
_WORDS_NOTE = (
    "7 of 10 words: at least 7 of the 10 tokens the unit writes, in the direction it wrote for "
    "this photo, are English words of three letters or more. (The paper calls it interpretable.)"
)


def band(n_layers: int) -> list[int]:
    """Return the layers at the depth, as a share of all layers, of the paper's layers 5 to 10."""
    low, high = (edge * n_layers for edge in PAPER_BAND)
    return [layer for layer in range(n_layers) if low <= layer * PAPER_LAYERS <= high]


@dataclass(frozen=True)
class Lists:
    """One ranking's units of every photo in one view, counted.

    Attributes:
        counts: units by layer; NaN for a photo without a list.
        words: interpretable ones among them.
        unique: different units over all photos.
    """

    counts: Float[np.ndarray, "photos layers"]
    words: Float[np.ndarray, "photos layers"]
    unique: int

    @classmethod
    def of(cls, study: Finished, view: str, ranking: str) -> Lists:
        """Return a study's lists of a view and ranking."""
        columns = study.table("e3_layers")
        n_layers, d_mlp = study.model.n_layers, study.model.d_mlp
        counts = np.full((study.n_photos, n_layers), np.nan)
        words = counts.copy()
        seen: set[int] = set()
        for row in np.flatnonzero((columns["view"] == view) & (columns["ranking"] == ranking)):
            photo, units = columns["photo"][row], np.asarray(columns["units"][row], dtype=int)
            layer = units // d_mlp
            counts[photo] = np.bincount(layer, minlength=n_layers)
            words[photo] = np.bincount(
                layer, weights=np.asarray(columns["words"][row], dtype=float), minlength=n_layers
            )
            seen |= set(units.tolist())
        return cls(counts, words, len(seen))

    @property
    def size(self) -> Float[np.ndarray, " photos"]:
        """Units in each photo's list; NaN for one that has none."""
        total = self.counts.sum(axis=1)
        return np.where(total > 0, total, np.nan)

    def share_in(self, layers: list[int]) -> Float[np.ndarray, " photos"]:
        """Return which share of each list lies in some layers."""
        return np.asarray(self.counts[:, layers].sum(axis=1) / self.size)

    def depth(self, layers: Int[np.ndarray, " layers"]) -> Float[np.ndarray, " photos"]:
        """Return the mean layer of each list."""
        return np.asarray(self.counts @ layers / self.size)

    def interpretable(self) -> Float[np.ndarray, " photos"]:
        """Return which share of each list is interpretable."""
        return np.asarray(self.words.sum(axis=1) / self.size)

    def base_rate(self, of_layer: Float[np.ndarray, " layers"]) -> Float[np.ndarray, " photos"]:
        """Return the same share among all units, with each list's weights over layers."""
        return np.asarray(self.counts @ of_layer / self.size)


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E3's tables and figures."""
    found = {(v, r): Lists.of(study, v, r) for v in VIEWS for r in LISTS}
    tables = [_where(study, found), _words(study, found)]
    tables += [_by_layer(study, found, view) for view in VIEWS]
    figures = [figure for view in VIEWS for figure in _figures(study, found, view)]
    return Result(experiment.name, experiment.title, tuple(tables), tuple(figures))


def _where(study: Finished, found: dict[tuple[str, str], Lists]) -> ResultTable:
    n_layers = study.model.n_layers
    inside = band(n_layers)
    layers = np.arange(n_layers)
    rows: list[dict[str, Cell]] = []
    for (view, ranking), lists in found.items():
        rows.append(
            {
                "view": view,
                "ranking": LABELS[ranking],
                "units per photo": over_photos(lists.size),
                "share in the band": over_photos(lists.share_in(inside)),
                "band / all layers": Number(len(inside) / n_layers),
                "minus an even spread": over_photos(
                    lists.share_in(inside) - len(inside) / n_layers
                ),
                "mean layer / n_layers": over_photos(lists.depth(layers) / n_layers),
                "share in the first fifth": over_photos(
                    lists.share_in([layer for layer in range(n_layers) if 5 * layer < n_layers])
                ),
                "unique over all photos": lists.unique,
                "paper": PAPER_WHERE if ranking == "top" and view == "patches" else None,
            }
        )
    edges = f"L{inside[0]} to L{inside[-1]}" if inside else "none"
    return ResultTable(
        "E3.where",
        "Where the units are",
        tuple(rows[0]),
        tuple(rows),
        (
            _UNIT_NOTE.format(n=study.settings.units),
            _SINK_NOTE,
            "The band: layers whose number over the number of layers is that of the paper's layers "
            f"5 to 10 of 28 (.18 to .36); of this model's {n_layers} layers, {edges}. Units spread "
            "evenly would have the share `band / all layers` in it.",
            "At patches nothing in the last layer can reach the word, so no unit of it ranks as "
            "specific there.",
        ),
    )


def _chance(study: Finished) -> Number:
    chance = study.model.words_by_chance
    if chance is None:
        return Number.missing("not kept when this study began")
    return Number(chance)


def _words(study: Finished, found: dict[tuple[str, str], Lists]) -> ResultTable:
    of_layer = study.model.interpretable.astype(float).mean(axis=(0, 2))
    rows: list[dict[str, Cell]] = []
    for (view, ranking), lists in found.items():
        own, base = lists.interpretable(), lists.base_rate(of_layer)
        rows.append(
            {
                "view": view,
                "ranking": LABELS[ranking],
                "7 of 10 words": over_photos(own),
                "all units, same layers": over_photos(base),
                "ten random tokens": _chance(study),
                "difference": difference(own, base),
                "paper": PAPER_INTERPRETABLE if ranking == "top" and view == "patches" else None,
            }
        )
    return ResultTable(
        "E3.interpretable",
        "How many units write 7 words of 10",
        tuple(rows[0]),
        tuple(rows),
        (
            _WORDS_NOTE,
            "All units, same layers: the share among all units of each layer, mean over both "
            "directions, weighted by the layers of the photo's own list. The paper gives no such "
            "base rate.",
            "Ten random tokens: how often ten tokens drawn from the whole vocabulary hold 7 words "
            "or more (hypergeometric): a unit passes by that much without any meaning.",
            _UNIT_NOTE.format(n=study.settings.units),
            _SINK_NOTE,
        ),
    )


def _by_layer(study: Finished, found: dict[tuple[str, str], Lists], view: str) -> ResultTable:
    n_layers = study.model.n_layers
    inside = set(band(n_layers))
    rows: list[dict[str, Cell]] = []
    for layer in range(n_layers):
        row: dict[str, Cell] = {"layer": f"L{layer}", "layer / n_layers": f"{layer / n_layers:.2f}"}
        for ranking in LISTS:
            lists = found[view, ranking]
            row[LABELS[ranking]] = over_photos(lists.counts[:, layer])
            row[f"{LABELS[ranking]}: words"] = over_photos(lists.words[:, layer])
        row["paper"] = "band of most units" if layer in inside else None
        rows.append(row)
    return ResultTable(
        f"E3.layers_{view}",
        f"Units per photo by layer, view {view}",
        tuple(rows[0]),
        tuple(rows),
        (
            "Mean number of units per photo in each layer; words: those with 7 of 10 words.",
            _WORDS_NOTE,
            _SINK_NOTE,
        ),
    )


def _figures(
    study: Finished, found: dict[tuple[str, str], Lists], view: str
) -> tuple[Figure, Figure]:
    n_layers = study.model.n_layers
    layers = tuple(float(layer) for layer in range(n_layers))
    lines = []
    for listed in QUOTED:
        lists = found[view, listed]
        for counts, suffix in ((lists.counts, ""), (lists.words, ", 7 of 10 words")):
            means = [over_photos(column) for column in counts.T]
            lines.append(
                Series(
                    LABELS[listed] + suffix,
                    layers,
                    tuple(m.value for m in means),
                    tuple(m.low for m in means),
                    tuple(m.high for m in means),
                )
            )
    absolute = Figure(
        f"E3.layers_{view}",
        f"Units per photo by layer, view {view}",
        "lines",
        "layer",
        "units per photo",
        tuple(lines),
        ("Bands are 95 % intervals over photos.",),
    )
    depth = tuple(layer / n_layers for layer in layers)
    shares = []
    for ranking in LISTS:
        lists = found[view, ranking]
        # Times n_layers: a density, so that models of other depths can be laid beside it.
        means = [over_photos(column * n_layers) for column in (lists.counts.T / lists.size)]
        shares.append(
            Series(
                LABELS[ranking],
                depth,
                tuple(m.value for m in means),
                tuple(m.low for m in means),
                tuple(m.high for m in means),
            )
        )
    edges = tuple(edge / PAPER_LAYERS for edge in PAPER_BAND)
    shares.append(Series("paper: most units lie here", edges, (0.0, 0.0)))
    relative = Figure(
        f"E3.depth_{view}",
        f"Density of units over depth, view {view}",
        "lines",
        "layer / number of layers",
        "share of the list, times the number of layers",
        tuple(shares),
        (
            "1 is what units spread evenly over layers would have.",
            "The line at 0 marks the paper's layers 5 to 10 of 28, where it found most units.",
        ),
    )
    return absolute, relative
