"""A frozen language model, a frozen encoder and one projection, assembled to caption photos."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.adapt import adapt
from molyneux.adapters.language_model import LanguageModel
from molyneux.checkpoints.placement import dtype_named, place_named
from molyneux.checks import is_a, shown
from molyneux.errors import UsageError
from molyneux.models import DEFAULT_PRESET
from molyneux.models.compatibility import require_patches, require_room, require_shown
from molyneux.models.generation import MAX_TOKENS, continue_greedily
from molyneux.models.parts import Parts, require_encoder
from molyneux.models.presets import decoding_of, find_preset, published_with
from molyneux.models.seeing_model import shown_model
from molyneux.models.trust import TrustScale, load_trust
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.neurons.lens import Lens, as_lens
from molyneux.neurons.reference import Reference, load_reference
from molyneux.vision.encoder import ImageEncoder, prepare_pixels
from molyneux.vision.layout import ImagePrompt, Layout, lay_out
from molyneux.vision.photo import Photo, Photos, as_photos, read_photo
from molyneux.vision.projection import Projection, load_projection, require_match
from molyneux.weights.fetch import Note, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LAYER = re.compile(r".+ layer (\d+)")


def _as_recorded(name: str, recorded: Mapping[str, Any], part: str, digest: str) -> str:
    """Return what a projection's record calls a part that is the one it means, else its name.

    A folder that holds a hub's model is called by its own name, without the publisher's.
    """
    known: str = str(recorded[part])
    expected = recorded.get("hashes", {}).get(part)
    if expected is not None:
        return known if expected == digest else name
    return known if known.rpartition("/")[2].lower() == name.lower() else name


def _reference_of(projection: Projection, file: Path | None) -> Reference | None:
    """Return a table of a projection, so that another's is refused before weights are read."""
    if file is None:
        return None
    table = load_reference(file)
    table.require({"projection": projection.hash()})
    return table


def _trust_of(projection: Projection, file: Path | None) -> TrustScale | None:
    """Return a scale of a projection, as `_reference_of` does a table."""
    if file is None:
        return None
    scale = load_trust(file)
    scale.require({"projection": projection.hash()})
    return scale


