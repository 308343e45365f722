"""Arrow lists of every kind and maps, taken apart into lengths and values and put together again."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.kernels.types import Counts


def is_list(kind: pa.DataType) -> bool:
    """Return whether ``kind`` is a list, large list, fixed-size list or list view; a map is none."""
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def split_lists(array: pa.Array) -> tuple[Counts, pa.Array]:
    """Take lists apart.

    Parameters
    ----------
    array : (n,) lists of any kind

    Returns
    -------
    lengths : (n,) int64, 0 for a null
    values : (sum of lengths,) the elements of all lists, in order

    >>> lengths, values = split_lists(pa.array([["a", "b"], None, ["c"]]))
    >>> lengths.tolist(), values.to_pylist()
    ([2, 0, 1], ['a', 'b', 'c'])
    """
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if types.is_null(array.type.value_type):  # of which flattening may give too few
        return lengths, pa.nulls(int(lengths.sum()))
    if not lengths.any():  # where flattening may not know how to make nothing of a type
        return lengths, array.values.slice(0, 0)
    return lengths, array.flatten()


def join_lists(lengths: Counts, values: pa.Array, kind: pa.DataType, null: pa.Array) -> pa.Array:
    """Put lists together; the inverse of ``split_lists``.

    Parameters
    ----------
    lengths : (n,) int64, 0 for a null
    values : (sum of lengths,) of the value type of ``kind``
    kind : a list, large list or fixed-size list
    null : (n,) booleans, which lists are null

    Raises
    ------
    ArrowInvalid : a list has another length than a fixed-size list allows, or 32 bits do not hold the offsets
    """
    if types.is_fixed_size_list(kind):
        return _fixed(lengths, values, kind, null)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    large = types.is_large_list(kind)
    if not large and ends[-1] >= 1 << 31:
        raise pa.ArrowInvalid(f"{ends[-1]:,} list elements need 64-bit offsets")
    kind_of_array = pa.LargeListArray if large else pa.ListArray
    return kind_of_array.from_arrays(pa.array(ends, pa.int64() if large else pa.int32()), values, type=kind, mask=null)


def split_maps(array: pa.MapArray) -> tuple[Counts, pa.Array, pa.Array]:
    """Take maps apart.

    Parameters
    ----------
    array : (n,) maps

    Returns
    -------
    lengths : (n,) int64, 0 for a null
    keys : (sum of lengths,) the keys of all maps, in order
    items : (sum of lengths,) their values

    >>> lengths, keys, items = split_maps(pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())))
    >>> lengths.tolist(), keys.to_pylist(), items.to_pylist()
    ([1, 0], ['a'], [1])
    """
    offsets = array.offsets.to_numpy().astype(np.int64)
    lengths = np.diff(offsets)
    lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
    first, end = int(offsets[0]), int(offsets[-1])
    keys, items = (child.slice(first, end - first) for child in (array.keys, array.items))
    if lengths.sum() < len(keys):  # a null has entries
        starts = np.repeat(offsets[:-1] - first - np.cumsum(lengths) + lengths, lengths)
        take = pa.array(starts + np.arange(lengths.sum()))
        keys, items = keys.take(take), items.take(take)
    return lengths, keys, items


def join_maps(lengths: Counts, keys: pa.Array, items: pa.Array, kind: pa.MapType, null: pa.Array) -> pa.Array:
    """Put maps together; the inverse of ``split_maps``."""
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int32())
    return pa.MapArray.from_arrays(ends, keys, items, type=kind, mask=null)


def _fixed(lengths: Counts, values: pa.Array, kind: pa.DataType, null: pa.Array) -> pa.Array:
    empty = null.to_numpy(zero_copy_only=False)
    if (lengths[~empty] != kind.list_size).any():
        raise pa.ArrowInvalid(f"a list is not of {kind.list_size} elements")
    if empty.any():  # a null takes as much room as any other
        take = np.full((len(lengths), kind.list_size), -1, np.int64)
        take[~empty] = np.arange(len(values)).reshape(-1, kind.list_size)
        values = values.take(pa.array(take.ravel(), mask=take.ravel() < 0))
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=null)
