"""Several captions of a photo behind one image prompt, and several photos in one sequence.

A photo's prefix (begin token, patches, text) is run once for all of its captions. A block mask lets
each token see its own photo's prefix and its own caption alone, at the positions it would have
alone: the loss is that of `molyneux.training.loss.caption_nats`, computed once instead of often.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import edit
from molyneux.training.loss import IGNORED, caption_nats
from molyneux.vision.layout import Layout, lay_out

ROW = 128
"""Positions in a sequence, at least; of a photo that needs more, as many as it needs."""

# What separate and shared sums may differ by, of the largest number: rounding alone. A mask or
# positions that a model does not follow change both by far more.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.03}


@dataclass(frozen=True)
class Plan:
    """Where every token of a batch stands, in `rows` sequences of equal length.

    Attributes:
        source: of each place, its embedding's number: of all photos' prefixes one after another,
            then of all captions' input tokens, then of one that pads.
        photo: whose it is; -1 where it pads.
        caption: the caption it belongs to; -1 in a prefix.
        offset: its place in its photo's prefix, or behind it in its caption.
        predicts: the place from which each caption token is predicted, in a row of all places.
    """

    source: Int[Tensor, "rows pos"]
    photo: Int[Tensor, "rows pos"]
    caption: Int[Tensor, "rows pos"]
    offset: Int[Tensor, "rows pos"]
    predicts: Int[Tensor, " tokens"]

    def mask(self) -> Bool[Tensor, "rows 1 pos pos"]:
        """Return which places (last axis) each place sees."""
        n = self.source.shape[1]
        one_photo = self.photo[:, :, None] == self.photo[:, None, :]
        seen = (self.caption[:, None, :] < 0) | (
            self.caption[:, :, None] == self.caption[:, None, :]
        )
        earlier = torch.ones(n, n, dtype=torch.bool).tril()
        # A place that pads sees itself, so that its attention is a number.
        return ((one_photo & seen & earlier) | torch.eye(n, dtype=torch.bool))[:, None]


def plan(prefix: int, lengths: list[int], owners: list[int], n_photos: int) -> Plan:
    """Return where the tokens of captions stand, photos put where they first fit, longest first.

    Args:
        prefix: tokens of a photo's prefix.
        lengths: tokens of each caption; of the last, nothing is predicted, so it is no input.
        owners: the photo of each caption.
    """
    own: list[list[int]] = [[] for _ in range(n_photos)]
    for c, photo in enumerate(owners):
        own[photo].append(c)
    size = [prefix + sum(lengths[c] - 1 for c in cs) for cs in own]
    first_input = [0]
    first_token = [0]
    for length in lengths:
        first_input.append(first_input[-1] + length - 1)
        first_token.append(first_token[-1] + length)
    rows: list[list[int]] = []
    room: list[int] = []
    longest = max(ROW, *size)
    for photo in sorted(range(n_photos), key=lambda photo: (-size[photo], photo)):
        row = next((r for r, left in enumerate(room) if left >= size[photo]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(longest)
        rows[row].append(photo)
        room[row] -= size[photo]
    width = longest - min(room)
    n_inputs = n_photos * prefix + first_input[-1]
    source = torch.full((len(rows), width), n_inputs)
    photos = torch.full((len(rows), width), -1)
    captions = torch.full((len(rows), width), -1)
    offset = torch.zeros(len(rows), width, dtype=torch.long)
    predicts = torch.empty(first_token[-1], dtype=torch.long)
    for row, inside in enumerate(rows):
        at = 0
        for photo in inside:
            photos[row, at : at + size[photo]] = photo
            source[row, at : at + prefix] = torch.arange(prefix) + photo * prefix
            offset[row, at : at + prefix] = torch.arange(prefix)
            last = row * width + at + prefix - 1
            at += prefix
            for c in own[photo]:
                inputs = lengths[c] - 1
                place = slice(at, at + inputs)
                source[row, place] = torch.arange(inputs) + n_photos * prefix + first_input[c]
                captions[row, place] = c
                offset[row, place] = torch.arange(inputs) + prefix
                token = first_token[c]
                predicts[token] = last
                predicts[token + 1 : token + lengths[c]] = torch.arange(inputs) + row * width + at
                at += inputs
    return Plan(source, photos, captions, offset, predicts)


def shared_nats(
    model: LanguageModel,
    layout: Layout,
    prompts: Float[Tensor, "photos kept d_model"],
    captions: Int[Tensor, "captions caption"],
    owners: list[int],
    kept: Int[Tensor, "photos kept"] | None = None,
    n_patches: int | None = None,
) -> Float[Tensor, " captions"]:
    """Return each caption's cross-entropy in nats, summed over its tokens.

    It is `caption_nats` of `prompts[owners]`, for models that `shares_prefixes` allows.

    Args:
        captions: token ids, padded at the end with `IGNORED`; each of one token or more.
        owners: the photo of each caption.
        kept: as `caption_nats` has it, and n_patches.
    """
    prompt = lay_out(model, layout, prompts)
    prefix, device = prompt.n_positions, model.device
    real = captions != IGNORED
    lengths = [int(n) for n in real.sum(1)]
    order = plan(prefix, lengths, owners, len(prompts))
    is_input = real.clone()
    is_input[torch.arange(len(captions)), real.sum(1) - 1] = False
    tokens = model.embed(captions[is_input].to(device)).to(prompt.embeddings.dtype)
    pads = tokens.new_zeros(1, tokens.shape[1])
    every = torch.cat([prompt.embeddings.flatten(0, 1), tokens, pads])
    rows, width = order.source.shape
    embeddings = every[order.source.flatten().to(device)].view(rows, width, -1)
    bias = torch.zeros(rows, 1, width, width, dtype=embeddings.dtype)
    bias.masked_fill_(~order.mask(), torch.finfo(embeddings.dtype).min)
    predicts = order.predicts.to(device)
    head = model.model.get_output_embeddings()

    def only_predicting(_: str, hidden: Tensor) -> Tensor:
        return hidden.flatten(0, 1)[predicts.to(hidden.device)][None]

    with edit({"head": head}, only_predicting):
        output = model.run(
            inputs_embeds=embeddings,
            beside={
                "attention_mask": bias.to(device),
                "position_ids": _positions(order, prompt.patches, kept, n_patches).to(device),
            },
        )
    targets = captions[real].to(device)
    each = cross_entropy(output.logits[0].float(), targets, reduction="none")
    caption_of = torch.arange(len(captions)).repeat_interleave(real.sum(1)).to(device)
    return each.new_zeros(len(captions)).index_add(0, caption_of, each)


def _positions(
    order: Plan, patches: slice, kept: Tensor | None, n_patches: int | None
) -> Int[Tensor, "rows pos"]:
    """Return the position that each place has where its caption is alone, with all patches."""
    if kept is None or n_patches is None:
        return order.offset
    offset, photo = order.offset, order.photo.clamp(min=0)
    inside = (offset >= patches.start) & (offset < patches.stop) & (order.photo >= 0)
    behind = offset >= patches.stop
    at = (offset - patches.start).clamp(0, kept.shape[1] - 1)
    shown = kept[photo, at] + patches.start
    return torch.where(inside, shown, offset + behind * (n_patches - kept.shape[1]))


def shares_prefixes(model: LanguageModel, layout: Layout) -> bool:
    """Return whether a model's shared losses are its separate ones, their gradients too.

    A run of random numbers shows it: not every architecture follows a mask of four axes, or
    positions that it is given.
    """
    parameters = inspect.signature(type(model.model).forward).parameters
    if "position_ids" not in parameters or "attention_mask" not in parameters:
        return False
    generator = torch.Generator().manual_seed(0)
    scale = float(model.input_embeddings().float().std())
    noise = scale * torch.randn(2, 3, model.d_model, generator=generator)
    kept = torch.tensor([[0, 2, 5], [1, 3, 4]])
    ids = torch.randint(model.d_vocab, (4, 5), generator=generator)
    ids[1, 3:] = IGNORED
    owners = [0, 0, 0, 1]

    def both(shared: bool) -> tuple[Tensor, Tensor]:
        prompts = noise.to(model.device).requires_grad_()
        if shared:
            nats = shared_nats(model, layout, prompts, ids, owners, kept, 6)
        else:
            nats = caption_nats(model, layout, prompts[owners], ids, kept[owners], 6)
        (gradient,) = torch.autograd.grad(nats.sum(), prompts)
        return nats.detach().float(), gradient.float()

    try:
        found = both(shared=True)
    except (ValueError, RuntimeError, TypeError, IndexError):
        return False
    tolerance = _TOLERANCE.get(model.dtype, 1e-3)
    # Not "greater than", so that what is no number proves nothing.
    return all(
        bool((ours - alone).abs().max() <= tolerance * alone.abs().max())
        for ours, alone in zip(found, both(shared=False), strict=True)
    )