@dataclass(frozen=True)
class Captioner:
    """What sees: photos in, captions out, with everything between them at hand.

    Its attributes are those of every `SeeingModel`; the preset is None for parts given by hand.
    """

    language_model: LanguageModel
    encoder: ImageEncoder
    projection: Projection
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
    def load(
        cls,
        preset: str = "smollm2-effnet",
        *,
        projection: Path | None = None,
        reference: Path | None = None,
        trust: Path | None = None,
        encoder: ImageEncoder | None = None,
        decoding: Decoding | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        note: Note = silent,
    ) -> Captioner:
        """Return a preset's captioner, fetching its weights at first use.

        A projection that was trained with the preset's encoder under random weights, as a
        control, is joined to that encoder. LiMBeR's projections are never fetched here: without
        one, the error says what to run.

        Args:
            projection: another projection than the preset's.
            reference: another reference table than the preset's.
            trust: another trust scale than the preset's.
            encoder: the encoder itself, for presets whose encoder nothing here can load. Its
                name has to be the one the projection records; where it begins with `random:`,
                the projection is the one that was trained with random weights.
            decoding: how units are decoded, if not as the preset has it.
            dtype: of the language model: float32, bfloat16 or float16.
            device: cpu, cuda, auto, or split over all GPUs and the memory beside them. The default
                preset's numbers are those of the cpu.
            note: told, one line at a time, what takes long.

        Raises:
            UsageError: there is no such preset, dtype or device, or it needs an encoder object.
            WeightsError: weights are missing, corrupt, or do not belong together.
        """
        chosen = find_preset(preset)
        number, place = dtype_named(dtype), place_named(device)
        if encoder is None:
            require_encoder(chosen, None)
        random = encoder is not None and encoder.name.startswith("random:")
        joined = load_projection(projection or chosen.projection_file(random_encoder=random))
        seen_by = str(joined.provenance["encoder"])
        control = seen_by if seen_by.startswith(f"random:{chosen.encoder} ") else None
        require_match(joined, {"layout": Layout(chosen.begin).record()}, None)
        if encoder is not None:
            require_match(joined, {"encoder": encoder.name}, None)
            require_patches(joined, encoder)
            published = published_with(joined.provenance)
            if published is not None and published.shown is not None:
                require_shown(published.shown, encoder)
            control = None
        rule = decoding or chosen.decoding
        # The preset's own table goes with its own projection and decoding.
        is_own = projection is None and rule == chosen.decoding
        table = _reference_of(joined, reference or (chosen.reference if is_own else None))
        scale = _trust_of(joined, trust or (chosen.trust if projection is None else None))
        parts = Parts.load(
            chosen, number, note, encoder=control, seeing=encoder, device_map=place.device_map
        ).to(place)
        require_patches(joined, parts.encoder)
        captioner = replace(cls.join(parts, joined, preset=preset), decoding=rule)
        captioner = captioner if scale is None else captioner.with_trust(scale)
        return captioner if table is None else captioner.with_reference(table)

    @classmethod
    def from_sources(
        cls,
        language_model: str | Path,
        encoder: str | Path,
        projection: Path,
        *,
        reference: Path | None = None,
        trust: Path | None = None,
        decoding: Decoding | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        note: Note = silent,
    ) -> Captioner:
        """Return a captioner of parts given by hand.

        A folder stands for the hub's model of the same name that the projection records; where
        it records hashes, they decide. The encoder's layer is the one that it records.

        Args:
            language_model: a folder, a GGUF file or a hub name.
            encoder: a folder or hub name; `random:` and one of them, with ` seed N`, a control.
            projection: a file that `molyneux train` or `molyneux models fetch` wrote.
            reference: a reference table measured on these parts.
            trust: a trust scale measured on these parts.
            decoding: how units are decoded; with a projection that a preset publishes as that
                preset does, else through the final norm in the direction written.
            dtype: of the language model: float32, bfloat16 or float16.
            device: cpu, cuda, auto or split.
            note: told, one line at a time, what takes long.

        Raises:
            UsageError: there is no such dtype or device.
            WeightsError: weights are missing, corrupt, or do not belong together.
            AdapterError: the family of the language model or encoder is not known.
        """
        number, place = dtype_named(dtype), place_named(device)
        joined = load_projection(projection)
        recorded = joined.provenance
        layer = _LAYER.fullmatch(str(recorded["encoder"]))
        table, scale = _reference_of(joined, reference), _trust_of(joined, trust)
        parts = Parts.load(
            find_preset(DEFAULT_PRESET),
            number,
            note,
            language_model=str(language_model),
            encoder=str(encoder),
            layer=int(layer[1]) if layer else None,
            device_map=place.device_map,
        ).to(place)
        names = {
            part: _as_recorded(parts.names[part], recorded, part, parts.hashes[part])
            for part in parts.names
        }
        require_patches(joined, parts.encoder)
        rule = decoding or decoding_of(joined.provenance)
        captioner = replace(cls.join(replace(parts, names=names), joined), decoding=rule)
        captioner = captioner if scale is None else captioner.with_trust(scale)
        return captioner if table is None else captioner.with_reference(table)

    @classmethod
    def join(cls, parts: Parts, projection: Projection, *, preset: str | None = None) -> Captioner:
        """Return parts joined by a projection that was made for them.

        Raises:
            WeightsError: the projection was made for other parts or has another shape.
        """
        shape = (parts.language_model.d_model, parts.encoder.d_features)
        require_match(projection, parts.names, shape, parts.hashes)
        require_room(parts.language_model, projection.layout, parts.encoder.grid.n_patches)
        hashes = {**parts.hashes, "projection": projection.hash()}
        return cls(parts.language_model, parts.encoder, projection, parts.names, hashes, preset)

    @classmethod
    def from_parts(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        encoder: ImageEncoder,
        projection: Projection,
    ) -> Captioner:
        """Return a captioner of any Hugging Face causal LM, any encoder and a projection.

        Raises:
            UsageError: an argument is of another kind.
            AdapterError: the language model's family is not known.
            WeightsError: the projection has another shape.
        """
        if not isinstance(encoder, ImageEncoder):
            raise UsageError(
                f"encoder takes an image encoder, not {shown(encoder)}; give what "
                "load_encoder(source) returns, or an object with name, grid, d_features, "
                "preprocessing and encode"
            )
        example = "what load_projection(path) returns"
        projection = is_a("projection", projection, Projection, example)
        language_model = adapt(model, tokenizer)
        names = {
            "language_model": str(projection.provenance["language_model"]),
            "encoder": encoder.name,
        }
        return cls.join(Parts(language_model, encoder, names, {}), projection)

    def with_reference(self, reference: Reference) -> Captioner:
        """Return the captioner with a reference table that was measured on these parts.

        Raises:
            WeightsError: the table was measured on others.
        """
        reference = is_a("reference", reference, Reference, "what load_reference(path) returns")
        usual = find_preset(self.preset).decoding if self.preset else DEFAULT_DECODING
        reference.require(
            {
                **self.names,
                "projection": self.projection.hash(),
                "decoding": asdict(self.decoding),
            },
            unsaid={"decoding": asdict(usual)},
        )
        return replace(self, reference=reference)

    def with_trust(self, trust: TrustScale) -> Captioner:
        """Return the captioner with a trust scale that was measured on these parts.

        Raises:
            WeightsError: the scale was measured on others.
        """
        trust = is_a("trust", trust, TrustScale, "what load_trust(path) returns")
        trust.require({**self.names, "projection": self.projection.hash()})
        return replace(self, trust=trust)

    def with_lens(self, lens: Lens) -> Captioner:
        """Return the captioner with a lens through which its units are decoded.

        Raises:
            UsageError: it is no lens.
            WeightsError: it was measured on other parts.
        """
        layout = self.layout.record()
        measured_on = {**self.names, "projection": self.projection.hash(), "layout": layout}
        return replace(self, lens=as_lens(self.language_model, lens, measured_on))

    @property
    def limits(self) -> tuple[str, ...]:
        """What must be said wherever its results are shown: its preset's limits."""
        return find_preset(self.preset).limits if self.preset else ()

    @property
    def layout(self) -> Layout:
        """How patches and text are laid out, as the projection was trained."""
        return self.projection.layout

    def encode(self, photos: Photos) -> Float[Tensor, "photos patches feat"]:
        """Return the encoder's patch features of photos."""
        images = [read_photo(photo) for photo in as_photos(photos)]
        return self.encoder.encode(prepare_pixels(self.encoder, images))

    def image_prompts(self, photos: Photos) -> Float[Tensor, "photos patches d_model"]:
        """Return the input embedding that stands for each patch."""
        return self.projection.project(self.encode(photos))

    def see(self, photos: Photos) -> ImagePrompt:
        """Return photos as the language model is given them, with the layout's text."""
        return lay_out(self.language_model, self.layout, self.image_prompts(photos))

    def write(self, prompt: ImagePrompt, max_tokens: int = MAX_TOKENS) -> list[list[int]]:
        """Return the token ids of each photo's greedy caption."""
        return continue_greedily(self.language_model, prompt, max_tokens)

    def caption(self, photo: Photo) -> str:
        """Return the greedy caption of one photo, without the prompt's text.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return self.caption_all([photo])[0]

    def caption_all(self, photos: Photos) -> list[str]:
        """Return the greedy captions of several photos, in one batch."""
        return [self.language_model.decode(ids).strip() for ids in self.write(self.see(photos))]
