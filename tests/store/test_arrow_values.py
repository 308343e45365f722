"""What input shards store is what the files hold, in types that Parquet gives back as they are."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.store.arrow_values import convert, storable_type, to_storable


def field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


SAME = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64()),
    *(pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal256(50, 2)),
    *(pa.decimal32(5, 2), pa.decimal64(12, 2), pa.string(), pa.large_string(), pa.binary(), pa.large_binary()),
    *(
        pa.binary(3),
        pa.date32(),
        pa.time32("ms"),
        pa.time64("us"),
        pa.time64("ns"),
        pa.duration("s"),
        pa.duration("ns"),
    ),
    *(pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "Europe/Berlin")),
    *(pa.list_(pa.string()), pa.large_list(pa.int8()), pa.list_(pa.float32(), 2), pa.map_(pa.string(), pa.int8())),
    *(pa.struct([("a", pa.int8())]), pa.uuid(), pa.json_(), pa.bool8()),
]
OTHERS = [
    (pa.string_view(), pa.string()),
    (pa.binary_view(), pa.binary()),
    (pa.list_view(pa.string_view()), pa.list_(pa.string())),
    (pa.large_list_view(pa.int8()), pa.large_list(pa.int8())),
    (pa.dictionary(pa.int8(), pa.string()), pa.string()),
    (pa.list_(pa.dictionary(pa.int8(), pa.string())), pa.list_(pa.string())),
    (pa.run_end_encoded(pa.int32(), pa.string()), pa.string()),
    (pa.date64(), pa.date32()),
    (pa.time32("s"), pa.time32("ms")),
    (pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC")),
    (pa.struct([]), pa.null()),
    (pa.list_(pa.struct([])), pa.list_(pa.null())),
    (pa.struct([("a", pa.struct([]))]), pa.struct([("a", pa.null())])),
    (pa.struct([field("a", pa.int8())]), pa.struct([("a", pa.int8())])),
    (pa.list_(field("item", pa.int8())), pa.list_(pa.int8())),
    (pa.map_(pa.string(), field("value", pa.int8())), pa.map_(pa.string(), pa.int8())),
    (pa.json_(pa.string_view()), pa.string()),
    (pa.list_(pa.uuid()), pa.list_(pa.binary(16))),
    (pa.map_(pa.string(), pa.struct([("a", pa.json_())])), pa.map_(pa.string(), pa.struct([("a", pa.string())]))),
]


@pytest.mark.parametrize("kind", SAME, ids=str)
def test_most_types_are_stored_as_they_are_and_parquet_gives_them_back(kind):
    assert storable_type(kind) == kind
    file = io.BytesIO()
    pq.write_table(pa.table({"x": pa.nulls(2, kind)}), file)
    assert pq.read_table(file).schema.field("x").type == kind


@pytest.mark.parametrize(("kind", "equivalent"), OTHERS, ids=str)
def test_other_types_are_stored_as_their_equivalent(kind, equivalent):
    assert storable_type(kind) == equivalent
    assert storable_type(equivalent) == equivalent
    assert to_storable(pa.nulls(2, kind)).type == equivalent


def test_a_union_or_two_fields_of_one_name_cannot_be_stored():
    for kind in (pa.dense_union([pa.field("a", pa.int8())]), pa.month_day_nano_interval()):
        with pytest.raises(TypeError, match="cannot be stored"):
            storable_type(pa.list_(kind))
    with pytest.raises(TypeError, match="two fields of the same name"):
        storable_type(pa.struct([("a", pa.int8()), ("a", pa.int8())]))


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array(["7", None]), pa.int64(), [7, None]),
        (pa.array(["1.5", "10"]), pa.float64(), [1.5, 10.0]),
        (pa.array(["7"]), pa.decimal128(21, 2), [7]),
        (pa.array([7], pa.int8()), pa.decimal256(50, 3), [7]),
        (
            pa.array([{"a": 1}, None]),
            pa.struct([("b", pa.string()), ("a", pa.float64())]),
            [{"b": None, "a": 1.0}, None],
        ),
        (pa.array([[{"a": 1}], None, []]), pa.large_list(pa.struct([("a", pa.float64())])), [[{"a": 1.0}], None, []]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), pa.list_(pa.int64()), [[1, 2], None]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), pa.list_(pa.int64(), 2), [[1, 2], None]),
        (
            pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int8())),
            pa.map_(pa.large_string(), pa.int64()),
            [[("a", 1)], None, []],
        ),
        (pa.array([{}, None], pa.struct([])), pa.struct([("a", pa.int8())]), [{"a": None}, None]),
        (pa.nulls(2), pa.list_(pa.int8()), [None, None]),
        (pa.array([b"abc"], pa.binary(3)), pa.large_binary(), [b"abc"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("cut", [0, 1])
def test_values_are_converted_at_any_depth(array, kind, values, cut):
    found = convert(array.slice(cut), kind)
    found.validate(full=True)
    assert found.type == kind
    assert found.to_pylist() == values[cut:]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([300]), pa.int8()),
        (pa.array(["x"]), pa.int64()),
        (pa.array([1.5]), pa.int64()),
        (pa.array([{"a": 1}]), pa.struct([("b", pa.int64())])),
        (pa.array([1]), pa.null()),
        (pa.array([2**60], pa.timestamp("ms")), pa.timestamp("ns")),
        (pa.array([[1, 2]]), pa.list_(pa.int64(), 3)),
    ],
    ids=str,
)
def test_a_value_that_would_be_lost_is_an_error(array, kind):
    with pytest.raises(pa.ArrowException):
        convert(array, kind)
