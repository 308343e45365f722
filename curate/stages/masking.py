"""Personal data in the text columns of a table: replaced by placeholders, at any depth, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from curate.kernels.personal import Kind, masked
from curate.stages.texts import columns_of

if TYPE_CHECKING:
    from curate.settings.model import InputConfig


def text_columns(config: InputConfig) -> list[str]:
    """The columns that texts are made of."""
    return columns_of(config.text) or [config.text]


def mask(table: pa.Table, names: Sequence[str], kinds: Sequence[Kind]) -> tuple[pa.Table, dict[str, Any]]:
    """The table with placeholders for personal data in some of its columns.

    Every string is masked for itself: of a list or a struct those within, however deep, and a map's keys too. Numbers
    and other types hold no text and stay.

    Parameters
    ----------
    names : of the columns

    Returns
    -------
    table : with the same columns and types
    counts : ``rows`` that were changed, and the ``spans`` of each kind that were replaced

    >>> table = pa.table({"text": ["ann@example.org", "none"], "n": [1, 2]})
    >>> masked_table, counts = mask(table, ["text"], ["email"])
    >>> masked_table["text"].to_pylist(), counts
    (['<EMAIL>', 'none'], {'rows': 1, 'spans': {'email': 1}})
    """
    found = _Found(tuple(kinds))
    for name in names:
        column = table[name].combine_chunks()
        changed = _masked(column, np.arange(len(column)), found)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), changed)
    return table, {"rows": len(found.rows), "spans": {kind: found.spans[kind] for kind in kinds}}


def total(counts: Iterable[Mapping[str, Any]], kinds: Sequence[Kind]) -> dict[str, Any]:
    """The counts of several tables as those of one; a row that several epochs have counts in each."""
    counts = list(counts)
    return {
        "rows": sum(each["rows"] for each in counts),
        "spans": {kind: sum(each["spans"].get(kind, 0) for each in counts) for kind in kinds},
    }


@dataclass(slots=True)
class _Found:
    kinds: tuple[Kind, ...]
    spans: Counter[Kind] = field(default_factory=Counter)
    rows: set[int] = field(default_factory=set)


def _masked(array: pa.Array, rows: NDArray[np.intp], found: _Found) -> pa.Array:
    """The array masked; ``rows`` says which row of the table each of its elements is in."""
    kind = array.type
    if types.is_string(kind) or types.is_large_string(kind):
        return _strings(array, rows, found)
    if types.is_dictionary(kind):
        return _masked(array.dictionary_decode(), rows, found).dictionary_encode().cast(kind)
    if types.is_struct(kind) and kind.num_fields:
        children = [_masked(child, rows, found) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
    return _lists(array, rows, found) if types.is_nested(kind) else array


def _lists(array: pa.Array, rows: NDArray[np.intp], found: _Found) -> pa.Array:
    kind = array.type
    if types.is_map(kind):
        pairs = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
        whole = _lists(array.cast(pairs), rows, found)
        items = whole.values
        return pa.MapArray.from_arrays(_offsets(whole), items.field(0), items.field(1), type=kind)
    if types.is_fixed_size_list(kind):
        return _lists(array.cast(pa.list_(kind.value_field)), rows, found).cast(kind)
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    values = _masked(array.flatten(), np.repeat(rows, lengths), found)
    made: Any = pa.ListArray if types.is_list(kind) else pa.LargeListArray
    offsets = pa.array(ends, pa.int32() if types.is_list(kind) else pa.int64())
    return made.from_arrays(offsets, values, type=kind, mask=array.is_null())


def _offsets(lists: pa.ListArray) -> pa.Array:
    """The offsets of a list array, null where a list is."""
    *starts, end = lists.offsets.to_pylist()
    gone = lists.is_null().to_pylist()
    return pa.array([*(None if null else start for null, start in zip(gone, starts, strict=True)), end], pa.int32())


def _strings(array: pa.Array, rows: NDArray[np.intp], found: _Found) -> pa.Array:
    texts = array.to_pylist()
    changed = False
    for place, text in enumerate(texts):
        if text is not None:
            texts[place], counts = masked(text, found.kinds)
            if counts:
                changed = True
                found.spans += counts
                found.rows.add(int(rows[place]))
    return pa.array(texts, array.type) if changed else array
