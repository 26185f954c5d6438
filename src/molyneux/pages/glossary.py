"""The words that pages explain where they stand, each in a sentence."""

from __future__ import annotations

GLOSSARY = {
    "unit": "One of the numbers that a layer's MLP computes before it writes to the residual "
    "stream; L12.u905 is number 905 of layer 12, counted from 0.",
    "patch": "One square of the grid that the encoder sees the photo in; each is one position of "
    "the image prompt.",
    "total": "A unit's gradient × activation, summed over the patches: what the word's logit would "
    "lose, to first order, if the unit were silent there.",
    "raw": "Units by their largest gradient × activation at any patch, sinks and all: the paper's "
    "ranking.",
    "specific": "How far a unit's score here exceeds what it is on reference photos, in standard "
    "deviations.",
    "contrast": "How far a unit's total here exceeds its mean behind other photos, with the same "
    "text and word.",
    "change": "How far a unit's mean activation over the patches is from what it is at reference "
    "photos, in standard deviations, whatever the word.",
    "share": "A unit's total over the sum of all units' |total|.",
    "score": "What a unit adds to a word, to first order: its gradient × activation, largest over "
    "the patches or where the word is written.",
    "mediated": "What a word loses when units of this photo are put to other photos' mean, patch "
    "by patch.",
    "sign": "Whether a unit is active positively or negatively where it counts: it then writes its "
    "output row, or the opposite.",
    "sink": "A unit near the top for at least half of the reference photos, or a patch of huge "
    "activations: about nothing in this photo.",
    "lens": "What a unit's output is read through to name the tokens that it raises and lowers.",
    "transplant": "Values that units have at one photo's patches, written into another photo's.",
    "edit norm": "How much an edit changes what its units write into the residual stream: the root "
    "of the sum of squares over patches and layers.",
    "absent word": "A word that nobody named in the photo, about as likely behind other photos: "
    "what its own units do to it is the control.",
    "trust": "How often a word of this probability is right, as measured on other photos with "
    "human captions.",
    "nat": "The unit of log-probability here: one nat more makes a word 2.7 times as likely.",
}
