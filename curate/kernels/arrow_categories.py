"""Categorical encoding of Arrow string columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.types import Codes


def unique_categories(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the distinct values, without nulls, sorted by code point.

    The categories of a column can be computed in parts: concatenate the categories of the parts and call this again.

    Parameters
    ----------
    values : strings

    Returns
    -------
    strings; the value of category i is at position i

    Examples
    --------
    >>> unique_categories(pa.array(["b", None, "a", "b"])).to_pylist()
    ['a', 'b']
    """
    distinct = pc.drop_null(pc.unique(values))
    return distinct.take(pc.array_sort_indices(distinct))


def encode_categories(values: pa.Array | pa.ChunkedArray, categories: pa.Array) -> Codes:
    """Return the index of each value in ``categories``.

    Parameters
    ----------
    values : (n,) strings
    categories : distinct strings, as ``unique_categories`` returns them

    Returns
    -------
    (n,) int32; -1 for nulls and for values that are not in ``categories``

    Examples
    --------
    >>> encode_categories(pa.array(["b", None, "a"]), pa.array(["a", "b"])).tolist()
    [1, -1, 0]
    """
    positions = pc.fill_null(pc.index_in(values, value_set=categories, skip_nulls=True), -1)
    return np.asarray(positions, dtype=np.int32)
