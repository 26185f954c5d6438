"""Any language model of a known family: a local folder, a name on the hub, or a GGUF file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from molyneux.adapters.families import find_family
from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import AdapterError, MolyneuxError, UsageError, WeightsError
from molyneux.models.cache import sha256_of
from molyneux.models.smollm2 import quiet_progress_bars

Note = Callable[[str], None]
PRECISIONS = ("float32", "bfloat16", "float16", "auto")
SAFETENSORS = ("model.safetensors", "model-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin")
_PLACEHOLDER = re.compile(r"<\|extratoken_\d+\|>|<\|image\|>")
OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True)
class LoadedLanguageModel:
    """A language model and where its weights came from.

    Attributes:
        name: what it is called in documents and provenance.
        sha256: of the weights: the file's own, or, of several files, of their list.
        files: each weight file's name and sha256.
    """

    language_model: LanguageModel
    name: str
    sha256: str
    files: dict[str, str]


@dataclass(frozen=True)
class _Trimmed(LanguageModel):
    """A language model whose tokenizer also lists placeholders, for rows that pad its embedding.

    GPT-J's does: ids 50257 to 50399 are `<|extratoken_1|>` and so on, which no text contains and
    no training touched; LiMBeR cut the embedding to 50258 rows, the last of them a token of its
    own. None of them is ever decoded, searched or written.
    """

    n_tokens: int = 0

    @property
    def d_vocab(self) -> int:
        """Tokens that can be decoded: padding rows and placeholders are left out."""
        return min(int(self._embedding_table.shape[0]), self.n_tokens)


def without_placeholders(model: LanguageModel) -> LanguageModel:
    """Return a GPT-J whose vocabulary ends before the tokenizer's placeholders; others as is."""
    n_tokens = len(model.tokenizer)
    if model.model.config.model_type != "gptj":
        return model
    while n_tokens and _is_placeholder(model.tokenizer.convert_ids_to_tokens(n_tokens - 1)):
        n_tokens -= 1
    if n_tokens == len(model.tokenizer):
        return model
    return _Trimmed(model.model, model.tokenizer, model.family, n_tokens)


def _is_placeholder(token: object) -> bool:
    """Return whether a token stands for a row that only pads the embedding."""
    return isinstance(token, str) and _PLACEHOLDER.fullmatch(token) is not None


def _silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


def load_language_model(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str | None = None,
    device_map: str | None = None,
    name: str | None = None,
    note: Note = _silent,
) -> LoadedLanguageModel:
    """Return a language model of any known family, proved in brief, with its weights' hashes.

    A hub name is fetched once through huggingface_hub, into its own cache. Code that comes with
    a model is never run; pickled weights are read by torch's weights-only reader.

    Args:
        source: a folder with `config.json`, a `.gguf` file or a folder with one, or a name on
            the hub (`gpt2`, `EleutherAI/pythia-70m`).
        dtype: of the weights, one of `PRECISIONS`; "auto" for the one they were saved in.
        device: where the model is put; not with `device_map`.
        device_map: "auto" spreads the layers over all devices, through accelerate.
        name: what to call the model; else the hub's name, or the folder's or file's.
        note: told, one line at a time, what takes long.

    Raises:
        UsageError: an argument does not make sense.
        WeightsError: weights are missing, cannot be fetched, or cannot be read.
        AdapterError: the family is not known, or its down projection is quantised, or the
            model is not what its family's row says.
    """
    if dtype not in PRECISIONS:
        raise UsageError(f"{dtype!r} is not a dtype to load in; choose {', '.join(PRECISIONS)}")
    if device is not None and device_map is not None:
        raise UsageError("give a device or a device map, not both")
    if _is_local(source):
        folder, gguf = _local(Path(source).expanduser())
        called = (gguf or folder.resolve()).name
    else:
        folder, gguf = _from_hub(str(source), note, lambda found: _known_class(found, None)), None
        called = str(source)
    _, model_class = _known_class(folder, gguf)
    weights = [gguf] if gguf else _weight_files(folder)
    note(f"hashing {called} ({sum(file.stat().st_size for file in weights) / 1e6:.0f} MB)")
    hashes = {file.name: sha256_of(file) for file in weights}
    note(f"loading {called}")
    model, tokenizer = _load(model_class, folder, gguf, dtype, device, device_map)
    adapted = without_placeholders(LanguageModel.adapt(model, tokenizer, check=True))
    return LoadedLanguageModel(adapted, name or called, _joint_hash(hashes), hashes)


