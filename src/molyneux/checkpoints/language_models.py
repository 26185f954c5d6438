"""Any language model of a known family: a local folder, a name on the hub, or a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from molyneux.adapters.adapt import adapt
from molyneux.adapters.language_model import LanguageModel
from molyneux.adapters.registry import find_family
from molyneux.checkpoints.gguf_files import read_gguf
from molyneux.checkpoints.gguf_settings import gguf_configuration
from molyneux.checkpoints.hub import in_hub_cache
from molyneux.checkpoints.placement import device_places
from molyneux.checkpoints.pretrained import (
    model_class,
    model_type_in,
    read_configuration,
    read_tokenizer,
    read_weights,
    require_precision,
)
from molyneux.checkpoints.sources import find_checkpoint, is_local, local_model
from molyneux.checkpoints.weight_files import hash_weights, joint_hash, weight_files
from molyneux.weights.fetch import Note, silent


@dataclass(frozen=True)
class LoadedLanguageModel:
    """A language model and where its weights came from.

    Attributes:
        name: what it is called in documents and provenance.
        sha256: of the weights: the file's own, or, of several files, of their list.
        files: each weight file's path within the folder, and its sha256.
    """

    language_model: LanguageModel
    name: str
    sha256: str
    files: dict[str, str]


def load_language_model(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str | None = None,
    device_map: str | None = None,
    max_memory: Mapping[int | str, int | str] | None = None,
    name: str | None = None,
    note: Note = silent,
) -> LoadedLanguageModel:
    """Return a language model of any known family, proved in brief, with its weights' hashes.

    A hub name is fetched once through huggingface_hub, into its own cache. Code that comes with
    a model is never run; pickled weights are read by torch's weights-only reader.

    Args:
        source: a folder with `config.json`, a `.gguf` file or a folder with one, or a name on
            the hub (`gpt2`, `EleutherAI/pythia-70m`).
        dtype: of the weights, one of `PRECISIONS`; "auto" for the one they were saved in.
        device: where the model is put; not with `device_map`.
        device_map: "auto" spreads the layers over all devices, through accelerate; what fits on
            none is read from the disk whenever it is needed.
        max_memory: bytes, or a text such as "20GB", that may be used of each GPU (by its number)
            and of "cpu"; goes with `device_map`, whose default is all there is.
        name: what to call the model; else the hub's name, or the folder's or file's.
        note: told, one line at a time, what takes long.

    Raises:
        UsageError: an argument does not make sense.
        WeightsError: weights are missing, cannot be fetched, or cannot be read.
        AdapterError: the family is not known, or its down projection is quantised, or the
            model is not what its family's row says.
    """
    require_precision(dtype)
    places = device_places(device, device_map, max_memory)
    folder, gguf, called = find_checkpoint(source, note, _known_configuration)
    file = read_gguf(gguf) if gguf else None
    config = _known_configuration(folder) if file is None else gguf_configuration(file)
    made_by = model_class(config, "MODEL_FOR_CAUSAL_LM_MAPPING", "causal language model")
    tokenizer = read_tokenizer(gguf or folder)  # before what takes long
    hashes = hash_weights([gguf] if gguf else weight_files(folder), folder, called, note)
    note(f"loading {called}")
    model = read_weights(made_by, config, file or folder, dtype, **places)
    model = model if device is None else model.to(device)
    adapted = adapt(model, tokenizer)
    return LoadedLanguageModel(adapted, name or called, joint_hash(hashes), hashes)


def load_tokenizer(source: str | Path, note: Note = silent) -> tuple[Any, str]:
    """Return the tokenizer of a language model, and the model's name; no weight is read or fetched.

    What `load_language_model` would refuse before it reads weights is refused.

    Args:
        source: as `load_language_model` takes it.
        note: told what takes long.

    Raises:
        WeightsError: files are missing, cannot be fetched, or cannot be read.
        AdapterError: the family is not known.
    """
    folder, gguf, called = find_checkpoint(source, note, _known_configuration, with_weights=False)
    config = gguf_configuration(read_gguf(gguf)) if gguf else _known_configuration(folder)
    model_class(config, "MODEL_FOR_CAUSAL_LM_MAPPING", "causal language model")
    if gguf is None and Path(source).expanduser().is_dir():
        weight_files(folder)
    return read_tokenizer(gguf or folder), called


def unit_counts(source: str | Path) -> tuple[int, int] | None:
    """Return a model's layers and units per layer, from its configuration alone.

    None where the configuration is not on this machine, or no network can be made of it: loading
    says why. Nothing is fetched, and no weight is read.

    Args:
        source: as `load_language_model` takes it.

    Raises:
        WeightsError: the configuration cannot be read.
        AdapterError: the family is not known.
    """
    folder, gguf = None, None
    if is_local(source):
        folder, gguf = local_model(source)
    else:
        folder = in_hub_cache(str(source), with_weights=False)
    if folder is None:
        return None
    config = gguf_configuration(read_gguf(gguf)) if gguf else _known_configuration(folder)
    made_by = model_class(config, "MODEL_FOR_CAUSAL_LM_MAPPING", "causal language model")
    try:
        with torch.device("meta"):
            skeleton: Any = made_by(config)
        counted = LanguageModel(skeleton, cast("Any", None), find_family(config.model_type, config))
        return counted.n_layers, counted.d_mlp
    except Exception:  # each network has checks of its own
        return None


def _known_configuration(folder: Path) -> Any:
    """Return a folder's configuration, of a known family; else transformers is not asked for it.

    Transformers' own error lists hundreds of architectures.
    """
    find_family(model_type_in(folder))
    config = read_configuration(folder)
    find_family(config.model_type, config)
    return config
