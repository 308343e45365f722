"""A partition on disk has the rows that were written, in their order, whatever the types of the columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.stages import partitions

RNG = np.random.default_rng(0)


def vectors(kind: pa.DataType, size: int, rows: int = 40) -> pa.Array:
    values = pa.array(RNG.integers(0, 100, rows * size).astype(kind.to_pandas_dtype()), kind)
    return pa.FixedSizeListArray.from_arrays(values, size)


COLUMNS = {
    **{str(kind): vectors(kind, 3) for kind in (pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint64())},
    "one number": vectors(pa.float32(), 1),
    "a slice": vectors(pa.float16(), 5, 60).slice(7, 40),
    "chunks": pa.chunked_array([vectors(pa.float16(), 4, 15), vectors(pa.float16(), 4, 25)]),
    "null vectors": pa.array([None if row % 3 else [1.0, 2.0] for row in range(40)], pa.list_(pa.float32(), 2)),
    "null numbers": pa.array([[None, float(row)] for row in range(40)], pa.list_(pa.float32(), 2)),
    "flags": pa.array([[True, False]] * 40, pa.list_(pa.bool_(), 2)),
    "texts": pa.array([["a", "b"]] * 40, pa.list_(pa.string(), 2)),
    "lists": pa.array([[1] * (row % 4) for row in range(40)]),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("nullable", [True, False])
def test_rows_come_back_by_partition(tmp_path, name, nullable):
    column = COLUMNS[name]
    if not nullable and column.null_count:
        pytest.skip("a column with nulls")
    field = pa.field("vector", column.type, nullable, {b"key": b"value"})
    row = pa.field("row", pa.int64())
    table = pa.table([column, pa.array(range(40))], schema=pa.schema([field, row], {b"of": b"table"}))
    partition = RNG.integers(0, 4, 40) * 2
    partitions.write(tmp_path / "a", "f", table, partition)
    for number in range(9):
        rows = np.flatnonzero(partition == number)
        found = partitions.read(tmp_path / "a", number)
        assert found.equals(table.take(pa.array(rows)))
        assert found.schema.field("vector").type == column.type
        assert partitions.read(tmp_path / "a", number, ["row"])["row"].to_pylist() == rows.tolist()
    assert partitions.read_schema(tmp_path / "a").field("vector").equals(field)


def test_a_table_without_rows_has_no_partition(tmp_path):
    table = pa.table({"vector": vectors(pa.float16(), 3, 0)})
    partitions.write(tmp_path / "a", "f", table, np.zeros(0, np.int64))
    assert partitions.read(tmp_path / "a", 0).equals(table)
