"""Putting a trained projection on the Hugging Face hub, when the user asks for it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from molyneux.errors import RunError, UsageError, quote
from molyneux.training.card import NAME

WEIGHTS = "projection.safetensors"


def hub_api() -> Any:
    """Return huggingface_hub's client, logged in.

    Raises:
        UsageError: there is no token on this machine.
    """
    from huggingface_hub import HfApi, get_token

    if not get_token():
        raise UsageError(
            "pushing to the hub needs a token; run `hf auth login` or set HF_TOKEN, or leave out "
            "--push-to-hub and upload the run folder later"
        )
    return HfApi()


def push(folder: Path, repo: str, api: Any) -> str:
    """Return the commit's address after uploading weights and card; nothing else is sent.

    Args:
        folder: the run folder.
        repo: the hub's name for it, `owner/name`; made, private, where it does not exist.
        api: huggingface_hub's client (see `hub_api`).

    Raises:
        RunError: the hub refused, or could not be reached.
    """
    with tempfile.TemporaryDirectory() as staging:
        shutil.copy(folder / WEIGHTS, staging)
        shutil.copy(folder / NAME, Path(staging, "README.md"))  # the page the hub shows
        try:
            api.create_repo(repo, private=True, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo, folder_path=staging, commit_message="A projection made with molyneux"
            )
        except Exception as error:  # the hub's client passes on whatever its network layer raises
            said = quote(error)
            raise RunError(
                f"{repo} could not be pushed ({said}); the run is whole in {folder}: give the "
                "same command again to try once more"
            ) from error
    return str(getattr(commit, "commit_url", commit))
