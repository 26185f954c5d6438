"""A GGUF file's header and weights, the latter as Hugging Face's class of the model holds them.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. llama.cpp's converter names
and orders tensors its own way; the names come from the gguf package, the orders are undone here.
Every tensor must have its place in the model: what is left over would be left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molyneux.errors import WeightsError, quote

Settings = dict[str, Any]
_REMEDY = (
    "give the model as a folder of safetensors, as Hugging Face's save_pretrained writes it, or "
    "its name on the hub"
)


@dataclass
class GgufFile:
    """A GGUF file's header.

    Attributes:
        path: the file.
        architecture: llama.cpp's name of it.
        stated: what the file says of the architecture, by key without its prefix. Each key is
            taken out by whoever reads it, so that what nobody read is left.
        specials: ids of special tokens, by the names of Hugging Face configurations.
        tensors: the gguf package's tensors, their bytes still in the file.
        factors: tensors that are settings rather than weights, the rotary frequencies' divisors;
            taken out as the keys are.
    """

    path: Path
    architecture: str
    stated: Settings
    specials: dict[str, int | None]
    tensors: dict[str, Any]
    factors: dict[str, list[float]]

    @property
    def d_vocab(self) -> int:
        """Rows of the embedding.

        Raises:
            WeightsError: there is none, or it is no matrix.
        """
        table = self.tensors.get("token_embd.weight")
        if table is None or not _is_matrix(table):
            raise self.refusal("holds no token_embd.weight with a row for each token")
        return int(table.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """What the file's matrices are written in; float32 where some are quantised."""
        kinds = {tensor.tensor_type.name for tensor in self.tensors.values() if _is_matrix(tensor)}
        if len(kinds) == 1:
            return {"F16": torch.float16, "BF16": torch.bfloat16}.get(kinds.pop(), torch.float32)
        return torch.float32

    def take(self, key: str, default: Any = None) -> Any:
        """Return what the file states under a key, once.

        Raises:
            WeightsError: it states nothing, and there is no default.
        """
        found = self.stated.pop(key, default)
        if found is None:
            raise self.refusal(f"does not say {self.architecture}.{key}")
        return found

    def require(self, key: str, expected: Any) -> None:
        """Refuse a file that states another value than the only one that can be read.

        Raises:
            WeightsError: it does.
        """
        found = self.take(key, expected)
        if found != expected:
            raise self.refusal(
                f"says {self.architecture}.{key} = {found}, and only {expected} can be read"
            )

    def refusal(self, why: str) -> WeightsError:
        """Return the error that says why the file is not read, and what to give instead."""
        return WeightsError(f"{self.path.name} {why}; {_REMEDY}")


def read_gguf(path: Path) -> GgufFile:
    """Return a GGUF file's header; no weight is read.

    Raises:
        WeightsError: it is no GGUF file, is cut short, or is one part of several.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        file, parts = _header(path, reader)
    except Exception as error:  # the reader raises whatever a wrong byte leads to
        raise WeightsError(
            f"cannot read {path} as a GGUF file ({quote(error)}); fetch the file anew"
        ) from error
    if parts > 1:
        raise file.refusal(f"is one of {parts} parts: join them with `llama-gguf-split --merge`")
    return file


def _header(path: Path, reader: Any) -> tuple[GgufFile, int]:
    """Return what a file says, and of how many parts it is one."""
    architecture = str(reader.fields["general.architecture"].contents())
    prefix = f"{architecture}."
    fields = {key: item.contents() for key, item in reader.fields.items() if key[:9] != "tokenizer"}
    specials = {
        f"{ours}_token_id": reader.fields.get(f"tokenizer.ggml.{theirs}_token_id")
        for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    factors = {name: tensors.pop(name).data.tolist() for name in [*tensors] if _is_factor(name)}
    file = GgufFile(
        path,
        architecture,
        {
            key.removeprefix(prefix): _plain(v)
            for key, v in fields.items()
            if key.startswith(prefix)
        },
        {key: None if item is None else int(item.contents()) for key, item in specials.items()},
        tensors,
        factors,
    )
    return file, int(fields.get("split.count", 1))


def _is_factor(name: str) -> bool:
    return name.startswith(("rope_freqs.", "rope_factors_"))


def _plain(value: Any) -> Any:
    """Return a value as its author wrote it: 1e-5 rather than the nearest float32 to it."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _is_matrix(tensor: Any) -> bool:
    return len(tensor.shape) > 1


