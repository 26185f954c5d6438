"""The run folder of `explain`: a part for each photo, joined into a document, a table and tensors.

A part is written as a whole and never again, so that a run may be killed at any moment, goes on
where it stood, and writes as many bytes for a photo however many there are. Joining holds one
photo at a time. Nothing here needs torch.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molyneux.errors import BegunOtherwiseError, RunError
from molyneux.explain.document import SCHEMA, Document, Image, ModelRecord, SettingsRecord
from molyneux.explain.tables import units_table
from molyneux.records import from_json, from_plain, to_json, to_plain
from molyneux.store import Run, require_free

PARTS = "parts"
DOCUMENT, UNITS, FIELDS = "explain.json", "units.parquet", "fields.safetensors"
_NO_FIELDS = b'{"none":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
_NAMED = 3


@dataclass(frozen=True)
class _Outcome:
    """What became of a photo; the rest of the document is passed over."""

    path: str
    error: str | None


@dataclass(frozen=True)
class _Outcomes:
    images: tuple[_Outcome, ...]


@dataclass(frozen=True)
class ExplainFolder:
    """A run folder of `explain`, whole after every photo.

    Attributes:
        document: the document without its photos.
        names: what the photos are called, in order.
    """

    run: Run
    document: Document
    names: Sequence[str]

    @property
    def parts(self) -> Path:
        """Where the parts lie until they are joined."""
        return self.run.folder / PARTS

    @property
    def is_joined(self) -> bool:
        """Whether all photos are finished and joined."""
        return (self.run.folder / DOCUMENT).is_file() and not self.parts.is_dir()

    def finished(self) -> int:
        """Return how many photos, counted from the first, have their part."""
        return next(n for n in range(len(self.names) + 1) if not self.document_of(n).is_file())

    def part(self, number: int) -> Image:
        """Return a finished photo.

        Raises:
            RunError: its part is damaged.
        """
        path = self.document_of(number)
        return from_json(Image, path.read_bytes(), str(path))

    def fields_of(self, number: int) -> Path:
        """Return where the heat maps of a photo lie until they are joined."""
        return self.parts / f"{_stem(number)}.safetensors"

    def write(self, number: int, image: Image, fields: bytes | None, shown: bytes | None) -> None:
        """Write a photo's part; the document comes last, and says that the part is whole.

        Args:
            fields: the heat maps as a safetensors file; None without any.
            shown: what lies under the patches, as a JPEG.

        Raises:
            RunError: it cannot be written.
        """
        if shown is not None:
            self.run.write_bytes(f"photos/{number}.jpg", shown)
        if fields is not None:
            self.run.write_bytes(f"{PARTS}/{_stem(number)}.safetensors", fields)
        self.run.write_bytes(f"{PARTS}/{_stem(number)}.json", to_json(image).encode())

    def join(self) -> None:
        """Write the document, the table and the tensors of the photos that are finished.

        The parts are removed once they are all in.

        Raises:
            RunError: a part is damaged, or something cannot be written.
        """
        count = self.finished()
        self.run.write_bytes(UNITS, units_table(self.part(number) for number in range(count)))
        files = {n: self.fields_of(n) for n in range(count)}
        there = {n: path for n, path in files.items() if path.is_file()}
        self.run.write_bytes(FIELDS, _joined_fields(there))
        self.run.write_bytes(DOCUMENT, self._joined_document(count))
        if count == len(self.names):
            shutil.rmtree(self.parts, ignore_errors=True)

    def errors(self) -> tuple[tuple[str, str], ...]:
        """Return the photos of a joined run that could not be read, each with why.

        Raises:
            RunError: the document is missing or damaged.
        """
        path = self.run.folder / DOCUMENT
        try:
            found = from_json(_Outcomes, path.read_bytes(), str(path))
        except OSError as error:
            raise RunError(f"cannot read {path} ({error.strerror}); make the run anew") from error
        return tuple((each.path, each.error) for each in found.images if each.error is not None)

    def _joined_document(self, count: int) -> Iterator[bytes]:
        ahead, _, behind = to_json(self.document).partition('"images": []')
        yield f'{ahead}"images": ['.encode()
        for number in range(count):
            text = self.document_of(number).read_text(encoding="utf-8")
            # Line breaks inside texts are escaped: these are those of the layout.
            yield ("," * bool(number) + "\n  " + text.replace("\n", "\n  ")).encode()
        yield (("\n ]" if count else "]") + behind).encode()

    def document_of(self, number: int) -> Path:
        """Return where what was found of a photo lies until it is joined."""
        return self.parts / f"{_stem(number)}.json"


def open_folder(
    out: Path | None,
    model: ModelRecord,
    settings: SettingsRecord,
    names: Sequence[str],
    **manifest: Any,
) -> ExplainFolder:
    """Return a new run folder, or one that the same run began.

    Args:
        out: the folder; `molyneux-runs/<time>` in the current folder if None.

    Raises:
        RunError: the folder holds something else, or a run with other photos, settings or another
            model, whose old and new values are named; or it cannot be written.
    """
    asked = {"settings": to_plain(settings), "photos": list(names), "model": to_plain(model)}
    found = None if out is None else _read_manifest(out)
    if out is not None and found is not None and not set(asked) - set(found):
        _require_same(out, {name: found[name] for name in asked}, json.loads(json.dumps(asked)))
        run = Run(out)
    else:
        run = Run.create(out, "explain", **manifest, **asked)
    return ExplainFolder(run, _without_photos(model, settings, run.folder), names)


def require_place(out: Path) -> None:
    """Refuse a folder that holds something else than a run of `explain`; needs no model.

    Raises:
        RunError: it does.
    """
    if _read_manifest(out) is None:
        require_free(out)


def find_folder(run: Path) -> ExplainFolder | None:
    """Return a run folder whose photos are not all joined, or None.

    Raises:
        RunError: its manifest is damaged.
    """
    found = _read_manifest(run) if (run / PARTS).is_dir() else None
    if found is None:
        return None
    where = str(run / "manifest.json")
    model = from_plain(ModelRecord, found["model"], where)
    settings = from_plain(SettingsRecord, found["settings"], where)
    return ExplainFolder(Run(run), _without_photos(model, settings, run), found["photos"])


def _without_photos(model: ModelRecord, settings: SettingsRecord, folder: Path) -> Document:
    run = folder.name if folder.is_absolute() else str(folder)
    return Document(schema=SCHEMA, model=model, settings=settings, images=(), run=run)


def shared_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return what photos are called in a document that may be handed on.

    A relative path stays as it was given. Of absolute ones the part below their common folder is
    kept, so that nothing is told of the machine they are on.
    """
    given = [os.fspath(path) for path in paths]
    folders = [os.path.dirname(path) for path in given if os.path.isabs(path)]
    common = os.path.commonpath(folders) if folders else ""
    # Below a folder at the top, a name would still tell the machine's.
    deep = len(Path(common).parts) > _NAMED
    return [
        _readable(
            path
            if not os.path.isabs(path)
            else os.path.relpath(path, common)
            if deep
            else os.path.basename(path)
        )
        for path in given
    ]


