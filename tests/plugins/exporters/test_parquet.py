from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.plugins.exporters.parquet import ROWS_PER_GROUP, Parquet


def test_types_are_restored(tmp_path: Path) -> None:
    table = pa.table(
        {
            "vector": pa.array([[0.5, 1.0], None], pa.list_(pa.float32(), 2)),
            "when": pa.array([1, None], pa.timestamp("ns", "Europe/Paris")),
            "nested": pa.array([{"a": [1, None]}, None], pa.struct([("a", pa.list_(pa.int8()))])),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "raw": pa.array([b"\x00", None], pa.binary()),
        }
    )
    Parquet().write(table, tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(table)


def test_every_column_is_zstd_and_row_groups_are_of_fixed_size(tmp_path: Path) -> None:
    rows = ROWS_PER_GROUP + 5
    Parquet().write(pa.table({"a": np.arange(rows), "b": ["x"] * rows}), tmp_path / "a.parquet")
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [ROWS_PER_GROUP, 5]
    assert {metadata.row_group(0).column(i).compression for i in range(2)} == {"ZSTD"}


def test_a_higher_level_gives_a_smaller_file(tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(0, 500, (4_000, 30))
    table = pa.table({"text": [" ".join(map(str, row)) for row in words]})
    Parquet(compression_level=1).write(table, tmp_path / "fast.parquet")
    Parquet(compression_level=19).write(table, tmp_path / "small.parquet")
    assert (tmp_path / "small.parquet").stat().st_size < (tmp_path / "fast.parquet").stat().st_size


@pytest.mark.parametrize("pieces", [2, 7])
def test_bytes_do_not_depend_on_how_the_table_is_cut(tmp_path: Path, pieces: int) -> None:
    complete = pa.table({"text": [f"row {i} é" for i in range(3_000)]})
    cut = pa.concat_tables([complete.slice(i * 3_000 // pieces, 3_000 // pieces + 1) for i in range(pieces)]).slice(
        0, 3_000
    )
    complete = cut.combine_chunks()
    Parquet().write(complete, tmp_path / "complete.parquet")
    Parquet().write(cut, tmp_path / "cut.parquet")
    assert cut.column("text").num_chunks > 1
    assert (tmp_path / "complete.parquet").read_bytes() == (tmp_path / "cut.parquet").read_bytes()
