"""Every string in the text columns of a table, at any depth, and the table with other strings in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from curate.stages.texts import columns_of

if TYPE_CHECKING:
    from curate.settings.model import InputConfig

Change = Callable[[int, str], str]
"""Is told a row of the table and one of its strings, and gives another."""


def text_columns(config: InputConfig) -> list[str]:
    """The columns that texts are made of."""
    return columns_of(config.text) or [config.text]


def changed(table: pa.Table, names: Sequence[str], change: Change) -> pa.Table:
    """The table with every string of some columns changed.

    Of a list or a struct those within, however deep, and a map's keys too. Numbers and other types hold no text and
    stay. Columns, types and nulls stay; ``change`` is called in the same order each time.

    >>> table = pa.table({"chat": [["a", None], ["b"]], "n": [1, 2]})
    >>> changed(table, ["chat"], lambda row, text: f"{text}{row}")["chat"].to_pylist()
    [['a0', None], ['b1']]
    """
    for name in names:
        new, start = [], 0
        for chunk in table[name].chunks:  # joined, they might hold more than the 2 GiB of text that an array can
            new.append(_changed(chunk, np.arange(start, start + len(chunk)), change))
            start += len(chunk)
        column = pa.chunked_array(new, table[name].type)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def _changed(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    """The array with every string changed; ``rows`` says which row of the table each of its elements is in."""
    kind = array.type
    if types.is_string(kind) or types.is_large_string(kind):
        return _strings(array, rows, change)
    if types.is_dictionary(kind):
        return _changed(array.dictionary_decode(), rows, change).dictionary_encode().cast(kind)
    if types.is_struct(kind) and kind.num_fields:
        children = [_changed(child, rows, change) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
    return _lists(array, rows, change) if types.is_nested(kind) else array


def _lists(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    kind = array.type
    if types.is_map(kind):
        pairs = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
        whole = _lists(array.cast(pairs), rows, change)
        items = whole.values
        return pa.MapArray.from_arrays(_offsets(whole), items.field(0), items.field(1), type=kind)
    if types.is_fixed_size_list(kind):
        return _lists(array.cast(pa.list_(kind.value_field)), rows, change).cast(kind)
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    values = _changed(array.flatten(), np.repeat(rows, lengths), change)
    made: Any = pa.ListArray if types.is_list(kind) else pa.LargeListArray
    offsets = pa.array(ends, pa.int32() if types.is_list(kind) else pa.int64())
    return made.from_arrays(offsets, values, type=kind, mask=array.is_null())


def _offsets(lists: pa.ListArray) -> pa.Array:
    """The offsets of a list array, null where a list is."""
    *starts, end = lists.offsets.to_pylist()
    gone = lists.is_null().to_pylist()
    return pa.array([*(None if null else start for null, start in zip(gone, starts, strict=True)), end], pa.int32())


def _strings(array: pa.Array, rows: NDArray[np.intp], change: Change) -> pa.Array:
    texts = array.to_pylist()
    new = [None if text is None else change(row, text) for row, text in zip(rows.tolist(), texts, strict=True)]
    return array if new == texts else pa.array(new, array.type)
