"""Every string in the text columns of a table, at any depth, and the table with other strings in their place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from curate.errors import DataError
from curate.kernels.arrow_lists import is_list, lists_from, lists_of, maps_from, maps_of
from curate.kernels.text.json_values import is_binary, is_json
from curate.stages.ingest.text_template import columns_of

if TYPE_CHECKING:
    from curate.config.model import InputConfig, RunConfig

Change = Callable[[int, str], str]
"""Is told a row of the table and one of its strings, and gives another."""


def text_columns(config: InputConfig) -> list[str]:
    """The columns that texts are made of."""
    return columns_of(config.text) or [config.text]


def check(config: RunConfig, kinds: Mapping[str, pa.DataType]) -> None:
    """Refuse text columns of types that ``changed`` does not handle, if their strings are to be masked or cut.

    Raises
    ------
    DataError : naming the column and its type
    """
    if config.export.mask or config.export.cut_repeated:
        for name in text_columns(config.input):
            check_type(name, kinds.get(name, pa.null()))


def check_type(name: str, kind: pa.DataType) -> None:
    """Refuse a type that ``changed`` does not handle.

    Raises
    ------
    DataError : naming the column and the type
    """
    if types.is_nested(kind):
        for number in range(kind.num_fields):
            check_type(name, kind.field(number).type)
    elif not (holds_text(kind) or _holds_no_text(kind)):
        raise DataError(
            f"the text column {name!r} holds {kind}, whose text can be neither masked nor cut",
            hint="store it as text, or leave out export.mask and export.cut_repeated",
        )


def holds_text(kind: pa.DataType) -> bool:
    """Return whether values of a type that is not nested are strings, or have strings in them."""
    return _is_text(kind) or is_json(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or is_binary(kind))


def _holds_no_text(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in ("arrow.uuid", "arrow.bool8", "arrow.fixed_shape_tensor")
    primitive = types.is_primitive(kind) or types.is_boolean(kind) or types.is_null(kind) or types.is_decimal(kind)
    return bool(primitive or types.is_temporal(kind))


def changed(table: pa.Table, names: Sequence[str], change: Change) -> pa.Table:
    """Return the table with every string of some columns changed.

    Of a list or a struct those within, however deep, and a map's keys too; of a JSON column those in its values. Binary
    is text in UTF-8. Numbers, times and booleans hold no text and stay. Columns, types and nulls stay; ``change`` is
    called in the same order each time.

    Raises
    ------
    DataError : a column is of another type, or holds bytes that are not UTF-8

    >>> table = pa.table({"chat": [["a", None], ["b"]], "n": [1, 2]})
    >>> changed(table, ["chat"], lambda row, text: f"{text}{row}")["chat"].to_pylist()
    [['a0', None], ['b1']]
    """
    for name in names:
        check_type(name, table[name].type)
        new, start = [], 0
        for chunk in table[name].chunks:  # joined, they might hold more than the 2 GiB of text that an array can
            try:
                new.append(_changed(chunk, np.arange(start, start + len(chunk)), change))
            except UnicodeDecodeError as error:
                raise DataError(f"the text column {name!r} holds bytes that are not UTF-8") from error
            start += len(chunk)
        column = pa.chunked_array(new, table[name].type)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def _changed(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    """Return the array with every string changed; ``rows`` is the row of the table that each element is in."""
    kind = array.type
    if _is_text(kind):
        return _strings(array, rows, change)
    if is_json(kind):
        return pa.ExtensionArray.from_storage(kind, _json(array.storage, rows, change))
    if types.is_struct(kind) and kind.num_fields:
        children = [_changed(child, rows, change) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
    if types.is_map(kind):
        lengths, keys, items = maps_of(array)
        keys, items = (_changed(each, np.repeat(rows, lengths), change) for each in (keys, items))
        return maps_from(lengths, keys, items, kind, array.is_null())
    if is_list(kind):
        lengths, values = lists_of(array)
        values = _changed(values, np.repeat(rows, lengths), change)
        return lists_from(lengths, values, kind, array.is_null())
    return array


def _strings(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    binary = is_binary(array.type)
    texts = [text.decode() if binary and text is not None else text for text in array.to_pylist()]
    new = [None if text is None else change(row, text) for row, text in zip(rows.tolist(), texts, strict=True)]
    return array if new == texts else pa.array(new, array.type)


def _json(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    """Return JSON texts with every string in them changed, keys too; numbers keep their digits."""

    def value(row: int, one: object) -> object:
        if isinstance(one, str):
            return change(row, one)
        if isinstance(one, dict):
            out: dict[str, object] = {}
            for key, inner in one.items():
                name = change(row, key)
                while name in out:  # two keys may become the same
                    name += "_"
                out[name] = value(row, inner)
            return out
        return [value(row, inner) for inner in one] if isinstance(one, list) else one

    new = []
    for row, text in zip(rows.tolist(), array.to_pylist(), strict=True):
        parsed = None if text is None else json.loads(text, parse_int=_verbatim, parse_float=_verbatim)
        other = value(row, parsed)
        new.append(text if other == parsed else orjson.dumps(other).decode())
    return pa.array(new, array.type)


def _verbatim(number: str) -> orjson.Fragment:
    return orjson.Fragment(number)
