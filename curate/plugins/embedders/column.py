"""Vectors that the user already has: a list column of the input, or the rows of a .npy file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PluginError
from curate.kernels.text.json_values import is_json
from curate.kernels.types import FittedState, Matrix
from curate.plugins.interfaces import ColumnName, embedder

Lists: TypeAlias = pa.Array | pa.ChunkedArray


def common_length(values: Lists) -> int:
    """The length that most lists of a column have; of two equally common ones the shorter.

    Parameters
    ----------
    values : n lists of numbers, some of which may be null

    Returns
    -------
    The length; 0 where there is no list

    Cost: O(n).

    >>> common_length(pa.array([[1.0, 2.0], [3.0], None, [4.0, 5.0]]))
    2
    """
    lengths = pc.list_value_length(_plain(values)).drop_null().to_numpy()
    return int(np.bincount(lengths).argmax()) if len(lengths) else 0


def vectors(values: Lists, dimensions: int) -> Matrix:
    """Lists as the rows of a matrix.

    Parameters
    ----------
    values : n lists of numbers of any type: list, large list or fixed-size list
    dimensions : d

    Returns
    -------
    (n, d) float32; a row of NaN where the list is null, has another length, or holds a null, NaN or infinity, also one
    that a float32 cannot hold

    Cost: O(n d) time and memory, without a Python object a row.

    >>> vectors(pa.array([[1, 2], [3], None]), 2).tolist()
    [[1.0, 2.0], [nan, nan], [nan, nan]]
    """
    lists = _plain(values)
    out = np.full((len(lists), dimensions), np.nan, np.float32)
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(lengths == dimensions)
    if not len(rows) or not dimensions:
        return out
    numbers = lists.flatten().to_numpy(zero_copy_only=False)  # null lists leave nothing behind
    if len(numbers) > len(rows) * dimensions:
        numbers = numbers[np.repeat(lengths == dimensions, np.maximum(lengths, 0))]
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is set aside below
        matrix = numbers.astype(np.float32, copy=False).reshape(len(rows), dimensions)
    finite = np.isfinite(matrix).all(axis=1)
    out[rows[finite]] = matrix[finite]
    return out


def _plain(values: Lists) -> pa.Array:
    """One chunk, checked to be lists of numbers."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if is_json(array.type):
        array = pa.array(list(map(_numbers, array.storage.to_pylist())), pa.list_(pa.float64()))
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.list_(pa.float32()))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not _is_number(kind.value_type):
        raise PluginError(
            f"the column of vectors is of type {kind}", hint="name a column whose values are lists of numbers"
        )
    return array


def _numbers(json: str | None) -> list[float | None] | None:
    """Return the list of numbers that a JSON text is; None if it is anything else."""
    value = None if json is None else orjson.loads(json)
    if not isinstance(value, list) or not {type(one) for one in value} <= {int, float, type(None)}:
        return None
    return [one if one is None else float(one) for one in value]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


@embedder(version=1, reads="column", fits=True, example={"column": "embedding"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Vectors the user already has, from a list column of the input or from .npy files beside the input files.

    Rows without a vector, or with one of another length than most, or with a NaN or infinity, are set aside.

    References
    ----------
    None: the vectors are taken as they are.
    """

    column: ColumnName | None = None
    """The column that holds the lists; null = the .npy file beside each input file (``a.jsonl``: ``a.npy``)."""

    def fit(self, sample: Lists, rng: np.random.Generator) -> FittedState:  # noqa: ARG002 - nothing is drawn
        return {"dimensions": np.array(common_length(sample), np.int64)}

    def restore(self, state: FittedState) -> ColumnVectors:
        return ColumnVectors(int(state["dimensions"]))


@dataclass(frozen=True, slots=True)
class ColumnVectors:
    """A column whose most common length is known."""

    dimensions: int

    def encode(self, values: Lists) -> Matrix:
        return vectors(values, self.dimensions)
