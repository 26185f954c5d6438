"""How large a checkpoint is, from its headers alone: no weight is read, nor fetched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from molyneux.checkpoints.hub import hub_answers, in_hub_cache
from molyneux.checkpoints.sources import is_local, local_model, require_there
from molyneux.checkpoints.weight_files import weight_files
from molyneux.errors import WeightsError, quote

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a parameter in memory, in each dtype that models are loaded in."""


@dataclass(frozen=True)
class CheckpointSize:
    """How large a model's weights are.

    Attributes:
        stored: parameters by the type in which they are stored, as their files call it.
        disk_bytes: of the weight files.
        where: what was looked at.
        here: whether the weights are on this machine.
    """

    stored: Mapping[str, int]
    disk_bytes: int
    where: str
    here: bool

    @property
    def parameters(self) -> int:
        """Numbers in all weights; tied ones count once, as they are stored."""
        return sum(self.stored.values())

    def memory_bytes(self, dtype: str) -> int:
        """Return what the weights alone take in memory; a pass over photos comes on top."""
        return self.parameters * BYTES[dtype]


def size_of(source: str) -> CheckpointSize:
    """Return the size of a model in a local folder, a GGUF file, or on the hub.

    On the hub the headers of its safetensors files are asked for, some kilobytes each.

    Raises:
        UsageError: a local source is not there.
        WeightsError: there are no weights, they are in a format without a header, or the hub
            cannot be reached.
    """
    if is_local(source):
        place = Path(source).expanduser()
        if place.is_dir() and not list(place.glob("*.gguf")):
            return _of_folder(place, str(place))  # an encoder's may have no configuration
        require_there(source)
        folder, gguf = local_model(source)
        return _of_gguf(gguf) if gguf else _of_folder(folder, str(folder))
    cached = in_hub_cache(source)
    if cached is not None:
        return _of_folder(cached, f"{source}, in the hub's cache")
    return _on_hub(source)


def _of_folder(folder: Path, where: str) -> CheckpointSize:
    files = weight_files(folder)
    stored: Counter[str] = Counter()
    for file in files:
        stored.update(_header_of(file))
    return CheckpointSize(dict(stored), sum(file.stat().st_size for file in files), where, True)


def _header_of(file: Path) -> Counter[str]:
    """Return a safetensors file's parameters by type: eight bytes of length, then JSON."""
    if file.suffix != ".safetensors":
        raise WeightsError(
            f"{file} is in torch's own format, which says nothing of its size without being read; "
            "save the model anew with safetensors"
        )
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= file.stat().st_size:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(opened.read(length))
        found: Counter[str] = Counter()
        for name, entry in header.items():
            if name != "__metadata__":
                found[str(entry["dtype"])] += prod(entry["shape"])
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"cannot read the header of {file} ({quote(error)}); fetch it anew"
        ) from error


def _of_gguf(path: Path) -> CheckpointSize:
    from gguf import GGUFReader

    try:
        tensors = GGUFReader(path).tensors
    except Exception as error:  # the gguf package promises no class
        raise WeightsError(f"{path} is no GGUF file ({quote(error)}); fetch it anew") from error
    stored: Counter[str] = Counter()
    for tensor in tensors:
        stored[str(tensor.tensor_type.name)] += int(tensor.n_elements)
    return CheckpointSize(dict(stored), path.stat().st_size, str(path), True)


def _on_hub(name: str) -> CheckpointSize:
    from huggingface_hub import HfApi

    why = "the hub cannot be reached"
    if hub_answers():
        try:
            api = HfApi()
            found = api.get_safetensors_metadata(name)
            files = set(found.weight_map.values())
            listed = api.get_paths_info(name, sorted(files))
            disk = sum(int(getattr(each, "size", 0)) for each in listed)
            counts: dict[str, int] = {str(k): int(n) for k, n in found.parameter_count.items()}
            return CheckpointSize(counts, disk, f"{name}, on the hub", False)
        except Exception as error:  # whatever the network throws: its client promises no class
            why = quote(error)
    raise WeightsError(
        f"the size of {name} is not known here: it is no folder, it is not in the hub's cache, and "
        f"its headers cannot be had ({why}); give a folder, or ask again with a connection"
    )
