"""Data of notebooks becomes arrays and frames with the same values, or an error that names the argument."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from curate.errors import ConfigError
from curate.kernels import data_frames

MATRIX = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
LISTS = {
    "list": MATRIX,
    "array": np.array(MATRIX),
    "Polars lists": pl.Series(MATRIX),
    "Polars arrays": pl.Series(MATRIX, dtype=pl.Array(pl.Float32, 2)),
    "pandas": pd.Series(MATRIX),
    "Arrow lists": pa.array(MATRIX, pa.large_list(pa.float32())),
    "Arrow fixed-size lists": pa.array(MATRIX, pa.list_(pa.float16(), 2)),
    "Arrow chunks": pa.chunked_array([pa.array(MATRIX[:1]), pa.array(MATRIX[1:])]),
    "a slice": pa.array([[9.0, 9.0], *MATRIX]).slice(1),
}


@pytest.mark.parametrize("kind", LISTS)
def test_vectors_become_a_matrix(kind):
    assert np.array_equal(data_frames.to_array("x", LISTS[kind]), np.array(MATRIX))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pl.Series([[1.0], [1.0, 2.0]]), "x: row 1 is 2 numbers; row 0 has 1"),
        (pa.array([[1.0], None]), "x: row 1 is null"),
        (pa.array([[1.0], [None]]), "x: a vector contains null"),
        (["a"], "x: must be numbers; got an array of <U1"),
        (pd.Series([[1.0], [1.0, 2.0]]), "x: cannot be converted"),
        ([object()], "x: must be numbers"),
    ],
)
def test_other_values_are_an_error(values, message):
    with pytest.raises(ConfigError, match=message):
        data_frames.to_array("x", values)


@pytest.mark.parametrize("make", [pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.table])
def test_frames_of_all_libraries_are_equal(make):
    columns = {"a": [1, 2, 3], "b": ["x", None, "z"]}
    assert data_frames.to_frame(make(columns)).equals(pl.DataFrame(columns))


@pytest.mark.parametrize("data", [[1], np.zeros(2), pl.Series([1]), pa.array([1]), None, "text"])
def test_other_data_are_no_frame(data):
    assert data_frames.to_frame(data) is None


def test_columns_of_vectors_are_lists_of_numbers():
    frame = pl.DataFrame({"a": [[1.0]], "b": [["x"]], "c": [1], "d": pl.Series([[1]], dtype=pl.Array(pl.Int8, 1))})
    assert data_frames.vector_columns(frame) == ["a", "d"]


ROWS = np.array([2, 0])
TAKEN = {
    "list": ([1, 2, 3], [3, 1]),
    "tuple": ((1, 2, 3), [3, 1]),
    "array": (np.array([1, 2, 3]), [3, 1]),
    "Series of Polars": (pl.Series([1, 2, 3]), [3, 1]),
    "Series of pandas": (pd.Series([1, 2, 3], index=[7, 8, 9]), [3, 1]),
    "Arrow": (pa.array([1, 2, 3]), [3, 1]),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_rows_are_taken_in_their_order(kind):
    data, expected = TAKEN[kind]
    assert data_frames.to_series("x", data_frames.take_rows(data, ROWS)).to_list() == expected


@pytest.mark.parametrize("values", [[1, "a"], [[1], "a"], 3])
def test_values_without_a_common_type_are_no_column(values):
    with pytest.raises(ConfigError, match="x: must be a list of values of one type"):
        data_frames.to_series("x", values)
