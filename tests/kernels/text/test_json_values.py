"""Every Arrow type has a JSON value and a text form, also outside the range of Python types."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pyarrow as pa
import pytest

from curate.kernels.text.json_values import dumps, to_identifier, to_json_types, to_text

UUID = uuid.UUID(int=2**127 + 5)
CASES = [
    (pa.array([True, None]), "true"),
    (pa.array([-5, None], pa.int8()), "-5"),
    (pa.array([2**64 - 1, None], pa.uint64()), "18446744073709551615"),
    (pa.array([10.0, None]), "10.0"),
    (pa.array([0.1, None], pa.float32()), "0.1"),
    (pa.array([0.1, None], pa.float16()), "0.1"),
    (pa.array([Decimal(2**70), None]), "1180591620717411303424"),
    (pa.array([Decimal("1.10"), None]), "1.10"),
    (pa.array([Decimal("1e-30"), None]), "1E-30"),
    (pa.array(["é", None]), "é"),
    (pa.array(["null", None], pa.large_string()), "null"),
    (pa.array(["x", None], pa.string_view()), "x"),
    (pa.array(["é".encode(), None]), "é"),
    (pa.array([b"x", None], pa.large_binary()), "x"),
    (pa.array([b"x", None], pa.binary_view()), "x"),
    (pa.array([b"abc", None], pa.binary(3)), "YWJj"),
    (pa.array([UUID.bytes, None], pa.uuid()), str(UUID)),
    (pa.array(['{"a": 1}', None], pa.json_()), '{"a": 1}'),
    (pa.array(["x", None]).dictionary_encode(), "x"),
    (pa.array([0, None], pa.timestamp("s")), "1970-01-01T00:00:00"),
    (pa.array([1, None], pa.timestamp("ns")), "1970-01-01T00:00:00.000000001"),
    (pa.array([0, None], pa.timestamp("ms", "Europe/Berlin")), "1970-01-01T00:00:00.000Z"),
    (pa.array([0, None], pa.timestamp("ms", "Mars/Olympus")), "1970-01-01T00:00:00.000Z"),
    (pa.array([2**62, None], pa.timestamp("us")), "148108-07-06T14:00:27.387904"),
    (pa.array([2**31 - 1, None], pa.int32()).cast(pa.date32()), "5881580-07-11"),
    (pa.array([0, None], pa.date64()), "1970-01-01"),
    (pa.array([0, None], pa.time32("ms")), "00:00:00.000"),
    (pa.array([5, None], pa.duration("ns")), "5"),
    (pa.array([["a", None], None]), '["a",null]'),
    (pa.array([[1], None], pa.large_list(pa.int8())), "[1]"),
    (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), "[1,2]"),
    (pa.array([["a"], None], pa.list_view(pa.string())), '["a"]'),
    (pa.array([["a"], None], pa.large_list_view(pa.string_view())), '["a"]'),
    (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())), '[{"key":"a","value":1}]'),
    (pa.array([{"a": {"b": Decimal(2**70)}}, None]), '{"a":{"b":1180591620717411303424}}'),
    (pa.array([{"a": float("nan")}, None]), '{"a":null}'),
    (pa.array([{"raw": b"\xff"}, None]), '{"raw":"/w=="}'),
]


@pytest.mark.parametrize(("array", "text"), CASES, ids=lambda value: str(getattr(value, "type", "")))
@pytest.mark.parametrize("cut", [0, 1])
def test_every_type_has_a_text(array, text, cut):
    assert to_text(array.slice(cut)).type == pa.string()
    assert to_text(array.slice(cut)).to_pylist() == [text, None][cut:]


@pytest.mark.parametrize("array", [array for array, _ in CASES], ids=lambda array: str(array.type))
def test_json_holds_every_array(array):
    for value in to_json_types(array).to_pylist():
        dumps(value)


def test_what_is_no_text_is_null():
    assert to_text(pa.array([b"\xff", b"a", None])).to_pylist() == [None, "a", None]
    assert to_text(pa.array([float("nan"), float("inf"), 1.5])).to_pylist() == [None, None, "1.5"]
    assert to_text(pa.nulls(2)).to_pylist() == [None, None]


def test_ids_of_bytes_are_their_digits():
    assert to_identifier(pa.array([b"\xff\x00", b"a", None])).to_pylist() == ["ff00", "61", None]
    assert to_identifier(pa.array([b"abc"], pa.binary(3))).to_pylist() == ["616263"]
    assert to_identifier(pa.array([UUID.bytes], pa.uuid())).to_pylist() == [str(UUID)]
    assert to_identifier(pa.array([7])).to_pylist() == ["7"]


def test_a_union_has_no_equivalent():
    union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
    with pytest.raises(TypeError, match=r"column 'x\.u': JSON has no equivalent of dense_union"):
        to_json_types(pa.StructArray.from_arrays([union], names=["u"]), "x")
