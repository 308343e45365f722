"""A file is whole or it is not there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate import paths
from curate.errors import DataError, PluginError
from curate.store import parquet_io, schemas

TABLE = pa.table({"id": ["a", "b"], "x": [1, 2]})


def test_what_is_written_is_read_and_knows_what_it_was_made_from(tmp_path):
    path = parquet_io.shard_path(tmp_path / "deep", 7)
    parquet_io.write(TABLE, path, "abc")
    assert path.name == "part-00007.parquet"
    assert parquet_io.read(path).to_pylist() == TABLE.to_pylist()
    assert parquet_io.read(path, ["x"]).column_names == ["x"]
    assert parquet_io.is_current(path, "abc")
    assert not parquet_io.is_current(path, "abd")
    assert parquet_io.count_rows(path) == 2


def test_the_same_table_gives_the_same_bytes(tmp_path):
    parquet_io.write(TABLE, tmp_path / "a", "f")
    parquet_io.write(TABLE, tmp_path / "b", "f")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    parquet_io.write_text(path, "old")

    def interrupted() -> None:
        with parquet_io.write_atomically(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_truncated_shard_is_not_current_and_says_so_when_read(tmp_path):
    path = tmp_path / "a.parquet"
    parquet_io.write(TABLE, path, "f")
    path.write_bytes(path.read_bytes()[:-10])
    assert not parquet_io.is_current(path, "f")
    with pytest.raises(DataError, match=r"a\.parquet: cannot read the shard"):
        parquet_io.read(path)


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with (
        pytest.raises(DataError, match="cannot write: No space left on device"),
        parquet_io.write_atomically(tmp_path / "a"),
    ):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_json_that_is_no_whole_object_is_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert parquet_io.read_json(tmp_path / "a.json") is None
    assert parquet_io.read_json(tmp_path / "missing.json") is None


def test_a_schema_refuses_wrong_columns_and_nulls():
    good = pa.table(
        {"id": ["a"], "cluster": pa.array([1], pa.int32()), "centroid_similarity": pa.array([0.5], pa.float32())}
    )
    assert schemas.check(good, schemas.CLUSTER, "x").schema.equals(schemas.CLUSTER)
    with pytest.raises(PluginError, match="got the columns"):
        schemas.check(good.drop_columns(["cluster"]), schemas.CLUSTER, "x")
    with pytest.raises(PluginError, match="column 'id' has nulls"):
        schemas.check(good.set_column(0, "id", pa.nulls(1, pa.string())), schemas.CLUSTER, "x")


def test_what_a_killed_process_had_half_written_is_swept_away(tmp_path):
    parquet_io.write_text(tmp_path / "deep" / "whole.txt", "x")
    (tmp_path / "deep" / ".123.partial.whole.txt").write_text("half")
    (tmp_path / ".123.partial.link").symlink_to("deep")
    (tmp_path / ".version.partial").mkdir()
    parquet_io.remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "whole.txt", ".version.partial"}


# ---------------------------------------------------------------- staged files


@pytest.fixture(params=["disk", "store"])
def place(request, tmp_path):
    if request.param == "disk":
        yield tmp_path
        return
    pytest.importorskip("upath")
    folder = paths.parse_path(f"memory://{tmp_path.name}")
    yield folder
    paths.remove_directory(folder)


def test_a_staged_file_is_put_in_its_place_or_leaves_nothing(place):
    parquet_io.write_text(place / "page", "old")
    with parquet_io.stage_text(place / "page", "new") as put:
        assert (place / "page").read_text() == "old"
        put()
        assert (place / "page").read_text() == "new"
    assert paths.list_names(place) == {"page"}
    with parquet_io.stage_text(place / "page", "newer"):
        pass
    with pytest.raises(KeyError), parquet_io.stage_text(place / "page", "newest"):
        raise KeyError
    assert (place / "page").read_text() == "new"
    assert paths.list_names(place) == {"page"}


def test_a_file_that_cannot_be_staged_names_its_place(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_io.os, "fsync", full)
    told = pytest.raises(DataError, match=r"page: cannot write: No space left on device")
    with told, parquet_io.stage_text(tmp_path / "page", "x"):
        pytest.fail("the block must not run")
    assert not list(tmp_path.iterdir())


def test_a_range_of_a_sorted_file_is_what_a_scan_finds(tmp_path):
    values = np.sort(np.random.default_rng(0).integers(0, 2**64, 500, np.uint64))
    values[:4] = 0, 0, 1, 2**64 - 1
    values.sort()
    path = tmp_path / "sorted.parquet"
    parquet_io.write(pa.table({"key": values, "row": np.arange(500)}), path, "f", row_group=7)
    for low, high in ((0, 0), (0, 2**64 - 1), (2**63, 2**63 + 2**60), (5, 5), (2**64 - 1, 2**64 - 1)):
        expected = np.flatnonzero((values >= low) & (values <= high)).tolist()
        assert parquet_io.read_sorted_range(path, low, high)["row"].to_pylist() == expected


def test_a_range_of_a_file_without_rows_is_empty(tmp_path):
    parquet_io.write(pa.table({"key": np.zeros(0, np.uint64)}), tmp_path / "none.parquet", "f")
    assert len(parquet_io.read_sorted_range(tmp_path / "none.parquet", 0, 2**64 - 1)) == 0


def test_statistics_of_a_file_with_nested_columns_find_every_value(tmp_path):
    nested = [{"a": row, "b": [row]} for row in range(60)]
    table = pa.table({"nested": nested, "x": [row // 20 for row in range(60)], "y": [row % 7 for row in range(60)]})
    parquet_io.write(table, tmp_path / "a", "f", row_group=20)
    for x in range(-1, 5):
        for y in range(-1, 9):
            holds = any(row["x"] == x and row["y"] == y for row in table.to_pylist())
            assert parquet_io.may_contain(tmp_path / "a", {"x": x, "y": y}) >= holds
    assert not parquet_io.may_contain(tmp_path / "a", {"x": 3, "y": 1})
    assert not parquet_io.may_contain(tmp_path / "a", {"x": 1, "y": 7})
