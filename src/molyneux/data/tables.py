"""Reading tables: CSV as comma or semicolon separates it, and TSV, one row after another."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from molyneux.data.text_files import open_text
from molyneux.errors import UsageError, quote

if TYPE_CHECKING:
    from _csv import Reader


def read_table(
    file: Path, needs: Mapping[str, Collection[str]], *, quotes: bool = True
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line it ends at and the fields of each row that is not empty.

    The first line names the columns. What separates them is a tab in a `.tsv`, and otherwise
    whichever of comma, semicolon and tab gives the columns that are needed.

    Args:
        needs: what the columns are called that must be there; each by any of its names.
        quotes: whether quotation marks hold a field together; if not, they are characters.

    Raises:
        UsageError: a column is missing or named twice, a row has more or fewer fields than there
            are columns (a comma in an unquoted sentence makes one more), or a quotation mark is
            not closed; the line is named.
    """
    with open_text(file) as stream:
        first = stream.readline()
        while first and not first.strip():
            first = stream.readline()
        separator, columns = _columns(file, first, needs, quotes)
        rows = _reader(stream, separator, quotes)
        before = 1
        try:
            for fields in rows:
                number, before = before + 1, rows.line_num + 1
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) != len(columns):
                    raise UsageError(_not_as_many(file, number, fields, columns, quotes))
                yield number, dict(zip(columns, fields, strict=True))
        except csv.Error as error:
            raise UsageError(
                f"{file}, line {before + 1}: not a row of a table ({quote(error)}); a quotation "
                "mark within a quoted field is written twice"
            ) from error


def _columns(
    file: Path, first: str, needs: Mapping[str, Collection[str]], quotes: bool
) -> tuple[str, list[str]]:
    """Return what separates the columns, and their names."""
    separators = "\t" if file.suffix.lower() == ".tsv" or not quotes else ",;\t"
    found: dict[str, list[str]] = {}
    for separator in separators:
        try:
            row = next(_reader([first], separator, quotes), [])
        except csv.Error:
            row = []
        found[separator] = [name.strip() for name in row]

    def fits(separator: str) -> tuple[int, int]:
        names = {*found[separator]}
        return sum(not names.isdisjoint(one) for one in needs.values()), len(found[separator])

    best = max(separators, key=fits)
    columns = found[best]
    missing = [name for name, names in needs.items() if not {*columns} & {*names}]
    if missing:
        example = ("<tab>" if best == "\t" else ",").join(needs)
        raise UsageError(
            f"{file} has no column {' and no column '.join(f'`{name}`' for name in missing)}; its "
            f"first line names the columns, as in {example}"
        )
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise UsageError(f"{file} has two columns `{twice[0]}`; rename one of them")
    return best, columns


def _not_as_many(
    file: Path, number: int, fields: list[str], columns: list[str], quotes: bool
) -> str:
    advice = (
        "put a field that has separators in it in quotation marks"
        if quotes and len(fields) > len(columns)
        else "mend the line"
    )
    return (
        f"{file}, line {number}: {len(fields)} fields where the first line names "
        f"{len(columns)} columns; {advice}"
    )


def _reader(lines: Iterable[str], separator: str, quotes: bool) -> Reader:
    if quotes:
        return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    return csv.reader(lines, delimiter=separator, strict=True, quoting=csv.QUOTE_NONE)
