"""BERTScore: how well the tokens of two texts match in a language model's hidden space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from molyneux.checkpoints.hub import model_name, reading_model
from molyneux.errors import UsageError
from molyneux.weights import minilm
from molyneux.weights.fetch import Note

# The layers that the method's authors chose by their agreement with human judgements.
CHOSEN_LAYERS = {
    minilm.NAME: 6,
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "roberta-base": 10,
    "roberta-large": 17,
    "roberta-large-mnli": 19,
    "distilbert-base-uncased": 5,
    "microsoft/deberta-base-mnli": 9,
    "microsoft/deberta-large-mnli": 18,
    "microsoft/deberta-xlarge-mnli": 40,
}
_TEXTS_PER_BATCH = 64
_PAIRS_PER_STEP = 1 << 22  # token pairs whose similarities are held at once: 16 MB


@dataclass(frozen=True)
class Backbone:
    """A language model whose hidden states stand for tokens.

    Attributes:
        name: what tables call it.
        network: the model, in evaluation mode.
        tokenizer: its tokenizer.
        n_layers: hidden layer 0 is the input embeddings, `n_layers` the model's output.
        chosen_layer: the layer that is read if none is named.
    """

    name: str
    network: nn.Module
    tokenizer: Any
    n_layers: int
    chosen_layer: int


@dataclass(frozen=True)
class _Embedded:
    """Texts as unit vectors, padded to one length: `present` tokens, and those that `count`."""

    vectors: Float[Tensor, "texts tokens dimensions"]
    present: Bool[Tensor, "texts tokens"]
    count: Bool[Tensor, "texts tokens"]


class BertScorer:
    """BERTScore (Zhang et al. 2020, arXiv 1904.09675) on one layer of a backbone.

    No idf weights and no rescaling. The tokens that open and close a text (CLS, SEP) can be
    matched but have weight 0, as in the authors' package. Two departures: padding never takes
    part in a maximum (there it enters as similarity 0), and the F1 is 0, its limit, where
    precision or recall is not above 0 (there the quotient can take any value).
    """

    def __init__(self, backbone: Backbone, layer: int | None = None) -> None:
        """Score on a hidden layer, the backbone's chosen one if none is named.

        Raises:
            UsageError: the backbone has no such layer.
        """
        self.layer = backbone.chosen_layer if layer is None else layer
        if not 0 <= self.layer <= backbone.n_layers:
            raise UsageError(
                f"{backbone.name} has hidden layers 0 to {backbone.n_layers}, not {layer}; "
                "name one of these"
            )
        self.backbone = backbone

    @property
    def name(self) -> str:
        """The backbone and the layer, to stand on every table."""
        return f"{self.backbone.name}, layer {self.layer}"

    def f1(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> Float[np.ndarray, "candidates references"]:
        """Return the F1 (at most 1) of every candidate with every reference.

        A text without tokens scores 0. Each distinct text is embedded once, in batches that
        depend on the set of texts alone: neither their order nor other calls change a bit.
        Another number of threads, or another machine, may.
        """
        precision, recall = self.precision_and_recall(candidates, references)
        positive = (precision > 0) & (recall > 0)
        found: np.ndarray = np.zeros_like(precision)
        np.divide(2 * precision * recall, precision + recall, out=found, where=positive)
        return found

    def precision_and_recall(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> tuple[
        Float[np.ndarray, "candidates references"], Float[np.ndarray, "candidates references"]
    ]:
        """Return the mean best match of the candidates' tokens, and of the references' tokens."""
        candidates = [_cleaned(text) for text in candidates]
        references = [_cleaned(text) for text in references]
        precision = np.zeros((len(candidates), len(references)))
        recall = np.zeros_like(precision)
        if precision.size == 0:
            return precision, recall
        ids = self._token_ids(candidates, references)
        order = sorted(ids, key=lambda text: (len(ids[text]), text))
        batches = [
            order[start : start + _TEXTS_PER_BATCH]
            for start in range(0, len(order), _TEXTS_PER_BATCH)
        ]
        left, right = set(candidates), set(references)
        with torch.inference_mode():
            embedded = [(batch, self._embed([ids[text] for text in batch])) for batch in batches]
            left_rows = [_rows_of(left, batch, states) for batch, states in embedded]
            right_rows = [_rows_of(right, batch, states) for batch, states in embedded]
            rows = {text: row for row, text in enumerate(t for t in order if t in left)}
            columns = {text: row for row, text in enumerate(t for t in order if t in right)}
            table = torch.cat(
                [
                    torch.cat([_match(a, b) for b in right_rows if len(b.vectors)], dim=2)
                    for a in left_rows
                    if len(a.vectors)
                ],
                dim=1,
            ).numpy()
        where = np.ix_([rows[text] for text in candidates], [columns[text] for text in references])
        return table[0].astype(float)[where], table[1].astype(float)[where]

    def _token_ids(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> dict[str, list[int]]:
        """Return the token ids of every distinct text, special tokens included."""
        texts = sorted({*candidates, *references})
        tokenizer = self.backbone.tokenizer
        # Where a leading space makes another token (RoBERTa, GPT-2), a word has its space.
        space = " " if _ids(tokenizer, ["a"]) != _ids(tokenizer, [" a"]) else ""
        ids = _ids(tokenizer, [text and space + text for text in texts])
        return dict(zip(texts, ids, strict=True))

    def _embed(self, ids: list[list[int]]) -> _Embedded:
        """Return the unit vectors of one batch's tokens."""
        length = max(1, *map(len, ids))
        tokenizer = self.backbone.tokenizer
        padding = tokenizer.pad_token_id or 0
        padded = torch.tensor([row + [padding] * (length - len(row)) for row in ids])
        present = torch.tensor([[i < len(row) for i in range(length)] for row in ids])
        states = self.backbone.network(
            input_ids=padded, attention_mask=present.long(), output_hidden_states=True
        ).hidden_states[self.layer]
        count = present.clone()
        for special in (tokenizer.cls_token_id, tokenizer.sep_token_id):
            if special is not None:
                count &= padded != special
        return _Embedded(nn.functional.normalize(states, dim=-1), present, count)


