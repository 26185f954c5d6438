"""What E1 concludes: the paper's table of texts, and whether prompts differ from controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from molyneux.statistics.bootstrap import mean
from molyneux.statistics.distributions import kolmogorov_smirnov
from molyneux.statistics.equivalence import paired_tost
from molyneux.studies.e1_prompts.depth_summary import depth_figures, depth_table
from molyneux.studies.finished import Columns, Finished, per_photo
from molyneux.studies.results import (
    Cell,
    Number,
    Result,
    ResultTable,
    difference,
    over_photos,
    ratio,
)
from molyneux.studies.texts import BERT, CLIP, Metric, metric_notes, why_missing

_EQUIVALENCE_COLUMNS = (
    "metric",
    "image prompts minus",
    "difference",
    "90 % interval",
    "margin",
    "p",
    "verdict",
    "own margin",
    "verdict at the own margin",
    "of the way to human nouns",
)

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment


SOURCES = {
    "random": "random vectors",
    "prompts": "image prompts",
    "kept": "image prompts without sink patches",
    "other": "another photo's prompts",
    "caption": "the model's caption",
    "caption_nouns": "nouns of the model's caption",
    "human_nouns": "nouns of the human captions",
}
_PATCHWISE = ("random", "prompts", "kept", "other")
_KS_PAPER = {"random": "D = .037, p > .5", "human_nouns": "D > .9, p < .001"}
_SHOWN_TOKENS = 10


@dataclass(frozen=True)
class _Texts:
    """The scores of a metric, as one array per photo for each source."""

    metric: Metric
    scores: dict[str, list[np.ndarray]]
    why: str

    def each(self, source: str, statistic: str = "mean") -> np.ndarray:
        """Return a statistic of every photo's texts; NaN for photos without any."""
        function = getattr(np, statistic)
        return np.array([function(v) if len(v) else np.nan for v in self.scores[source]])


def _read_texts(study: Finished, metric: Metric) -> _Texts:
    table = study.table("e1_texts")
    value = np.asarray(table[metric.column], dtype=float)
    known = ~np.isnan(value)
    scores = {}
    for source in SOURCES:
        chosen = known & (table["source"] == ("prompts" if source == "kept" else source))
        if source == "kept":
            chosen &= ~_is_sink(study, table)
        photo, found = table["photo"][chosen], value[chosen]
        scores[source] = [found[photo == number] for number in range(study.n_photos)]
    return _Texts(metric, scores, why_missing(study, metric))


def _is_sink(study: Finished, texts: Columns) -> np.ndarray:
    """Return which texts are of a photo's own sink patches, going by their patch."""
    prompts = study.table("e1_prompts")
    sinks = set(
        zip(prompts["photo"][prompts["sink"]], prompts["patch"][prompts["sink"]], strict=True)
    )
    return np.array(
        [key in sinks for key in zip(texts["photo"], texts["patch"], strict=True)], dtype=bool
    )


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E1's tables and figures."""
    texts = [_read_texts(study, metric) for metric in (BERT, CLIP)]
    tables = [
        *(_agreement_table(study, found) for found in texts),
        _distance_table(texts),
        equivalence_table([_equivalence_scores(found) for found in texts]),
        _geometry_table(study),
        _tokens_table(study),
        depth_table(study),
    ]
    notes = (_backbone_note(study),)
    return Result(experiment.name, experiment.title, tuple(tables), depth_figures(study), notes)


def _backbone_note(study: Finished) -> str:
    """Return why this model's image prompts may be nearer to words than the paper's."""
    if "projector" in study.manifest.get("model", {}).get("projection", {}):
        return (
            "A vision-language model's projector and language model were trained together, so that "
            "its image prompts may be nearer to words, or to what the language model learned to "
            "read instead, than those of the paper's linear layer before a model of text alone."
        )
    return (
        "An encoder trained on category names, as the default preset's EfficientNet-Lite0 was on "
        "ImageNet's, may hand over features that are nearer to words than those of the paper's "
        "self-supervised BEiT."
    )


