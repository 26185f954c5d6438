"""Vision-language models from a local folder or the Hugging Face hub, with their weights' hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from molyneux.adapters.registry import find_vision_family, text_family
from molyneux.checkpoints.placement import device_places
from molyneux.checkpoints.pretrained import (
    model_class,
    model_type_in,
    read_configuration,
    read_image_processor,
    read_tokenizer,
    read_weights,
    require_precision,
)
from molyneux.checkpoints.sources import find_checkpoint
from molyneux.checkpoints.weight_files import hash_weights, joint_hash, weight_files
from molyneux.errors import WeightsError
from molyneux.models.trust import load_trust
from molyneux.models.vlm import VisionLanguageModel
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.neurons.reference import load_reference
from molyneux.weights.fetch import Note, silent


def load_vlm(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str | None = None,
    device_map: str | None = None,
    max_memory: Mapping[int | str, int | str] | None = None,
    prompt: str | None = None,
    centre: int | None = None,
    name: str | None = None,
    reference: Path | None = None,
    trust: Path | None = None,
    decoding: Decoding = DEFAULT_DECODING,
    note: Note = silent,
) -> VisionLanguageModel:
    """Return a vision-language model of a known family, proved in brief, ready to be explained.

    A hub name is fetched once through huggingface_hub, into its own cache. Code that comes with a
    model is never run. Neither torchvision nor the checkpoint's processor class is needed: its
    image processor runs on Pillow, and the family's row says how its text is written.

    Args:
        source: a folder with `config.json`, or a name on the hub.
        dtype: of the weights: float32, bfloat16, float16, or auto for the one they were saved in.
        device: where the model is put; not with `device_map`.
        device_map: "auto" spreads the layers over all devices, through accelerate.
        max_memory: goes with `device_map`, as `load_language_model` takes it.
        prompt: what the model continues, `{image}` standing for the image; else the family's.
        centre: sides in pixels of the square cut out of photos, in families that keep every
            photo's shape (Qwen2-VL).
        name: what to call the model; else the hub's name, or the folder's.
        reference: a reference table measured on this model, with this prompt.
        trust: a trust scale measured likewise.
        decoding: how units are decoded.
        note: told, one line at a time, what takes long.

    Raises:
        UsageError: an argument does not make sense.
        WeightsError: files are missing, cannot be fetched, or cannot be read.
        AdapterError: the family is not known, its vision network or its language model is not, or
            the model is not what its family's row says.
    """
    require_precision(dtype)
    places = device_places(device, device_map, max_memory)
    table = None if reference is None else load_reference(reference)
    scale = None if trust is None else load_trust(trust)

    def known(found: Path) -> None:
        find_vision_family(model_type_in(found))

    folder, gguf, called = find_checkpoint(source, note, known)
    if gguf is not None:
        raise WeightsError(
            f"{gguf} is a language model alone; give a folder of a vision-language model as "
            "Hugging Face's save_pretrained writes it, or its name on the hub"
        )
    known(folder)
    config = read_configuration(folder)
    text_family(find_vision_family(config.model_type, config), config)
    made_by = model_class(config, "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", "vision-language model")
    hashes = hash_weights(weight_files(folder), folder, called, note)
    note(f"loading {called}")
    model = read_weights(made_by, config, folder, dtype, **places)
    seeing = VisionLanguageModel.from_parts(
        model if device is None else model.to(device),
        read_tokenizer(folder),
        read_image_processor(folder),
        prompt=prompt,
        centre=centre,
        name=name or called,
        sha256=joint_hash(hashes),
    )
    seeing = replace(seeing, decoding=decoding)
    seeing = seeing if scale is None else seeing.with_trust(scale)
    return seeing if table is None else seeing.with_reference(table)
