"""The frozen parts of a captioner: a language model and an encoder, fetched at first use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from molyneux.adapters.adapt import adapt
from molyneux.adapters.language_model import LanguageModel
from molyneux.checkpoints.placement import Place
from molyneux.errors import UsageError
from molyneux.models.presets import Preset
from molyneux.vision.encoder import ImageEncoder
from molyneux.weights.fetch import Note, silent

RANDOM = re.compile(r"random(?::(?P<source>.+?)(?: seed (?P<seed>\d+))?)?")
"""How an encoder with random weights is named, and asked for."""


@dataclass(frozen=True)
class Parts:
    """The frozen parts of a captioner, before a projection joins them."""

    language_model: LanguageModel
    encoder: ImageEncoder
    names: dict[str, str]
    hashes: dict[str, str]
    limits: tuple[str, ...] = ()
    licences: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        preset: Preset,
        dtype: torch.dtype = torch.float32,
        note: Note = silent,
        *,
        language_model: str | None = None,
        encoder: str | None = None,
        layer: int | None = None,
        seeing: ImageEncoder | None = None,
        device_map: str | None = None,
    ) -> Parts:
        """Return a preset's language model and encoder, fetched at first use.

        Args:
            dtype: of the language model.
            language_model: another one than the preset's: a folder, GGUF file or hub name.
            encoder: another one: a folder or hub name; `random` for the preset's architecture
                with random weights, `random:SOURCE` for another's, a control.
            layer: the hidden state that is taken of another encoder; its output if not given.
            seeing: the encoder itself, which some presets need.
            device_map: as `load_language_model` takes it.

        Raises:
            WeightsError: weights are missing and cannot be fetched, or are corrupt.
            AdapterError: the family of another language model or encoder is not known.
            UsageError: the preset needs its encoder as an object.
        """
        if seeing is None:
            require_encoder(preset, encoder)
            # First: what is wrong with the small one is known at once.
            seeing, encoder_hash = _encoder(preset, encoder, note, layer)
        else:
            encoder_hash = str(getattr(seeing, "sha256", ""))
        language, language_name, language_hash = load_language(
            preset, language_model, dtype, note, device_map
        )
        hashes = {"language_model": language_hash}
        if encoder_hash:
            hashes["encoder"] = encoder_hash
        own = language_model is None and encoder is None
        other = [
            *(["language model"] if language_model is not None else []),
            *(["encoder weights"] if encoder is not None else []),
            *(
                ["encoder code"]
                if encoder is not None and preset.encoder not in seeing.name
                else []
            ),
        ]
        return cls(
            language,
            seeing,
            {"language_model": language_name, "encoder": seeing.name},
            hashes,
            preset.limits if own else (),
            {part: what for part, what in preset.licences.items() if part not in other},
        )

    def to(self, place: Place | torch.device) -> Parts:
        """Return the parts, moved to a device; a split language model stays where it is."""
        place = place if isinstance(place, Place) else Place(place)
        place.put(self.language_model.model)
        network = getattr(self.encoder, "network", None)
        if network is not None:
            network.to(place.device)
        return self


def load_language(
    preset: Preset,
    source: str | None = None,
    dtype: torch.dtype = torch.float32,
    note: Note = silent,
    device_map: str | None = None,
) -> tuple[LanguageModel, str, str]:
    """Return a language model alone, its name and the sha256 of its weights.

    Args:
        source: another one than the preset's: a folder, GGUF file or hub name.
        device_map: as `load_language_model` takes it; the default preset's is never split.

    Raises:
        WeightsError: weights are missing and cannot be fetched, or are corrupt.
        AdapterError: the family of another language model is not known.
    """
    if source is None and preset.language_model_source is not None:
        source = preset.language_model_source
        note(
            f"{preset.name} takes {source}: {preset.language_model_mb:,} MB, fetched from the hub "
            "unless its cache holds them"
        )
    if source is not None:
        from molyneux.checkpoints.language_models import load_language_model

        name = str(dtype).removeprefix("torch.")
        loaded = load_language_model(source, dtype=name, device_map=device_map, note=note)
        return loaded.language_model, loaded.name, loaded.sha256
    from molyneux.weights.cache import read_record
    from molyneux.weights.smollm2 import load_smollm2, prepare_smollm2

    folder = prepare_smollm2(note)
    note(f"loading {preset.language_model}")
    model, tokenizer = load_smollm2(folder, dtype=dtype)
    adapted = adapt(model, tokenizer)
    return adapted, preset.language_model, _weights_hash(read_record(folder))


def load_tokenizer(
    preset: Preset, source: str | None = None, note: Note = silent
) -> tuple[Any, str]:
    """Return the tokenizer of a language model, and the model's name; its weights are not read.

    Args:
        source: another one than the preset's: a folder, GGUF file or hub name.

    Raises:
        WeightsError: files are missing and cannot be fetched, or are corrupt.
        AdapterError: the family of another language model is not known.
    """
    source = preset.language_model_source if source is None else source
    if source is not None:
        from molyneux.checkpoints import language_models

        return language_models.load_tokenizer(source, note)
    from molyneux.checkpoints.pretrained import read_tokenizer
    from molyneux.weights.smollm2 import prepare_smollm2

    return read_tokenizer(prepare_smollm2(note)), preset.language_model


def unit_counts(preset: Preset, source: str | None = None) -> tuple[int, int] | None:
    """Return the layers and units per layer of a language model; its weights are not read.

    None where they cannot be told from what is on this machine.

    Args:
        source: another one than the preset's: a folder, GGUF file or hub name.

    Raises:
        WeightsError: its configuration cannot be read.
        AdapterError: its family is not known.
    """
    from molyneux.checkpoints import language_models
    from molyneux.weights.cache import RECORD, cache_dir
    from molyneux.weights.smollm2 import FOLDER

    source = preset.language_model_source if source is None else source
    if source is not None:
        return language_models.unit_counts(source)
    folder = cache_dir() / FOLDER
    return language_models.unit_counts(folder) if (folder / RECORD).is_file() else None


def require_encoder(preset: Preset, source: str | None) -> None:
    """Refuse a preset whose encoder nothing here can load, trained or random, before 24 GB are.

    Args:
        source: the encoder that is asked for; the preset's if not given.

    Raises:
        UsageError: it is the preset's, by whichever name.
    """
    random = RANDOM.fullmatch("random" if source is None else source)
    own = random is not None and random["source"] in (None, preset.encoder)
    if preset.gives_encoder or not own:
        return
    raise UsageError(
        f"{preset.name} sees through {preset.encoder}, which transformers does not have: no photo "
        "can be seen from the command line; in Python, give your own encoder object, named "
        f"{preset.encoder!r}, with Captioner.load({preset.name!r}, encoder=...); `molyneux decode` "
        "and `molyneux doctor --fixtures` need none"
    )


def _encoder(
    preset: Preset, source: str | None, note: Note, layer: int | None = None
) -> tuple[ImageEncoder, str]:
    """Return an encoder and the sha256 of its weights."""
    from molyneux.vision.efficientnet import EfficientNetEncoder

    random = RANDOM.fullmatch(source or "")
    own = random is not None and random["source"] in (None, preset.encoder)
    if preset.encoder_source is not None and (source is None or own):
        # From the hub, as any other: by its name, trained or random.
        source = preset.encoder_source
        if random is not None:
            source = f"random:{source} seed {random['seed'] or 0}"
            random = RANDOM.fullmatch(source)
    elif random is not None and own:
        from molyneux.weights.efficientnet import random_efficientnet_lite0

        seed = int(random["seed"] or 0)
        network, digest = random_efficientnet_lite0(seed)
        return EfficientNetEncoder(network, f"random:{preset.encoder} seed {seed}"), digest
    if source is not None:
        from molyneux.checkpoints.encoders import load_encoder

        seed = int(random["seed"] or 0) if random else 0
        loaded = load_encoder(
            random["source"] if random else source,
            layer=layer,
            random=bool(random),
            seed=seed,
            note=note,
        )
        return loaded, loaded.sha256
    from molyneux.weights.cache import read_record
    from molyneux.weights.efficientnet import load_efficientnet_lite0, prepare_efficientnet_lite0

    folder = prepare_efficientnet_lite0(note)
    note(f"loading {preset.encoder}")
    encoder = EfficientNetEncoder(load_efficientnet_lite0(folder), preset.encoder)
    return encoder, _weights_hash(read_record(folder))


def _weights_hash(record: dict[str, Any]) -> str:
    """Return the hash of the published weights: files made from them vary with the libraries."""
    published: dict[str, str] = record["source"]["sha256"]
    return next(sha256 for name, sha256 in published.items() if name != "wheel")
