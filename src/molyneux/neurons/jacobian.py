"""Measuring the Jacobian lens: how what is written at a patch moves what the head reads.

J_l = mean over patches and photos of d h / d r_l, with r_l the residual stream after layer l at a
patch, and h what the head is given (after the final norm, where there is one) at the position that
predicts the caption's first noun. Every entry is exact: one vector-Jacobian product for each
coordinate of h gives its derivative by the stream after all layers, at all positions, at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import whole_number
from molyneux.errors import BegunOtherwiseError, UsageError, WeightsError
from molyneux.hooks import capture
from molyneux.neurons.checks import as_model, as_prompt, require_gradients
from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.offloading import weights_by_reference
from molyneux.neurons.provenance import require_same
from molyneux.store import write_at_once
from molyneux.vision.layout import ImagePrompt

_ADVICE = "remove {} to begin anew, or give --out another file"
DIRECTIONS = 16
"""Coordinates of the final state taken back at once: more take memory, and no less time."""


@dataclass(frozen=True)
class FinalState:
    """A pass over one photo, whose final state can be differentiated.

    Attributes:
        state: what the head is given at the last position.
        streams: the residual stream after every layer but the last, in the state's graph.
        patches: the positions that are patches.
    """

    state: Float[Tensor, " d_model"]
    streams: list[Tensor]
    patches: slice

    def jacobian(
        self, directions: Float[Tensor, "directions d_model"]
    ) -> Float[Tensor, "layers directions d_stream"]:
        """Return the derivative of each direction of the state, the mean over patches."""
        gradients = torch.autograd.grad(
            self.state,
            self.streams,
            grad_outputs=directions.to(self.state),
            is_grads_batched=True,
            retain_graph=True,
        )
        precise = torch.promote_types(self.state.dtype, torch.float32)
        at_patches = (g.reshape(len(g), -1, g.shape[-1])[:, self.patches] for g in gradients)
        return torch.stack([each.to(precise).mean(dim=1).cpu() for each in at_patches])


@contextmanager
def final_state(model: LanguageModel, prompt: ImagePrompt) -> Iterator[FinalState]:
    """Yield a pass over one photo and its text, up to the position that predicts the noun.

    Raises:
        UsageError: the prompt holds more photos, has no patches or nothing behind them, the model
            has one layer, or it was loaded under `torch.inference_mode()`.
        AdapterError: the model overflows in its dtype.
    """
    model, prompt = as_model(model), as_prompt(as_model(model), prompt)
    require_gradients(model)
    if not prompt.patches.start < prompt.patches.stop < prompt.n_positions:
        raise UsageError(
            f"the lens is measured from patches to a position behind them, and here the patches "
            f"are {prompt.patches.start} to {prompt.patches.stop} of {prompt.n_positions} "
            "positions; give a prompt with its text"
        )
    if model.n_layers < 2:
        raise UsageError("the model has one layer, whose patches nothing reads; there is no lens")
    head = model.model.get_output_embeddings()
    layers = range(model.n_layers - 1)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        capture({layer: model.layer(layer) for layer in layers}, at="output") as seen,
        capture({"head": head}, at="input") as read,
        weights_by_reference(model.model),
    ):
        embeddings = prompt.embeddings.detach().clone().requires_grad_()
        model.read(replace(prompt, embeddings=embeddings), keep=1)
        state = read["head"].reshape(-1, read["head"].shape[-1])[-1]
        require_finite(model, state)
        yield FinalState(state, [seen[layer] for layer in layers], prompt.patches)


def patch_jacobians(
    model: LanguageModel,
    prompt: ImagePrompt,
    *,
    at_once: int = DIRECTIONS,
    on_part: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "layers d_model d_stream"]:
    """Return the mean over one photo's patches of d(final state) / d(stream), of each layer.

    The last layer is left out: nothing reads its patches.

    Args:
        prompt: one photo's, ending at the position that predicts the noun.
        at_once: coordinates of the final state in one backward pass.
        on_part: told how many coordinates, of all, are done.

    Raises:
        UsageError: as `final_state`.
        AdapterError: the model, or a gradient, overflows in the model's dtype.
    """
    at_once = whole_number("at_once", at_once, least=1)
    with final_state(model, prompt) as passed:
        total, parts = len(passed.state), []
        for directions in torch.eye(total).split(at_once):
            parts.append(passed.jacobian(directions))
            on_part(sum(part.shape[1] for part in parts), total)
        found = torch.cat(parts, dim=1)
    require_finite(model, found)
    return found.detach()


@dataclass
class LensBuilder:
    """Sums one photo's Jacobians after another; `build` gives the lens. It can be put by.

    Attributes:
        provenance: what all photos are measured on.
        measured: the content hashes of the photos summed, in order.
        left_out: photos that were not, each with its reason.
    """

    provenance: dict[str, Any]
    measured: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    total: Float[Tensor, "layers d_model d_stream"] | None = None

    def add(self, digest: str, jacobians: Float[Tensor, "layers d_model d_stream"]) -> None:
        """Take one photo's, which it is known by the hash of its content."""
        self.total = jacobians.double() if self.total is None else self.total + jacobians.double()
        self.measured.append(digest)

    def build(self) -> JacobianLens:
        """Return the mean over the photos so far.

        Raises:
            UsageError: there is none.
        """
        if self.total is None:
            raise UsageError("no photo was measured, so there is no lens; name other photos")
        n = len(self.measured)
        listed = "".join(f"{one}\n" for one in sorted(self.measured))
        digest = hashlib.sha256(listed.encode()).hexdigest()
        provenance = {**self.provenance, "photos": n, "photos_sha256": digest}
        return JacobianLens(provenance, (self.total / n).float())

    def save(self, path: Path) -> None:
        """Write what was summed so far, to go on from."""
        from safetensors.torch import save

        record = {
            "provenance": self.provenance,
            "measured": self.measured,
            "left_out": self.left_out,
        }
        tensors = {} if self.total is None else {"total": self.total}
        write_at_once(path, save(tensors, metadata={"lens": json.dumps(record)}))

    @classmethod
    def restore(cls, path: Path, provenance: dict[str, Any]) -> LensBuilder:
        """Return what `save` wrote, where it was measured on the same.

        Raises:
            BegunOtherwiseError: it was measured on something else.
            WeightsError: the file is damaged.
        """
        from safetensors import safe_open

        advice = _ADVICE.format(path)
        try:
            with safe_open(path, framework="pt") as file:
                record = json.loads((file.metadata() or {})["lens"])
                total = file.get_tensor("total") if "total" in file.keys() else None  # noqa: SIM118
            found = cls(
                dict(record["provenance"]),
                list(record["measured"]),
                dict(record["left_out"]),
                total,
            )
        except Exception as error:  # safetensors raises its own classes, unexported in part
            raise WeightsError(
                f"{path} is no lens begun ({type(error).__name__}: {error}); {advice}"
            ) from error
        found.require(provenance, path)
        return found

    def require(self, provenance: dict[str, Any], path: Path) -> None:
        """Refuse to go on with what was measured on something else.

        Args:
            path: the file it was put by in.

        Raises:
            BegunOtherwiseError: names what differs.
        """
        try:
            require_same("what is to go on", self.provenance, provenance, _ADVICE.format(path))
        except WeightsError as error:
            raise BegunOtherwiseError(str(error)) from error
