"""LiMBeR's projections: fetched when asked, checked against git, kept as safetensors."""

from __future__ import annotations

import io
import pickle
import re
import urllib.request
from collections.abc import Callable
from contextlib import closing
from hashlib import sha1, sha256
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from molyneux.errors import WeightsError, quote
from molyneux.weights.cache import Source, cache_dir, seal_folder, verify_folder, write_folder
from molyneux.weights.fetch import Note, silent
from molyneux.weights.limber_checkpoints import (
    CHECKPOINTS,
    FILE,
    LANGUAGE_MODEL,
    LICENCE,
    TEXT,
    Checkpoint,
    projection_path,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Opener = Callable[[str], BinaryIO]

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_TIMEOUT_SECONDS = 60


def open_url(url: str) -> BinaryIO:
    """Return an open answer to an address; proxies are those of the environment."""
    answer: BinaryIO = urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS)
    return answer


def fetch_projection(
    checkpoint: Checkpoint,
    *,
    file: Path | None = None,
    opener: Opener | None = None,
    note: Note = silent,
) -> Path:
    """Return the cached safetensors file of a projection, fetched and converted the first time.

    Nothing else fetches one. What arrives is checked against git's own id before anything reads
    it, then read by PyTorch's weights-only reader; the `.ckpt` is not kept.

    Args:
        file: a local copy of `proj.ckpt`, instead of the download.
        opener: opens an address; through the environment's proxies if not given.
        note: told, one line at a time, what takes long.

    Raises:
        WeightsError: it cannot be had, is another file, is not a linear map of these shapes, or
            the cached folder is corrupt.
    """
    folder = cache_dir() / checkpoint.folder
    if folder.exists():
        verify_folder(folder)
        return folder / FILE
    if file is None:
        content = _download(checkpoint, opener or open_url, note)
    else:
        content = _local(checkpoint, file)
    weight, bias, stored = read_checkpoint(content, checkpoint)
    with write_folder(folder, checkpoint.size_mb + 1) as partial:
        _save(partial / FILE, checkpoint, weight, bias, stored, sha256(content).hexdigest())
        published = {"proj.ckpt": sha256(content).hexdigest(), "git blob": checkpoint.blob}
        source = Source(f"github.com/{checkpoint.repository}", checkpoint.commit, published)
        seal_folder(partial, source)
    return folder / FILE


def blob_id(content: bytes) -> str:
    """Return git's id of a file's content, in hexadecimal."""
    header = f"blob {len(content)}\0".encode()
    return sha1(header + content, usedforsecurity=False).hexdigest()


def pointer_of(content: bytes) -> bytes:
    """Return the Git LFS pointer that stands for a content; git's id is then the pointer's."""
    return (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{sha256(content).hexdigest()}\nsize {len(content)}\n"
    ).encode()


def _download(checkpoint: Checkpoint, opener: Opener, note: Note) -> bytes:
    note(f"fetching {checkpoint.url}, once (about {checkpoint.size_mb} MB)")
    content = _read(checkpoint, checkpoint.url, opener)
    _require_blob(checkpoint, content, checkpoint.url)
    pointer = _POINTER.fullmatch(content)
    if pointer is None:
        return content
    note(f"a Git LFS pointer; fetching {checkpoint.media_url}")
    found = _read(checkpoint, checkpoint.media_url, opener)
    if (sha256(found).hexdigest().encode(), len(found)) != (pointer[1], int(pointer[2])):
        raise WeightsError(
            f"{checkpoint.media_url} is not the file its Git LFS pointer names: sha256 "
            f"{sha256(found).hexdigest()[:12]}…, expected {pointer[1].decode()[:12]}…; "
            f"{_elsewhere(checkpoint)}"
        )
    return found


def _local(checkpoint: Checkpoint, file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_most_bytes(checkpoint) + 1)
    except OSError as error:
        raise WeightsError(
            f"cannot read {file} ({error.strerror}); give the path of {checkpoint.path}"
        ) from error
    if _POINTER.fullmatch(content):
        raise WeightsError(
            f"{file} is a Git LFS pointer, not the weights; run `git lfs pull` where it was "
            "cloned, and give the file again"
        )
    # A clone with Git LFS holds the weights, while git's id is that of their pointer.
    if blob_id(pointer_of(content)) != checkpoint.blob:
        _require_blob(checkpoint, content, str(file))
    return content


def _require_blob(checkpoint: Checkpoint, content: bytes, where: str) -> None:
    found = blob_id(content)
    if found != checkpoint.blob:
        raise WeightsError(
            f"{where} is not {checkpoint.path} of {checkpoint.repository}: git blob {found[:12]}…, "
            f"expected {checkpoint.blob[:12]}…; it was not opened; {_elsewhere(checkpoint)}"
        )


