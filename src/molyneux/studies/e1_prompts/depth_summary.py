"""What E1 concludes of depth: at which layer image positions begin to say the photo's nouns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from molyneux.studies.e1_prompts.depth import PATCHES, READINGS, ROLES, TOP
from molyneux.studies.finished import Finished
from molyneux.studies.results import (
    Cell,
    Figure,
    Number,
    ResultTable,
    Series,
    difference,
    is_above_zero,
    over_photos,
)

READING_LABELS = {
    "cosine": "cosine to input embeddings",
    "lens": "logit lens",
    "jacobian": "Jacobian lens",
}
ROLE_LABELS = {
    "first": "first noun of the caption",
    "human": "nouns of the human captions",
    "control": "nouns of other photos",
}
PATCH_LABELS = {"all": "all", "no_sinks": "without sink patches"}


@dataclass(frozen=True)
class Measure:
    """A column of the depth table; `control` is the one that control nouns are compared in."""

    column: str
    label: str


IN_TOP = Measure("top5", f"share of photos with the noun in the top {TOP} of at least one patch")
PERCENTILE = Measure("percentile", "mean percentile over patches")
BEST_IN_TOP = Measure("top5_any", f"chance that one of k nouns is in the top {TOP} of a patch")
BEST_PERCENTILE = Measure("percentile_best", "percentile of the best of k nouns")
COMPARED = {
    "first": (IN_TOP, PERCENTILE),
    "human": (IN_TOP, PERCENTILE, BEST_IN_TOP, BEST_PERCENTILE),
}

Curve = Float[np.ndarray, "layers photos"]


def _readings(study: Finished) -> list[str]:
    """Return the readings that were made: a Jacobian lens is not at hand everywhere."""
    made = {*study.table("e1_depth")["reading"].tolist()}
    return [reading for reading in READINGS if reading in made or reading != "jacobian"]


def _curves(study: Finished) -> dict[tuple[str, str, str, str], np.ndarray]:
    """Return value by layer and photo for each reading, patches, role and column."""
    table = study.table("e1_depth")
    measures = {m.column for many in COMPARED.values() for m in many}
    found = {}
    for reading in _readings(study):
        for patches in PATCHES:
            for role in ROLES:
                chosen = (
                    (table["reading"] == reading)
                    & (table["patches"] == patches)
                    & (table["role"] == role)
                )
                for column in sorted(measures):
                    curve = np.full((study.model.n_layers + 1, study.n_photos), np.nan)
                    at = (table["layer"][chosen].astype(int), table["photo"][chosen])
                    curve[at] = table[column][chosen].astype(float)
                    found[reading, patches, role, column] = curve
    return found


def depth_table(study: Finished) -> ResultTable:
    """Return, for each reading, the layer at which a photo's nouns stand above other nouns."""
    curves = _curves(study)
    rows: list[dict[str, Cell]] = []
    for reading in _readings(study):
        # A Jacobian lens reads neither the input embeddings nor what the last layer leaves.
        start, stop = (1, -1) if reading == "jacobian" else (0, None)
        for role, measures in COMPARED.items():
            for measure in measures:
                for patches in PATCHES:
                    own = curves[reading, patches, role, measure.column]
                    control = curves[reading, patches, "control", measure.column]
                    rows.append(
                        {
                            "reading": READING_LABELS[reading],
                            "noun": ROLE_LABELS[role],
                            "measure": measure.label,
                            "patches": PATCH_LABELS[patches],
                            **_along_layers(own[start:stop], control[start:stop], start),
                        }
                    )
    return ResultTable(
        "E1.depth",
        "The layer at which image positions begin to say the photo's nouns",
        ("reading", "noun", "measure", "patches", *_ALONG),
        tuple(rows),
        (
            "Layer 0 is the input embeddings (the image prompts themselves), layer l the residual "
            "stream after l layers. Cosine: of the stream with the input embeddings. Logit lens: "
            "the model's own final norm, then its head. Jacobian lens: J_l of the stream, where a "
            "study was given one; it reads layers 1 to n - 1.",
            "A noun is the first token of ' noun'. Control nouns: up to 8 first nouns of reference "
            "photos that neither the caption nor a human caption names. Shares and percentiles of "
            "several nouns are means over them, so that their number does not matter; k is the "
            "smaller of the numbers of human and control nouns, and the best of k is the "
            "expectation over all choices.",
            "Top 5 runs over all patches of a photo. First layer above: the lowest at which the "
            "interval of own - control lies above 0; one of the layers does by chance now and "
            "then, so that the number of layers above stands beside it.",
            "The caption's first noun and the control nouns are both first nouns of this model's "
            "captions; human nouns are rarer words, which may lower them.",
        ),
    )


_ALONG = (
    "own at layer 0",
    "control at layer 0",
    "first layer above",
    "own there",
    "control there",
    "difference there",
    "layers above",
    "layer of the largest difference",
    "largest difference",
)


def _along_layers(own: Curve, control: Curve, start: int) -> dict[str, Cell]:
    """Return a row's cells; the first of the curves' layers is `start`."""
    differences = [difference(a, b) for a, b in zip(own, control, strict=True)]
    row: dict[str, Cell] = {}
    if start == 0:
        row = {
            "own at layer 0": over_photos(own[0]),
            "control at layer 0": over_photos(control[0]),
        }
    known = [d.value for d in differences if d.value is not None]
    if len(known) < len(differences):
        row["first layer above"] = Number.missing("no photo has both")
        return row
    above = [layer for layer, found in enumerate(differences) if is_above_zero(found)]
    row["layers above"] = f"{len(above)} of {len(differences)}"
    largest = int(np.argmax(known))
    row["layer of the largest difference"] = largest + start
    row["largest difference"] = differences[largest]
    if not above:
        row["first layer above"] = Number.missing("at no layer")
        return row
    first = above[0]
    return row | {
        "first layer above": first + start,
        "own there": over_photos(own[first]),
        "control there": over_photos(control[first]),
        "difference there": differences[first],
    }


def depth_figures(study: Finished) -> tuple[Figure, ...]:
    """Return a figure for each reading and measure: own nouns and control nouns by layer."""
    curves = _curves(study)
    layers = tuple(float(layer) for layer in range(study.model.n_layers + 1))
    figures = []
    for reading in _readings(study):
        for measure in (IN_TOP, PERCENTILE):
            series = []
            for role in ROLES:
                numbers = [over_photos(v) for v in curves[reading, "all", role, measure.column]]
                series.append(
                    Series(
                        ROLE_LABELS[role],
                        layers,
                        tuple(number.value for number in numbers),
                        tuple(number.low for number in numbers),
                        tuple(number.high for number in numbers),
                    )
                )
            figures.append(
                Figure(
                    f"E1.{reading}_{measure.column}",
                    f"What image positions say, by layer ({READING_LABELS[reading]})",
                    "lines",
                    "layers read so far",
                    measure.label,
                    tuple(series),
                    ("Bands are 95 % intervals over photos; all patches, sinks included.",),
                )
            )
    return tuple(figures)
