"""What everything that explains photos asks of a model that sees, however it is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.models.generation import MAX_TOKENS
from molyneux.models.trust import TrustScale
from molyneux.neurons.decoding_rule import Decoding
from molyneux.neurons.lens import Lens
from molyneux.neurons.reference import Reference
from molyneux.vision.encoder import PatchGrid, Preprocessing
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo, Photos


@runtime_checkable
class Eye(Protocol):
    """Where patches lie on a photo."""

    @property
    def name(self) -> str:
        """What provenance records."""
        ...

    @property
    def grid(self) -> PatchGrid:
        """Rows and columns of patches."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """Which part of a photo the grid lies over."""
        ...


@runtime_checkable
class Joint(Protocol):
    """What makes image prompts of features."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from, as plain data."""
        ...

    def hash(self) -> str:
        """Return the sha256 of its weights."""
        ...


@runtime_checkable
class Recorded(Protocol):
    """How the prompt is laid out."""

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        ...


@runtime_checkable
class SeeingModel(Protocol):
    """A language model that sees: a `Captioner`, or a `VisionLanguageModel`."""

    @property
    def language_model(self) -> LanguageModel:
        """The language model, with the places of its units."""
        ...

    @property
    def encoder(self) -> Eye:
        """Where patches lie on a photo."""
        ...

    @property
    def projection(self) -> Joint:
        """What makes image prompts of features."""
        ...

    @property
    def layout(self) -> Recorded:
        """How the prompt is laid out."""
        ...

    @property
    def names(self) -> dict[str, str]:
        """What the parts are called, in documents and provenance."""
        ...

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each part's weights."""
        ...

    @property
    def preset(self) -> str | None:
        """The preset's name, if it is one."""
        ...

    @property
    def limits(self) -> tuple[str, ...]:
        """What must be said wherever its results are shown."""
        ...

    @property
    def reference(self) -> Reference | None:
        """Scores of all units over reference photos, where there is a table."""
        ...

    @property
    def trust(self) -> TrustScale | None:
        """How often words of a probability are right, where it was measured."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How units are decoded where nothing else is asked for."""
        ...

    @property
    def lens(self) -> Lens | None:
        """What units are decoded through; None for the head, as `decoding` has it."""
        ...

    def with_lens(self, lens: Lens) -> SeeingModel:
        """Return the model with a lens that fits it."""
        ...

    def image_prompts(self, photos: Photos) -> Float[Tensor, "photos patches d_model"]:
        """Return the input embedding that stands for each patch."""
        ...

    def see(self, photos: Photos) -> ImagePrompt:
        """Return photos as the language model is given them, with the prompt's text."""
        ...

    def write(self, prompt: ImagePrompt, max_tokens: int = MAX_TOKENS) -> list[list[int]]:
        """Return the token ids of each photo's greedy caption."""
        ...

    def caption(self, photo: Photo) -> str:
        """Return the greedy caption of one photo, without the prompt's text."""
        ...

    def caption_all(self, photos: Sequence[Photo]) -> list[str]:
        """Return the greedy captions of several photos, together where that is possible."""
        ...


@runtime_checkable
class Sees(Protocol):
    """What holds a model that sees, such as what `molyneux.load` returns."""

    @property
    def seeing(self) -> SeeingModel:
        """The model itself."""
        ...


def as_seeing(model: Any) -> SeeingModel:
    """Return a model that sees, or the one that something holds.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(model, SeeingModel):
        return model
    seeing = getattr(model, "seeing", None)
    if isinstance(seeing, SeeingModel):
        return seeing
    raise UsageError(
        f"{type(model).__name__} is no model that sees; give what `molyneux.load` returns"
    )


def shown_model(model: SeeingModel) -> str:
    """Return a seeing model in one short line: what its parts are called, and how many units."""
    language = model.language_model
    parts = ", ".join(f"{part.replace('_', ' ')} {name!r}" for part, name in model.names.items())
    preset = "" if model.preset is None else f"{model.preset!r}: "
    units = f"{language.n_layers} layers x {language.d_mlp} units"
    return f"{type(model).__name__}({preset}{parts}; {units})"


def describe_model(captioner: SeeingModel) -> dict[str, Any]:
    """Return the document's `model`: what produced the numbers."""
    model, reference = captioner.language_model, captioner.reference
    trust = {} if captioner.trust is None else {"trust": captioner.trust.record()}
    lens = {} if captioner.lens is None else {"lens": captioner.lens.record()}
    return {
        "preset": captioner.preset,
        **captioner.names,
        "projection": captioner.projection.provenance,
        "layout": captioner.layout.record(),
        "decoding": asdict(captioner.decoding),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "hashes": captioner.hashes,
        "n_layers": model.n_layers,
        "d_mlp": model.d_mlp,
        "n_units": model.n_units,
        "limits": list(captioner.limits),
        "reference": None if reference is None else reference.provenance,
        **trust,
        **lens,
    }
