"""E4's measurements by target: what its summary starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from molyneux.neurons.unit_sets import QUOTED, RANKINGS, UNIT_SETS
from molyneux.statistics.overlap import iou_ceiling
from molyneux.studies.finished import Columns, Finished, per_photo
from molyneux.studies.results import Number, over_photos

PAPER_IOU = ".13 to .68 (examples)"
KINDS = {"caption": "the caption's first noun", "asked": "a word asked for"}
LISTS = {name: UNIT_SETS[name].label for name in RANKINGS}
BY_CATEGORY = QUOTED
NOTHING = "no photo has a single object with a mask that the encoder sees"
FIELD = (
    "A receptive field is the unit's activation, times the sign in which it wrote for the word, "
    "over the patch grid, bilinearly upsampled to the encoder's input; IoU is that of its pixels "
    "above the 95th percentile with the mask, which went through the photo's own resize and crop. "
    "AUPRC scores the map itself, without a threshold."
)
CEILING = (
    "A field always covers 5 % of the photo, so a mask of area share A allows no IoU above "
    "min(A, .05) / max(A, .05), the ceiling (equal values at the threshold can make a field a "
    "little smaller than 5 %). Chance AUPRC is the mask's area share."
)
TARGETS = (
    "Words: the caption's first noun where it names an annotated category, and the photo's other "
    "annotated categories, up to five, asked for at the same position, which the model need not "
    "have written; each with exactly one annotated instance, and a mask. A photo's words are "
    "averaged; intervals are over photos."
)
CONTROLS = (
    "Controls: random units of the same layers, one for each unit; another photo's first 20 (for "
    "`top` lists its top units, for `specific` lists its specific ones), on this photo; the 5 % of "
    "pixels nearest the centre (AUPRC: by distance); a random map, in expectation; and the mean "
    "activation of all units at each patch, each as a share of its own largest."
)
SINKS = (
    "No sinks: ranked without sink patches and sink units. The fields themselves keep all patches."
)
CELLS = (
    "A patch's features can see far beyond its own square: in the default preset, whose encoder is "
    "convolutional, each of the 49 cells sees most of the photo. This limits how sharp a map is."
)
SINGLE = "Units one by one: the mean over the first 20 of a list, not the best of them."
MEAN_OF_20 = (
    "The mean of a list's first 20 units, each field scaled by its own largest magnitude: one map."
)


MEASURES = ("IoU", "IoU / ceiling", "AUPRC")
_COLUMNS = {"IoU": "iou", "IoU / ceiling": "iou", "AUPRC": "auprc"}
MAPS = ("centre", "random map", "activation")


@dataclass(frozen=True)
class FieldTargets:
    """Table `e4_fields`, by target: a word of a photo with the mask it names.

    Attributes:
        photo: each target's photo.
        area: each mask's share of what the encoder sees.
        rows: of the table, by ranking and whose units; -1 for a target without that list.
    """

    columns: Columns
    n_photos: int
    photo: Int[np.ndarray, " targets"]
    kind: Shaped[np.ndarray, " targets"]
    category: Shaped[np.ndarray, " targets"]
    area: Float[np.ndarray, " targets"]
    rows: dict[tuple[str, str], Int[np.ndarray, " targets"]]

    @classmethod
    def of(cls, study: Finished) -> FieldTargets:
        """Return a study's targets, ordered by photo."""
        columns = study.table("e4_fields")
        names = ("photo", "kind", "category")
        named = list(zip(*(columns[name].tolist() for name in names), strict=True))
        targets = {key: number for number, key in enumerate(dict.fromkeys(named))}
        rows: dict[tuple[str, str], Int[np.ndarray, " targets"]] = {}
        area = np.full(len(targets), np.nan)
        for row, key in enumerate(named):
            entry = (str(columns["ranking"][row]), str(columns["units"][row]))
            rows.setdefault(entry, np.full(len(targets), -1))[targets[key]] = row
            area[targets[key]] = columns["area"][row]
        return cls(
            columns,
            study.n_photos,
            np.array([photo for photo, _, _ in targets], dtype=int),
            np.array([kind for _, kind, _ in targets], dtype=object),
            np.array([category for _, _, category in targets], dtype=object),
            area,
            rows,
        )

    @property
    def ceiling(self) -> Float[np.ndarray, " targets"]:
        """The largest IoU each target's mask allows."""
        return np.array([iou_ceiling(float(share)) for share in self.area], dtype=float)

    def only(self, kept: Bool[np.ndarray, " targets"]) -> FieldTargets:
        """Return some of the targets."""
        return replace(
            self,
            photo=self.photo[kept],
            kind=self.kind[kept],
            category=self.category[kept],
            area=self.area[kept],
            rows={key: rows[kept] for key, rows in self.rows.items()},
        )

    def column(self, ranking: str, whose: str, name: str) -> Float[np.ndarray, " targets"]:
        """Return a column of a list, by target; NaN for targets without that list."""
        rows = self.rows.get((ranking, whose))
        found = np.full(len(self.photo), np.nan)
        if rows is not None and len(rows):
            there = rows >= 0
            found[there] = np.asarray(self.columns[name], dtype=float)[rows[there]]
        return found

    def score(
        self, ranking: str, whose: str, measure: str, what: str
    ) -> Float[np.ndarray, " targets"]:
        """Return what a list or map scores, by target.

        Args:
            measure: one of `MEASURES`.
            what: `single` for the mean over units, `best` for their maximum, `set` for the field
                of their mean; maps are one of a kind.
        """
        prefix = "set_" if whose in MAPS else {"single": "", "best": "best_", "set": "set_"}[what]
        found = self.column("" if whose in MAPS else ranking, whose, prefix + _COLUMNS[measure])
        return found / self.ceiling if measure == "IoU / ceiling" else found

    def by_photo(self, values: Float[np.ndarray, " targets"]) -> Float[np.ndarray, " photos"]:
        """Return the mean over each photo's targets; NaN for a photo without any."""
        return per_photo(self.photo, values, self.n_photos)

    def number(self, values: Float[np.ndarray, " targets"]) -> Number:
        """Return the mean over photos with its interval; of one photo alone there is none."""
        found = over_photos(self.by_photo(values))
        return Number(found.value, n=1) if found.n == 1 else found
