"""Frozen dataclasses as JSON: written, read back, and described by a schema and a table.

A document of the command line is a dataclass; its names and kinds are the annotations, what they
mean is the `Attributes:` of its docstring.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from molyneux.errors import RunError, quote

Record = TypeVar("Record")
ABSENT = Field(exclude_if=lambda value: value is None)
"""Marks what is left out of the JSON where it is None; all else that is missing is null there."""


@cache
def _adapter(kind: Hashable) -> Any:
    return TypeAdapter(cast(Any, kind))


def to_plain(record: Any) -> dict[str, Any]:
    """Return a record as the JSON has it: dicts, sequences, and names as they are written."""
    adapter = _adapter(cast(Hashable, type(record)))
    plain: dict[str, Any] = adapter.dump_python(record, by_alias=True)
    return plain


def to_json(record: Any) -> str:
    """Return a record as text: an indent of 1, numbers as Python prints them."""
    return json.dumps(to_plain(record), indent=1, ensure_ascii=False, allow_nan=False)


def from_plain(kind: type[Record], found: Mapping[str, Any], what: str) -> Record:
    """Return the record that plain data is, as `json.loads` gives it.

    Args:
        what: names the data in the error.

    Raises:
        RunError: something is missing or of another kind; it is named, with its place.
    """
    return from_json(kind, json.dumps(found), what)


def from_json(kind: type[Record], text: str | bytes, what: str) -> Record:
    """Return the record that a text of JSON is; names it does not know are passed over.

    Raises:
        RunError: it is no JSON, or something is missing or of another kind.
    """
    try:
        found: Record = _adapter(cast(Hashable, kind)).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise RunError(
                f"{what} is damaged ({quote(first['msg'])}); make the run anew"
            ) from error
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        said = f"{place.lstrip('.') or 'it'}: {quote(first['msg'][:1].lower() + first['msg'][1:])}"
        raise RunError(
            f"{what} is not the document this molyneux reads ({said}); make the run anew"
        ) from error
    return found


def summary_of(kind: type[Any]) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def attributes_of(kind: type[Any]) -> dict[str, str]:
    """Return what a class's docstring says of each attribute, in its order."""
    section = re.split(r"^Attributes:\n", inspect.getdoc(kind) or "", flags=re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.split(r"^    (?=\w)", section[-1] if len(section) > 1 else "", flags=re.M):
        name, _, meaning = entry.partition(":")
        if meaning:
            found[name] = " ".join(meaning.split())
    return found


class _Described(GenerateJsonSchema):
    """A schema whose descriptions are those of the docstrings."""

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().dataclass_schema(schema)
        kind = schema["cls"]
        found["description"] = summary_of(kind)
        for each in schema["schema"]["fields"]:
            written = found["properties"][each.get("serialization_alias", each["name"])]
            written.pop("title", None)
            written["description"] = attributes_of(kind)[each["name"]]
        return found


def schema_of(kind: Any, title: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a record, or of a list of records.

    Names that it does not have are allowed: later versions may add some.

    Raises:
        KeyError: an attribute's meaning is not said.
    """
    found = _adapter(kind).json_schema(by_alias=True, schema_generator=_Described)
    return {"$schema": GenerateJsonSchema.schema_dialect, **found, "title": title}