def _most_bytes(checkpoint: Checkpoint) -> int:
    """Return how large the file may be: float64 weights, and room for the archive around them."""
    return 8 * (checkpoint.d_features + 1) * checkpoint.d_model + 10**6


def _read(checkpoint: Checkpoint, url: str, opener: Opener) -> bytes:
    try:
        with closing(opener(url)) as answer:
            content = answer.read(_most_bytes(checkpoint) + 1)
            promised = getattr(answer, "headers", {}).get("Content-Length")
        if promised is not None and len(content) < min(int(promised), _most_bytes(checkpoint)):
            raise OSError(f"cut off after {len(content)} of {promised} bytes; run it again")
    except (OSError, ValueError, HTTPException) as error:  # urllib's own errors are OSErrors
        why = quote(error)
        raise WeightsError(f"cannot fetch {url} ({why}); {_elsewhere(checkpoint)}") from error
    if len(content) > _most_bytes(checkpoint):
        raise WeightsError(
            f"{url} is larger than {checkpoint.path} can be ({_most_bytes(checkpoint)} bytes); it "
            f"was not opened; {_elsewhere(checkpoint)}"
        )
    return content


def _elsewhere(checkpoint: Checkpoint) -> str:
    return (
        f"fetch {checkpoint.path} of https://github.com/{checkpoint.repository} at commit "
        f"{checkpoint.commit[:12]} elsewhere, and give it with --from FILE"
    )


def read_checkpoint(
    content: bytes, checkpoint: Checkpoint
) -> tuple[Float[Tensor, "d_model feat"], Float[Tensor, " d_model"], str]:
    """Return weight and bias in float32, and the dtype they were saved in.

    The state dict of the linear layer alone is accepted, its keys perhaps with a prefix. Dropout
    on the projection's output belonged to its training and is no part of what is loaded.

    Raises:
        WeightsError: it holds anything else, other shapes, or numbers that are not finite.
    """
    import torch

    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        why = quote(error)
        raise WeightsError(
            f"{checkpoint.path} does not hold tensors alone ({why}); it was not used; give the "
            "published file"
        ) from error
    tensors = {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}
    prefixes = {key.rpartition(".")[0] for key in tensors}
    names = sorted(key.rpartition(".")[2] for key in tensors)
    if names != ["bias", "weight"] or len(prefixes) != 1:
        listed = ", ".join(sorted(tensors)[:4]) or type(found).__name__
        raise WeightsError(
            f"{checkpoint.path} is not the state dict of one linear layer (it holds {listed}); "
            "give the published file"
        )
    weight, bias = (
        next(tensor for key, tensor in tensors.items() if key.rpartition(".")[2] == name)
        for name in ("weight", "bias")
    )
    shapes = tuple(tuple(getattr(tensor, "shape", ())) for tensor in (weight, bias))
    expected = ((checkpoint.d_model, checkpoint.d_features), (checkpoint.d_model,))
    if shapes != expected:
        raise WeightsError(
            f"{checkpoint.path} has weight and bias of shapes {shapes[0]} and {shapes[1]}, not "
            f"{expected[0]} and {expected[1]}, so it was not made for {checkpoint.encoder}; give "
            "the published file"
        )
    stored = str(weight.dtype).removeprefix("torch.")
    weight, bias = weight.float().contiguous(), bias.float().contiguous()
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise WeightsError(
            f"{checkpoint.path} holds numbers that are not finite; give the published file"
        )
    return weight, bias, stored


def _save(
    path: Path, checkpoint: Checkpoint, weight: Tensor, bias: Tensor, stored: str, digest: str
) -> None:
    from torch import nn

    from molyneux.vision.layout import Layout
    from molyneux.vision.projection import Projection, save_projection

    linear = nn.utils.skip_init(nn.Linear, *reversed(weight.shape))
    linear.requires_grad_(False)
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    provenance = {
        "kind": "trained",
        "language_model": LANGUAGE_MODEL,
        "encoder": checkpoint.encoder,
        "layout": Layout(None, TEXT).record(),
        "data": "CC3M captions (LiMBeR, Merullo et al. 2022)",
        "patches": checkpoint.n_patches,
        "source": {
            "repository": f"https://github.com/{checkpoint.repository}",
            "commit": checkpoint.commit,
            "path": checkpoint.path,
            "git_blob": checkpoint.blob,
            "sha256": digest,
            "dtype": stored,
            "licence": LICENCE,
        },
    }
    save_projection(path, Projection(linear, provenance))


__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "blob_id",
    "fetch_projection",
    "pointer_of",
    "projection_path",
    "read_checkpoint",
]
