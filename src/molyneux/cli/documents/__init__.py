"""What every command prints with `--json`: names, kinds and meanings.

The schemas that are shipped in `molyneux/schemas`, and the tables of docs/document.md, are made
from these classes and from `molyneux.explain.document`.
"""

from __future__ import annotations

from typing import Any

from molyneux.atlas.records import Found
from molyneux.cli.documents.health import FixturesHealth, Health, PartsMissing
from molyneux.cli.documents.kept import CacheContents, CheckedCopy, KnownSetRecord, Runs
from molyneux.cli.documents.measured import (
    Calibration,
    JoinedAtlas,
    MeasuredLens,
    MeasuredReference,
    MeasuredTrust,
    Trained,
    WrittenAtlas,
)
from molyneux.cli.documents.presets import FetchedProjection, ModelSize, PresetRecord
from molyneux.cli.documents.seeing import Captions, DecodedUnit, Prompts
from molyneux.cli.documents.studied import (
    ComparedScorers,
    ReportWritten,
    StudiedUnits,
    StudyDone,
    Tables,
    TransferDone,
)
from molyneux.explain.document import Document

DOCUMENTS: dict[str, Any] = {
    "explain": Document,
    "demo": Document,
    "caption": Captions,
    "prompts": Prompts,
    "decode": list[DecodedUnit],
    "find": list[Found],
    "models": list[PresetRecord],
    "models fetch": FetchedProjection,
    "doctor": Health | PartsMissing | FixturesHealth,
    "reference": MeasuredReference,
    "lens": MeasuredLens,
    "atlas": WrittenAtlas,
    "atlas join": JoinedAtlas,
    "train": Trained,
    "trust": MeasuredTrust,
    "report": ReportWritten,
    "study": StudyDone,
    "compare-scorers": ComparedScorers,
    "transfer": TransferDone,
    "table": Tables,
    "units": StudiedUnits,
    "runs": Runs,
    "cache": CacheContents,
    "size": ModelSize,
    "data": list[KnownSetRecord] | KnownSetRecord,
    "data NAME FOLDER": CheckedCopy,
    "calibrate-bertscore": Calibration,
}
"""What each command prints; where it prints several things, any of these."""


def schema_file(command: str) -> str:
    """Return the name of a command's schema in `molyneux/schemas`."""
    name = {"demo": "explain", "data NAME FOLDER": "data-copy"}.get(command, command)
    return f"{name.replace(' ', '-')}.schema.json"