def gguf_weights(
    file: GgufFile, made_by: Any, config: Any, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return a file's weights, dequantised, by their names in the class `made_by`.

    Raises:
        WeightsError: the configuration describes no network, or the file holds a tensor that the
            class has no place for, that is not shaped as the header says, or that cannot be read.
    """
    from gguf import dequantize

    def read(tensor: Any) -> np.ndarray:
        try:
            return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        except (NotImplementedError, ValueError) as error:
            raise file.refusal(
                f"holds {tensor.name} as {tensor.tensor_type.name}, which the gguf package cannot "
                "read"
            ) from error

    return {
        # A copy of its own: what is not quantised still lies in the file.
        place: torch.from_numpy(np.array(values, order="C")).to(dtype)
        for place, values in placed_tensors(file, made_by, config, read)
    }


def placed_tensors(
    file: GgufFile, made_by: Any, config: Any, read: Callable[[Any], np.ndarray | None]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is read of each tensor of a file, with its name and order in the class `made_by`.

    Args:
        read: given one of the gguf package's tensors, a number for each of its weights; None
            leaves the tensor out.

    Raises:
        WeightsError: as for `gguf_weights`.
    """
    try:
        with torch.device("meta"):
            skeleton = made_by(config)
    except Exception as error:  # each network has checks of its own
        raise file.refusal(f"describes no network ({quote(error)})") from error
    places = _places(file, skeleton)
    for name, tensor in file.tensors.items():
        if name not in places:
            raise file.refusal(
                f"holds {name}, for which Hugging Face's {made_by.__name__} has no place"
            )
        values = read(tensor)
        if values is None:
            continue
        try:
            ordered = _order(file.architecture, places[name], values, config)
        except (ValueError, ArithmeticError) as error:
            raise file.refusal(
                f"holds {name}, whose shape does not fit what the header says of heads "
                f"({quote(error)})"
            ) from error
        yield places[name], ordered


def _places(file: GgufFile, skeleton: Any) -> dict[str, str]:
    """Return the model's name of each tensor a file of its architecture may hold."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    number = next(key for key, name in MODEL_ARCH_NAMES.items() if name == file.architecture)
    names = get_tensor_name_map(number, skeleton.config.num_hidden_layers)
    places = {}
    for place in skeleton.state_dict():
        # Some are named as in the model without its head.
        for known in (place, place.removeprefix("transformer.")):
            if name := names.get_name(known, try_suffixes=(".weight", ".bias")):
                places[name] = place
                break
    return places


def _order(architecture: str, place: str, values: np.ndarray, config: Any) -> np.ndarray:
    """Return a tensor as Hugging Face has it: llama.cpp's converter, backwards."""
    heads = config.num_attention_heads
    rest = values.shape[1:]
    if architecture == "llama" and ("q_proj" in place or "k_proj" in place):
        # Pairs that are rotated together lie side by side in the file, half a head apart here.
        if "k_proj" in place:
            heads = config.num_key_value_heads
        return values.reshape(heads, -1, 2, *rest).swapaxes(1, 2).reshape(values.shape)
    if architecture == "gpt2" and ".h." in place and values.ndim > 1:
        return values.T
    if architecture in ("bloom", "gptneox") and "query_key_value" in place:
        return values.reshape(3, heads, -1, *rest).swapaxes(0, 1).reshape(values.shape)
    if architecture == "falcon" and "query_key_value" in place:
        groups = config.num_kv_heads
        width = len(values) // (heads + 2 * groups)
        query, keys, values_ = np.split(values, (heads * width, (heads + groups) * width))
        parts = [part.reshape(groups, -1, *rest) for part in (query, keys, values_)]
        return np.concatenate(parts, axis=1).reshape(values.shape)
    if architecture.startswith("gemma") and place.endswith("norm.weight"):
        return values - 1
    return values