def _agreement_table(study: Finished, found: _Texts) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for source, label in SOURCES.items():
        row: dict[str, Cell] = {"text": label, "paper": found.metric.paper.get(source)}
        statistics = ("mean", "median", "max") if source in _PATCHWISE else ("mean",)
        for statistic in statistics:
            row[_COLUMNS[statistic]] = over_photos(found.each(source, statistic), why=found.why)
        rows.append(row)
    return ResultTable(
        f"E1.{found.metric.name.lower()}",
        f"{found.metric.name} of what image prompts decode to",
        ("text", *_COLUMNS.values(), "paper"),
        tuple(rows),
        (
            "A prompt's text: the 5 tokens whose input embeddings are nearest by cosine, the space "
            "around each removed, joined by spaces; one text a patch.",
            "Mean, median and maximum run over a photo's patches, then the mean over photos is "
            "taken. The mean is the headline: a maximum over all patches lifts random vectors "
            "too. How the paper joins tokens and patches is not stated there.",
            "Random vectors: Gaussian, with the norms of the photo's own prompts. Another photo's "
            "prompts: scored against this photo's captions and pixels.",
            "Nouns: distinct, singular, joined in the order in which the captions name them. The "
            "paper prints one number for its captions and their nouns.",
            *metric_notes(study),
        ),
    )


_COLUMNS = {"mean": "mean", "median": "median", "max": "maximum"}


def _distance_table(texts: list[_Texts]) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for found in texts:
        for control in ("random", "other", "human_nouns"):
            row: dict[str, Cell] = {
                "metric": found.metric.name,
                "image prompts against": SOURCES[control],
                "paper": _KS_PAPER.get(control),
            }
            pairs = zip(found.scores["prompts"], found.scores[control], strict=True)
            both = [(a, b) for a, b in pairs if len(a) and len(b)]
            if both:
                a, b = ([pair[side] for pair in both] for side in (0, 1))
                distance = kolmogorov_smirnov(a, b)
                row["D"] = Number(distance.d, n=distance.n)
                row["upper 95 % bound"] = Number(distance.high95, n=distance.n)
                row["p"] = f"{distance.p:.2g}"
                row["values"] = "{} and {}".format(*distance.n_values)
            else:
                row["D"] = Number.missing(found.why)
            rows.append(row)
    return ResultTable(
        "E1.distance",
        "Kolmogorov-Smirnov distance of the scores of image prompts",
        ("metric", "image prompts against", "D", "upper 95 % bound", "p", "values", "paper"),
        tuple(rows),
        (
            "As in the paper: all patches of all photos are pooled (of human nouns, one text a "
            "photo), and p takes them for independent, which patches of one photo are not. A large "
            "p is no proof of equality; the bound is: the 95th percentile of D over resampled "
            "photos, which overstates a small D.",
            "The paper's D is printed here beside both metrics.",
        ),
    )


def _equivalence_scores(found: _Texts) -> EquivalenceScores:
    return EquivalenceScores(
        found.metric.name,
        found.metric.margin,
        prompts=found.each("prompts"),
        random=found.each("random"),
        nouns=found.each("human_nouns"),
        controls={SOURCES[control]: found.each(control) for control in ("random", "other")},
        why=found.why,
    )


def _geometry_table(study: Finished) -> ResultTable:
    table = study.table("e1_geometry")

    def number(column: str) -> Number:
        return over_photos(per_photo(table["photo"], table[column], study.n_photos))

    kinds = {"prompt": "image prompts", "random": "random vectors", "token": "token embeddings"}
    rows: list[dict[str, Cell]] = [
        {
            "vectors": label,
            "norm": number("token_norm" if kind == "token" else "prompt_norm"),
            "cosine with the nearest token": number(f"{kind}_nearest"),
            "cosine of two": number(f"{kind}_pair"),
        }
        for kind, label in kinds.items()
    ]
    return ResultTable(
        "E1.geometry",
        "Where image prompts lie among the input embeddings",
        ("vectors", "norm", "cosine with the nearest token", "cosine of two"),
        tuple(rows),
        (
            "Means over a photo's patches. Random vectors have the prompts' norms. Tokens: as many "
            "random ones as patches for the cosines, their nearest being another token; all for "
            "the norm. Cosine of two: of two patches of one photo, or two vectors of a kind.",
        ),
    )


