import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from curate.kernels.arrow_sizes import value_sizes

CASES = {
    "text": (pa.array(["é", "", None]), [2, 0, 0]),
    "view": (pa.array(["abc", None], pa.string_view()), [3, 0]),
    "binary view": (pa.array([b"\xff\xfe", None], pa.binary_view()), [2, 0]),
    "binary": (pa.array([b"\xff\xfe", None], pa.large_binary()), [2, 0]),
    "fixed binary": (pa.array([b"abcd", None], pa.binary(4)), [4, 0]),
    "numbers": (pa.array([1, None], pa.int16()), [2, 0]),
    "booleans": (pa.array([True, None]), [1, 0]),
    "nulls": (pa.nulls(2), [0, 0]),
    "decimals": (pa.array([Decimal("1.5"), None], pa.decimal128(5, 1)), [16, 0]),
    "times": (pa.array([dt.datetime(2020, 1, 1), None], pa.timestamp("us", "UTC")), [8, 0]),
    "lists": (pa.array([[1, 2], None, []], pa.list_(pa.int32())), [8, 0, 0]),
    "fixed lists": (pa.array([[1, 2], None], pa.list_(pa.float32(), 2)), [8, 0]),
    "lists of structs": (pa.array([[{"a": "xy"}, {"a": None}], None]), [2, 0]),
    "structs": (pa.array([{"a": "xy", "b": 1}, None]), [10, 0]),
    "maps": (pa.array([[("k", "vv")], None], pa.map_(pa.string(), pa.string())), [3, 0]),
    "dictionaries": (pa.array(["ab", None, "ab"]).dictionary_encode(), [2, 0, 2]),
    "json": (pa.array(['{"a":1}', None], pa.json_()), [7, 0]),
}


@pytest.mark.parametrize(("array", "sizes"), CASES.values(), ids=CASES)
def test_sizes_of_values(array, sizes):
    assert value_sizes(array).tolist() == sizes
    assert (
        value_sizes(pa.concat_arrays([array, array]).slice(1, len(array))).tolist()
        == (sizes + sizes)[1 : len(array) + 1]
    )
    assert value_sizes(array.slice(0, 0)).tolist() == []
