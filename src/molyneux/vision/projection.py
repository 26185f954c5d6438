"""The one trained part: a linear map from patch features to the model's input embeddings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molyneux.checks import is_a, path_of, shown
from molyneux.errors import RunError, UsageError, WeightsError, quote
from molyneux.store import write_at_once
from molyneux.vision.layout import Layout


@dataclass(frozen=True)
class Projection:
    """A linear layer and the record of where it comes from.

    Attributes:
        linear: `nn.Linear(d_features, d_model)`.
        provenance: plain data. Always holds `kind` (trained, random or untrained),
            `language_model`, `encoder` and `layout`; a trained one also its data, counts,
            steps, seed, hashes and held-out scores.
    """

    linear: nn.Linear
    provenance: dict[str, Any]

    @property
    def layout(self) -> Layout:
        """The prompt layout it was made for."""
        return Layout(**self.provenance["layout"])

    @torch.no_grad()
    def project(
        self, features: Float[Tensor, "photos patches feat"]
    ) -> Float[Tensor, "photos patches d_model"]:
        """Return image prompts: one input embedding for every patch.

        Raises:
            UsageError: the features are not as wide as those that it was made for.
        """
        features = is_a("features", features, Tensor, "photos x patches x features")
        wide = self.linear.in_features
        if features.dim() != 3 or features.shape[-1] != wide or not features.is_floating_point():
            raise UsageError(
                f"features are photos x patches x {wide} numbers, not {shown(features)}: the "
                "projection was made for another encoder's; give what its own encoder returns"
            )
        prompts: Tensor = self.linear(features.to(self.linear.weight))
        return prompts

    def hash(self) -> str:
        """Return the sha256 of the weight and bias (float32), which tables record."""
        digest = hashlib.sha256()
        for tensor in (self.linear.weight, self.linear.bias):
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()


def random_projection(
    d_features: int, d_model: int, scale: float, provenance: dict[str, Any], seed: int = 0
) -> Projection:
    """Return an untrained projection whose prompts have about `scale` as their norm.

    A control, and what tests use. `provenance` gains `kind: random` and the seed.
    """
    generator = torch.Generator().manual_seed(seed)
    linear = nn.utils.skip_init(nn.Linear, d_features, d_model)
    with torch.no_grad():
        weight = torch.randn(d_model, d_features, generator=generator)
        linear.weight.copy_(weight * scale / (d_features * d_model) ** 0.5)
        linear.bias.zero_()
    return Projection(linear, {**provenance, "kind": "random", "seed": seed})


def save_projection(path: Path, projection: Projection) -> None:
    """Write one safetensors file whose header carries the provenance record.

    Raises:
        UsageError: it is no path, or no projection.
        RunError: the file cannot be written.
    """
    from safetensors.torch import save

    path = path_of("a projection", path)
    is_a("projection", projection, Projection, "one that was trained or loaded")
    tensors = {
        "weight": projection.linear.weight.detach().cpu().float().contiguous(),
        "bias": projection.linear.bias.detach().cpu().float().contiguous(),
    }
    record = json.dumps(projection.provenance, sort_keys=True)
    data = save(tensors, metadata={"provenance": record, "sha256": projection.hash()})
    try:
        write_at_once(path, _with_sorted_header(data))
    except OSError as error:
        raise RunError(
            f"the projection could not be written: {error.strerror or quote(error)} ({path}); free "
            "some space, or name a file in a folder that is there"
        ) from error


def _with_sorted_header(data: bytes) -> bytes:
    """Return a safetensors file whose header is in one order: its writer shuffles the metadata.

    The same projection is thereby always the same file.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def load_projection(path: Path) -> Projection:
    """Return a projection read from `save_projection`'s file.

    Raises:
        WeightsError: the file is missing, is not safetensors, lacks its provenance record, or
            its weights do not have the hash its header names.
    """
    from safetensors import safe_open

    path = path_of("a projection", path)
    advice = "train one with `molyneux train`, or reinstall molyneux for the one it ships"
    try:
        if Path(path).is_dir():
            raise IsADirectoryError(path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        _require_map(weight, bias)
        provenance = json.loads(header["provenance"])
        _require_record(provenance)
    except FileNotFoundError as error:
        raise WeightsError(f"no projection at {path}; {advice}") from error
    except IsADirectoryError as error:
        raise WeightsError(
            f"{path} is a folder; give the projection.safetensors that `molyneux train` left in it"
        ) from error
    except Exception as error:  # safetensors raises its own classes, unexported in part
        raise WeightsError(
            f"{path} is not a projection molyneux wrote "
            f"({type(error).__name__}: {quote(error)}); {advice}"
        ) from error
    linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    linear.requires_grad_(False)
    projection = Projection(linear, provenance)
    if projection.hash() != header.get("sha256"):
        raise WeightsError(f"the weights in {path} are not the ones its header names; {advice}")
    return projection


def _require_map(weight: Tensor, bias: Tensor) -> None:
    """Refuse tensors that are no linear map: empty, transposed, or with NaN among them."""
    if weight.dim() != 2 or bias.dim() != 1 or not weight.numel():
        shapes = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
        raise ValueError(f"its weight and bias are {shapes}, no matrix and vector")
    if len(weight) != len(bias):
        turned = ": the weight is transposed" if weight.shape[1] == len(bias) else ""
        raise ValueError(
            f"its weight is {tuple(weight.shape)} and its bias {tuple(bias.shape)}{turned}; they "
            "are (d_model, d_features) and (d_model)"
        )
    if not (weight.is_floating_point() and bias.is_floating_point()):
        raise TypeError("its weight and bias are no floating-point numbers")
    if not (bool(weight.isfinite().all()) and bool(bias.isfinite().all())):
        raise ValueError("its weight and bias hold NaN or infinity")


def _require_record(provenance: dict[str, Any]) -> None:
    """Refuse a record that lacks what every projection's says, or says it in another form."""
    layout = dict(provenance["layout"])
    texts = {
        "layout.text": layout["text"],
        "layout.begin": "" if layout["begin"] is None else layout["begin"],
        **{key: provenance[key] for key in ("kind", "language_model", "encoder")},
    }
    for key, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"its record's {key} is no text")
    if not isinstance(provenance.get("hashes", {}), dict):
        raise TypeError("its record's hashes are no table")
    Layout(**layout)


