"""Strings of an Arrow column as categories and codes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.types import Codes


def unique_categories(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the distinct values, without nulls, sorted by code point.

    Over several parts, the categories of the parts' categories put together are those of the whole.

    Parameters
    ----------
    values : strings

    Returns
    -------
    strings, the value of category i at position i

    >>> unique_categories(pa.array(["b", None, "a", "b"])).to_pylist()
    ['a', 'b']
    """
    distinct = pc.drop_null(pc.unique(values))
    return distinct.take(pc.array_sort_indices(distinct))


def encode_categories(values: pa.Array | pa.ChunkedArray, categories: pa.Array) -> Codes:
    """Return the position of each value in ``unique_categories``; (n,) int32, -1 for a null and for a value that is not in it.

    >>> encode_categories(pa.array(["b", None, "a"]), pa.array(["a", "b"])).tolist()
    [1, -1, 0]
    """
    positions = pc.fill_null(pc.index_in(values, value_set=categories, skip_nulls=True), -1)
    return np.asarray(positions, dtype=np.int32)
