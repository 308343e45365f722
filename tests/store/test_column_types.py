"""The type of a column over files: it holds every value, and the order of the files does not matter."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError
from curate.store.arrow_values import convert, to_storable
from curate.store.column_types import Column, describe_array, describe_cells


def joined(*columns: Column) -> pa.DataType:
    column = Column()
    for one in columns:
        column.add(one)
    return column.type("x")


def cells(*values: str | None) -> Column:
    return describe_cells(pa.array(values, pa.string()), "a.csv")


def values(given: list, kind: pa.DataType | None = None, file: str = "b.parquet") -> Column:
    return describe_array(to_storable(pa.array(given, kind)), file)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (["1", "-20", None], pa.int64()),
        (["9223372036854775807"], pa.int64()),
        (["18446744073709551615", "0"], pa.uint64()),
        (["18446744073709551616"], pa.string()),
        (["18446744073709551615", "-1"], pa.string()),
        (["1709876543210987654"], pa.int64()),
        (["1", "2.5"], pa.float64()),
        (["10.0", "2.5"], pa.float64()),
        (["10", "10.0"], pa.string()),
        (["1.10"], pa.string()),
        (["1.1", "1.10"], pa.string()),
        (["1e-05", "0.1"], pa.float64()),
        (["1e-7", "0.5"], pa.float64()),
        (["1e-05", "0.00001"], pa.string()),
        (["1e5", "100000.0"], pa.string()),
        (["9e99999"], pa.string()),
        (["12345678901234567.25"], pa.string()),
        (["0.30000000000000004", "0.5"], pa.float64()),
        (["100000000000000000000", "0.5"], pa.string()),
        (["007", "1"], pa.string()),
        (["-0", "1"], pa.float64()),
        (["+1"], pa.string()),
        ([" 1"], pa.string()),
        (["nan", "1.5"], pa.string()),
        (["inf"], pa.string()),
        (["1_000"], pa.string()),
        (["0x10"], pa.string()),
        (["١"], pa.string()),
        (["$5.00"], pa.string()),
        (["1", "x"], pa.string()),
        ([None, None], pa.null()),
    ],
)
def test_csv_columns_take_the_narrowest_type_that_loses_nothing(given, kind):
    assert joined(cells(*given)) == kind


@given(
    st.lists(
        st.integers(-(10**21), 10**21).map(str)
        | st.floats().map(repr)
        | st.floats().map(lambda number: f"{number:g}")
        | st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str)
        | st.from_regex(r"-?[0-9]{0,3}(\.[0-9]{0,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
        min_size=1,
        max_size=3,
    )
)
def test_different_cells_are_different_values(given):
    given = [cell or None for cell in given]
    kind = joined(cells(*given))
    found = convert(pa.array(given, pa.string()), kind).to_pylist()
    texts = [None if value is None else repr(value) if isinstance(value, float) else str(value) for value in found]
    assert [text is None for text in texts] == [cell is None for cell in given]
    assert len(set(texts)) == len(set(given))
    for text, cell in zip(texts, given, strict=True):
        assert text == cell or Decimal(text) == Decimal(cell)


A, B, C = "a.csv", "b.parquet", "c.parquet"


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([cells("7"), values(["seven"])], pa.string()),
        ([cells("7"), values([5])], pa.int64()),
        ([cells("7"), values([0.5])], pa.float64()),
        ([cells("7.5"), values([1])], pa.float64()),
        ([cells("7"), values([Decimal("1.25")])], pa.decimal128(21, 2)),
        ([cells("x"), values([None])], pa.string()),
        ([values([2**53]), values([0.5])], pa.float64()),
        ([values([1], pa.int16()), values([0.5], pa.float32())], pa.float64()),
        ([values([0.5], pa.float16()), values([0.5], pa.float32())], pa.float32()),
        ([values([2**40]), values([Decimal("0.12")], pa.decimal128(5, 2))], pa.decimal128(21, 2)),
        ([values([5]), values([Decimal("1e-62")], pa.decimal256(62, 62))], pa.decimal256(63, 62)),
        ([values([2**63], pa.uint64()), values([-1])], pa.decimal128(20, 0)),
        ([values([5], pa.uint64()), values([-1])], pa.int64()),
        ([values([2**63], pa.uint64()), values([1])], pa.uint64()),
        ([values([1], pa.int8()), values([200], pa.uint8())], pa.int16()),
        ([values([1], pa.uint32()), values([-1], pa.int8())], pa.int64()),
        (
            [values([0], pa.timestamp("ms", "UTC")), values([0], pa.timestamp("us", "+00:00"))],
            pa.timestamp("us", "UTC"),
        ),
        (
            [values([0], pa.timestamp("ms", "Europe/Berlin")), values([0], pa.timestamp("ns", "UTC"))],
            pa.timestamp("ns", "UTC"),
        ),
        ([values([0], pa.time32("ms")), values([0], pa.time64("ns"))], pa.time64("ns")),
        ([values([0], pa.duration("s")), values([0], pa.duration("us"))], pa.duration("us")),
        ([values(["x"], pa.dictionary(pa.int8(), pa.string())), values(["y"])], pa.string()),
        ([values(["x"], pa.large_string()), values(["y"])], pa.large_string()),
        ([values([b"x"]), values([b"xyz"], pa.binary(3))], pa.binary()),
        ([values([{}]), values([{"a": 1}])], pa.struct([("a", pa.int64())])),
        ([values([[]], pa.list_(pa.null())), values([["x"]])], pa.list_(pa.string())),
        (
            [values([{"a": 1}]), values([{"b": [0.5]}])],
            pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))]),
        ),
        ([values([[1, 2]], pa.list_(pa.int64(), 2)), values([[1]])], pa.list_(pa.int64())),
        ([values([[1]], pa.large_list(pa.int8())), values([[0.5]])], pa.large_list(pa.float64())),
        (
            [
                values([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
                values([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            ],
            pa.map_(pa.string(), pa.int64()),
        ),
    ],
)
def test_types_are_joined_in_any_order(columns, kind):
    assert {joined(*order) for order in itertools.permutations(columns)} == {kind}


@pytest.mark.parametrize(
    "columns",
    [
        [cells("seven"), values([7])],
        [cells("7"), values([[7]])],
        [cells("true"), values([True])],
        [values([2**53 + 1]), values([0.5])],
        [values([0.5]), values([Decimal("0.5")])],
        [values([True]), values([1])],
        [values([b"x"]), values(["x"])],
        [values([0], pa.timestamp("ms", "UTC")), values([0], pa.timestamp("ms"))],
        [values([2**60], pa.timestamp("ms")), values([0], pa.timestamp("ns"))],
        [values([0], pa.date32()), values([0], pa.timestamp("ms"))],
        [values([{"a": {"b": 2**60}}]), values([{"a": {"b": 0.5}}])],
        [values([[("a", 1)]], pa.map_(pa.string(), pa.int64())), values([{"a": 1}])],
        [values([Decimal(10) ** 70], pa.decimal256(76, 0)), values([Decimal("1e-30")], pa.decimal128(35, 30))],
    ],
)
def test_types_without_a_join_are_refused_in_any_order_with_both_files(columns):
    for number, column in enumerate(columns):
        column.kinds = dict.fromkeys(column.kinds, f"{number}.parquet")
        column.cells_file = f"{number}.parquet" if column.cells else ""
    for order in itertools.permutations(columns):
        with pytest.raises(DataError, match=r"column 'x.* in .* in ") as refused:
            joined(*order)
        assert "0.parquet" in str(refused.value)
        assert "1.parquet" in str(refused.value)
        assert "input.types: {x: string}" in str(refused.value)
