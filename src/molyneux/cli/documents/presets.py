"""What `models`, `models fetch` and `size` print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PartToFetch:
    """A part that is not here.

    Attributes:
        part: which one.
        source: where it is published.
        mb: its size in MB.
        get: how to get it.
    """

    part: str
    source: str
    mb: int
    get: str


@dataclass(frozen=True, kw_only=True)
class PresetPart:
    """A part of a preset.

    Attributes:
        part: which one.
        source: where it is published.
        mb: its size in MB.
        here: whether it is in the cache.
        get: how to get it.
    """

    part: str
    source: str
    mb: int
    here: bool
    get: str


@dataclass(frozen=True, kw_only=True)
class PresetRecord:
    """A preset.

    Attributes:
        preset: its name.
        language_model: what it reads and writes with.
        encoder: what it sees through.
        layout: how its prompt is laid out.
        download_mb: what is fetched at most, in MB.
        missing_mb: what is still to be fetched.
        cache_mb: what it keeps in the cache.
        cached: whether everything is here.
        pieces: its parts.
        licences: of each part.
        limits: sentences to be stated wherever its results are shown.
    """

    preset: str
    language_model: str
    encoder: str
    layout: str
    download_mb: int
    missing_mb: int
    cache_mb: int
    cached: bool
    pieces: tuple[PresetPart, ...]
    licences: dict[str, str]
    limits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FetchedProjection:
    """A preset's projection, fetched.

    Attributes:
        projection: where it lies.
        git_blob: its hash, as published.
        missing: the parts that are still to come.
    """

    projection: str
    git_blob: str
    missing: tuple[PartToFetch, ...]


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """How large the weights of a model or of a preset's part are.

    Attributes:
        part: which one; `model` where no preset was named.
        where: what was looked at.
        here: whether the weights are on this machine.
        parameters: how many; null if they could not be counted.
        stored: how many by the type in which they are stored.
        disk_bytes: size of the weight files.
        memory_bytes: of the weights alone, by the dtype they are loaded in.
        error: null, or one line that says why it could not be known.
    """

    part: str
    where: str
    here: bool
    parameters: int | None
    stored: dict[str, int]
    disk_bytes: int | None
    memory_bytes: dict[str, int]
    error: str | None


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What a model needs.

    Attributes:
        model: as named.
        download_mb: what a preset fetches at most, in MB; null for any other model.
        cache_mb: what a preset keeps in the cache, in MB; null for any other model.
        parts: each with weights.
    """

    model: str
    download_mb: int | None
    cache_mb: int | None
    parts: tuple[PartSize, ...]
