"""Lenses: what is written to the residual stream, as the head would be given it.

Three of one kind. `none` reads a direction as the head reads the stream itself (the logit lens:
nostalgebraist 2020). `norm` reads it through the scale of the final norm. `jacobian` reads it as
later layers carry it on: a direction d written after layer l at a patch moves what the head reads,
where the caption's first noun is predicted, by J_l d to first order, with J_l the mean of that
derivative over patches and photos (`molyneux.neurons.jacobian`). The first two presume that what
a patch holds is read where it is written; the third does not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import path_of, shown
from molyneux.errors import UsageError, WeightsError
from molyneux.neurons.provenance import require_same
from molyneux.store import write_at_once

LensName = Literal["none", "norm", "jacobian"]
_ADVICE = "measure one for this model with `molyneux lens build`"


@runtime_checkable
class Lens(Protocol):
    """From what a layer writes to the residual stream to what the head would be given."""

    @property
    def name(self) -> LensName:
        """What it is asked for by."""
        ...

    def reads(self, layer: int) -> bool:
        """Return whether it has a reading of what this layer writes."""
        ...

    def record(self) -> dict[str, Any]:
        """Return `name`, and what it was measured on, as plain data."""
        ...

    def __call__(
        self, layer: int, rows: Float[Tensor, "*any d_stream"]
    ) -> Float[Tensor, "*any d_model"]:
        """Return directions written to the stream by a layer, as the head would be given them.

        Raises:
            UsageError: it has no reading of this layer.
        """
        ...


@dataclass(frozen=True)
class HeadLens:
    """The model's own head: what is written is read where it is written.

    Attributes:
        final_norm: whether the scale of the final norm takes part (and of norms the stream itself
            passes on its way there, as in OPT-350m).
    """

    model: LanguageModel
    final_norm: bool = True

    @property
    def name(self) -> LensName:
        """`norm` or `none`."""
        return "norm" if self.final_norm else "none"

    def reads(self, layer: int) -> bool:
        """Return True: it reads every layer."""
        return True

    def record(self) -> dict[str, Any]:
        """Return its name alone: nothing was measured."""
        return {"name": self.name}

    def __call__(
        self, layer: int, rows: Float[Tensor, "*any d_stream"]
    ) -> Float[Tensor, "*any d_model"]:
        """Return the rows through the scale and the map to the head's width.

        Centring, and division by the stream's size, are left out.
        """
        scale = self.model.read_scale(layer) if self.final_norm else None
        return self.model.to_head(rows if scale is None else rows * scale.to(rows.device).float())


@dataclass(frozen=True, eq=False)
class JacobianLens:
    """Every layer's mean derivative of what the head reads, by what is written at a patch.

    The last layer's write at a patch goes nowhere: it has no reading there.

    Attributes:
        provenance: plain data: `projection` (hash), `language_model`, `encoder`, `layout`,
            `dtype`, `data`, `photos` (how many), `photos_sha256` (of their content hashes in
            order, one a line), `read_at`.
        jacobians: J_l of all layers but the last.
    """

    name: ClassVar[LensName] = "jacobian"

    provenance: dict[str, Any]
    jacobians: Float[Tensor, "layers d_model d_stream"]

    def __repr__(self) -> str:
        layers, d_model, d_stream = self.jacobians.shape
        photos, data = self.provenance.get("photos"), self.provenance.get("data")
        return f"JacobianLens({photos} of {data}, {layers} layers, {d_stream} to {d_model})"

    def reads(self, layer: int) -> bool:
        """Return whether the layer is any but the last."""
        return layer < len(self.jacobians)

    def record(self) -> dict[str, Any]:
        """Return its name and provenance."""
        return {"name": self.name, **self.provenance}

    def __call__(
        self, layer: int, rows: Float[Tensor, "*any d_stream"]
    ) -> Float[Tensor, "*any d_model"]:
        """Return J_l of each row.

        Raises:
            UsageError: it is the last layer, or there is none of this number.
        """
        if not 0 <= layer < len(self.jacobians):
            raise UsageError(
                f"the Jacobian lens reads layers 0 to {len(self.jacobians) - 1}, not {layer}: what "
                "the last one writes at a patch reaches no other position"
            )
        return rows.float() @ self.jacobians[layer].to(rows.device).T

    def require(self, model: LanguageModel, expected: dict[str, Any]) -> None:
        """Refuse to be used with parts it was not measured on.

        Args:
            expected: provenance that has to be its own.

        Raises:
            WeightsError: names what differs.
        """
        self.require_measured_on(expected)
        wanted = (model.n_layers - 1, model.d_model, model.d_stream)
        if tuple(self.jacobians.shape) != wanted:
            raise WeightsError(
                f"the lens has the shape {tuple(self.jacobians.shape)} and the model {wanted}: it "
                f"was measured on another; {_ADVICE}"
            )

    def require_measured_on(self, expected: dict[str, Any]) -> None:
        """Refuse to be used with a part it was not measured on, before all of them are read.

        Args:
            expected: provenance that has to be its own, as far as it is known.

        Raises:
            WeightsError: names what differs.
        """
        require_same("the lens", self.provenance, expected, _ADVICE)


def as_lens(model: LanguageModel, lens: Any, measured_on: dict[str, Any]) -> Lens:
    """Return a lens that a model can be read through.

    Args:
        measured_on: what one that was measured has to have been measured on.

    Raises:
        UsageError: it is no lens.
        WeightsError: it was measured on something else.
    """
    if not isinstance(lens, Lens):
        raise UsageError(f"lens takes a lens, not {shown(lens)}; give what load_lens(path) returns")
    if isinstance(lens, JacobianLens):
        lens.require(model, measured_on)
    return lens


def save_lens(path: Path, lens: JacobianLens) -> None:
    """Write a lens as one safetensors file, in half precision, its provenance in the header.

    Each layer is divided by its largest entry first, so that no small one is lost.
    """
    from safetensors.torch import save

    scale = lens.jacobians.abs().amax(dim=(1, 2)).clamp(min=torch.finfo(torch.float32).tiny)
    tensors = {
        "jacobians": (lens.jacobians / scale[:, None, None]).half().contiguous(),
        "scale": scale,
    }
    header = {
        "sha256": _content_hash(tensors),
        "provenance": json.dumps(lens.provenance, sort_keys=True),
    }
    write_at_once(path, save(tensors, metadata=header))


def load_lens(path: Path) -> JacobianLens:
    """Return a lens written by `save_lens`.

    Raises:
        UsageError: it is no path.
        WeightsError: the file is missing or is not such a lens.
    """
    from safetensors import safe_open

    path = path_of("a lens", path)
    advice = "measure one with `molyneux lens build`"
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in ("jacobians", "scale")}
        if _content_hash(tensors) != header["sha256"]:
            raise ValueError("its numbers are not the ones its header names")
        scale = tensors["scale"][:, None, None]
        return JacobianLens(json.loads(header["provenance"]), tensors["jacobians"].float() * scale)
    except FileNotFoundError as error:
        raise WeightsError(f"no lens at {path}; {advice}") from error
    except Exception as error:  # safetensors raises its own classes, unexported in part
        raise WeightsError(
            f"{path} is not a lens ({type(error).__name__}: {error}); {advice}"
        ) from error


def _content_hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
