"""Vision-language models from a local folder or the Hugging Face hub, with their weights' hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from molyneux.adapters.vlm_families import find_vision_family, text_family
from molyneux.errors import AdapterError, MolyneuxError, UsageError, WeightsError
from molyneux.models.language_models import PRECISIONS, find_checkpoint, hash_weights
from molyneux.models.smollm2 import quiet_progress_bars
from molyneux.models.vlm import VisionLanguageModel

Note = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


def load_vlm(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str | None = None,
    prompt: str | None = None,
    centre: int | None = None,
    name: str | None = None,
    note: Note = _silent,
) -> VisionLanguageModel:
    """Return a vision-language model of a known family, proved in brief, ready to be explained.

    A hub name is fetched once through huggingface_hub, into its own cache. Code that comes with a
    model is never run. Neither torchvision nor the checkpoint's processor class is needed: its
    image processor runs on Pillow, and the family's row says how its text is written.

    Args:
        source: a folder with `config.json`, or a name on the hub.
        dtype: of the weights: float32, bfloat16, float16, or auto for the one they were saved in.
        device: where the model is put.
        prompt: what the model continues, `{image}` standing for the image; else the family's.
        centre: sides in pixels of the square cut out of photos, in families that keep every
            photo's shape (Qwen2-VL).
        name: what to call the model; else the hub's name, or the folder's.
        note: told, one line at a time, what takes long.

    Raises:
        UsageError: an argument does not make sense.
        WeightsError: files are missing, cannot be fetched, or cannot be read.
        AdapterError: the family is not known, its vision network or its language model is not, or
            the model is not what its family's row says.
    """
    if dtype not in PRECISIONS:
        raise UsageError(f"{dtype!r} is not a dtype to load in; choose {', '.join(PRECISIONS)}")
    folder, called = find_checkpoint(source, note, _known)
    config = _configuration(folder)
    digest = hash_weights(folder, called, note)
    note(f"loading {called}")
    model, tokenizer, image_processor = _load(config, folder, dtype)
    return VisionLanguageModel.from_parts(
        model if device is None else model.to(device),
        tokenizer,
        image_processor,
        prompt=prompt,
        centre=centre,
        name=name or called,
        sha256=digest,
    )


def _known(folder: Path) -> None:
    """Refuse a folder whose configuration is of no known family, before anything is fetched."""
    where = folder / "config.json"
    try:
        model_type = str(json.loads(where.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"cannot read {where} ({_short(error)}); fetch the model's folder anew"
        ) from error
    find_vision_family(model_type)


def _configuration(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(
            f"transformers cannot read {folder / 'config.json'} ({_short(error)}); fetch the "
            "model's folder anew"
        ) from error
    text_family(find_vision_family(config.model_type, config), config)
    return config


def _load(config: Any, folder: Path, dtype: str) -> tuple[Any, Any, Any]:
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    try:
        with quiet_progress_bars(), torch.random.fork_rng(devices=[]):
            model_class: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
            model, loaded = model_class.from_pretrained(
                folder,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                # Gradients of many targets are taken in one batch.
                attn_implementation="eager",
                local_files_only=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            # Pillow's pixels, whether or not torchvision is installed.
            image_processor = AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, backend="pil"
            )
    except MolyneuxError:
        raise
    except Exception as error:  # torch, safetensors and the tokenizers have their own classes
        quantised = getattr(config, "quantization_config", None)
        if quantised:
            raise AdapterError(
                f"{folder} is quantised and cannot be read here ({_short(error)}): units are read "
                "from ordinary floating-point weights; give the unquantised model"
            ) from error
        raise WeightsError(
            f"cannot load {folder} ({_short(error)}); fetch the model's folder anew, its tokenizer "
            "and preprocessor_config.json with it"
        ) from error
    absent = sorted([*loaded["missing_keys"], *(str(key) for key in loaded["mismatched_keys"])])
    if absent:
        raise WeightsError(
            f"{folder} does not hold this model's weights ({absent[0]} and {len(absent) - 1} more "
            "are missing or of another shape); fetch the model anew"
        )
    return model, tokenizer, image_processor


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
