"""Sizes of the values of Arrow arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.kernels.arrow_lists import is_list, split_lists, split_maps
from curate.kernels.text.json_values import is_binary
from curate.kernels.types import Counts


def value_sizes(array: pa.Array) -> Counts:
    """Return the number of bytes of each value: the length of strings, and the width of numbers.

    Parameters
    ----------
    array : (n,) of any type

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> value_sizes(pa.array([{"a": "é", "b": [1, 2]}, None])).tolist()
    [18, 0]
    """
    array = _plain(array)
    kind = array.type
    if types.is_string(kind) or types.is_large_string(kind) or is_binary(kind):
        lengths = pc.fill_null(pc.binary_length(array), 0)
        sizes = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    elif types.is_struct(kind):
        sizes = sum((value_sizes(child) for child in array.flatten()), np.zeros(len(array), np.int64))
    elif types.is_map(kind):
        lengths, keys, items = split_maps(array)
        sizes = _sums(value_sizes(keys) + value_sizes(items), lengths)
    elif is_list(kind):
        lengths, values = split_lists(array)
        sizes = _sums(value_sizes(values), lengths)
    else:
        width = 0 if types.is_null(kind) or types.is_union(kind) else max(1, kind.bit_width // 8)
        sizes = np.where(array.is_valid().to_numpy(zero_copy_only=False), width, 0)
    return np.asarray(sizes, np.int64)


def _plain(array: pa.Array) -> pa.Array:
    """Return the values that extensions, dictionaries, runs and views represent."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    return array


def _sums(values: Counts, lengths: Counts) -> Counts:
    """Return the sums of consecutive runs of values."""
    ends = np.cumsum(lengths)
    sums = np.concatenate(([0], np.cumsum(values)))
    return np.asarray(sums[ends] - sums[ends - lengths], np.int64)
