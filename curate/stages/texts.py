"""The text of a row: a column, or a template over columns such as ``"{instruction}: {output}"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from curate.settings.template import parts


def columns_of(template: str) -> list[str] | None:
    """The columns a template names; None if ``template`` is simply a column's name.

    >>> columns_of("{instruction}: {output}")
    ['instruction', 'output']
    >>> columns_of("text") is None
    True
    """
    parsed = parts(template)
    return None if parsed is None else list(dict.fromkeys(name for _, name in parsed if name is not None))


def render(template: str, table: pa.Table) -> pa.Array:
    """The template filled with each row of ``table``, (n,) strings.

    A null gives nothing, a list or an object its JSON. A row in which every column is null or blank gives null:
    there is no text in it, whatever the template's own words.
    """
    pieces = parts(template) or []
    cells = {name: _strings(table, name) for _, name in pieces if name is not None}
    texts: list[str | None] = []
    for row in range(len(table)):
        if any(column[row].strip() for column in cells.values()):
            texts.append("".join(literal + (cells[name][row] if name is not None else "") for literal, name in pieces))
        else:
            texts.append(None)
    return pa.array(texts, pa.string())


def _strings(table: pa.Table, name: str) -> Sequence[str]:
    if name not in table.column_names:
        return [""] * len(table)
    return [_string(value) for value in table[name].to_pylist()]


def _string(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
