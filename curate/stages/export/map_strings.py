"""Mapping of a function over all strings in the text columns of a table, at any depth."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from curate.config.template_syntax import EACH_ELEMENT, TextPath, extract_paths
from curate.errors import DataError
from curate.kernels.arrow_lists import join_lists, join_maps, split_lists, split_maps
from curate.kernels.text.json_values import is_binary, is_json

if TYPE_CHECKING:
    from curate.config.model import InputConfig, RunConfig

Change = Callable[[int, str], str]
"""Function from a row number and one of the row's strings to the new string."""


_Steps = tuple[TextPath, ...]
"""Paths from a value to the strings to change; the empty path leads to all strings of the value."""

_ALL: _Steps = ((),)


def text_paths(config: InputConfig) -> list[TextPath]:
    """Return the columns that the text uses, with the paths into their lists and objects."""
    return extract_paths(config.text)


def root_columns(paths: Sequence[TextPath]) -> list[str]:
    """Return the columns that paths begin with, without duplicates.

    >>> root_columns([("chat", "[]", "value"), ("text",), ("chat", "[]", "from")])
    ['chat', 'text']
    """
    return list(dict.fromkeys(path[0] for path in paths))


def check(config: RunConfig, kinds: Mapping[str, pa.DataType]) -> None:
    """Raise an error for text columns of unsupported types, if their strings are to be masked or cut.

    Raises
    ------
    DataError
        A column has an unsupported type; the error names both.
    """
    if config.export.mask_pii or config.export.remove_repeated_spans:
        paths = text_paths(config.input)
        for name in root_columns(paths):
            check_type(name, kinds.get(name, pa.null()), _steps_into(name, paths))


def _steps_into(name: str, paths: Sequence[TextPath]) -> _Steps:
    """Return the steps into a column."""
    return tuple(steps for column, *rest in paths if column == name for steps in [tuple(rest)])


def _steps_after(step: str, below: _Steps) -> _Steps:
    """Return the remainders of the paths after a step."""
    return _ALL if () in below else tuple(steps for first, *rest in below if first == step for steps in [tuple(rest)])


def check_type(name: str, kind: pa.DataType, below: _Steps = _ALL) -> None:
    """Raise an error for a type that ``map_strings`` does not support.

    Raises
    ------
    DataError
        The type is unsupported; the error names the column and the type.
    """
    if not below:
        return
    if types.is_nested(kind):
        for number in range(kind.num_fields):
            one = kind.field(number)
            check_type(name, one.type, _steps_after(one.name if types.is_struct(kind) else EACH_ELEMENT, below))
    elif not (is_text_type(kind) or _is_textless(kind)):
        raise DataError(
            f"the text column {name!r} has the type {kind}, whose text can be neither masked nor cut",
            hint="store it as text, or leave out export.mask_pii and export.remove_repeated_spans",
        )


def is_text_type(kind: pa.DataType) -> bool:
    """Return whether values of a non-nested type are strings or contain strings."""
    return _is_text(kind) or is_json(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or is_binary(kind))


def _is_textless(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in ("arrow.uuid", "arrow.bool8", "arrow.fixed_shape_tensor")
    primitive = types.is_primitive(kind) or types.is_boolean(kind) or types.is_null(kind) or types.is_decimal(kind)
    return bool(primitive or types.is_temporal(kind))


def map_strings(table: pa.Table, paths: Sequence[TextPath], change: Change) -> pa.Table:
    """Return the table with a function applied to every string at the given paths.

    Lists, structs and maps are traversed at any depth, including the keys of maps; JSON columns are traversed by
    value. A string on the way of a path is part of the text and changed as well. Binary is text in UTF-8. Numbers,
    times and booleans stay unchanged. Columns, types and nulls stay; ``change`` is always called in the same order.

    Raises
    ------
    DataError
        A column has an unsupported type or bytes that are not UTF-8.

    >>> table = pa.table({"chat": [["a", None], ["b"]], "n": [1, 2]})
    >>> map_strings(table, [("chat",)], lambda row, text: f"{text}{row}")["chat"].to_pylist()
    [['a0', None], ['b1']]
    """
    for name in root_columns(paths):
        below = _steps_into(name, paths)
        check_type(name, table[name].type, below)
        new, start = [], 0
        for chunk in table[name].chunks:  # joined, they might exceed the 2 GiB of text of one array
            try:
                new.append(_map_array(chunk, np.arange(start, start + len(chunk)), change, below))
            except UnicodeDecodeError as error:
                hint = "convert the input to UTF-8, or remove export.mask_pii and export.remove_repeated_spans"
                message = f"the text column {name!r} is not valid UTF-8"
                raise DataError(message, hint=hint) from error
            start += len(chunk)
        column = pa.chunked_array(new, table[name].type)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def _map_array(array: pa.Array, rows: NDArray[np.intp], change: Change, below: _Steps) -> pa.Array:
    """Return the array with every string changed; ``rows`` are the table rows of the elements."""
    kind = array.type
    if not below or _is_textless(kind) or (types.is_struct(kind) and not kind.num_fields):
        return array
    if _is_text(kind):
        return _strings(array, rows, change)
    if is_json(kind):
        return pa.ExtensionArray.from_storage(kind, _json(array.storage, rows, change, below))
    if types.is_struct(kind):
        fields = list(kind)
        children = [
            _map_array(child, rows, change, _steps_after(one.name, below))
            for child, one in zip(array.flatten(), fields, strict=True)
        ]
        return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())
    below = _steps_after(EACH_ELEMENT, below)
    if types.is_map(kind):
        lengths, keys, items = split_maps(array)
        keys, items = (
            _map_array(each, np.repeat(rows, lengths), change, _steps_after(name, below))
            for name, each in (("key", keys), ("value", items))
        )
        return join_maps(lengths, keys, items, kind, array.is_null())
    lengths, values = split_lists(array)
    values = _map_array(values, np.repeat(rows, lengths), change, below)
    return join_lists(lengths, values, kind, array.is_null())


def _strings(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    binary = is_binary(array.type)
    texts = [text.decode() if binary and text is not None else text for text in array.to_pylist()]
    new = [None if text is None else change(row, text) for row, text in zip(rows.tolist(), texts, strict=True)]
    return array if new == texts else pa.array(new, array.type)


def _json(array: pa.Array, rows: NDArray[np.intp], change: Change, below: _Steps) -> pa.Array:
    """Return JSON texts with every string changed, including keys; numbers keep their digits."""

    def value(row: int, one: object, below: _Steps) -> object:
        if not below:
            return one
        if isinstance(one, str):
            return change(row, one)
        if isinstance(one, dict):
            out: dict[str, object] = {}
            for key, inner in one.items():
                name = change(row, key) if () in below else key
                while name in out:  # two keys may become the same
                    name += "_"
                out[name] = value(row, inner, _steps_after(key, below))
            return out
        return [value(row, inner, _steps_after(EACH_ELEMENT, below)) for inner in one] if isinstance(one, list) else one

    new = []
    for row, text in zip(rows.tolist(), array.to_pylist(), strict=True):
        parsed = None if text is None else json.loads(text, parse_int=_verbatim, parse_float=_verbatim)
        other = value(row, parsed, below)
        new.append(text if other == parsed else orjson.dumps(other).decode())
    return pa.array(new, array.type)


def _verbatim(number: str) -> orjson.Fragment:
    return orjson.Fragment(number)
