"""Reading a checkpoint's configuration, weights and tokenizer through transformers.

Whatever goes wrong in there, in any of its libraries, comes out as one line that says what next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from molyneux.checkpoints.gguf_files import GgufFile, gguf_weights
from molyneux.checkpoints.weight_files import require_all_layers, require_room_for
from molyneux.checks import is_a
from molyneux.errors import (
    AdapterError,
    MolyneuxError,
    UsageError,
    WeightsError,
    quote,
    require_docstrings,
)
from molyneux.weights.fetch import quiet_progress_bars

# What quantisers and unmerged adapters keep beside a weight. A logit_scale is CLIP's temperature.
_BESIDE_WEIGHTS = re.compile(
    r"(?<!logit_)scale|zero_point|zeros$|absmax|quant|SCB|packed|g_idx|blocks$|lora_|adapter|magnitude"
)
PRECISIONS = ("float32", "bfloat16", "float16", "auto")


def require_precision(dtype: str) -> None:
    """Refuse a dtype that weights cannot be loaded in.

    Raises:
        UsageError: it is none of `PRECISIONS`.
    """
    dtype = is_a("dtype", dtype, str, "a name, as float32")
    if dtype not in PRECISIONS:
        raise UsageError(f"{dtype!r} is not a dtype to load in; choose {', '.join(PRECISIONS)}")


def model_type_in(folder: Path) -> str:
    """Return the `model_type` of a folder's configuration, which transformers need not know.

    Raises:
        WeightsError: the configuration cannot be read.
    """
    where = folder / "config.json"
    try:
        return str(json.loads(where.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"cannot read {where} ({quote(error)}); fetch the model's folder anew"
        ) from error


def read_configuration(folder: Path) -> Any:
    """Return a folder's configuration.

    Raises:
        WeightsError: transformers cannot read it.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each configuration has checks of its own
        raise WeightsError(
            f"transformers cannot read {folder / 'config.json'} ({quote(error)}); fetch the "
            "model's folder anew"
        ) from error


def model_class(config: Any, mapping: str, purpose: str) -> Any:
    """Return the class of models with a configuration.

    Args:
        mapping: name of transformers' list of such classes.
        purpose: what they are, as an error says it.

    Raises:
        AdapterError: there is no such class.
        WeightsError: transformers cannot import it.
    """
    require_docstrings()
    from transformers.models.auto import modeling_auto

    try:
        return getattr(modeling_auto, mapping)[type(config)]
    except KeyError as error:
        raise AdapterError(
            f"transformers has no {purpose} of type {config.model_type!r}; Molyneux explains "
            "causal language models, alone or behind an image encoder"
        ) from error
    except (ImportError, RuntimeError) as error:
        raise WeightsError(
            f"transformers cannot import its {config.model_type} model ({quote(error)}); the "
            "usual cause is a torchvision made for another torch: uninstall torchvision, which "
            "molyneux does not use, or install the one that fits, and run again"
        ) from error


def read_weights(
    made_by: Any, config: Any, source: Path | GgufFile, dtype: str, **options: Any
) -> Any:
    """Return a model with all of its weights, in `dtype`.

    Args:
        made_by: the model's class.
        source: a folder of safetensors or torch's own files, or a GGUF file.
        options: more for `from_pretrained`, such as a device map.

    Raises:
        AdapterError: the weights are quantised, and what they need to be read is not here.
        WeightsError: they cannot be read, or are another model's.
    """
    import torch

    precision: Any = dtype if dtype == "auto" else getattr(torch, dtype)
    folder: Path | None = None
    if isinstance(source, Path):
        where = folder = source
        require_room_for(made_by, config, folder)
    else:
        where = source.path
        precision = source.dtype if dtype == "auto" else precision
        options["state_dict"] = gguf_weights(source, made_by, config, precision)
    with _refusing(where, "fetch the model anew, or try another dtype or device", config):
        model, loaded = made_by.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            # All families have it, and gradients of many targets are taken in one batch.
            attn_implementation="eager",
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    if folder is not None:
        require_all_layers(model, loaded["unexpected_keys"], folder)
    absent = sorted([*loaded["missing_keys"], *(str(key) for key in loaded["mismatched_keys"])])
    if absent:
        raise WeightsError(
            f"{where} does not hold this model's weights ({absent[0]} and {len(absent) - 1} more "
            "are missing or of another shape); fetch the model anew"
        )
    require_plain(model, where, sorted(loaded["unexpected_keys"]))
    return model