def _tokens_table(study: Finished) -> ResultTable:
    table = study.table("e1_prompts")
    nearest = {
        kind: np.array([tokens[0] for tokens in table[column]], dtype=object)
        for kind, column in (("prompts", "tokens"), ("random", "random_tokens"))
    }
    counted = Counter(nearest["prompts"].tolist())
    common = sorted(counted, key=lambda token: (-counted[token], token))[:_SHOWN_TOKENS]

    def share(kind: str, token: str) -> Number:
        hit = (nearest[kind] == token).astype(float)
        return over_photos(per_photo(table["photo"], hit, study.n_photos), mean)

    rows: list[dict[str, Cell]] = [
        {
            "token": repr(token),
            "share of patches": share("prompts", token),
            "of random vectors": share("random", token),
            "photos": len(np.unique(table["photo"][nearest["prompts"] == token])),
        }
        for token in common
    ]
    return ResultTable(
        "E1.tokens",
        "The tokens nearest to most image prompts",
        ("token", "share of patches", "of random vectors", "photos"),
        tuple(rows),
        ("The nearest token of each patch; shares are means over photos.",),
    )


@dataclass(frozen=True)
class EquivalenceScores:
    """The scores that one metric's rows compare; one mean a photo, NaN for a photo without texts.

    Attributes:
        metric: its name.
        margin: in the metric's unit, fixed beforehand.
        prompts: of image prompts.
        random: of random vectors, where the way to the nouns begins.
        nouns: of the human captions' nouns, where it ends.
        controls: what prompts are compared with, by the label of its row.
        why: what a cell says where nothing was scored.
    """

    metric: str
    margin: float
    prompts: Float[np.ndarray, " photos"]
    random: Float[np.ndarray, " photos"]
    nouns: Float[np.ndarray, " photos"]
    controls: Mapping[str, Float[np.ndarray, " photos"]]
    why: str


def equivalence_table(compared: list[EquivalenceScores]) -> ResultTable:
    """Return the table of equivalence: the margin fixed beforehand, and the study's own beside."""
    return ResultTable(
        "E1.equivalence",
        "Are image prompts equivalent to their controls?",
        _EQUIVALENCE_COLUMNS,
        tuple(_row(found, label) for found in compared for label in found.controls),
        (
            "Paired two one-sided tests on each photo's difference of means over patches. The "
            "margin was fixed beforehand: 10 % of (human nouns - random vectors) in the paper's "
            "numbers, .012 BERTScore and .87 CLIPScore.",
            "Own margin: 10 % of (human nouns - random vectors) in this study's own numbers, for "
            "another backbone may have another range. It is not fixed beforehand, so its verdict "
            "stands beside the other and does not replace it.",
            "Last column: the difference as a share of the same (human nouns - random vectors).",
            "'Not shown equivalent' is not 'different': for that see whether the interval of the "
            "difference leaves out 0.",
        ),
    )


def _row(found: EquivalenceScores, label: str) -> dict[str, Cell]:
    apart = found.prompts - found.controls[label]
    row: dict[str, Cell] = {
        "metric": found.metric,
        "image prompts minus": label,
        "difference": difference(found.prompts, found.controls[label], why=found.why),
        "margin": f"±{found.margin:g}",
    }
    values = apart[~np.isnan(apart)]
    if len(values) < 2:
        return row
    test = paired_tost(values, found.margin)
    row["90 % interval"] = Number(test.mean, test.low90, test.high90, test.n)
    row["p"] = f"{test.p:.2g}"
    row["verdict"] = _verdict(test.equivalent)
    way = found.nouns - found.random
    own = 0.1 * float(way[~np.isnan(way)].mean()) if not np.isnan(way).all() else 0.0
    if own > 0:
        row["own margin"] = f"±{own:.2g}"
        row["verdict at the own margin"] = _verdict(paired_tost(values, own).equivalent)
    row["of the way to human nouns"] = ratio(apart, way, why=found.why)
    return row


def _verdict(equivalent: bool) -> str:
    return "equivalent" if equivalent else "not shown equivalent"
