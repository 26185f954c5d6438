"""Which model to work with: a preset, parts, or a vision-language model, checked before loading."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.models import DEFAULT_PRESET

if TYPE_CHECKING:
    from molyneux.adapters.language_model import LanguageModel
    from molyneux.models.seeing_model import SeeingModel
    from molyneux.neurons.decoding_rule import Decoding
    from molyneux.neurons.lens import Lens


@dataclass(frozen=True)
class ModelChoice:
    """A preset, parts, or a vision-language model.

    Attributes:
        preset: which parts (`molyneux models` lists them); the default if nothing else is given.
        language_model: instead of a preset: a folder, a GGUF file or a hub name.
        encoder: instead of a preset: a folder or hub name.
        projection: another than the preset's, or that of the parts given.
        vlm: a vision-language model instead of a preset: its folder, or its hub name.
        prompt: what a vision-language model continues, `{image}` standing for the photo.
        centre: sides in pixels of the central square that a vision-language model is shown, in
            families that keep every photo's shape.
        decoding: what takes part when units are decoded (see `Decoding.parse`); the model's own
            if None.
        lens: what units are decoded through instead: `none`, `norm`, `jacobian` (the preset's), or
            the file of one.
        dtype: of the language model: float32, bfloat16 or float16.
        device: cpu, cuda, auto or split.
        reference: another reference table than the preset's.
        trust: another trust scale than the preset's.
    """

    preset: str | None = None
    language_model: str | None = None
    encoder: str | None = None
    projection: Path | None = None
    vlm: str | None = None
    prompt: str | None = None
    centre: int | None = None
    decoding: str | None = None
    lens: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    reference: Path | None = None
    trust: Path | None = None

    def called(self, name: str) -> str:
        """Return what messages call an attribute."""
        return name

    def note(self, line: str) -> None:
        """Be told, one line at a time, what takes long: nothing is said here."""

    def load(self) -> SeeingModel:
        """Return the model that sees, with its lens, saying what takes long.

        Raises:
            UsageError: more than one model is named, or parts that do not make a whole.
            WeightsError: weights are missing, corrupt, or do not belong together.
            AdapterError: the model's family is not known.
        """
        self.require_one()
        measured = self._measured_lens()
        seeing = self._load()
        if self.lens is None:
            return seeing
        return seeing.with_lens(measured or self._head_lens(seeing.language_model))

    def _load(self) -> SeeingModel:
        if self.vlm is not None:
            from molyneux.models.vlm_loading import load_vlm
            from molyneux.neurons.decoding_rule import DEFAULT_DECODING

            return load_vlm(
                self.vlm,
                **self._placed(),
                prompt=self.prompt,
                centre=self.centre,
                reference=self.reference,
                trust=self.trust,
                decoding=self._decoding() or DEFAULT_DECODING,
                note=self.note,
            )
        from molyneux.models.captioner import Captioner

        chosen: dict[str, Any] = {
            "reference": self.reference,
            "trust": self.trust,
            "decoding": self._decoding(),
            "dtype": self.dtype,
            "device": self.device,
            "note": self.note,
        }
        if self.language_model is None or self.encoder is None or self.projection is None:
            preset = self.preset or DEFAULT_PRESET
            return Captioner.load(preset, projection=self.projection, **chosen)
        return Captioner.from_sources(self.language_model, self.encoder, self.projection, **chosen)

    def load_language(self) -> tuple[LanguageModel, Decoding]:
        """Return the language model alone, and how its units are decoded.

        Raises:
            UsageError: more than one model is named, or a file where a folder is needed.
            WeightsError: weights are missing or corrupt.
            AdapterError: the model's family is not known.
        """
        self.require_alternatives()
        asked = self._decoding()
        if self.vlm is not None:
            seeing = self.load()
            return seeing.language_model, seeing.decoding
        from molyneux.models.presets import find_preset
        from molyneux.neurons.decoding_rule import DEFAULT_DECODING

        model, _, _ = self._load_language()
        named = self.language_model is not None
        own = DEFAULT_DECODING if named else find_preset(self.preset_name).decoding
        return model, asked or own

    def load_described(self) -> tuple[LanguageModel, dict[str, Any]]:
        """Return the language model alone, and what it is: `preset`, `language_model`, `sha256`.

        Raises:
            UsageError, WeightsError, AdapterError: as `load_language`.
        """
        self.require_alternatives()
        if self.vlm is not None:
            seeing = self._load()
            model, name = seeing.language_model, seeing.names["language_model"]
            sha256 = seeing.hashes.get("language_model", "")
        else:
            model, name, sha256 = self._load_language()
        preset = None if self.vlm or self.language_model else self.preset_name
        return model, {"preset": preset, "language_model": name, "sha256": sha256}

    def _load_language(self) -> tuple[LanguageModel, str, str]:
        """Return the language model of a preset or a source, its name and its weights' sha256."""
        from molyneux.checkpoints.placement import dtype_named, place_named
        from molyneux.models.parts import load_language
        from molyneux.models.presets import find_preset

        chosen = find_preset(self.preset_name)
        number, place = dtype_named(self.dtype), place_named(self.device)
        model, name, sha256 = load_language(
            chosen, self.language_model, number, self.note, place.device_map
        )
        place.put(model.model)
        return model, name, sha256

    def load_decoder(self) -> tuple[LanguageModel, Decoding, Lens | None]:
        """Return the language model alone, how its units are decoded, and through which lens.

        Of a lens that was measured, the language model has to be the one.

        Raises:
            UsageError: as `load_language`.
            WeightsError: weights are missing or corrupt, or the lens is another model's.
            AdapterError: the model's family is not known.
        """
        if self.vlm is not None:
            seeing = self.load()
            return seeing.language_model, seeing.decoding, seeing.lens
        measured = self._measured_lens()
        model, decoding = self.load_language()
        if self.lens is None:
            return model, decoding, None
        lens = measured or self._head_lens(model)
        return model, decoding, self._own_lens(model, lens)

    def measured_lens(self, model: LanguageModel) -> Lens | None:
        """Return the measured lens that was asked for, or comes with the preset; None without one.

        Raises:
            WeightsError: it cannot be read, or is another model's.
        """
        asked = self
        if self.lens is None and self._comes_with_lens is not None:
            asked = replace(self, lens="jacobian")
        lens = asked._measured_lens()
        return None if lens is None else self._own_lens(model, lens)

    def _own_lens(self, model: LanguageModel, lens: Lens) -> Lens:
        """Return a lens that belongs to the model.

        Raises:
            WeightsError: it was measured on another.
        """
        from molyneux.models.presets import find_preset
        from molyneux.neurons.lens import as_lens

        named = self.language_model is not None or self.vlm is not None
        own = {} if named else {"language_model": find_preset(self.preset_name).language_model}
        return as_lens(model, lens, own)

    def require_units(self, names: Sequence[str]) -> None:
        """Refuse units that the language model does not have, before its weights are read.

        Nothing is refused where its size is not known without them: loading is followed by the
        same question.

        Raises:
            UsageError: a name does not read as a unit, or the model has no such unit.
            WeightsError: its configuration cannot be read.
            AdapterError: its family is not known.
        """
        from molyneux.neurons.unit import parse_unit

        counts = self._unit_counts() if names else None
        if counts is not None:
            for name in names:
                parse_unit(name, *counts)

    def require_layer(self, layer: int) -> None:
        """Refuse a layer that the language model does not have, as `require_units` does units.

        Raises:
            UsageError: the model has no such layer.
            WeightsError: its configuration cannot be read.
            AdapterError: its family is not known.
        """
        from molyneux.checks import whole_number

        counts = self._unit_counts()
        if counts is not None:
            whole_number("a layer", layer, least=0, below=counts[0])

    def _unit_counts(self) -> tuple[int, int] | None:
        """Return layers and units per layer where they are known before the weights are read."""
        from molyneux.models.parts import unit_counts
        from molyneux.models.presets import find_preset

        if self.vlm is not None:
            return None
        return unit_counts(find_preset(self.preset_name), self.language_model)

    def _measured_lens(self) -> Lens | None:
        """Return the lens of a file, if one was asked for: read before the model, which is slow."""
        from molyneux.neurons.lens import load_lens
        from molyneux.vision.projection import load_projection

        if self.lens in (None, "none", "norm"):
            return None
        lens = load_lens(self._shipped_lens() if self.lens == "jacobian" else Path(self.lens))
        if self.projection is not None:
            lens.require_measured_on({"projection": load_projection(self.projection).hash()})
        return lens

    def _head_lens(self, model: LanguageModel) -> Lens:
        """Return the lens of the model's own head that was asked for."""
        from molyneux.neurons.lens import HeadLens

        return HeadLens(model, final_norm=self.lens == "norm")

    def _shipped_lens(self) -> Path:
        """Return the file of the Jacobian lens that comes with the preset.

        Raises:
            WeightsError: none comes with this model.
        """
        from molyneux.errors import WeightsError

        shipped = self._comes_with_lens
        if shipped is None:
            raise WeightsError(
                f"no Jacobian lens comes with {self.title}; measure one with `molyneux lens build "
                f"DATA --out FILE`, and give {self.called('lens')} FILE"
            )
        return shipped

    @property
    def _comes_with_lens(self) -> Path | None:
        from molyneux.models.presets import find_preset

        parts = (self.vlm, self.language_model, self.encoder, self.projection)
        return find_preset(self.preset_name).lens if parts == (None,) * 4 else None

    @property
    def preset_name(self) -> str:
        """The preset named, or the default one."""
        return self.preset or DEFAULT_PRESET

    @property
    def title(self) -> str:
        """What it is, for those who wait for it."""
        return str(self.vlm or self.language_model or self.preset or DEFAULT_PRESET)

    def require_ready(self, *, sees: bool = True) -> None:
        """Refuse what can be known to be wrong before torch is imported and weights are read.

        Names and values, options that exclude one another, files that are not there. What is on
        the hub is not looked for.

        Args:
            sees: whether photos will be shown; else a language model alone is wanted.

        Raises:
            UsageError: says what is wrong.
            WeightsError: the preset's projection was not fetched yet; says what fetches it.
        """
        from molyneux.checkpoints.place_names import require_device, require_dtype
        from molyneux.checkpoints.sources import require_there
        from molyneux.models.presets import find_preset
        from molyneux.models.prompt_text import require_image

        if sees:
            self.require_one()
        else:
            self.require_alternatives()
        self._decoding()
        require_dtype(self.dtype)
        require_device(self.device)
        if self.prompt is not None:
            require_image(self.prompt, "{image}A picture of")
        for source in (self.vlm, self.language_model):
            if source is not None:
                require_there(source)
        if self.encoder is not None:
            require_there(_without_random(self.encoder), what="encoder")
        self._require_file("projection", "`molyneux train` writes one")
        self._require_file("reference", "`molyneux reference` writes one")
        self._require_file("trust", "`molyneux trust` writes one", "trust.json")
        if self.trust is not None:
            from molyneux.models.trust import load_trust

            load_trust(self.trust)
        if self.lens not in (None, "none", "norm", "jacobian"):
            self._require_file(
                "lens", "give none, norm, jacobian or a file; `molyneux lens build` writes one"
            )
        if self.lens == "jacobian":
            self._shipped_lens()
        if self.vlm is None and self.language_model is None:
            chosen = find_preset(self.preset or DEFAULT_PRESET)
            if sees and not chosen.gives_encoder:
                from molyneux.models.parts import require_encoder

                require_encoder(chosen, None)
            if sees and self.projection is None:
                chosen.projection_file()

    def _require_file(self, name: str, advice: str, file: str | None = None) -> None:
        from molyneux.errors import UsageError

        given: str | Path | None = getattr(self, name)
        path = None if given is None else Path(given)
        if path is not None and not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "is not there"
            raise UsageError(
                f"{path} ({self.called(name)}) {what}; {advice}, {file or f'{name}.safetensors'}"
            )

    def require_one(self) -> None:
        """Refuse what does not name exactly one model, before anything is loaded.

        Raises:
            UsageError: says which options go together.
        """
        from molyneux.errors import UsageError

        self.require_alternatives()
        if self.language_model is None and self.encoder is None:
            return
        parts = {
            self.called("language_model"): self.language_model,
            self.called("encoder"): self.encoder,
            self.called("projection"): self.projection,
        }
        missing = [name for name, value in parts.items() if value is None]
        if missing:
            raise UsageError(
                f"parts come together: {', '.join(parts)}; give {' and '.join(missing)} too, or "
                f"{self.called('preset')} alone"
            )

    def require_alternatives(self) -> None:
        """Refuse options that do not go together, whether or not they name a whole model.

        Raises:
            UsageError: says which.
        """
        from molyneux.errors import UsageError

        called, parts = self.called, (self.language_model, self.encoder)
        if self.vlm is not None and (self.preset, *parts, self.projection) != (None,) * 4:
            raise UsageError(
                f"{called('vlm')} brings its own language model, encoder and projector: give it "
                f"without {called('preset')}, {called('language_model')}, {called('encoder')} and "
                f"{called('projection')}"
            )
        if self.preset is not None and parts != (None, None):
            raise UsageError(
                f"give {called('preset')} {self.preset} or parts ({called('language_model')}, "
                f"{called('encoder')}, {called('projection')}), not both"
            )
        if self.prompt is not None and self.vlm is None:
            raise UsageError(
                f"{called('prompt')} goes with {called('vlm')}: a projection was trained with one "
                "text, which is always the one that follows its patches; leave "
                f"{called('prompt')} out"
            )
        if self.centre is not None and self.vlm is None:
            raise UsageError(
                f"{called('centre')} goes with {called('vlm')}: any other encoder says itself what "
                f"it sees of a photo; leave {called('centre')} out"
            )
        vlm = None if self.vlm is None else Path(self.vlm).expanduser()
        if vlm is not None and vlm.is_file() and vlm.suffix != ".gguf":
            raise UsageError(
                f"{vlm} is a single file; {called('vlm')} takes the folder of the whole model, "
                "with its config.json, weights, tokenizer and preprocessor_config.json: try "
                f"{vlm.parent}"
            )

    def require_reference(self) -> None:
        """Refuse a model without a reference table, before anything is loaded.

        Raises:
            UsageError: says which command measures one.
        """
        from molyneux.errors import UsageError
        from molyneux.models.presets import find_preset

        self.require_one()
        if self.reference is not None:
            return
        if self.vlm is None and self.projection is None:
            preset = find_preset(self.preset or DEFAULT_PRESET)
            # Its own table was measured with its own decoding.
            if preset.reference is not None and self._decoding() in (None, preset.decoding):
                return
        raise UsageError(
            "a study needs a reference table, and this model brings none: "
            f"`{self._measuring()}` measures one on 200 photos or more; then give it with "
            f"{self.called('reference')} TABLE/reference.safetensors"
        )

    def reference_table(self) -> Path | None:
        """Return where its reference table lies: one that was given, or its preset's."""
        from molyneux.models.presets import find_preset

        if self.reference is not None or self.vlm is not None or self.projection is not None:
            return self.reference
        return find_preset(self.preset or DEFAULT_PRESET).reference

    def _measuring(self) -> str:
        """Return the command that measures a reference table of this model."""
        words = ["molyneux", "reference", "DATA", "--out", "TABLE"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default and field.name != "trust":
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    def _decoding(self) -> Decoding | None:
        """Return how units are decoded, where it was asked for."""
        from molyneux.neurons.decoding_rule import Decoding

        return None if self.decoding is None else Decoding.parse(self.decoding)

    def _placed(self) -> dict[str, Any]:
        """Return dtype and device, or device map, as loaders take them."""
        from molyneux.checkpoints.placement import dtype_named, place_named

        place = place_named(self.device)
        where = {"device_map": "auto"} if place.split else {"device": str(place.device)}
        return {"dtype": str(dtype_named(self.dtype)).removeprefix("torch."), **where}


def _without_random(encoder: str) -> str:
    """Return the source of an encoder that may be asked for with random weights, a control."""
    return encoder.removeprefix("random:").partition(" seed ")[0]
