"""What is written behind another photo into whose patches this photo's units are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from molyneux.neurons.ablation import intervened
from molyneux.neurons.partners import agreed_nouns
from molyneux.neurons.sight.edits import written
from molyneux.neurons.sight.forms import FRACTION
from molyneux.neurons.sight.measure import values_into
from molyneux.neurons.sight.words import SightOfWords
from molyneux.studies.e7_sight.asked import Panel
from molyneux.studies.subject import Subject
from molyneux.vision.layout import joined
from molyneux.words.nouns import find_nouns
from molyneux.words.synonyms import names_one_of

CLEAN = "none"
WRITTEN = ("change", "random", "other_values")


def caption_rows(
    subject: Subject, panel: Panel, places: Sequence[int], sight: SightOfWords, *, seed: int
) -> list[dict[str, Any]]:
    """Return the caption of the first word's first partner, as it is and with each set's values.

    Args:
        places: of the partners that were read, among the panel's.
    """
    group = sight.behind.baseline[0]
    first = sight.behind.receivers[group][0]
    partner = panel.partners[places[first]]
    own = {
        one.name: one
        for one in sight.sets
        if one.fraction == FRACTION and one.layers is None and one.draw == 0
    }
    chosen = [own["change"], own["random"], replace(own["change"], name="other_values")]
    edits = {}
    for one in chosen:
        values = values_into(sight.photo, sight.behind, one, first, group, seed=seed)
        if values is not None:
            edits[one.name] = written(one, values)
    prompt = joined([sight.behind.partners[first].prompt] * len(edits))
    with intervened(subject.model, list(edits.values()), prompt.patches):
        tokens = subject.captioner.write(prompt)
    texts = {CLEAN: partner.caption}
    texts |= {
        name: subject.model.decode(ids).strip() for name, ids in zip(edits, tokens, strict=True)
    }
    assert subject.word is not None
    agreed = agreed_nouns(subject.item.captions)
    rows: list[dict[str, Any]] = []
    for name, text in texts.items():
        nouns = {noun.lemma for noun in find_nouns(text)}
        rows.append(
            {
                "set": name,
                "partner": panel.numbers[places[first]],
                "text": text,
                "names_noun": names_one_of(subject.word.lemma, nouns),
                "names_human": any(names_one_of(noun, nouns) for noun in agreed)
                if agreed
                else None,
            }
        )
    return rows
