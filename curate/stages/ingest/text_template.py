"""Text of a row: a column, or a template over columns such as ``"{instruction}: {output}"``."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import orjson
import pyarrow as pa

from curate.config.template_syntax import EACH_ELEMENT, TextPath, extract_paths, parse_template, split_path
from curate.kernels.text.json_values import dumps, is_binary, is_json, to_json_types, to_text
from curate.kernels.text.text_identity import is_blank


def template_columns(template: str | None) -> list[str] | None:
    """Return the columns that a template uses; None if ``template`` is a column name; none without a text.

    >>> template_columns("{instruction}: {messages[].content}")
    ['instruction', 'messages']
    >>> template_columns("text") is None
    True
    """
    return (
        None
        if template is not None and parse_template(template) is None
        else list(dict.fromkeys(path[0] for path in extract_paths(template)))
    )


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type is text: strings, or bytes in UTF-8."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_binary(kind))


def render(template: str, table: pa.Table) -> pa.Array:
    """Fill the template with each row of ``table``, (n,) strings.

    A null renders as nothing, a list or an object as JSON, every other value as by ``to_text``. A path such
    as ``messages[].content`` renders as the texts of all values at the path, one per line. A row in which every column
    is null or blank becomes null, even if the template has words besides its columns.
    """
    pieces = parse_template(template) or []
    cells = {name: _strings(table, split_path(name)) for _, name in pieces if name is not None}
    filled = ~np.logical_and.reduce([is_blank(column) for column in cells.values()])
    lists = {name: column.fill_null("").to_pylist() for name, column in cells.items()}
    texts = [
        "".join(literal + (lists[name][row] if name is not None else "") for literal, name in pieces)
        if filled[row]
        else None
        for row in range(len(table))
    ]
    return pa.array(texts, pa.string())


def _strings(table: pa.Table, path: TextPath) -> pa.Array:
    column, *steps = path
    if column not in table.column_names:
        return pa.nulls(len(table), pa.string())
    array = table[column].combine_chunks()
    if not steps:
        return to_text(array)
    return pa.array(["\n".join(_texts(value, steps)) for value in json_values(array)], pa.string())


def json_values(array: pa.Array) -> list[object]:
    """Return the values of an array as JSON values; numbers in JSON texts keep their digits."""
    if pa.types.is_dictionary(array.type) or is_text(array.type):
        return list(to_text(array).to_pylist())
    if not is_json(array.type):
        return list(to_json_types(array).to_pylist())
    return [
        None if text is None else json.loads(text, parse_int=orjson.Fragment, parse_float=orjson.Fragment)
        for text in array.storage.to_pylist()
    ]


def _texts(value: object, steps: list[str]) -> Iterator[str]:
    """Yield the non-blank texts at the end of the steps; a text on the way is included."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif not steps:
        text = "null" if value is None else dumps(value).decode()
        if text != "null":
            yield text
    elif steps[0] == EACH_ELEMENT and isinstance(value, list):
        for one in value:
            yield from _texts(one, steps[1:])
    elif isinstance(value, dict):
        yield from _texts(value.get(steps[0]), steps[1:])
