"""The captioning loss of a batch of patch features, through the frozen language model."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from molyneux.adapters.language_model import LanguageModel
from molyneux.vision.layout import Layout, lay_out

IGNORED = -100


def caption_ids(model: LanguageModel, captions: list[str]) -> Int[Tensor, "batch caption"]:
    """Return captions as token ids, each after a space, padded at the end with `IGNORED`."""
    ids = [torch.tensor(model.encode(" " + caption.strip())) for caption in captions]
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=IGNORED)


def caption_loss(
    model: LanguageModel,
    layout: Layout,
    prompts: Float[Tensor, "batch kept d_model"],
    captions: Int[Tensor, "batch caption"],
    kept: Int[Tensor, "batch kept"] | None = None,
    n_patches: int | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy in nats per caption token.

    Args:
        kept: which patches the prompts hold, in raster order, where some were left out. Every
            token keeps the position it has with all `n_patches` patches present.
    """
    prompt = lay_out(model, layout, prompts)
    tokens = captions.clamp(min=0).to(model.device)
    embeddings = torch.cat(
        [prompt.embeddings, model.embed(tokens[:, :-1]).to(prompt.embeddings.dtype)], dim=1
    )
    rows, length = embeddings.shape[:2]
    positions = torch.arange(length, device=model.device).expand(rows, -1)
    if kept is not None:
        assert n_patches is not None
        begin, end = prompt.patches.start, prompt.patches.stop
        after = positions[:, end:] + n_patches - kept.shape[1]
        positions = torch.cat([positions[:, :begin], kept.to(model.device) + begin, after], dim=1)
    output = model.model(
        inputs_embeds=embeddings,
        position_ids=positions,
        # Without a mask, gaps in the positions are read as the seams of packed sequences.
        attention_mask=torch.ones(rows, length, dtype=torch.long, device=model.device),
        logits_to_keep=captions.shape[1],
        use_cache=False,
    )
    return cross_entropy(
        output.logits.float().flatten(0, 1),
        captions.flatten().to(model.device),
        ignore_index=IGNORED,
    )
