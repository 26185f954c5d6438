"""A checkpoint's weight files as transformers writes them: which there are, and their hash."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from molyneux.errors import WeightsError
from molyneux.models.cache import sha256_of
from molyneux.models.checkpoints import joint_hash

if TYPE_CHECKING:
    from torch import nn

CONFIG = "config.json"
ONE_FILE = ("model.safetensors", "pytorch_model.bin")
"""What a checkpoint's weights are called where they are one file, in the order of preference."""


def weight_files(folder: Path) -> list[Path]:
    """Return the file, or the parts that an index names, whether or not they are there.

    Raises:
        WeightsError: the folder holds neither.
    """
    for name in ONE_FILE:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return [folder / part for part in parts_of(index)]
    raise WeightsError(
        f"{folder} holds no weights ({' or '.join(ONE_FILE)}); copy them from where its "
        f"{CONFIG} comes from, or ask for random ones"
    )


def parts_of(index: Path) -> list[str]:
    """Return the names of the files that an index of weights names.

    Raises:
        WeightsError: it cannot be read as one.
    """
    try:
        named: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted(set(named.values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"cannot read {index} ({error}); copy it anew, and run again") from error


def weights_sha256(folder: Path) -> str:
    """Return the sha256 of a checkpoint's weights: of the file, or of all its parts in order.

    For several parts it is that of the lines `<sha256>  <file name>`.

    Raises:
        WeightsError: the folder holds none, or a part that its index names is missing.
    """
    try:
        return joint_hash({part.name: sha256_of(part) for part in weight_files(folder)})
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights in {folder} ({error}); copy them anew, and run again"
        ) from error


def tensors_sha256(network: nn.Module) -> str:
    """Return the sha256 of a network's parameters and buffers, in the order of their names."""
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def in_hub_cache(name: str, *, with_weights: bool = True) -> Path | None:
    """Return the hub cache's folder of a model if its configuration and weights are all there.

    Only looks, and fetches nothing.

    Args:
        with_weights: whether the weights are needed too.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        whole = not with_weights or all(part.is_file() for part in weight_files(folder))
    except (OSError, WeightsError):  # the hub's client raises an OSError for what is not there
        return None
    return folder if whole and (folder / CONFIG).is_file() else None
