"""The text of a row: a column, or a template over columns such as ``"{instruction}: {output}"``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.config.template_syntax import parts
from curate.kernels.text.json_values import is_binary, text_of
from curate.kernels.text.text_identity import is_blank


def columns_of(template: str) -> list[str] | None:
    """The columns a template names; None if ``template`` is simply a column's name.

    >>> columns_of("{instruction}: {output}")
    ['instruction', 'output']
    >>> columns_of("text") is None
    True
    """
    parsed = parts(template)
    return None if parsed is None else list(dict.fromkeys(name for _, name in parsed if name is not None))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type is text by itself: strings, and bytes that hold UTF-8."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_binary(kind))


def render(template: str, table: pa.Table) -> pa.Array:
    """Fill the template with each row of ``table``, (n,) strings.

    A null gives nothing, a list or an object its JSON, every other value its text as ``text_of`` gives it. A row in
    which every column is null or blank gives null: there is no text in it, whatever the template's own words.
    """
    pieces = parts(template) or []
    cells = {name: _strings(table, name) for _, name in pieces if name is not None}
    filled = ~np.logical_and.reduce([is_blank(column) for column in cells.values()])
    lists = {name: column.fill_null("").to_pylist() for name, column in cells.items()}
    texts = [
        "".join(literal + (lists[name][row] if name is not None else "") for literal, name in pieces)
        if filled[row]
        else None
        for row in range(len(table))
    ]
    return pa.array(texts, pa.string())


def _strings(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table), pa.string())
    return text_of(table[name].combine_chunks())
