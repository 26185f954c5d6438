"""How far captions move when units are switched off throughout their generation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from molyneux.studies.e6_captions import SETS
from molyneux.studies.e6_figures import line
from molyneux.studies.estimates import NONE, over_photos
from molyneux.studies.finished import Columns, Finished, per_photo
from molyneux.studies.tables import Cell, Figure, Number, ResultTable

NO_HUMAN = "the photos have no human captions"


def caption_values(
    columns: Columns, name: str, step: int, column: str, n_photos: int
) -> Float[np.ndarray, " photos"]:
    """Return a column of a set's captions per photo; NaN where there is none."""
    rows = np.flatnonzero((columns["set"] == name) & (columns["step"] == step))
    values = np.array([np.nan if v is None else float(v) for v in columns[column][rows]])
    return per_photo(columns["photo"][rows], values, n_photos)


def _steps(columns: Columns, name: str) -> list[int]:
    return sorted({int(step) for step in columns["step"][columns["set"] == name]})


def caption_table(study: Finished) -> ResultTable:
    """Return BERTScores of ablated captions, and how many keep the noun."""
    scores, captions = study.table("e6_bertscore"), study.table("e6_captions")
    no_bert = study.manifest.get("bert_missing")
    rows: list[dict[str, Cell]] = []
    for name in ("intact", *SETS, "unrelated"):
        for step in _steps(scores, name):
            to_human = caption_values(scores, name, step, "to_human", study.n_photos)
            to_original = caption_values(scores, name, step, "to_original", study.n_photos)
            kept = caption_values(captions, name, step, "has_noun", study.n_photos)
            rows.append(
                {
                    "set": name,
                    "units": step,
                    "BERTScore with the original": over_photos(to_original, why=no_bert or NONE),
                    "BERTScore with human captions": over_photos(to_human, why=no_bert or NO_HUMAN),
                    "noun kept": over_photos(kept) if name in SETS else None,
                }
            )
    return ResultTable(
        "E6.captions",
        "The caption with units switched off",
        (
            "set",
            "units",
            "BERTScore with the original",
            "BERTScore with human captions",
            "noun kept",
        ),
        tuple(rows),
        (
            "Greedy captions with units of the patch view silenced at all positions, throughout "
            "generation; `random` is one seed. `intact` is the original caption, `unrelated` the "
            "original caption of another photo: where a caption stands that has lost the photo.",
            f"BERTScore: left out here: {no_bert}."
            if no_bert
            else f"BERTScore F1 ({study.manifest.get('bertscore')}); with human captions, the mean "
            "over them.",
            "`noun kept`: share of captions that still have the target noun.",
        ),
    )


def caption_figure(study: Finished) -> Figure:
    """Return the BERTScore with the original caption along the steps, from 1 unit on.

    It has no lines where captions were not compared.
    """
    scores = study.table("e6_bertscore")

    def at(name: str, step: int) -> Number:
        return over_photos(caption_values(scores, name, step, "to_original", study.n_photos))

    lines: list[tuple[str, list[int], list[Number]]] = []
    for name in SETS:
        steps = _steps(scores, name)
        cells = [at(name, step) for step in steps]
        if any(cell.value is not None for cell in cells):
            lines.append((name, steps, cells))
    ends = sorted({step for _, steps, _ in lines for step in steps})
    if ends and _steps(scores, "unrelated"):
        lines.append(("unrelated caption", ends, [at("unrelated", 0)] * len(ends)))
    return Figure(
        "E6.bertscore",
        "BERTScore of the ablated caption with the original one",
        "lines",
        "units switched off",
        "BERTScore F1",
        tuple(line(name, steps, cells) for name, steps, cells in lines),
        ("Patch view, all positions, throughout generation. Bands: 95 % over photos.",),
        log_x=True,
    )
