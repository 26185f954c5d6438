"""Photos with captions that people wrote: folders with a `captions.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Captioned:
    """A photo with its captions as people wrote them."""

    name: str
    file: Path
    captions: list[str]


def read_captioned(folder: Path) -> list[Captioned]:
    """The photos of a folder that are there, by file name."""
    found: dict[str, Captioned] = {}
    for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        file = (folder / row["file"]).resolve()
        if file.is_file():
            found[file.name] = Captioned(file.name, file, [str(c) for c in row["captions"]])
    return [found[name] for name in sorted(found)]