def _readable(name: str) -> str:
    """Return a file name whose bytes are no text, as text."""
    return name.encode("utf-8", "backslashreplace").decode()


def _stem(number: int) -> str:
    return f"{number:07d}"


def _read_manifest(run: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("kind") == "explain" else None


def _require_same(folder: Path, old: Any, new: Any) -> None:
    """Refuse to go on with a run that was begun otherwise.

    Raises:
        BegunOtherwiseError: it was; the first values that differ are named.
    """
    differences = list(_differences(old, new))
    if differences:
        more = f" and {len(differences) - _NAMED} more" if len(differences) > _NAMED else ""
        raise BegunOtherwiseError(
            f"{folder} holds a run that was begun otherwise ({'; '.join(differences[:_NAMED])}"
            f"{more}); give --out another folder"
        )


def _differences(old: Any, new: Any, at: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(name), new.get(name), f"{at}.{name}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) != len(new):
        yield f"{at}: {len(old)} there, {len(new)} now"
    elif isinstance(old, list) and isinstance(new, list):
        for number, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, now, f"{at}[{number}]")
    elif old != new:
        yield f"{at}: {old!r} there, {new!r} now"


def _joined_fields(files: Mapping[int, Path]) -> Iterator[bytes]:
    """Yield a safetensors file of all photos' tensors, each named with its photo's number.

    The format: the header's length (8 bytes, little endian), the header (JSON), the data.
    """
    headers = {number: _tensors_in(path) for number, path in files.items()}
    entries = sorted(
        (f"{number}.{name}", number, entry)
        for number, header in headers.items()
        for name, entry in header.items()
    )
    if not entries:
        yield from _headed(_NO_FIELDS)
        return
    place, named = 0, {}
    for name, _, entry in entries:
        start, stop = entry["data_offsets"]
        named[name] = {**entry, "data_offsets": [place, place + stop - start]}
        place += stop - start
    yield from _headed(json.dumps(named, separators=(",", ":")).encode())
    for _, number, entry in entries:
        with files[number].open("rb") as file:
            ahead = 8 + int.from_bytes(file.read(8), "little")
            start, stop = entry["data_offsets"]
            file.seek(ahead + start)
            yield file.read(stop - start)


def _headed(header: bytes) -> Iterator[bytes]:
    padded = header + b" " * (-len(header) % 8)
    yield len(padded).to_bytes(8, "little")
    yield padded


def _tensors_in(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header