def load_bert_scorer(
    model: str | Path | None = None,
    layer: int | None = None,
    note: Note = lambda line: None,
) -> BertScorer:
    """Return the scorer of a backbone: all-MiniLM-L6-v2 unless another is named.

    Raises:
        WeightsError: the backbone's files cannot be had or read.
        UsageError: it has no such layer.
    """
    backbone = load_backbone(model, note)
    scorer = BertScorer(backbone, layer)
    layers = getattr(getattr(backbone.network, "encoder", None), "layer", None)
    if isinstance(layers, nn.ModuleList):
        del layers[scorer.layer + (scorer.layer < len(layers)) :]
    return scorer


def load_backbone(model: str | Path | None = None, note: Note = lambda line: None) -> Backbone:
    """Return a backbone (float32): None is all-MiniLM-L6-v2, else a local folder or hub name.

    Raises:
        WeightsError: its files cannot be had or read.
    """
    from transformers import AutoModel, AutoTokenizer

    source = minilm.prepare_minilm(note) if model is None else model
    name = minilm.NAME if model is None else model_name(model)
    remedy = "give a folder that holds a model with its tokenizer, or none for all-MiniLM-L6-v2"
    with reading_model(source, "no BERTScore", remedy) as arguments:
        network = AutoModel.from_pretrained(source, dtype=torch.float32, **arguments)
        tokenizer = AutoTokenizer.from_pretrained(source, **arguments)
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    n_layers = int(network.config.num_hidden_layers)
    longest = getattr(network.config, "max_position_embeddings", None) or 512
    if tokenizer.model_max_length > longest:  # unset; RoBERTa's table has two rows it cannot use
        tokenizer.model_max_length = max(1, longest - 2)
    chosen = CHOSEN_LAYERS.get(name, n_layers)
    network = network.eval().requires_grad_(False)
    return Backbone(name, network, tokenizer, n_layers, min(chosen, n_layers))


def _cleaned(text: str) -> str:
    # Half of a surrogate pair, which a cut JSON string may hold, is no text to a tokenizer.
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    found = tokenizer(texts, truncation=True, max_length=tokenizer.model_max_length)
    return [list(ids) for ids in found["input_ids"]]


def _rows_of(wanted: set[str], batch: list[str], states: _Embedded) -> _Embedded:
    rows = [row for row, text in enumerate(batch) if text in wanted]
    return _Embedded(states.vectors[rows], states.present[rows], states.count[rows])


def _match(a: _Embedded, b: _Embedded) -> Float[Tensor, "two texts_a texts_b"]:
    """Return precision and recall of every text of one batch with every text of another."""
    steps = list(_steps(a, b))
    return torch.cat([_match_step(a, step) for step in steps], dim=2)


def _steps(a: _Embedded, b: _Embedded) -> Iterator[_Embedded]:
    texts, tokens, _ = b.vectors.shape
    size = max(1, _PAIRS_PER_STEP // (a.present.numel() * tokens))
    for start in range(0, texts, size):
        part = slice(start, start + size)
        yield _Embedded(b.vectors[part], b.present[part], b.count[part])


def _match_step(a: _Embedded, b: _Embedded) -> Float[Tensor, "two texts_a texts_b"]:
    similarity = torch.einsum("itd,jsd->ijts", a.vectors, b.vectors)
    both = a.present[:, None, :, None] & b.present[None, :, None, :]
    similarity = similarity.masked_fill(~both, -2)  # below every cosine
    count_a = a.count[:, None].float()
    count_b = b.count[None].float()
    # A text without a counting token has no best match: its mean, and thereby the F1, is 0.
    precision = (similarity.amax(3) * count_a).sum(2) / count_a.sum(2).clamp(min=1)
    recall = (similarity.amax(2) * count_b).sum(2) / count_b.sum(2).clamp(min=1)
    neither = (count_a.sum(2) == 0) | (count_b.sum(2) == 0)
    return torch.stack([precision, recall]).masked_fill(neither, 0)
