"""Conversion of Arrow lists and maps to lengths and flat values, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.kernels.types import Counts


def is_list(data_type: pa.DataType) -> bool:
    """Return whether ``data_type`` is a list, large list, fixed-size list or list view. Maps do not count."""
    return bool(
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
        or types.is_list_view(data_type)
        or types.is_large_list_view(data_type)
    )


def split_lists(array: pa.Array) -> tuple[Counts, pa.Array]:
    """Split lists into their lengths and their concatenated elements.

    Parameters
    ----------
    array : (n,) lists of any kind

    Returns
    -------
    lengths : (n,) int64, 0 for a null
    values : (sum of lengths,) the elements of all lists, in order

    Examples
    --------
    >>> lengths, values = split_lists(pa.array([["a", "b"], None, ["c"]]))
    >>> lengths.tolist(), values.to_pylist()
    ([2, 0, 1], ['a', 'b', 'c'])
    """
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if types.is_null(array.type.value_type):  # flattening may return too few of them
        return lengths, pa.nulls(int(lengths.sum()))
    if not lengths.any():  # flatten() does not support every empty type
        return lengths, array.values.slice(0, 0)
    return lengths, array.flatten()


def join_lists(lengths: Counts, values: pa.Array, data_type: pa.DataType, null_mask: pa.Array) -> pa.Array:
    """Build lists from lengths and values; the inverse of ``split_lists``.

    Parameters
    ----------
    lengths : (n,) int64, 0 for a null
    values : (sum of lengths,) elements of the value type of ``data_type``
    data_type : list, large list or fixed-size list
    null_mask : (n,) booleans, true for null lists

    Returns
    -------
    (n,) lists of type ``data_type``

    Raises
    ------
    ArrowInvalid : if a list does not have the length that a fixed-size list requires, or the offsets exceed 32 bits
    """
    if types.is_fixed_size_list(data_type):
        return _join_fixed_size_lists(lengths, values, data_type, null_mask)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    large = types.is_large_list(data_type)
    if not large and ends[-1] >= 1 << 31:
        raise pa.ArrowInvalid(f"{ends[-1]:,} list elements need 64-bit offsets")
    array_type = pa.LargeListArray if large else pa.ListArray
    return array_type.from_arrays(
        pa.array(ends, pa.int64() if large else pa.int32()), values, type=data_type, mask=null_mask
    )


def split_maps(array: pa.MapArray) -> tuple[Counts, pa.Array, pa.Array]:
    """Split maps into their lengths, keys and values.

    Parameters
    ----------
    array : (n,) maps

    Returns
    -------
    lengths : (n,) int64, 0 for a null
    keys : (sum of lengths,) the keys of all maps, in order
    items : (sum of lengths,) the values of all maps, in order

    Examples
    --------
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
        positions = pa.array(starts + np.arange(lengths.sum()))
        keys, items = keys.take(positions), items.take(positions)
    return lengths, keys, items


def join_maps(lengths: Counts, keys: pa.Array, items: pa.Array, data_type: pa.MapType, null_mask: pa.Array) -> pa.Array:
    """Build maps from lengths, keys and values; the inverse of ``split_maps``.

    Parameters
    ----------
    lengths : (n,) int64, 0 for a null
    keys : (sum of lengths,) the keys of all maps, in order
    items : (sum of lengths,) the values of all maps, in order
    data_type : map type
    null_mask : (n,) booleans, true for null maps

    Returns
    -------
    (n,) maps of type ``data_type``
    """
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int32())
    return pa.MapArray.from_arrays(ends, keys, items, type=data_type, mask=null_mask)


def _join_fixed_size_lists(lengths: Counts, values: pa.Array, data_type: pa.DataType, null_mask: pa.Array) -> pa.Array:
    is_null = null_mask.to_numpy(zero_copy_only=False)
    if (lengths[~is_null] != data_type.list_size).any():
        raise pa.ArrowInvalid(f"a list does not have {data_type.list_size} elements")
    if is_null.any():  # a null list occupies as many elements as any other
        positions = np.full((len(lengths), data_type.list_size), -1, np.int64)
        positions[~is_null] = np.arange(len(values)).reshape(-1, data_type.list_size)
        values = values.take(pa.array(positions.ravel(), mask=positions.ravel() < 0))
    return pa.FixedSizeListArray.from_arrays(values, type=data_type, mask=null_mask)
