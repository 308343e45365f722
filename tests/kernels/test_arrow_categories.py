import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.arrow_categories import encode_categories, unique_categories

TEXTS = st.lists(st.none() | st.text(max_size=3))


@given(values=TEXTS)
def test_categories_are_the_sorted_distinct_values(values):
    result = unique_categories(pa.array(values, pa.string())).to_pylist()
    assert result == sorted({value for value in values if value is not None})


@given(values=TEXTS)
def test_codes_lead_back_to_the_values_and_nulls_are_minus_one(values):
    array = pa.array(values, pa.string())
    known = unique_categories(array)
    result = encode_categories(array, known)
    assert result.dtype == np.int32
    assert [None if code < 0 else known[int(code)].as_py() for code in result] == values


@given(parts=st.lists(TEXTS, min_size=1, max_size=4))
def test_concatenated_categories_of_parts_equal_those_of_all_rows(parts):
    arrays = [pa.array(part, pa.string()) for part in parts]
    merged = unique_categories(pa.chunked_array([unique_categories(array) for array in arrays]))
    assert merged.equals(unique_categories(pa.chunked_array(arrays, pa.string())))


def test_a_value_that_is_no_category_gets_no_code():
    assert encode_categories(pa.array(["a", "x"]), pa.array(["a"])).tolist() == [0, -1]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_codes_of_chunks(kind):
    values = pa.chunked_array([pa.array(["b"], kind), pa.array(["a", None], kind)])
    assert encode_categories(values, unique_categories(values)).tolist() == [1, 0, -1]