def find_checkpoint(
    source: str | Path, note: Note, known: Callable[[Path], object]
) -> tuple[Path, str]:
    """Return the folder of a model that is no GGUF file, fetched if need be, and its name.

    Args:
        known: raises where the configuration in a folder is of no known family.

    Raises:
        WeightsError: there is none, or it cannot be fetched.
    """
    if not _is_local(source):
        return _from_hub(str(source), note, known), str(source)
    folder, gguf = _local(Path(source).expanduser())
    if gguf is not None:
        raise WeightsError(
            f"{gguf} is a language model alone; give a folder of a vision-language model as "
            "Hugging Face's save_pretrained writes it, or its name on the hub"
        )
    known(folder)
    return folder, folder.resolve().name


def hash_weights(folder: Path, called: str, note: Note) -> str:
    """Return the sha256 of a folder's weights: the file's own, or that of several files' list.

    Raises:
        WeightsError: there are none, or a file of a set is missing.
    """
    files = _weight_files(folder)
    note(f"hashing {called} ({sum(file.stat().st_size for file in files) / 1e6:.0f} MB)")
    return _joint_hash({file.name: sha256_of(file) for file in files})


def _is_local(source: str | Path) -> bool:
    path = Path(source).expanduser()
    looks_local = isinstance(source, Path) or str(source).startswith((".", "/", "~", os.sep))
    return looks_local or path.exists() or path.suffix == ".gguf" or len(path.parts) > 2


def _local(path: Path) -> tuple[Path, Path | None]:
    """Return a local model's folder, and its GGUF file where it is one."""
    if path.is_file():
        if path.suffix != ".gguf":
            raise WeightsError(
                f"{path} is not a language model; give a folder with config.json, or a .gguf file"
            )
        return path.parent, path
    if not path.is_dir():
        raise WeightsError(
            f"there is no {path}; give a folder with config.json, a .gguf file, or a name on the "
            "Hugging Face hub such as gpt2"
        )
    if (path / "config.json").is_file():
        return path, None
    found = sorted(path.glob("*.gguf"))
    if len(found) == 1:
        return path, found[0]
    listed = ", ".join(file.name for file in found[:5])
    raise WeightsError(
        f"{path} holds several GGUF files ({listed}); give one of them"
        if found
        else f"{path} holds neither config.json nor a .gguf file; give the folder of a model as "
        "Hugging Face's save_pretrained writes it"
    )