def require_match(
    projection: Projection,
    expected: dict[str, Any],
    shape: tuple[int, int] | None,
    hashes: dict[str, str] | None = None,
) -> None:
    """Refuse a projection made for another language model, encoder or layout, or of other shape.

    Args:
        expected: what its record has to say.
        shape: of its weight: width of the language model's input, and of the features.
        hashes: of the parts' weights; compared with those that its record names.

    Raises:
        WeightsError: names all that differs.
    """
    wrong = []
    for key, value in expected.items():
        found = projection.provenance.get(key)
        if found != value:
            wrong.append(
                f"the projection was made for {key} {found!r}, not {value!r}: its image prompts "
                "would mean nothing here; give the parts it was trained with, or train another"
            )
    recorded = projection.provenance.get("hashes", {})
    for key, value in (hashes or {}).items():
        if recorded.get(key) not in (None, value):
            wrong.append(
                f"the projection was made for a {key.replace('_', ' ')} whose weights have sha256 "
                f"{recorded[key][:12]}…, not {value[:12]}…: a file of that name has changed; give "
                "the weights it was trained with, or train another"
            )
    found_shape = tuple(projection.linear.weight.shape)
    if shape is not None and found_shape != shape:
        wrong.append(
            f"the projection maps {found_shape[1]} features to {found_shape[0]}, but encoder and "
            f"language model need {shape[1]} to {shape[0]}; train one for them"
        )
    if wrong:
        raise WeightsError("; and ".join(wrong))
