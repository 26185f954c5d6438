"""Image encoders from a local folder or a hub name, with their weights' hash or random weights."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import AdapterError, WeightsError
from molyneux.models.cache import sha256_of
from molyneux.models.fetch import Note
from molyneux.vision.encoder_families import (
    ENCODER_FAMILIES,
    EncoderFamily,
    find_encoder_family,
)
from molyneux.vision.preprocessor_config import NESTED, PLAIN, read_preprocessing

if TYPE_CHECKING:
    import torch

    from molyneux.vision.transformers_encoder import TransformersEncoder

CONFIG = "config.json"
_ONE_FILE = ("model.safetensors", "pytorch_model.bin")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_LONGEST_QUOTE = 160


def _silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


def load_encoder(
    source: str | Path,
    *,
    layer: int | None = None,
    random: bool = False,
    seed: int = 0,
    note: Note = _silent,
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
        AdapterError: the architecture or its preprocessing is not known, or its class cannot be
            imported.
        UsageError: there is no such layer.
    """
    import torch

    from molyneux.vision.transformers_encoder import TransformersEncoder

    folder = _folder(source, note, with_weights=not random)
    family = find_encoder_family(_model_type(folder))
    preprocessing = read_preprocessing(folder, family.processor)
    kind = _network_class(family)
    name = _name(source, folder)
    dtype = dtype or torch.float32
    if random:
        network = _random(kind, family, folder, seed)
        name, digest = f"random:{name} seed {seed}", _tensors_sha256(network)
    else:
        note(f"loading {name}")
        network = _trained(kind, family, folder, dtype)
        digest = weights_sha256(folder)
    return TransformersEncoder(
        network.to(device, dtype), family, preprocessing, name=name, sha256=digest, layer=layer
    )


def weights_sha256(folder: Path) -> str:
    """Return the sha256 of a checkpoint's weights: of the file, or of all its parts in order.

    For several parts it is that of the lines `<sha256>  <file name>`.

    Raises:
        WeightsError: the folder holds none, or a part that its index names is missing.
    """
    parts = _weight_files(folder)
    try:
        digests = [sha256_of(part) for part in parts]
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights in {folder} ({error}); copy them anew, and run again"
        ) from error
    if len(digests) == 1:
        return digests[0]
    lines = (f"{digest}  {part.name}\n" for digest, part in zip(digests, parts, strict=True))
    return sha256("".join(lines).encode()).hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    for name in _ONE_FILE:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return [folder / part for part in _parts(index)]
    raise WeightsError(
        f"{folder} holds no weights ({' or '.join(_ONE_FILE)}); copy them from where its "
        f"{CONFIG} comes from, or ask for random ones"
    )


def _parts(index: Path) -> list[str]:
    try:
        named: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted(set(named.values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"cannot read {index} ({error}); copy it anew, and run again") from error


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


def _name(source: str | Path, folder: Path) -> str:
    """Return the hub's name, also of a folder in the hub's cache; else the folder's."""
    for part in folder.absolute().parts:
        if part.startswith("models--") and part.count("--") == 2:
            return part.removeprefix("models--").replace("--", "/")
    return folder.resolve().name if Path(source).expanduser().is_dir() else str(source)


def _folder(source: str | Path, note: Note, with_weights: bool) -> Path:
    """Return the local folder of a source, fetched from the hub where it is a hub name."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or not _HUB_NAME.fullmatch(source):
        raise WeightsError(
            f"there is no folder {source}; give one that transformers' save_pretrained wrote, or "
            "a hub name such as facebook/dinov2-base"
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def fetch(file: str) -> Path | None:
        """Return the file in the hub's cache, fetched if need be; None where there is no such."""
        try:
            return Path(hf_hub_download(source, file))
        except LocalEntryNotFoundError as error:
            raise _unfetched(source, file, error) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # the hub's client passes on whatever its network layer raises
            raise _unfetched(source, file, error) from error

    cached = _cached(source, with_weights)
    if cached is not None:
        return cached
    note(f"fetching {source} from the hub, once")
    config = fetch(CONFIG)
    if config is None:
        raise WeightsError(f"{source} has no {CONFIG}, so it is no model; check the name")
    if fetch(PLAIN) is None:
        fetch(NESTED)
    if with_weights and not any(_fetch_weights(fetch, name) for name in _ONE_FILE):
        raise WeightsError(
            f"{source} has no weights transformers reads ({' or '.join(_ONE_FILE)}); choose "
            "another checkpoint, or ask for random weights"
        )
    return config.parent


def _cached(name: str, with_weights: bool) -> Path | None:
    """Return the folder of the hub's cache that holds all of a checkpoint that is needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    if not (folder / CONFIG).is_file():
        return None
    if not ((folder / PLAIN).is_file() or (folder / NESTED).is_file()):
        return None
    try:
        whole = not with_weights or all(part.is_file() for part in _weight_files(folder))
    except WeightsError:
        return None
    return folder if whole else None


def _fetch_weights(fetch: Any, name: str) -> bool:
    if fetch(name) is not None:
        return True
    index = fetch(f"{name}.index.json")
    return index is not None and all(fetch(part) is not None for part in _parts(index))


def _unfetched(source: str, file: str, error: Exception) -> WeightsError:
    sizes = {f.example: f.example_mb for f in ENCODER_FAMILIES if f.example}
    large = f"about {sizes[source]} MB" if source in sizes else "its page on the hub says how large"
    return WeightsError(
        f"{file} of {source} is not in the hub's cache and cannot be fetched "
        f"({_quote(error)}); it is needed once ({large}): run `hf download {source}` where there "
        "is a network, copy the folder here and give its path, or unset HF_HUB_OFFLINE"
    )


def _quote(error: BaseException) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST_QUOTE else words[: _LONGEST_QUOTE - 1] + "…"


def _network_class(family: EncoderFamily) -> Any:
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
        raise AdapterError(f"cannot import {family.network} ({_quote(error)}); {hint}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars, and its table of weights that are not the encoder's, to itself."""
    from transformers.utils import logging

    from molyneux.models.smollm2 import quiet_progress_bars

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with quiet_progress_bars():
            yield
    finally:
        logging.set_verbosity(before)


def _configuration(kind: Any, family: EncoderFamily, folder: Path) -> Any:
    config = kind.config_class.from_pretrained(folder, local_files_only=True)
    for key, value in family.settings.items():
        setattr(config, key, value)
    return config


def _random(kind: Any, family: EncoderFamily, folder: Path, seed: int) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the processor's alone
        try:
            with _quiet():
                return kind(_configuration(kind, family, folder))
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise _unloadable(folder, error) from error


def _trained(kind: Any, family: EncoderFamily, folder: Path, dtype: torch.dtype) -> Any:
    import torch
    from safetensors import SafetensorError

    _weight_files(folder)
    try:
        # Modules that the weights lack are drawn at random before they are refused or unused.
        with _quiet(), torch.random.fork_rng(devices=[]):
            network, loaded = kind.from_pretrained(
                folder,
                config=_configuration(kind, family, folder),
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise _unloadable(folder, error) from error
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
    return network


def _unloadable(folder: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"cannot load {folder} ({_quote(error)}); copy its files anew from where they come from, "
        "and run again"
    )


def _tensors_sha256(network: Any) -> str:
    """Return the sha256 of all parameters and buffers, in the order of their names."""
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