def _from_hub(name: str, note: Note, known: Callable[[Path], object]) -> Path:
    """Return the folder of a hub model in huggingface_hub's cache, fetched if it is not there.

    The configuration comes first, so that an unknown family costs no download.

    Args:
        known: raises where the configuration in a folder is of no known family.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def fetch(patterns: tuple[str, ...]) -> Path:
        with quiet_progress_bars():
            return Path(snapshot_download(name, allow_patterns=list(patterns)))

    def here(folder: Path, patterns: tuple[str, ...]) -> bool:
        return any(True for pattern in patterns for _ in folder.glob(pattern))

    try:
        folder = fetch(("config.json",))
        if (folder / "config.json").is_file():
            known(folder)
            folder = fetch(OTHER_FILES)
            note(f"fetching {name} from the hub, unless its weights are cached")
            folder = fetch(SAFETENSORS)
            if not here(folder, SAFETENSORS):
                folder = fetch(PICKLED)
            if here(folder, (*SAFETENSORS, *PICKLED)):
                return folder
        why = "it is not there whole"
    except MolyneuxError:
        raise
    except GatedRepoError as error:
        raise WeightsError(
            f"{name} asks for its licence to be accepted; accept it on its page on the hub, run "
            "`hf auth login`, and run again"
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"the hub has no model {name!r}, or it is private; check the name, or run "
            "`hf auth login`, and run again"
        ) from error
    except Exception as error:  # whatever the network throws: huggingface_hub promises no class
        why = " ".join(str(error).split())[:160] or type(error).__name__
    raise WeightsError(
        f"{name} is needed, is not in {constants.HF_HUB_CACHE}, and cannot be fetched ({why}); run "
        f"`hf download {name} --local-dir FOLDER` where there is a network, bring the folder here, "
        "and give its path"
    )


def _known_class(folder: Path, gguf: Path | None) -> tuple[Any, Any]:
    """Return a model's configuration and class, its family being known.

    Raises:
        AdapterError: no row for it, or it is no causal language model.
        WeightsError: the configuration cannot be read, or transformers cannot import the class.
    """
    from transformers import AutoConfig

    where = gguf or folder / "config.json"
    if gguf is None:
        try:
            plain = json.loads(where.read_text(encoding="utf-8"))
            model_type = str(plain["model_type"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"cannot read {where} ({_short(error)}); fetch the model's folder anew"
            ) from error
        find_family(model_type)  # before transformers, which lists hundreds of architectures
    options = {"gguf_file": gguf.name} if gguf else {}
    try:
        with quiet_progress_bars():
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **options
            )
    except Exception as error:  # a GGUF reader's errors have many classes
        raise WeightsError(
            f"transformers cannot read {where} ({_short(error)}); fetch the model anew, or convert "
            "it to a folder of safetensors"
        ) from error
    find_family(config.model_type, config)
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

        return config, MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError as error:
        raise AdapterError(
            f"transformers has no causal language model of type {config.model_type!r}; "
            "Molyneux explains causal language models only"
        ) from error
    except (ImportError, RuntimeError) as error:
        raise WeightsError(
            f"transformers cannot import its {config.model_type} model ({_short(error)}); the "
            "usual cause is a torchvision made for another torch: uninstall torchvision, which "
            "molyneux does not use, or install the one that fits, and run again"
        ) from error


def _weight_files(folder: Path) -> list[Path]:
    """Return the files that transformers will read: safetensors, else torch's own.

    Raises:
        WeightsError: there are none, or a file of a set is missing.
    """
    for single, several in (SAFETENSORS, PICKLED):
        index = folder / f"{single}.index.json"
        if (folder / single).is_file():
            return [folder / single]
        if index.is_file():
            try:
                names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            except (OSError, ValueError, KeyError, AttributeError) as error:
                raise WeightsError(
                    f"cannot read {index} ({_short(error)}); fetch it anew"
                ) from error
            missing = sorted(file for file in names if not (folder / file).is_file())
            if missing:
                raise WeightsError(
                    f"{folder} lacks {len(missing)} of {len(names)} weight files "
                    f"({several}: {missing[0]}, ...); fetch the model's folder anew"
                )
            return [folder / file for file in sorted(names)]
    raise WeightsError(
        f"{folder} has a configuration and no weights ({SAFETENSORS[0]} or {PICKLED[0]}); fetch "
        "the model's folder anew"
    )


def _load(
    model_class: Any,
    folder: Path,
    gguf: Path | None,
    dtype: str,
    device: str | None,
    device_map: str | None,
) -> tuple[Any, Any]:
    import torch
    from transformers import AutoTokenizer

    file = {"gguf_file": gguf.name} if gguf else {}
    try:
        with quiet_progress_bars(), torch.random.fork_rng(devices=[]):
            model, loaded = model_class.from_pretrained(
                folder,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                # All families have it, and gradients of many targets are taken in one batch.
                attn_implementation="eager",
                local_files_only=True,
                output_loading_info=True,
                device_map=device_map,
                **file,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **file
            )
    except MolyneuxError:
        raise
    except Exception as error:  # torch, safetensors, gguf, quantisers: each has its own classes
        if gguf is None and _quantisation(folder):
            raise AdapterError(
                f"{folder} is quantised ({_quantisation(folder)}) and cannot be read here "
                f"({_short(error)}): units are read from ordinary floating-point weights; give the "
                "unquantised model (float32, bfloat16 or float16)"
            ) from error
        raise WeightsError(
            f"cannot load {gguf or folder} ({_short(error)}); fetch the model anew, or try another "
            "dtype or device"
        ) from error
    absent = sorted([*loaded["missing_keys"], *(str(key) for key in loaded["mismatched_keys"])])
    if absent:
        raise WeightsError(
            f"{gguf or folder} does not hold this model's weights ({absent[0]} and "
            f"{len(absent) - 1} more are missing or of another shape); fetch the model anew"
        )
    return (model if device is None else model.to(device)), tokenizer


def _quantisation(folder: Path) -> str | None:
    """Return how a folder's weights are quantised, if its configuration says so."""
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    how = found.get("quantization_config")
    return str(how.get("quant_method", "in an unnamed way")) if how else None


def _joint_hash(hashes: dict[str, str]) -> str:
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return sha256(listed.encode()).hexdigest()


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
