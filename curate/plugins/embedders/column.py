"""Embedder that reads vectors from a list column of the input, or from .npy files next to the input files."""

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
    """Return the most frequent length of the lists of a column; of two equally frequent ones the shorter.

    Parameters
    ----------
    values : n lists of numbers, some of which may be null

    Returns
    -------
    the length; 0 if there is no list

    Notes
    -----
    Cost: O(n).

    Examples
    --------
    >>> common_length(pa.array([[1.0, 2.0], [3.0], None, [4.0, 5.0]]))
    2
    """
    lengths = pc.list_value_length(_as_lists(values)).drop_null().to_numpy()
    return int(np.bincount(lengths).argmax()) if len(lengths) else 0


def vectors(values: Lists, dimensions: int) -> Matrix:
    """Convert lists to the rows of a matrix.

    Parameters
    ----------
    values : n lists of numbers of any type: list, large list or fixed-size list
    dimensions : d

    Returns
    -------
    (n, d) float32; a row of NaN if the list is null, has another length, or contains null, NaN, infinity, or a number
        out of the range of float32

    Notes
    -----
    Cost: O(n d) time and memory, without Python objects per row.

    Examples
    --------
    >>> vectors(pa.array([[1, 2], [3], None]), 2).tolist()
    [[1.0, 2.0], [nan, nan], [nan, nan]]
    """
    lists = _as_lists(values)
    result = np.full((len(lists), dimensions), np.nan, np.float32)
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(lengths == dimensions)
    if not len(rows) or not dimensions:
        return result
    numbers = lists.flatten().to_numpy(zero_copy_only=False)  # null lists have no elements
    if len(numbers) > len(rows) * dimensions:
        numbers = numbers[np.repeat(lengths == dimensions, np.maximum(lengths, 0))]
    with np.errstate(over="ignore"):  # overflow gives infinity, which is excluded below
        matrix = numbers.astype(np.float32, copy=False).reshape(len(rows), dimensions)
    finite = np.isfinite(matrix).all(axis=1)
    result[rows[finite]] = matrix[finite]
    return result


def _as_lists(values: Lists) -> pa.Array:
    """Return one array of lists of numbers."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if is_json(array.type):
        array = pa.array(list(map(_parse_numbers, array.storage.to_pylist())), pa.list_(pa.float64()))
    data_type = array.type
    if pa.types.is_null(data_type):
        return array.cast(pa.list_(pa.float32()))
    is_list = pa.types.is_list(data_type) or pa.types.is_large_list(data_type) or pa.types.is_fixed_size_list(data_type)
    if not is_list or not _is_number(data_type.value_type):
        raise PluginError(
            f"the vector column has type {data_type}", hint="use a column whose values are lists of numbers"
        )
    return array


def _parse_numbers(json: str | None) -> list[float | None] | None:
    """Parse a JSON text that is a list of numbers; return None for anything else."""
    value = None if json is None else orjson.loads(json)
    if not isinstance(value, list) or not {type(item) for item in value} <= {int, float, type(None)}:
        return None
    return [item if item is None else float(item) for item in value]


def _is_number(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_floating(data_type) or pa.types.is_integer(data_type) or pa.types.is_null(data_type))


@embedder(version=1, reads="column", fits=True, example={"column": "embedding"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Existing vectors, from a list column of the input or from .npy files next to the input files.

    Use it when rows are already embedded, for example with a model that runs elsewhere. To embed texts, use ``lsa`` or
    ``sentence_transformers``.

    Rows without a vector, with a vector of unusual length, or with NaN or infinity, are quarantined.

    References
    ----------
    None: the vectors are used unchanged.
    """

    column: ColumnName | None = None
    """Column with the lists; null = the .npy file next to each input file (``a.jsonl``: ``a.npy``)."""

    def fit(self, sample: Lists, rng: np.random.Generator) -> FittedState:  # noqa: ARG002 - nothing is drawn
        return {"dimensions": np.array(common_length(sample), np.int64)}

    def restore(self, state: FittedState) -> ColumnVectors:
        return ColumnVectors(int(state["dimensions"]))


@dataclass(frozen=True, slots=True)
class ColumnVectors:
    """Fitted form of ``Column``: the length of the vectors."""

    dimensions: int

    def encode(self, values: Lists) -> Matrix:
        return vectors(values, self.dimensions)
