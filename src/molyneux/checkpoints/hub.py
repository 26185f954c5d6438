"""The Hugging Face hub: whether it answers, what its cache holds, and models read from either."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from molyneux.checkpoints.weight_files import CONFIG, weight_files
from molyneux.errors import WeightsError, quote


def model_name(model: str | Path) -> str:
    """Return what tables call a model: the folder's own name, or the name on the hub."""
    path = Path(model)
    return path.resolve().name if path.exists() else str(model)


@contextmanager
def reading_model(model: str | Path, purpose: str, remedy: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments for `from_pretrained`; no bars are drawn, no random state is changed.

    For what metrics need. A hub that cannot be reached is not asked: its client would retry for
    half a minute.

    Args:
        model: a local folder, or a name on the hub (then its local cache is looked in too).
        purpose: what it is for, as the error message begins.
        remedy: what to try next, as the error message ends.

    Raises:
        WeightsError: the block could not load the model.
    """
    import torch
    from safetensors import SafetensorError

    from molyneux.weights.fetch import quiet_progress_bars

    local = Path(model).is_dir()
    asked = not local and hub_answers()
    try:
        with quiet_progress_bars(), torch.random.fork_rng(devices=[]):
            yield {"local_files_only": not asked}
    except (OSError, RuntimeError, ValueError, KeyError, ImportError, SafetensorError) as error:
        why = quote(error)
        if not (local or asked) and isinstance(error, OSError):
            why = "it is no folder, not in the hub's local cache, and the hub cannot be reached"
        raise WeightsError(f"{purpose}: cannot load {model} ({why}); {remedy}") from error


def hub_answers() -> bool:
    """Return whether the hub may be asked and has an address here."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True  # the proxy looks addresses up
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def download_command(name: str, *, into: str | None = None) -> str:
    """Return the command that fetches a model without its copies for other frameworks.

    GPT-J's repository holds its 24 GB three times: for PyTorch, TensorFlow and Flax.

    Args:
        into: a folder, instead of the hub's cache.
    """
    place = f" --local-dir {into}" if into else ""
    return f'hf download {name} --exclude "*.h5" --exclude "*.msgpack"{place}'


def in_hub_cache(name: str, *, with_weights: bool = True) -> Path | None:
    """Return the hub cache's folder of a model if its configuration and weights are all there.

    Only looks, and fetches nothing.

    Args:
        with_weights: whether the weights are needed too.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if with_weights:
            weight_files(folder)
    except (OSError, ValueError, WeightsError):  # what is not there, or cannot be a name there
        return None
    return folder if (folder / CONFIG).is_file() else None
