"""A document that a command printed against the schema that is shipped for it."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

from molyneux.cli.documents import schema_file


def shipped(command: str) -> dict[str, Any]:
    """Return the schema in the package."""
    path = files("molyneux").joinpath("schemas", schema_file(command))
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def closed(schema: Any) -> Any:
    """Return a schema that allows no other names than it has."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    is_object = schema.get("type") == "object" and "properties" in schema
    return inner | {"additionalProperties": False} if is_object else inner


@cache
def _validator(command: str) -> Draft202012Validator:
    return Draft202012Validator(closed(shipped(command)))


def misfits(command: str, document: Any) -> list[str]:
    """Return where a document differs from its schema, names that it does not have included."""
    errors = _validator(command).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]
