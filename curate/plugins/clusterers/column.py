"""Groups that the user already has: one cluster for each value of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.plugins.interfaces import ColumnName, clusterer


def categories(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The distinct values, nulls left out, sorted by code point.

    Over several parts, the categories of the parts' categories put together are those of the whole.

    Parameters
    ----------
    values : strings

    Returns
    -------
    strings, the value of cluster i at position i

    >>> categories(pa.array(["b", None, "a", "b"])).to_pylist()
    ['a', 'b']
    """
    distinct = pc.drop_null(pc.unique(values))
    return distinct.take(pc.array_sort_indices(distinct))


def codes(values: pa.Array | pa.ChunkedArray, categories: pa.Array) -> NDArray[np.int32]:
    """The position of each value in ``categories``; (n,) int32, -1 for a null and for a value that is not in it.

    >>> codes(pa.array(["b", None, "a"]), pa.array(["a", "b"])).tolist()
    [1, -1, 0]
    """
    positions: Any = pc.fill_null(pc.index_in(values, value_set=categories, skip_nulls=True), -1)
    return np.asarray(positions, dtype=np.int32)


@clusterer(version=1, reads="column", example={"column": "topic"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One cluster for each value of a column of the input.

    Clusters are numbered in the order of the sorted values; a row without a value is in no cluster (-1). The driver
    takes the mean direction of a cluster's rows as its centroid.

    References
    ----------
    None: the groups are the user's.
    """

    column: ColumnName
    """The column whose values name the clusters."""
