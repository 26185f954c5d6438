"""What stands beside E4's numbers: names of its lists, definitions, and the paper's own numbers."""

from __future__ import annotations

PAPER_IOU = ".13 to .68 (examples)"
KINDS = {"caption": "the caption's first noun", "asked": "a word asked for"}
LISTS = {
    "top": "top",
    "specific": "specific",
    "interpretable": "top, interpretable",
    "top_no_sinks": "top, no sinks",
    "specific_no_sinks": "specific, no sinks",
}
BY_CATEGORY = ("top", "specific")
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
