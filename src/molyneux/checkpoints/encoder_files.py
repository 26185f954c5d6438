"""An image encoder's files: in a folder, in the hub's cache, or fetched from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molyneux.adapters.encoder_families import ENCODER_FAMILIES
from molyneux.checkpoints.hub import download_command, hub_answers, in_hub_cache
from molyneux.checkpoints.sources import HUB_NAME
from molyneux.checkpoints.weight_files import CONFIG, ONE_FILE, parts_of
from molyneux.checks import path_of
from molyneux.errors import WeightsError, quote
from molyneux.vision.preprocessor_config import NESTED, PLAIN
from molyneux.weights.fetch import Note


def find_encoder_files(source: str | Path, note: Note, with_weights: bool) -> Path:
    """Return the local folder of a source, fetched from the hub where it is a hub name.

    Raises:
        WeightsError: there is no such folder or model, or files are missing or cannot be fetched.
    """
    folder = path_of("an encoder", source)
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or not HUB_NAME.fullmatch(source):
        raise WeightsError(
            f"there is no folder {source}; give one that transformers' save_pretrained wrote, or "
            "a hub name such as facebook/dinov2-base"
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def fetch(file: str) -> Path | None:
        """Return the file in the hub's cache, fetched if need be; None where there is no such."""
        try:
            return Path(hf_hub_download(source, file, local_files_only=not answers))
        except LocalEntryNotFoundError as error:
            reached = "the hub cannot be reached" if not answers else quote(error)
            raise _unfetched(source, file, reached) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # the hub's client passes on whatever its network layer raises
            raise _unfetched(source, file, quote(error)) from error

    cached = in_hub_cache(source, with_weights=with_weights)
    if cached is not None and any((cached / name).is_file() for name in (PLAIN, NESTED)):
        return cached
    note(f"fetching {source} from the hub, once")
    answers = hub_answers()  # else its client would retry for half a minute
    config = fetch(CONFIG)
    if config is None:
        raise WeightsError(f"{source} has no {CONFIG}, so it is no model; check the name")
    # Where a model has both, what is nested decides: in a folder, and so here.
    if fetch(PLAIN) is None or answers:
        fetch(NESTED)
    if with_weights and not any(_fetch_weights(fetch, name) for name in ONE_FILE):
        raise WeightsError(
            f"{source} has no weights transformers reads ({' or '.join(ONE_FILE)}); choose "
            "another checkpoint, or ask for random weights"
        )
    return config.parent


def name_of(source: str | Path, folder: Path) -> str:
    """Return the hub's name, also of a snapshot in the hub's cache; else the folder's."""
    *_, model, snapshots, _ = ("", "", "", *folder.absolute().parts)
    if snapshots == "snapshots" and model.startswith("models--") and model.count("--") == 2:
        return model.removeprefix("models--").replace("--", "/")
    return folder.resolve().name if Path(source).expanduser().is_dir() else str(source)


def _fetch_weights(fetch: Any, name: str) -> bool:
    if fetch(name) is not None:
        return True
    index = fetch(f"{name}.index.json")
    return index is not None and all(fetch(part) is not None for part in parts_of(index))


def _unfetched(source: str, file: str, why: str) -> WeightsError:
    sizes = {f.example: f.example_mb for f in ENCODER_FAMILIES if f.example}
    large = f"about {sizes[source]} MB" if source in sizes else "its page on the hub says how large"
    return WeightsError(
        f"{file} of {source} is not in the hub's cache and cannot be fetched ({why}), and there "
        f"is no such folder here; it is needed once ({large}): run "
        f"`{download_command(source, into='FOLDER')}` where there is a network, bring the folder "
        "here and give its path, or unset HF_HUB_OFFLINE"
    )
