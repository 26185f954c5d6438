"""Greedy continuation of an image prompt."""

from __future__ import annotations

from typing import Any

import torch

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import whole_number
from molyneux.neurons.checks import as_prompt
from molyneux.vision.layout import ImagePrompt

MAX_TOKENS = 20


def end_tokens(model: LanguageModel) -> set[int]:
    """Return the tokens that end a text: special ones, and those its own generation stops at.

    Chat models end a turn with a token that their tokenizer may not call special (Gemma 3's).
    """
    settings = getattr(model.model, "generation_config", None)
    own = getattr(settings, "eos_token_id", None)
    stops = [] if own is None else own if isinstance(own, list | tuple) else [own]
    return {*model.tokenizer.all_special_ids, *stops}


@torch.no_grad()
def continue_greedily(
    model: LanguageModel,
    prompt: ImagePrompt,
    max_tokens: int = MAX_TOKENS,
    *,
    begun: Any = None,
) -> list[list[int]]:
    """Return, for every row of the prompt, the tokens the model writes greedily.

    A row ends with its first full stop, before a line break or a token that ends a text, or at
    `max_tokens`.
    Padding rows of the vocabulary are never chosen. Edits that are active act on every step.

    Args:
        begun: the output of the prompt's pass with its cache, which grows; the pass is made if
            None.

    Raises:
        UsageError: the prompt is of another model, or too long, or there are no tokens to write.
        AdapterError: the model overflows in its dtype.
    """
    prompt = as_prompt(model, prompt, one_photo=False)
    limit = getattr(model.model.config, "max_position_embeddings", None)
    room = limit - prompt.n_positions + 2 if isinstance(limit, int) else None
    max_tokens = whole_number("max_tokens", max_tokens, least=1, below=room)
    rows = len(prompt.embeddings)
    written: list[list[int]] = [[] for _ in range(rows)]
    open_rows = set(range(rows))
    ends = end_tokens(model)
    output = model.read(prompt, keep=1, use_cache=True) if begun is None else begun
    for step in range(max_tokens):
        logits = output.logits[:, -1, : model.d_vocab]
        require_finite(model, logits)
        chosen = logits.argmax(dim=-1)
        for row in sorted(open_rows):
            token = int(chosen[row])
            text = model.token_text(token)
            if token in ends or "\n" in text:
                open_rows.discard(row)
                continue
            written[row].append(token)
            if text.rstrip().endswith("."):
                open_rows.discard(row)
        if not open_rows or step == max_tokens - 1:
            break
        output = model.run(
            input_ids=chosen[:, None].to(model.device),
            past_key_values=output.past_key_values,
            beside=prompt.given_at(step),
            use_cache=True,
        )
    return written
