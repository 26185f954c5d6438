"""The captioning loss of a batch of patch features, through the frozen language model."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.vision.layout import Layout, lay_out

IGNORED = -100


def caption_ids(
    model: LanguageModel, captions: list[str], end_token: bool = False
) -> Int[Tensor, "batch caption"]:
    """Return captions as token ids, each after a space, padded at the end with `IGNORED`.

    Args:
        end_token: whether the tokenizer's own end of text follows each (see `require_end_token`).
    """
    end = [model.tokenizer.eos_token_id] if end_token else []
    ids = [
        torch.tensor(model.encode(" " + caption.strip()) + end, dtype=torch.long)
        for caption in captions
    ]
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=IGNORED)


def require_end_token(tokenizer: Any, called: str) -> None:
    """Refuse a tokenizer that has no token for the end of a text.

    Raises:
        UsageError: it has none.
    """
    if getattr(tokenizer, "eos_token_id", None) is None:
        raise UsageError(
            f"the tokenizer of {called} has no token that ends a text, which captions are to be "
            "trained with; give --no-end-token"
        )


def count_tokens(captions: Int[Tensor, "batch caption"]) -> Int[Tensor, " batch"]:
    """Return how many tokens of each caption count."""
    return (captions != IGNORED).sum(1)


def caption_loss(
    model: LanguageModel,
    layout: Layout,
    prompts: Float[Tensor, "batch kept d_model"],
    captions: Int[Tensor, "batch caption"],
    kept: Int[Tensor, "batch kept"] | None = None,
    n_patches: int | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy in nats per caption token (see `caption_nats`)."""
    nats = caption_nats(model, layout, prompts, captions, kept, n_patches)
    return nats.sum() / count_tokens(captions).sum().to(nats.device)


def caption_nats(
    model: LanguageModel,
    layout: Layout,
    prompts: Float[Tensor, "batch kept d_model"],
    captions: Int[Tensor, "batch caption"],
    kept: Int[Tensor, "batch kept"] | None = None,
    n_patches: int | None = None,
) -> Float[Tensor, " batch"]:
    """Return each caption's cross-entropy in nats, summed over its tokens.

    Args:
        kept: which patches the prompts hold, in raster order, where some were left out. Every
            token keeps the position it has with all `n_patches` patches present.

    Raises:
        UsageError: patches were left out, and the model cannot be told of positions.
    """
    prompt = lay_out(model, layout, prompts)
    tokens = captions.clamp(min=0).to(model.device)
    embeddings = torch.cat(
        [prompt.embeddings, model.embed(tokens[:, :-1]).to(prompt.embeddings.dtype)], dim=1
    )
    rows, length = embeddings.shape[:2]
    # Without a mask, gaps in the positions are read as the seams of packed sequences.
    beside = {"attention_mask": torch.ones(rows, length, dtype=torch.long, device=model.device)}
    if kept is not None and kept.shape[1] != n_patches:
        assert n_patches is not None
        if "position_ids" not in inspect.signature(type(model.model).forward).parameters:
            raise UsageError(
                f"{type(model.model).__name__} counts positions itself, so patches cannot be left "
                "out; give --patches-kept 1"
            )
        begin, end = prompt.patches.start, prompt.patches.stop
        positions = torch.arange(length, device=model.device).expand(rows, -1)
        after = positions[:, end:] + n_patches - kept.shape[1]
        beside["position_ids"] = torch.cat(
            [positions[:, :begin], kept.to(model.device) + begin, after], dim=1
        )
    output = model.run(inputs_embeds=embeddings, keep=captions.shape[1], beside=beside)
    logits = output.logits.float()
    each = cross_entropy(
        logits.flatten(0, 1),
        captions.flatten().to(logits.device),
        ignore_index=IGNORED,
        reduction="none",
    )
    return each.reshape(captions.shape).sum(1)
