"""A checkpoint's weight files as transformers writes them: which there are, and their hash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from molyneux.errors import WeightsError, quote
from molyneux.models.cache import sha256_of
from molyneux.models.fetch import Note

if TYPE_CHECKING:
    from torch import nn

CONFIG = "config.json"
ONE_FILE = ("model.safetensors", "pytorch_model.bin")
"""What a checkpoint's weights are called where they are one file, in the order of preference."""


def weight_files(folder: Path) -> list[Path]:
    """Return the file that transformers will read, or all parts that an index names.

    Raises:
        WeightsError: there are none, the index cannot be read, or a part of the set is missing.
    """
    for name in ONE_FILE:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = parts_of(index)
            missing = [part for part in parts if not (folder / part).is_file()]
            if missing:
                raise WeightsError(
                    f"{folder} lacks {len(missing)} of {len(parts)} weight files ({missing[0]}, "
                    "...); fetch the model's folder anew"
                )
            return [folder / part for part in parts]
    raise WeightsError(
        f"{folder} holds no weights ({' or '.join(ONE_FILE)}); fetch the model's folder anew"
    )


def parts_of(index: Path) -> list[str]:
    """Return the names of the files that an index of weights names.

    Raises:
        WeightsError: it cannot be read as one, or names files outside its folder.
    """
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not named or not all(isinstance(name, str) for name in named):
            raise ValueError("its weight_map does not name a file for each weight")
        outside = [name for name in sorted(named) if Path(name).anchor or ".." in Path(name).parts]
        if outside:
            raise ValueError(f"it names {outside[0]}, outside its folder")
        return sorted(named)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(
            f"cannot read {index} ({quote(error)}); fetch the model's folder anew"
        ) from error


def hash_weights(files: Sequence[Path], folder: Path, called: str, note: Note) -> dict[str, str]:
    """Return the sha256 of each weight file, by its path within the folder.

    Args:
        folder: the model's, which all of them lie in.
        called: the model's name, as `note` is told it.

    Raises:
        WeightsError: one cannot be read.
    """
    try:
        note(f"hashing {called} ({sum(file.stat().st_size for file in files) / 1e6:.0f} MB)")
        return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights of {called} ({quote(error)}); check the disk and their "
            "permissions, or fetch them anew"
        ) from error


def joint_hash(hashes: dict[str, str]) -> str:
    """Return the sha256 of a model's weights: the file's own, or, of several, of their list.

    A line of that list is `<sha256>  <path within the folder>`.
    """
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return sha256(listed.encode()).hexdigest()


def tensors_sha256(network: nn.Module) -> str:
    """Return the sha256 of a network's parameters and buffers, in the order of their names."""
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
