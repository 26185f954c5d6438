"""How coarse a GGUF file's weights are: the step between neighbouring values, block by block.

A weight of a block is d x q + m with a whole number q: its step is |d|, and rounding to it has
moved what it stands for by half of that at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from molyneux.checkpoints.gguf_files import GgufFile, placed_tensors

_IN_BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""Quantised types whose blocks begin with d, in half precision, and have no other scale."""
_EXACT = ("F64", "F32", "F16", "BF16")


def weight_steps(file: GgufFile, made_by: Any, config: Any) -> dict[str, Tensor]:
    """Return the step of every quantised weight, by its tensor's name in the class `made_by`.

    They stand in the order and shape in which the class holds the weights. Tensors that are not
    quantised are left out.

    Raises:
        WeightsError: as for `gguf_weights`; or a tensor is quantised with scales of scales, or
            into values that are not evenly spaced.
    """

    def read(tensor: Any) -> np.ndarray | None:
        kind = tensor.tensor_type.name
        if kind in _EXACT:
            return None
        if kind not in _IN_BLOCKS:
            raise file.refusal(
                f"holds {tensor.name} as {kind}, whose weights have no one step in a block"
            )
        return block_steps(tensor.data, tensor.tensor_type)

    return {
        place: torch.from_numpy(np.array(steps, order="C"))
        for place, steps in placed_tensors(file, made_by, config, read)
    }


def block_steps(data: np.ndarray, kind: Any) -> np.ndarray:
    """Return the step of each weight from a tensor's bytes, float32, in the file's order."""
    from gguf import GGML_QUANT_SIZES

    weights, size = GGML_QUANT_SIZES[kind]
    blocks = np.ascontiguousarray(data).reshape(*data.shape[:-1], -1, size)
    d = np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0]
    return np.repeat(np.abs(d.astype(np.float32)), weights, axis=-1)
