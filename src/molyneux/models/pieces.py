"""What a preset is made of, and what of it is on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from molyneux.models.presets import Preset
from molyneux.weights.cache import RECORD, cache_dir


@dataclass(frozen=True)
class Piece:
    """One download of a preset.

    Attributes:
        part: language model, encoder or projection.
        source: where it comes from.
        mb: its size.
        here: whether it is in a cache of this machine.
        how: the command that fetches it, or what to do.
    """

    part: str
    source: str
    mb: int
    here: bool
    how: str


def pieces_of(preset: Preset) -> list[Piece]:
    """Return what a preset is made of and whether it is here; only looks, and fetches nothing.

    The weights of a hub's model count as here when its cache holds all of them.
    """
    if preset.published is None:
        here = _all_folders(preset)
        return [
            Piece(
                "all parts", "the package index", preset.download_mb, here, "fetched at first use"
            )
        ]
    from molyneux.checkpoints.hub import download_command, in_hub_cache

    pieces = []
    for part, source, mb in (
        ("language model", preset.language_model_source, preset.language_model_mb),
        ("encoder", preset.encoder_source, preset.encoder_mb),
    ):
        if source is not None:
            how = f"`{download_command(source)}`, or fetched at first use"
            pieces.append(Piece(part, source, mb, in_hub_cache(source) is not None, how))
        elif part == "encoder":
            how = "give it as an object: Captioner.load(encoder=...)"
            pieces.append(Piece(part, preset.encoder, 0, False, how))
    where = f"github.com/{preset.published.repository} {preset.published.path}"
    how = f"`molyneux models fetch {preset.name}`"
    pieces.append(Piece("projection", where, preset.published.size_mb, _all_folders(preset), how))
    return pieces


def _all_folders(preset: Preset) -> bool:
    return all((cache_dir() / folder / RECORD).is_file() for folder in preset.folders)
