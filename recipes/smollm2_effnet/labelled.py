"""Photos with one class each, ImageNet's, called by the everyday words of `nouns.tsv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rows import Row, finish, make_row


def read_nouns(file: Path) -> dict[str, list[str]]:
    """The phrases of each WordNet id in nouns.tsv, the commonest first."""
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t")
        return {line["wnid"]: line["phrases"].split("|") for line in reader}


def noun_captions(phrases: Sequence[str]) -> list[str]:
    """The phrases as captions; the first, plainest one twice where there are others."""
    return finish([*phrases[:1], *phrases] if len(phrases) > 1 else phrases)


def labelled_rows(folder: Path, nouns: dict[str, list[str]], source: str) -> list[Row]:
    """One row for each photo of a folder with a labels.tsv (file, wnid, name)."""
    rows: list[Row] = []
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream, delimiter="\t"):
            file = (folder / "images" / line["file"]).resolve()
            if not file.is_file():
                continue
            captions = noun_captions(nouns[line["wnid"]])
            rows.append({**make_row(file, source, line["file"], captions), "wnid": line["wnid"]})
    return rows
