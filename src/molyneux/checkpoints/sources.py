"""Where a model is: a local folder, a GGUF file, or a name on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from molyneux.checkpoints.hub import download_command, hub_answers
from molyneux.checkpoints.weight_files import CONFIG, ONE_FILE, parts_of
from molyneux.checks import path_of
from molyneux.errors import MolyneuxError, UsageError, WeightsError, quote
from molyneux.weights.fetch import Note, quiet_progress_bars

OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
"""What a model has beside its weights: configuration, tokenizer, and the index of the weights."""


def find_checkpoint(
    source: str | Path, note: Note, known: Callable[[Path], object], *, with_weights: bool = True
) -> tuple[Path, Path | None, str]:
    """Return a model's folder, fetched if need be, its GGUF file if it is one, and its name.

    Args:
        source: a folder with `config.json`, a `.gguf` file or a folder with one, or a name on the
            hub.
        known: raises where the configuration in a folder is of no known family: asked before
            any weight is fetched.
        with_weights: whether the weights of a model on the hub are fetched too.

    Raises:
        WeightsError: there is none, or it cannot be fetched.
    """
    path_of("a model", source)
    if not is_local(source):
        folder = _from_hub(str(source), note, known, with_weights)
        require_no_adapter(folder)
        return folder, None, str(source)
    folder, gguf = local_model(source)
    return folder, gguf, (gguf or folder.resolve()).name


HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def require_there(source: str | Path, *, what: str = "language model") -> None:
    """Refuse a local source that is not there; a name on the hub is not looked for.

    Args:
        what: what it is of; encoders on the hub have a publisher in their names.

    Raises:
        UsageError: there is no such folder or file, or it holds no model.
    """
    if what == "encoder":
        if not Path(source).expanduser().is_dir() and not HUB_NAME.fullmatch(str(source)):
            raise UsageError(
                f"there is no folder {source}; give one that transformers' save_pretrained wrote, "
                "or a hub name such as facebook/dinov2-base"
            )
    elif is_local(source):
        try:
            local_model(source)
        except WeightsError as error:
            raise UsageError(str(error)) from error


def is_local(source: str | Path) -> bool:
    """Return whether a source is meant to be on this machine, whether or not it is there."""
    path = Path(source).expanduser()
    looks_local = isinstance(source, Path) or str(source).startswith((".", "/", "~", os.sep))
    return looks_local or path.exists() or path.suffix == ".gguf" or len(path.parts) > 2


def local_model(source: str | Path) -> tuple[Path, Path | None]:
    """Return a local model's folder, and its GGUF file where it is one.

    Raises:
        WeightsError: there is none.
    """
    path = Path(source).expanduser()
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
    require_no_adapter(path)
    if (path / CONFIG).is_file():
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


def require_no_adapter(folder: Path) -> None:
    """Refuse a fine-tuned adapter: with peft installed its base would be loaded in its place.

    Raises:
        WeightsError: the folder holds one.
    """
    if (folder / "adapter_config.json").is_file():
        raise WeightsError(
            f"{folder} is an adapter (LoRA or its like), not a model; merge it into its base with "
            "peft's merge_and_unload(), save that with save_pretrained, and give its folder"
        )


def _from_hub(name: str, note: Note, known: Callable[[Path], object], with_weights: bool) -> Path:
    """Return the folder of a hub model in huggingface_hub's cache, fetched if it is not there.

    The configuration comes first, so that an unknown family costs no download.

    Args:
        known: raises where the configuration in a folder is of no known family.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    answers = hub_answers()  # else its client would retry for seconds

    def fetch(patterns: Sequence[str]) -> Path:
        with quiet_progress_bars():
            return Path(
                snapshot_download(name, allow_patterns=list(patterns), local_files_only=not answers)
            )

    def fetched(files: Sequence[str]) -> bool:
        folder = fetch(files)
        return all((folder / file).is_file() for file in files)

    try:
        folder = fetch((CONFIG,))
        if (folder / CONFIG).is_file():
            known(folder)
            folder = fetch(OTHER_FILES)
            if not with_weights:
                return folder
            if answers:
                note(f"fetching {name} from the hub, unless its weights are cached")
            for whole in ONE_FILE:
                index = folder / f"{whole}.index.json"  # which came as one of the other files
                if fetched([whole]) or (index.is_file() and fetched(parts_of(index))):
                    return folder
        why = "it is not there whole"
    except MolyneuxError:
        raise
    except LocalEntryNotFoundError as error:
        why = quote(error)
        if not answers:
            off = constants.HF_HUB_OFFLINE
            why = "HF_HUB_OFFLINE is set" if off else "the hub cannot be reached"
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
        why = quote(error)
    raise WeightsError(
        f"there is no folder {name} here; as a name on the hub it is needed, is not in "
        f"{constants.HF_HUB_CACHE}, and cannot be fetched ({why}); run "
        f"`{download_command(name, into='FOLDER')}` where there is a network, bring the folder "
        "here, and give its path"
    )