def require_plain(model: Any, where: Path, unread: Sequence[str]) -> None:
    """Refuse weights of which a part was left out: their scales, or an adapter's weights.

    Args:
        where: the folder or file they came from.
        unread: names of weights that the model has no place for.

    Raises:
        AdapterError: the files hold such tensors, or say that they are quantised in a way that
            transformers does not know.
    """
    beside = next((name for name in unread if _BESIDE_WEIGHTS.search(name)), None)
    unknown = quantisation(model.config) if getattr(model, "hf_quantizer", None) is None else None
    if beside or unknown:
        found = f"holds {beside}" if beside else f"says that it is quantised ({unknown})"
        raise AdapterError(
            f"{where} {found}, which transformers passes over: its weights are not read whole; "
            "give the model unquantised, in float32, bfloat16 or float16, with adapters merged"
        )


def read_tokenizer(source: Path) -> Any:
    """Return the tokenizer of a folder, or of a GGUF file.

    Raises:
        WeightsError: it has none, or one that needs a package which is not installed.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if source.is_file():
        # AutoTokenizer would make the same of it, and reads all of the metadata again before.
        with _refusing(f"the tokenizer in {source}", "give the model as a folder with its own"):
            return PreTrainedTokenizerFast.from_pretrained(
                source.parent, gguf_file=source.name, local_files_only=True
            )
    remedy = "put the model's tokenizer.json and tokenizer_config.json beside its config.json"
    if (source / "tokenizer.model").is_file():
        remedy += ", or `pip install sentencepiece protobuf` to read its tokenizer.model"
    with _refusing(f"the tokenizer in {source}", remedy):
        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=True, trust_remote_code=False
        )
    files = sorted(set(tokenizer.vocab_files_names.values()) | {"tokenizer.json"})
    if not any((source / file).is_file() for file in files):
        # Transformers makes an empty one in silence.
        raise WeightsError(
            f"{source} has no tokenizer ({' or '.join(files)}); put the model's own beside its "
            "config.json"
        )
    return tokenizer


def read_image_processor(folder: Path) -> Any:
    """Return a checkpoint's image processor, on Pillow, whether or not torchvision is installed.

    Raises:
        WeightsError: it has none, or it cannot be read.
    """
    from transformers import AutoImageProcessor

    with _refusing(
        f"the image processor in {folder}",
        "put the model's preprocessor_config.json beside its config.json",
    ):
        return AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, backend="pil"
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' bars, and its table of weights that do not fit, to itself."""
    import logging as levels

    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(levels.CRITICAL)
    try:
        with quiet_progress_bars():
            yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def _refusing(what: Path | str, remedy: str, config: Any = None) -> Iterator[None]:
    """Put any error of the block into one line; no bar is drawn, no random state changed."""
    import torch

    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            yield
    except MolyneuxError:
        raise
    except Exception as error:  # torch, safetensors, gguf, quantisers: each has its own classes
        if "offloaded to the disk" in str(error):
            raise WeightsError(
                f"{what} is larger than the memory of all devices together, and only safetensors "
                "can stay on the disk; load it in bfloat16, or convert it to safetensors where "
                "there is more memory (save_pretrained)"
            ) from error
        if "Weights only load failed" in str(error):
            raise WeightsError(
                f"{what} has pickled weights that hold more than tensors; they are not read, for "
                "code could be hidden in them: give the model as safetensors"
            ) from error
        if quantised := quantisation(config):
            raise AdapterError(
                f"{what} is quantised ({quantised}) and cannot be read here ({quote(error)}): "
                "units are read from ordinary floating-point weights; give the unquantised model "
                "(float32, bfloat16 or float16)"
            ) from error
        raise WeightsError(f"cannot load {what} ({quote(error)}); {remedy}") from error


def quantisation(config: Any) -> str | None:
    """Return how a model's weights are quantised, if its configuration says so."""
    how = getattr(config, "quantization_config", None)
    if not how:
        return None
    named = how.get("quant_method") if isinstance(how, dict) else getattr(how, "quant_method", "")
    return str(getattr(named, "value", named) or "in an unnamed way")
