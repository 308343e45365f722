"""Vectors from a column of the input."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PluginError
from curate.plugins.embedders.column import Column, common_length, vectors

NAN = float("nan")
number = st.one_of(st.none(), st.floats(width=32), st.just(1e300))
rows = st.lists(st.one_of(st.none(), st.lists(number, max_size=3)), max_size=12)


def slow_vectors(lists, dimensions):
    """Reference implementation, list by list."""
    out = np.full((len(lists), dimensions), np.nan, np.float32)
    for i, values in enumerate(lists):
        if values is not None and len(values) == dimensions and None not in values:
            with np.errstate(over="ignore"):
                row = np.array(values, np.float64).astype(np.float32)
            if np.isfinite(row).all():
                out[i] = row
    return out


@given(rows, st.integers(0, 3), st.sampled_from([pa.list_, pa.large_list]), st.integers(0, 3))
def test_vectors_agree_with_a_loop(lists, dimensions, list_type, skip):
    array = pa.array(lists, list_type(pa.float64()))
    for values in (array, pa.chunked_array([array[:skip], array[skip:]], array.type)):
        np.testing.assert_array_equal(vectors(values, dimensions), slow_vectors(lists, dimensions))
    np.testing.assert_array_equal(vectors(array[skip:], dimensions), slow_vectors(lists[skip:], dimensions))


@pytest.mark.parametrize(
    "kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int64(), pa.uint32()], ids=str
)
@pytest.mark.parametrize(
    "list_type", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2)], ids=["l", "large", "fixed"]
)
def test_lists_of_every_number_type_are_read(kind, list_type):
    scalar = np.dtype(kind.to_pandas_dtype()).type
    lists = [[scalar(1), scalar(2)], None, [scalar(3), scalar(4)]]
    result = vectors(pa.array(lists, list_type(kind)), 2)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.array([[1, 2], [NAN, NAN], [3, 4]], np.float32))


def test_lists_with_values_outside_float32_become_nan():
    result = vectors(pa.array([[1e300, 1.0], [1.0, 2.0]]), 2)
    np.testing.assert_array_equal(result, np.array([[NAN, NAN], [1, 2]], np.float32))


def test_the_length_is_that_of_most_lists_and_the_shorter_of_two():
    assert common_length(pa.array([[1, 2], [3], None, [4, 5]])) == 2
    assert common_length(pa.array([[1, 2], [3]])) == 1
    assert common_length(pa.array([None, None])) == 0
    assert common_length(pa.chunked_array([], pa.list_(pa.float32()))) == 0


def test_rows_of_another_length_than_most_are_nan():
    plugin = Column()
    state = plugin.fit(pa.array([[1.0, 0.0], [0.0, 1.0], [1.0]]), np.random.default_rng(0))
    result = plugin.restore(state).encode(pa.chunked_array([pa.array([[1.0], [0.5, 0.5], None])]))
    np.testing.assert_array_equal(result, np.array([[NAN, NAN], [0.5, 0.5], [NAN, NAN]], np.float32))


def test_a_column_without_any_value_has_no_vectors():
    assert np.isnan(vectors(pa.array([None, None]), 3)).all()


@pytest.mark.parametrize("values", [pa.array(["a"]), pa.array([["a"]]), pa.array([1.0]), pa.array([[True]])], ids=str)
def test_a_column_of_something_else_is_an_error_that_names_its_type(values):
    with pytest.raises(PluginError, match=f"the vector column has type {values.type}") as caught:
        vectors(values, 2)
    assert caught.value.hint == "use a column whose values are lists of numbers"
