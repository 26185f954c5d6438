"""E1: what image prompts say by themselves, and from which layer on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from molyneux.neurons.decoding import text_of
from molyneux.neurons.streams import nearest_tokens, random_prompts
from molyneux.studies.e1_prompts import NAME
from molyneux.studies.e1_prompts.claims import CLAIMS
from molyneux.studies.e1_prompts.depth import SCHEMA as DEPTH
from molyneux.studies.e1_prompts.depth import measure_depth
from molyneux.studies.e1_prompts.measure import (
    GEOMETRY,
    NEAREST,
    PROMPTS,
    TEXTS,
    mean_of,
    pair_cosine,
    random_tokens,
    token_norm,
)
from molyneux.studies.experiment import Experiment, Needs, PhotoRecord, Rows, TextScorers
from molyneux.studies.texts import score_texts
from molyneux.words.nouns import nouns_text

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.studies.finished import Finished
    from molyneux.studies.results import Result
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.subject import Subject


class Prompts(Experiment):
    """What image prompts, and the positions they stand at, decode to."""

    name = NAME
    title = "Do image prompts already say it?"
    claims = CLAIMS
    needs = Needs(captions=True)

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables measured on a photo."""
        return {"e1_prompts": PROMPTS, "e1_geometry": GEOMETRY, "e1_depth": DEPTH}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's nearest tokens, its geometry, and its nouns' places at every layer."""
        prompts = subject.projected.float().cpu()
        random = random_prompts(prompts, subject.seed("E1 random vectors"))
        tokens = random_tokens(subject, len(prompts))
        together = torch.cat([prompts, random, tokens])
        near = nearest_tokens(subject.model, together, NEAREST)
        n = len(prompts)
        own, drawn, other = near[:n], near[n : 2 * n], near[2 * n :]
        rows = [
            {
                "patch": patch,
                "sink": bool(subject.sink_patches[patch]),
                "norm": float(prompts[patch].norm()),
                "tokens": own[patch].tokens,
                "cosine": own[patch].cosine,
                "random_tokens": drawn[patch].tokens,
                "random_cosine": drawn[patch].cosine,
            }
            for patch in range(len(prompts))
        ]
        geometry = {
            "prompt_norm": float(prompts.norm(dim=1).mean()),
            "token_norm": token_norm(subject.model),
            "prompt_nearest": mean_of(found.cosine[0] for found in own),
            "random_nearest": mean_of(found.cosine[0] for found in drawn),
            "token_nearest": mean_of(found.cosine[1] for found in other),  # the first is itself
            "prompt_pair": pair_cosine(prompts),
            "random_pair": pair_cosine(random),
            "token_pair": pair_cosine(tokens),
        }
        return {
            "e1_prompts": rows,
            "e1_geometry": [geometry],
            "e1_depth": measure_depth(subject),
        }

    def text_tables(self) -> dict[str, pa.Schema]:
        """Return the tables of scored texts."""
        return {"e1_texts": TEXTS}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: TextScorers
    ) -> Rows:
        """Return the scores of every text against this photo and what people said of it."""
        by_source = {
            "prompts": [text_of(row["tokens"]) for row in own["e1_prompts"]],
            "random": [text_of(row["random_tokens"]) for row in own["e1_prompts"]],
        }
        if partner["index"] != own["index"]:
            by_source["other"] = [text_of(row["tokens"]) for row in partner["e1_prompts"]]
        captions = own["captions"] or []
        single = {
            "caption": own["caption"] or "",
            "caption_nouns": nouns_text([own["caption"] or ""]),
            "human_nouns": nouns_text(captions),
        }
        texts = [text for many in by_source.values() for text in many]
        scores = score_texts([*texts, *single.values()], captions, photo, scorers)
        rows: list[dict[str, Any]] = [
            {"source": source, "patch": patch, **scores.of(text)}
            for source, many in by_source.items()
            for patch, text in enumerate(many)
        ]
        rows += [
            {"source": source, "patch": None, **scores.of(text)}
            for source, text in single.items()
            if text
        ]
        return {"e1_texts": rows}

    def summarise(self, study: Finished) -> Result:
        """Return the paper's table with intervals, the tests, and the curves over layers."""
        from molyneux.studies.e1_prompts.summary import summarise

        return summarise(self, study)

    def seconds(self, settings: StudySettings, photos: int) -> float:
        """Return 4 s a photo."""
        return 4.0 * photos
