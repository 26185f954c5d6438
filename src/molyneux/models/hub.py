"""Models named by a folder or by their name on the Hugging Face hub, for metrics alone."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from molyneux.errors import WeightsError

_LONGEST_QUOTE = 160


def model_name(model: str | Path) -> str:
    """Return what tables call a model: the folder's own name, or the name on the hub."""
    path = Path(model)
    return path.resolve().name if path.exists() else str(model)


@contextmanager
def reading_model(model: str | Path, purpose: str, remedy: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments for `from_pretrained`; no bars are drawn, no random state is changed.

    A hub that cannot be reached is not asked: its client would retry for half a minute.

    Args:
        model: a local folder, or a name on the hub (then its local cache is looked in too).
        purpose: what it is for, as the error message begins.
        remedy: what to try next, as the error message ends.

    Raises:
        WeightsError: the block could not load the model.
    """
    import torch
    from safetensors import SafetensorError

    from molyneux.models.smollm2 import quiet_progress_bars

    local = Path(model).is_dir()
    asked = not local and hub_answers()
    try:
        with quiet_progress_bars(), torch.random.fork_rng(devices=[]):
            yield {"local_files_only": not asked}
    except (OSError, RuntimeError, ValueError, KeyError, ImportError, SafetensorError) as error:
        why = " ".join(str(error).split())
        if len(why) > _LONGEST_QUOTE:
            why = why[: _LONGEST_QUOTE - 1] + "…"
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
