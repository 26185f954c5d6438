"""What a unit writes: the tokens its output row raises, read through the unembedding.

Schwettmann et al. 2023, section 2.2: softmax of (unembedding x output row), top 10. Whether the
final norm's scale takes part is not stated there; it does here unless `final_norm=False`. Nor is
the head's bias; it takes no part here unless `bias=True`. The direction is the one actually
written, sign(activation) x row, through the scale of a norm after the MLP where there is one. Any
other lens than the head's own (`molyneux.neurons.lens`) can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import true_or_false, whole_number
from molyneux.neurons.checks import as_model, as_signed_units, as_token
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.neurons.lens import HeadLens, Lens, as_lens
from molyneux.neurons.unit import Unit
from molyneux.words.dictionary import NEEDED, TOP, chance_of_words, is_word

TOKENS = 10
_UNITS = 256  # decoded at once: 50 MB of logits
CHUNK = 512


@dataclass(frozen=True)
class Decoded:
    """The tokens a unit raises most and lowers most, in the direction given by `sign`."""

    unit: Unit
    sign: int
    tokens: list[str]
    suppressed: list[str]


def directions(
    model: LanguageModel, units: Sequence[Unit], signs: Sequence[int], lens: Lens | None = None
) -> Float[Tensor, "units d_model"]:
    """Return what each unit writes, as the head would be given it: sign x row, through a lens.

    A norm after the MLP, where the model has one, scales it first. Units of a layer that the lens
    does not read have NaN.

    Args:
        lens: `HeadLens(model)` if None.
    """
    lens = HeadLens(model) if lens is None else lens
    place = model.unembedding().device
    layers: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        layers.setdefault(unit.layer, []).append(i)
    read = torch.full((len(units), model.d_model), torch.nan, dtype=torch.float32, device=place)
    for layer, at in layers.items():
        if not lens.reads(layer):
            continue
        chosen = model.output_rows(layer)[[units[i].unit for i in at]]
        signed = torch.tensor([[signs[i]] for i in at], dtype=torch.float32, device=place)
        read[at] = lens(layer, written(model, layer, chosen.to(place, torch.float32) * signed))
    return read


def written(
    model: LanguageModel, layer: int, rows: Float[Tensor, "*any d_stream"]
) -> Float[Tensor, "*any d_stream"]:
    """Return what the stream is given of an MLP's output: through the scale of a norm after it.

    Centring, and division by the output's size, are left out.
    """
    scale = model.write_scale(layer)
    return rows if scale is None else rows * scale.to(rows.device).float()


def unit_logits(
    model: LanguageModel,
    units: Sequence[Unit],
    signs: Sequence[int],
    lens: Lens,
    bias: bool,
    unembedding: Float[Tensor, "d_vocab d_model"],
) -> Float[Tensor, "units d_vocab"]:
    """Return what each unit adds to every token's logit at activation `sign`."""
    logits = directions(model, units, signs, lens) @ unembedding.T
    offset = model.unembedding_bias() if bias else None
    return logits if offset is None else logits + offset.float().to(logits.device)


def _lens_of(model: LanguageModel, lens: Lens | None, final_norm: bool) -> Lens:
    """Return a lens that was given, or the head's own."""
    if lens is None:
        return HeadLens(model, final_norm)
    return as_lens(model, lens, {})


@torch.no_grad()
def decode_units(
    model: LanguageModel,
    units: Sequence[Unit | str],
    signs: Sequence[int] | None = None,
    *,
    top: int = 10,
    final_norm: bool = True,
    bias: bool = False,
    lens: Lens | None = None,
) -> list[Decoded]:
    """Return each unit's `top` tokens; a sign of 0 or None is read as positive.

    A unit of a layer that the lens does not read has none.

    Args:
        units: units or their names; `L12.u905-` is the negative direction of L12.u905.
        signs: of each unit's activation, where names do not say it.
        final_norm: whether the scale of the final norm takes part.
        bias: whether the head's bias is added, where it has one.
        lens: what they are read through, instead of the head with its final norm.

    Raises:
        UsageError: the model has no such unit, or there are not as many signs as units.
    """
    signed = as_signed_units(as_model(model), units, signs)
    chosen, ways = [unit for unit, _ in signed], [sign for _, sign in signed]
    top = whole_number("top", top, least=1)
    final_norm, bias = true_or_false("final_norm", final_norm), true_or_false("bias", bias)
    lens = _lens_of(model, lens, final_norm)
    decoded: list[Decoded] = []
    for start in range(0, len(chosen), CHUNK):
        part = slice(start, start + CHUNK)
        rows = directions(model, chosen[part], ways[part], lens)
        for unit, sign, both in zip(
            chosen[part], ways[part], extreme_tokens(model, rows, top, bias=bias), strict=True
        ):
            decoded.append(Decoded(unit, sign, *(both if lens.reads(unit.layer) else ([], []))))
    return decoded


