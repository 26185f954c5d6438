"""Schemas and docs are what the classes say; `--rewrite-docs` writes them anew."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from docs_tables import DOCS, markdown, require
from documents import misfits
from jsonschema import Draft202012Validator

from molyneux.cli.documents import DOCUMENTS, schema_file
from molyneux.errors import RunError
from molyneux.explain import document as explained
from molyneux.explain.document import Document, ModelRecord
from molyneux.explain.sight_record import NotNamed, Sight, SightSet
from molyneux.explain.why_record import SharedUnits, Spread, Why
from molyneux.records import attributes_of, from_plain, schema_of

SCHEMAS = Path(__file__).parents[2] / "src" / "molyneux" / "schemas"
PAGE = DOCS / "document.md"
EXPLAINED = (
    *(Document, ModelRecord, explained.SettingsRecord, explained.Image, explained.Word),
    *(explained.UnitLists, explained.UnitRow, explained.Curves, explained.OwnMinusOthers),
    *(explained.Reading, explained.ReadWord, explained.WordEffect, explained.PatchWords),
    *(explained.OtherLeft, explained.AblatedCaptions, Sight, SightSet, NotNamed),
    *(Why, SharedUnits, Spread),
)


# What the classes say


def written_names(kind: Any) -> dict[str, str]:
    """Return what each attribute of a class is called in the JSON."""
    properties = _properties(kind)
    return dict(zip(attributes_of(kind), properties, strict=True))


def _properties(kind: Any) -> dict[str, Any]:
    schema = schema_of(kind, kind.__name__)
    found: dict[str, Any] = schema.get("properties") or schema["$defs"][kind.__name__]["properties"]
    return found


def in_words(schema: dict[str, Any]) -> str:
    """Return what kind of value a schema asks for."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(in_words(each) for each in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{json.dumps(v)}`" for v in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        inner = schema.get("items") or schema["prefixItems"][0]
        return f"{'two of' if 'prefixItems' in schema else 'list of'} {in_words(inner)}"
    names = {"string": "text", "boolean": "true or false", "object": "object", "null": "null"}
    kind = "object" if "$ref" in schema else schema.get("type", "any")
    return names.get(kind, kind)


def table_of(kind: Any) -> str:
    """Return a class as a table of its names, kinds and meanings."""
    meanings = attributes_of(kind).values()
    rows = [
        [f"`{name}`", in_words(schema), meaning.removesuffix(".")]
        for (name, schema), meaning in zip(_properties(kind).items(), meanings, strict=True)
    ]
    return markdown(["name", "kind", "value"], rows)


def classes_in(annotation: Any) -> Iterator[Any]:
    """Yield the classes of records in an annotation."""
    if is_dataclass(annotation):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from classes_in(inner)


def fields_of(kind: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (name in the JSON, meaning, annotation) of a class's attributes."""
    hints = typing.get_type_hints(kind)
    for (attribute, meaning), name in zip(
        attributes_of(kind).items(), written_names(kind).values(), strict=True
    ):
        yield name, meaning, hints[attribute]


def shape(annotation: Any) -> str:
    """Return the names of a document, at all depths."""
    if is_dataclass(annotation):
        if annotation is ModelRecord:
            return ""
        inner = ((name, shape(hint)) for name, _, hint in fields_of(annotation))
        return "{" + ", ".join(f'"{n}": {s}' if s else f'"{n}"' for n, s in inner) + "}"
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (list, tuple):
        found = shape(arguments[0])
        return f"[{found}]" if found else ""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return " or ".join(filter(None, map(shape, arguments)))
    return ""


def meanings(annotation: Any, at: str = "") -> str:
    """Return what the names of a document mean, in one paragraph."""
    said = []
    for kind in classes_in(annotation):
        if kind is ModelRecord:
            continue
        own = "; ".join(f"`{n}`: {m.removesuffix('.')}" for n, m, _ in fields_of(kind))
        said.append(f"of each of `{at}`, {own}." if at else f"{own}.")
        said += [meanings(hint, at=name) for name, _, hint in fields_of(kind)]
    return " ".join(each[0].upper() + each[1:] if at else each for each in said if each)


# That they are what is shipped and documented


@pytest.mark.parametrize("command", [name for name in DOCUMENTS if name != "demo"])
def test_shipped_schemas_are_the_classes(command: str, request: pytest.FixtureRequest) -> None:
    schema = schema_of(DOCUMENTS[command], f"molyneux {command} --json")
    Draft202012Validator.check_schema(schema)
    text = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    path = SCHEMAS / schema_file(command)
    if request.config.getoption("--rewrite-docs"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run this file with --rewrite-docs"


@pytest.mark.parametrize("kind", EXPLAINED, ids=lambda kind: kind.__name__)
def test_tables_of_the_document_are_the_classes(kind: Any, request: pytest.FixtureRequest) -> None:
    require(PAGE, kind.__name__, table_of(kind), request)


def test_tables_of_the_commands_are_the_classes(request: pytest.FixtureRequest) -> None:
    others = {n: kind for n, kind in DOCUMENTS.items() if kind is not Document}
    rows = [[f"`molyneux {n} --json`", f"`{shape(kind)}`"] for n, kind in others.items()]
    said = "".join(f"* **{name}**: {meanings(kind)}\n" for name, kind in others.items())
    require(PAGE, "commands", markdown(["command", "document"], rows) + "\n" + said, request)


def test_every_command_that_prints_json_has_a_schema() -> None:
    import typer

    from molyneux.cli.app import app

    group: Any = typer.main.get_command(app)
    printing = {
        name
        for name, verb in group.commands.items()
        if any("--json" in parameter.opts for parameter in verb.params)
    }
    assert printing <= {command.split()[0] for command in DOCUMENTS}


def test_only_schemas_that_are_made_are_shipped() -> None:
    made = {schema_file(command) for command in DOCUMENTS if command != "demo"}
    assert {path.name for path in SCHEMAS.iterdir()} == made


def test_a_document_that_differs_is_noticed() -> None:
    runs = {"runs": [{"run": "a", "kind": "study", "created": "", "state": "", "mood": 1}]}
    (said,) = misfits("runs", runs)
    assert "mood" in said
    (said,) = misfits("runs", {"runs": [{"run": 1, "kind": "study", "created": "", "state": ""}]})
    assert "$.runs[0].run" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 1}, "schema: input should be 2"),
        ({"images": [{}]}, r"images\[0\].path: field required"),
        ({"run": None}, "run: input should be a valid string"),
    ],
)
def test_what_is_wrong_in_a_document_is_named(change: dict[str, Any], said: str) -> None:
    from report_run import MODEL, SETTINGS

    whole = {"schema": 2, "model": MODEL, "settings": SETTINGS, "images": [], "run": "run"}
    assert from_plain(Document, whole, "it").run == "run"
    with pytest.raises(RunError, match=said) as caught:
        from_plain(Document, whole | change, "it")
    assert "\n" not in str(caught.value)
