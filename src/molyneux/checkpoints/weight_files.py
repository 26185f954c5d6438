"""A checkpoint's weight files as transformers writes them: which there are, and their hash."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import WeightsError, quote
from molyneux.weights.cache import sha256_of
from molyneux.weights.fetch import Note

if TYPE_CHECKING:
    pass

_LAYER = re.compile(r"\.\d+\.")


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


def require_room_for(make: Any, config: Any, folder: Path) -> None:
    """Refuse a folder whose weight files are too small for the network its configuration describes.

    Transformers would draw what is missing at random, in full size, before it says so: another
    model's configuration of seven billion parameters takes all memory first. A parameter has a
    byte or more in any file but one of packed, quantised weights, which is let through.

    Args:
        make: the network's class.

    Raises:
        WeightsError: the files are smaller than a byte for each parameter or not all there, or
            the configuration describes no network.
    """
    import torch

    if getattr(config, "quantization_config", None):
        return
    held = sum(file.stat().st_size for file in weight_files(folder))
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            needed = sum(parameter.numel() for parameter in make(config).parameters())
    except Exception as error:  # each network has checks of its own
        raise WeightsError(
            f"{folder / 'config.json'} describes no network ({quote(error)}); fetch the model's "
            "folder anew"
        ) from error
    if held < needed:
        raise WeightsError(
            f"{folder} does not hold this model's weights: config.json describes a network of "
            f"{needed:,} parameters, and its weight files have {held:,} bytes; give the "
            "config.json that belongs to them, or fetch the weights anew"
        )


def require_all_layers(network: Any, unexpected: Iterable[str], folder: Path) -> None:
    """Refuse weights of more layers than the configuration has, which would be left out in silence.

    Args:
        unexpected: names of weights that the network has no place for. Others are let through:
            heads of other tasks, buffers of older versions. Theirs may be the names of the base
            class or of the class with a head, whichever the network is.

    Raises:
        WeightsError: one of them has its like in the network's first layer.
    """
    known = network.state_dict().keys()
    prefix = f"{network.base_model_prefix}."

    def has_its_like(key: str) -> bool:
        first = _LAYER.sub(".0.", key, count=1)
        return not known.isdisjoint((first, prefix + first, first.removeprefix(prefix)))

    left_out = sorted(key for key in unexpected if has_its_like(key))
    if left_out:
        raise WeightsError(
            f"{folder} holds weights of more layers than its config.json says ({left_out[0]} and "
            f"{len(left_out) - 1} more would be left out); give the config.json that belongs to "
            "them"
        )