@torch.no_grad()
def extreme_tokens(
    model: LanguageModel,
    rows: Float[Tensor, "rows d_model"],
    top: int = TOKENS,
    *,
    bias: bool = False,
) -> list[tuple[list[str], list[str]]]:
    """Return the tokens that each row raises most and lowers most, as the head is given it."""
    unembedding = model.unembedding().float()
    offset = model.unembedding_bias() if bias else None
    texts: dict[int, str] = {}

    def read(tokens: list[int]) -> list[str]:
        for token in tokens:
            if token not in texts:
                texts[token] = model.token_text(token)
        return [texts[token] for token in tokens]

    found: list[tuple[list[str], list[str]]] = []
    for part in rows.split(CHUNK):
        logits = part.to(unembedding.device) @ unembedding.T
        if offset is not None:
            logits = logits + offset.float().to(logits.device)
        n = min(top, logits.shape[1])
        raised = logits.topk(n, dim=1).indices.tolist()
        lowered = logits.topk(n, dim=1, largest=False).indices.tolist()
        found += [(read(high), read(low)) for high, low in zip(raised, lowered, strict=True)]
    return found


@torch.no_grad()
def token_ranks(
    model: LanguageModel,
    units: Sequence[Unit],
    signs: Sequence[int],
    token_id: int,
    *,
    final_norm: bool = True,
    bias: bool = False,
    lens: Lens | None = None,
) -> Int[Tensor, " units"]:
    """Return the place of a token among the tokens each unit writes; 0 is the first.

    Args:
        lens: what they are read through, instead of the head with its final norm; it has to read
            the units' layers.
    """
    lens = _lens_of(model, lens, final_norm)
    unembedding = model.unembedding().float()
    ranks = []
    for start in range(0, len(units), CHUNK):
        part = slice(start, start + CHUNK)
        logits = unit_logits(model, units[part], signs[part], lens, bias, unembedding)
        ranks.append((logits > logits[:, token_id : token_id + 1]).sum(dim=1))
    return torch.cat(ranks) if ranks else torch.empty(0, dtype=torch.long)


