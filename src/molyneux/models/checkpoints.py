"""A checkpoint's files: a local folder, a GGUF file, or a name on the Hugging Face hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from molyneux.errors import MolyneuxError, WeightsError
from molyneux.models.cache import sha256_of
from molyneux.models.fetch import Note
from molyneux.models.smollm2 import quiet_progress_bars

SAFETENSORS = ("model.safetensors", "model-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")


def silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


def short(error: BaseException) -> str:
    """Return the beginning of an error's text in one line, to be quoted in another's."""
    return " ".join(without_colours(str(error)).split())[:160] or type(error).__name__


def without_colours(text: str) -> str:
    """Return a text without what colours a terminal."""
    return _COLOURS.sub("", text)


def find_checkpoint(
    source: str | Path, note: Note, known: Callable[[Path], object]
) -> tuple[Path, Path | None, str]:
    """Return a model's folder, fetched if need be, its GGUF file if it is one, and its name.

    Args:
        source: a folder with `config.json`, a `.gguf` file or a folder with one, or a name on the
            hub.
        known: raises where the configuration in a folder is of no known family: asked before
            any weight is fetched.

    Raises:
        WeightsError: there is none, or it cannot be fetched.
    """
    if not _is_local(source):
        folder = _from_hub(str(source), note, known)
        _require_no_adapter(folder)
        return folder, None, str(source)
    folder, gguf = _local(Path(source).expanduser())
    return folder, gguf, (gguf or folder.resolve()).name


def hash_weights(folder: Path, gguf: Path | None, called: str, note: Note) -> dict[str, str]:
    """Return the sha256 of each weight file that transformers will read.

    Raises:
        WeightsError: there are none, or a file of a set is missing.
    """
    files = [gguf] if gguf else _weight_files(folder)
    note(f"hashing {called} ({sum(file.stat().st_size for file in files) / 1e6:.0f} MB)")
    return {file.name: sha256_of(file) for file in files}


def joint_hash(hashes: dict[str, str]) -> str:
    """Return the sha256 of a model's weights: the file's own, or, of several, of their list."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return sha256(listed.encode()).hexdigest()


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
    _require_no_adapter(path)
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


def _require_no_adapter(folder: Path) -> None:
    """Refuse a fine-tuned adapter: with peft installed its base would be loaded in its place."""
    if (folder / "adapter_config.json").is_file():
        raise WeightsError(
            f"{folder} is an adapter (LoRA or its like), not a model; merge it into its base with "
            "peft's merge_and_unload(), save that with save_pretrained, and give its folder"
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
        f"there is no folder {name} here; as a name on the hub it is needed, is not in "
        f"{constants.HF_HUB_CACHE}, and cannot be fetched ({why}); run "
        f"`hf download {name} --local-dir FOLDER` where there is a network, bring the folder here, "
        "and give its path"
    )


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
                    f"cannot read {index} ({short(error)}); fetch it anew"
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
