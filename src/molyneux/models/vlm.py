"""A vision-language model whose own projector makes the image prompts, unmodified."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from molyneux.adapters.adapt import adapt, require_hugging_face
from molyneux.adapters.language_model import LanguageModel
from molyneux.adapters.registry import find_vision_family, text_family
from molyneux.adapters.vlm_families import IMAGE, TOKENS, VisionFamily
from molyneux.checks import is_a
from molyneux.errors import AdapterError, MolyneuxError, UsageError, is_out_of_memory, quote
from molyneux.models.generation import MAX_TOKENS, continue_greedily
from molyneux.models.prompt_text import require_image
from molyneux.models.seeing_model import shown_model
from molyneux.models.trust import TrustScale
from molyneux.models.vlm_images import OwnEye
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.neurons.lens import Lens, as_lens
from molyneux.neurons.reference import Reference
from molyneux.vision.layout import Beside, ImagePrompt
from molyneux.vision.photo import Photo, Photos, as_photos, read_photo

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LIMITS = (
    "This language model was trained together with its projector to read photos, unlike the "
    "paper's, which only ever read text: what its units do for photos was learned from photos.",
)
_NAMED = re.compile(r"\{(\w+_token)\}")


@dataclass(frozen=True)
class PromptLayout:
    """What the model continues.

    Attributes:
        prompt: the text, `{image}` standing for the image.
        image: how the image is written into it, `{tokens}` standing for its tokens.
        begins: whether the tokenizer's special tokens are added.
        tiles: whether tiles of the photo follow the patches.
        pixels: sides of what is shown of a photo.
    """

    prompt: str
    image: str
    begins: bool
    tiles: bool
    pixels: int

    def record(self) -> dict[str, Any]:
        """Return the layout as plain data; `text` is what follows the image, for readers."""
        after = _NAMED.sub("", self.prompt.partition(IMAGE)[2]).strip()
        return {
            "text": after or " ",
            "prompt": self.prompt,
            "image": self.image,
            "begins": self.begins,
            "tiles": self.tiles,
            "pixels": self.pixels,
        }


@dataclass(frozen=True)
class OwnProjector:
    """The record of a projector that came with its model."""

    provenance: dict[str, Any]
    sha256: str

    def hash(self) -> str:
        """Return the sha256 of the model it came with."""
        return self.sha256


@dataclass(frozen=True)
class VisionLanguageModel:
    """A vision-language model: photos in, captions out, with everything between them at hand.

    It can be explained as a `Captioner` can. Its patches are those of one view of the photo;
    tiles in a higher resolution, where the family makes them, are part of the prompt only.

    Attributes, besides those of every `SeeingModel`:
        language_model: the whole model, with the places of the units of the language model in it.
        family: the row that says how it puts photos into the prompt.
        encoder: the checkpoint's own image processor, and where patches lie on what it shows.
        projection: the record of its own projector.
    """

    language_model: LanguageModel
    family: VisionFamily
    encoder: OwnEye
    projection: OwnProjector
    layout: PromptLayout
    names: dict[str, str]
    hashes: dict[str, str]
    preset: str | None = None
    reference: Reference | None = None
    decoding: Decoding = DEFAULT_DECODING
    trust: TrustScale | None = None
    lens: Lens | None = None

    def __repr__(self) -> str:
        return shown_model(self)

    @classmethod
    def from_parts(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any,
        *,
        prompt: str | None = None,
        centre: int | None = None,
        name: str = "vision-language model",
        sha256: str = "",
        check: bool = True,
    ) -> VisionLanguageModel:
        """Return Hugging Face's model with its family's row resolved, frozen, ready to caption.

        Args:
            image_processor: the checkpoint's own, on the Pillow backend.
            prompt: what the model continues, `{image}` standing for the image; else the family's.
            centre: sides in pixels of the square that is cut out of a photo, in families that
                keep every photo's shape (Qwen2-VL).
            sha256: of the weights.
            check: prove the language model's row in brief, and that the patches lie on photos
                where the family's row says.

        Raises:
            AdapterError: the family is not known, or its row does not fit the model, or the
                image processor does not.
            UsageError: an argument is of another kind; or the prompt has no place for the image,
                or more than one.
        """
        require_hugging_face(model, tokenizer)
        if prompt is not None:
            prompt = is_a("prompt", prompt, str, f"one, as in '{IMAGE}A picture of'")
        config = model.config
        family = find_vision_family(config.model_type, config)
        _require_text(model, family)
        adapted = adapt(model, tokenizer, text_family(family, config), check=check)
        template = family.prompt if prompt is None else prompt
        require_image(template, family.prompt)
        if centre is not None and family.view != "centre":
            raise UsageError(
                f"{family.name} looks at photos in one size of its own; leave the size out"
            )
        with _going_together(name):
            eye = OwnEye.of(family, config, image_processor, centre, name)
        size = eye.preprocessing.size
        layout = PromptLayout(template, family.image, family.begins, family.tiles, size)
        projector = OwnProjector(
            {"language_model": name, "encoder": eye.name, "projector": "the model's own"}
            | {"layout": layout.record(), "family": family.name},
            sha256,
        )
        seeing = cls(
            adapted,
            family,
            eye,
            projector,
            layout,
            {"language_model": name, "encoder": eye.name},
            {"language_model": sha256} if sha256 else {},
        )
        with _going_together(name):
            seeing.see([Image.new("RGB", (48, 32), (90, 120, 60))])
            if check:
                eye.require_region()
        return seeing

    @property
    def limits(self) -> tuple[str, ...]:
        """What must be said wherever its results are shown."""
        return LIMITS

    def with_reference(self, reference: Reference) -> VisionLanguageModel:
        """Return the model with a reference table that was measured on it, with this prompt.

        The hash of the weights decides, whatever the model's folder is called.

        Raises:
            WeightsError: the table was measured on another model, or with another prompt.
        """
        reference = is_a("reference", reference, Reference, "what load_reference(path) returns")
        digest = self.projection.hash()
        weights = {"projection": digest} if digest else self.names
        reference.require(
            {**weights, "layout": self.layout.record(), "decoding": asdict(self.decoding)},
            unsaid={"decoding": asdict(DEFAULT_DECODING)},
        )
        return replace(self, reference=reference)

    def with_trust(self, trust: TrustScale) -> VisionLanguageModel:
        """Return the model with a trust scale that was measured on it, with this prompt.

        Raises:
            WeightsError: the scale was measured on another model, or with another prompt.
        """
        trust = is_a("trust", trust, TrustScale, "what load_trust(path) returns")
        digest = self.projection.hash()
        weights = {"projection": digest} if digest else self.names
        trust.require({**weights, "layout": self.layout.record()})
        return replace(self, trust=trust)

    def with_lens(self, lens: Lens) -> VisionLanguageModel:
        """Return the model with a lens through which its units are decoded.

        Raises:
            UsageError: it is no lens.
            WeightsError: it was measured on another model, or with another prompt.
        """
        digest = self.projection.hash()
        weights = {"projection": digest} if digest else self.names
        measured_on = {**weights, "layout": self.layout.record()}
        return replace(self, lens=as_lens(self.language_model, lens, measured_on))

    def pixels(self, photo: Photo) -> dict[str, Tensor]:
        """Return what the model's own image processor makes of a photo: pixels, and their shape."""
        return self.encoder.pixels(read_photo(photo))

    @torch.no_grad()
    def features(self, pixels: dict[str, Tensor]) -> Float[Tensor, "tokens d_model"]:
        """Return what the model's own vision network and projector make of pixels, as it would.

        One vector for every image token, tiles and separators included.
        """
        model: Any = self.language_model.model
        takes = inspect.signature(model.get_image_features).parameters
        place = self.language_model.device
        given = {
            key: value.to(place, model.dtype if value.is_floating_point() else None)
            for key, value in pixels.items()
            if key in takes
        }
        found = model.get_image_features(**given).pooler_output
        parts = [found] if isinstance(found, Tensor) else list(found)
        return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])

    def image_prompts(self, photos: Photos) -> Float[Tensor, "photos patches d_model"]:
        """Return the input embedding that stands for each patch."""
        prompt = self.see(photos)
        return prompt.embeddings[:, prompt.patches]

    def see(self, photos: Photos) -> ImagePrompt:
        """Return photos as the language model is given them, with the prompt's text.

        Raises:
            PhotoError: a photo cannot be read.
            UsageError: the photos' prompts differ in length, as tiles make them.
        """
        seen = [self._see_one(photo) for photo in as_photos(photos)]
        lengths = {prompt.n_positions for prompt in seen}
        if len(lengths) != 1:
            raise UsageError(
                f"{self.family.name} cuts photos into tiles by their shape, so that these take "
                f"{', '.join(map(str, sorted(lengths)))} positions; see them one at a time"
            )
        beside = {
            name: Beside(torch.cat([p.beside[name].values for p in seen], dim=-2), one.following)
            for name, one in seen[0].beside.items()
        }
        embeddings = torch.cat([prompt.embeddings for prompt in seen])
        return ImagePrompt(embeddings, seen[0].patches, beside)

    @torch.no_grad()
    def _see_one(self, photo: Photo) -> ImagePrompt:
        language, config = self.language_model, self._config
        pixels = self.pixels(photo)
        features = self.features(pixels)
        ids = self._token_ids(len(features)).to(language.device)
        is_image = ids[0] == config.image_token_id
        # An image token may lie beyond the vocabulary, where nothing is embedded.
        embeddings = language.embed(ids.masked_fill(is_image, 0)).clone()
        embeddings[0, is_image] = features.to(embeddings)
        start = int(is_image.nonzero()[0])
        patches = self._patches(start, len(features))
        beside: dict[str, Beside] = {}
        types = is_image[None].long()
        if self.family.token_types is not None:
            name, at_image, elsewhere, following = self.family.token_types
            beside[name] = Beside(at_image * types + elsewhere * (1 - types), following)
        if self.family.positions is not None:
            assert self.family.marks is not None
            body: Any = language.model.get_submodule("model")
            shape = {k: v.to(ids.device) for k, v in pixels.items() if k.endswith("_thw")}
            positions, _ = body.get_rope_index(ids, **{self.family.marks: types}, **shape)
            beside[self.family.positions] = Beside(positions, None)
        return ImagePrompt(embeddings, patches, beside)

    @property
    def _config(self) -> Any:
        return self.language_model.model.config

    def _token_ids(self, n_tokens: int) -> Tensor:
        """Return the prompt's tokens, the image's `n_tokens` of them included."""
        tokenizer: Any = self.language_model.tokenizer
        image = tokenizer.convert_ids_to_tokens(self._config.image_token_id)
        text = self.layout.prompt.replace(IMAGE, self.layout.image.replace(TOKENS, str(image)))
        text = _NAMED.sub(lambda match: _special(tokenizer, match[1]), text)
        ids: list[int] = tokenizer(text, add_special_tokens=self.layout.begins).input_ids
        if ids.count(self._config.image_token_id) != 1:
            raise AdapterError(
                f"the tokenizer reads the image token {image!r} {ids.count(image)} times in "
                f"{text!r}: it is not this model's tokenizer; give the checkpoint's own"
            )
        at = ids.index(self._config.image_token_id)
        return torch.tensor([[*ids[:at], *([ids[at]] * n_tokens), *ids[at + 1 :]]])

    def _patches(self, start: int, n_tokens: int) -> slice:
        """Return which positions are patches, of those of the image from `start`.

        Raises:
            AdapterError: there are not as many as the grid has.
        """
        wanted = self.encoder.grid.n_patches
        ahead = 0
        if not self.family.tiles:
            ahead = n_tokens - wanted  # a class token stands ahead of the patches
        if n_tokens < wanted or ahead not in (0, 1):
            raise AdapterError(
                f"this {self.family.name} makes {n_tokens} image tokens of a photo, not the "
                f"{self.encoder.grid.rows} x {self.encoder.grid.columns} of its configuration; "
                "give the checkpoint's own preprocessor_config.json, or mend the row"
            )
        return slice(start + ahead, start + ahead + wanted)

    def write(self, prompt: ImagePrompt, max_tokens: int = MAX_TOKENS) -> list[list[int]]:
        """Return the token ids of each photo's greedy caption."""
        return continue_greedily(self.language_model, prompt, max_tokens)

    def caption(self, photo: Photo) -> str:
        """Return the greedy caption of one photo, without the prompt's text.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return self.language_model.decode(self.write(self.see([photo]))[0]).strip()

    def caption_all(self, photos: Photos) -> list[str]:
        """Return the greedy captions of several photos, one after another."""
        return [self.caption(photo) for photo in as_photos(photos)]


def _require_text(model: PreTrainedModel, family: VisionFamily) -> None:
    try:
        model.get_submodule(family.text)
    except AttributeError as error:
        raise AdapterError(
            f"{type(model).__name__} has no module {family.text!r}, where the row of {family.name} "
            "says the language model is; mend its `text`"
        ) from error


def _special(tokenizer: Any, name: str) -> str:
    found = getattr(tokenizer, name, None)
    if not isinstance(found, str):
        raise AdapterError(
            f"the tokenizer has no {name!r}, which this family writes around images; give the "
            "checkpoint's own tokenizer"
        )
    return found


@contextmanager
def _going_together(name: str) -> Iterator[None]:
    """Put what a model says of another's image processor into one line."""
    try:
        yield
    except MolyneuxError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        # Shapes that do not fit show in any layer.
        raise AdapterError(
            f"the image processor given for {name} makes what the model cannot take "
            f"({quote(error)}); give the checkpoint's own preprocessor_config.json"
        ) from error