@torch.no_grad()
def find_writers(
    model: LanguageModel,
    token_id: int,
    *,
    top: int = 20,
    final_norm: bool = True,
    lens: Lens | None = None,
) -> list[tuple[Unit, int, int]]:
    """Return (unit, sign, rank) of the units in whose writing a token ranks highest.

    Ranking the token for every unit takes units x vocabulary products. The token's logit,
    standardised over the vocabulary by its exact mean and deviation, costs d_model^2 a unit
    instead; the 2,000 highest by it are then ranked exactly. Layers that the lens does not read
    have none.

    Args:
        lens: what units are read through, instead of the head with its final norm.

    Raises:
        UsageError: the vocabulary has no such token.
    """
    token_id = as_token(as_model(model), token_id)
    top, final_norm = whole_number("top", top, least=1), true_or_false("final_norm", final_norm)
    lens = _lens_of(model, lens, final_norm)
    read_layers = [layer for layer in range(model.n_layers) if lens.reads(layer)]
    unembedding = model.unembedding().float()
    mean = unembedding.mean(dim=0)
    centred = unembedding - mean
    covariance = centred.T @ centred / len(unembedding)
    standard, d_mlp = [], model.d_mlp
    for layer in read_layers:
        units = [Unit(layer, k) for k in range(d_mlp)]
        read = directions(model, units, [1] * len(units), lens)
        spread = ((read @ covariance) * read).sum(dim=1).clamp(min=0).sqrt()
        z = read @ (unembedding[token_id] - mean) / spread.clamp(min=1e-12)
        standard += [z, -z]
    every = torch.cat(standard)
    best = every.topk(min(2000, len(every))).indices.tolist()
    # Layer by layer, every unit as written positively, then every unit negatively.
    places = [divmod(i, d_mlp) for i in best]
    chosen = [
        (Unit(read_layers[place // 2], unit), -1 if place % 2 else 1) for place, unit in places
    ]
    ranks = token_ranks(
        model, [u for u, _ in chosen], [s for _, s in chosen], token_id, lens=lens
    ).tolist()
    ordered = sorted(range(len(chosen)), key=lambda i: (ranks[i], i))[:top]
    return [(*chosen[i], ranks[i]) for i in ordered]


def words_by_chance(model: LanguageModel) -> float:
    """Return how often ten random tokens of a model's vocabulary hold seven dictionary words.

    What a unit that writes at random passes as `interpretable` with (see `chance_of_words`).
    """
    texts = (model.token_text(token) for token in range(model.d_vocab))
    return chance_of_words(sum(map(is_word, texts)), model.d_vocab)


@torch.no_grad()
def interpretable_table(
    model: LanguageModel,
    on_layer: Callable[[int], None] = lambda layer: None,
    *,
    final_norm: bool = True,
    bias: bool = False,
    written: bool = True,
) -> Bool[Tensor, "2 layers d_mlp"]:
    """Return whether each unit's ten tokens are words, written negatively and positively.

    Args:
        written: whether units are decoded in the direction written; else both are the positive.
    """
    table = torch.zeros(2, model.n_layers, model.d_mlp, dtype=torch.bool)
    unembedding = model.unembedding().float()
    offset = model.unembedding_bias() if bias else None
    lens = HeadLens(model, final_norm)
    texts = (model.token_text(token) for token in range(model.d_vocab))
    words = torch.tensor([is_word(text) for text in texts], device=unembedding.device)
    for layer in range(model.n_layers):
        for start in range(0, model.d_mlp, CHUNK):
            units = [Unit(layer, k) for k in range(start, min(start + CHUNK, model.d_mlp))]
            positive = unit_logits(model, units, [1] * len(units), lens, False, unembedding)
            for row, sign in ((1, 1), (0, -1)) if written else ((1, 1),):
                # What is written negatively is the negative, exactly: one product serves both.
                logits = positive if sign > 0 else -positive
                if offset is not None:
                    logits = logits + offset.float().to(logits.device)
                found = words[logits.topk(TOP, dim=1).indices].sum(dim=1) >= NEEDED
                table[row, layer, start : start + len(units)] = found.cpu()
        on_layer(layer)
    if not written:
        table[0] = table[1]
    return table


@torch.no_grad()
def read_units(
    model: LanguageModel,
    signed: Sequence[tuple[Unit, int]],
    token_id: int,
    decoding: Decoding = DEFAULT_DECODING,
    others: Sequence[int] = (),
    lens: Lens | None = None,
) -> list[tuple[str, float, float | None]]:
    """Return each unit's text, the share of the vocabulary it raises above a token, and the mean
    of that share over some other tokens; None without any.

    The same as `decode_units` and `token_ranks`, from one product with the unembedding.

    Args:
        lens: what units are read through, all of layers that it reads; as `decoding` has it if
            None.
    """
    unembedding = model.unembedding().float()
    lens = HeadLens(model, decoding.final_norm) if lens is None else lens
    texts: dict[int, str] = {}
    found: list[tuple[str, float, float | None]] = []
    for start in range(0, len(signed), _UNITS):
        part = signed[start : start + _UNITS]
        units = [unit for unit, _ in part]
        signs = [sign if decoding.written else 1 for _, sign in part]
        logits = unit_logits(model, units, signs, lens, decoding.bias, unembedding)
        raised = logits.topk(min(TOKENS, logits.shape[1]), dim=1).indices.tolist()
        counts = [(logits > logits[:, k, None]).sum(dim=1).tolist() for k in (token_id, *others)]
        n = logits.shape[1]
        for tokens, above, *elsewhere in zip(raised, *counts, strict=True):
            for token in tokens:
                if token not in texts:
                    texts[token] = model.token_text(token)
            text = text_of(texts[token] for token in tokens)
            other = sum(elsewhere) / (len(elsewhere) * n) if elsewhere else None
            found.append((text, above / n, other))
    return found


def text_of(tokens: Iterable[str]) -> str:
    """Return tokens as one text: the space around each removed, joined by single spaces."""
    return " ".join(stripped for token in tokens if (stripped := token.strip()))
