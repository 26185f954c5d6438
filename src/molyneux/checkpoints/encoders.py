"""Image encoders from a local folder or a hub name, with their weights' hash or random weights."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.adapters.encoder_families import EncoderFamily
from molyneux.adapters.registry import find_encoder_family
from molyneux.checkpoints.encoder_files import find_encoder_files, name_of
from molyneux.checkpoints.pretrained import quantisation, quiet_transformers, require_plain
from molyneux.checkpoints.sources import require_no_adapter
from molyneux.checkpoints.weight_files import (
    CONFIG,
    hash_weights,
    joint_hash,
    require_all_layers,
    require_room_for,
    weight_files,
)
from molyneux.errors import AdapterError, WeightsError, quote, require_docstrings
from molyneux.vision.preprocessor_config import read_preprocessing
from molyneux.weights.cache import tensors_sha256
from molyneux.weights.fetch import Note, silent

if TYPE_CHECKING:
    import torch

    from molyneux.vision.transformers_encoder import TransformersEncoder


def load_encoder(
    source: str | Path,
    *,
    layer: int | None = None,
    random: bool = False,
    seed: int = 0,
    note: Note = silent,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> TransformersEncoder:
    """Return an image encoder of a known family; its `name` and `sha256` identify it.

    Preprocessing is the checkpoint's own. The name is the hub's, or that of the folder.

    Args:
        source: a folder with config.json, preprocessor_config.json and weights, or a hub name.
        layer: which hidden state is taken, as in transformers (LLaVA takes -2); the network's
            output if not given.
        random: random weights instead of the trained ones, as a control: same configuration,
            same preprocessing, drawn as transformers draws them before training. The weights are
            then neither needed nor fetched.
        seed: of the random weights.
        note: told, one line at a time, what takes long.
        dtype: of the weights; float32 if not given.
        device: where the network is put.

    Raises:
        WeightsError: files are missing, cannot be fetched, or are corrupt.
        AdapterError: the architecture or its preprocessing is not known, its class cannot be
            imported, or the weights are quantised or an adapter's.
        UsageError: there is no such layer.
    """
    import torch

    from molyneux.checkpoints.placement import require_torch_device
    from molyneux.vision.transformers_encoder import TransformersEncoder

    require_torch_device(device)
    folder = find_encoder_files(source, note, with_weights=not random)
    require_no_adapter(folder)
    family = find_encoder_family(_model_type(folder))
    preprocessing = read_preprocessing(folder, family.processor)
    kind = _network_class(family)
    name = name_of(source, folder)
    dtype = dtype or torch.float32
    if random:
        network = _random(kind, family, folder, seed)
        name, digest = f"random:{name} seed {seed}", tensors_sha256(network)
    else:
        digest = joint_hash(hash_weights(weight_files(folder), folder, name, note))
        note(f"loading {name}")
        network = _trained(kind, family, folder, dtype)
    return TransformersEncoder(
        network.to(device, dtype), family, preprocessing, name=name, sha256=digest, layer=layer
    )


def _model_type(folder: Path) -> str:
    path = folder / CONFIG
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except FileNotFoundError as error:
        raise WeightsError(
            f"{folder} has no {CONFIG}, which says what network it is; give a folder that "
            "transformers' save_pretrained wrote, or a hub name"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"cannot read {path} ({type(error).__name__}: {error}); copy it anew, and run again"
        ) from error


def _network_class(family: EncoderFamily) -> Any:
    require_docstrings()
    module, _, name = family.network.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, RuntimeError, AttributeError, ValueError) as error:
        try:
            version = importlib.metadata.version("torchvision")
            hint = (
                f"the usual cause is a torchvision made for another torch ({version} is "
                "installed): uninstall torchvision, which molyneux does not use, and run again"
            )
        except importlib.metadata.PackageNotFoundError:
            hint = f"install a transformers that has it, or mend the row of {family.name}"
        raise AdapterError(f"cannot import {family.network} ({quote(error)}); {hint}") from error


def _configuration(kind: Any, family: EncoderFamily, folder: Path) -> Any:
    try:
        config = kind.config_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # each configuration has checks of its own
        raise WeightsError(
            f"transformers cannot read {folder / CONFIG} ({quote(error)}); copy it anew, and run "
            "again"
        ) from error
    if quantised := quantisation(config):
        raise AdapterError(
            f"{folder} is quantised ({quantised}): an encoder is read in ordinary floating-point "
            "weights; give the unquantised one"
        )
    for key, value in family.settings.items():
        setattr(config, key, value)
    return config


def _random(kind: Any, family: EncoderFamily, folder: Path, seed: int) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the processor's alone
        config = _configuration(kind, family, folder)
        try:
            with quiet_transformers():
                return kind(config)
        except Exception as error:  # each network has checks of its own
            raise _unloadable(folder, error) from error


def _trained(kind: Any, family: EncoderFamily, folder: Path, dtype: torch.dtype) -> Any:
    import torch

    config = _configuration(kind, family, folder)
    require_room_for(kind, config, folder)
    try:
        # Modules that the weights lack are drawn at random before they are refused or unused.
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            network, loaded = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # torch, safetensors and unpickling have their own classes
        raise _unloadable(folder, error) from error
    require_all_layers(network, loaded["unexpected_keys"], folder)
    lacking = sorted(
        key
        for found in (loaded["missing_keys"], loaded["mismatched_keys"])
        for key in (entry if isinstance(entry, str) else entry[0] for entry in found)
        if not key.startswith(tuple(f"{module}." for module in family.idle))
    )
    if lacking:
        raise WeightsError(
            f"the weights in {folder} do not fit {family.network}: {len(lacking)} parameters are "
            f"missing, {lacking[0]} among them, and would be random; give the checkpoint's own "
            f"{CONFIG}"
        )
    require_plain(network, folder, sorted(loaded["unexpected_keys"]))
    return network


def _unloadable(folder: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"cannot load {folder} ({quote(error)}); copy its files anew from where they come from, "
        "and run again"
    )
