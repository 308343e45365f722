"""Arrow files: file and stream format, Feather, of every type, complete, cut off and corrupt."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest

from curate.errors import DataError
from curate.store import readers
from curate.store.records import Piece

ROWS = 1_000
TABLE = pa.table(
    {
        "id": [f"r{number}" for number in range(ROWS)],
        "large": pa.array([f"text {number}" for number in range(ROWS)], pa.large_string()),
        "view": pa.array([f"a text that is longer than a prefix {number}" for number in range(ROWS)], pa.string_view()),
        "number": pa.array(range(ROWS), pa.int16()),
        "nested": [[{"a": number, "b": None}] * (number % 3) for number in range(ROWS)],
        "map": pa.array([[("k", number)] for number in range(ROWS)], pa.map_(pa.string(), pa.int64())),
        "json": pa.array(['{"a": 1}'] * ROWS, pa.json_()),
        "null": pa.nulls(ROWS),
        "bytes": pa.array([b"x"] * ROWS, pa.binary()),
    }
)
WITH_DICTIONARY = TABLE.append_column(
    "role", pa.array([["user", "assistant"][n % 2] for n in range(ROWS)]).dictionary_encode()
)


def write(path: Path, table: pa.Table, kind: str, compression: str | None = None, rows: int = 100) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    if kind == "feather":
        pa.feather.write_feather(table, path, compression=compression or "uncompressed", chunksize=rows)
        return path
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def read(path: Path, start: int = 0, stop: int | None = None, first: int = 0) -> pa.Table:
    batches = list(readers.read(Piece(str(path), 0, start, stop, first)))
    assert not any(batch.bad_records for batch in batches)
    assert [row for batch in batches for row in batch.rows] == list(
        range(first, first + sum(len(b.rows) for b in batches))
    )
    return pa.concat_tables([batch.table for batch in batches])


@pytest.mark.parametrize("table", [TABLE, WITH_DICTIONARY], ids=["plain", "dictionary"])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize(("kind", "name"), [("file", "a.arrow"), ("stream", "a.arrow"), ("feather", "a.feather")])
def test_every_format_gives_the_rows_that_were_written(tmp_path, kind, name, compression, table):
    if kind == "feather" and compression:
        table = table.drop_columns(["view"])
    path = write(tmp_path / name, table, kind, compression)
    assert read(path).to_pylist() == table.to_pylist()
    _, cuts = readers.scan(path, 250)
    if table is WITH_DICTIONARY or "role" in table.column_names:
        assert cuts is None
        return
    assert [rows for _, _, rows in cuts] == [300, 300, 300, 100]
    ends = [start for start, _, _ in cuts[1:]] + [None]
    parts = [read(path, start, end, first) for (start, first, _), end in zip(cuts, ends, strict=True)]
    assert pa.concat_tables(parts).to_pylist() == table.to_pylist()


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_file_without_rows_has_none(tmp_path, kind):
    path = write(tmp_path / "a.arrow", TABLE.slice(0, 0), kind)
    assert list(readers.read(Piece(str(path), 0))) == []
    assert readers.scan(path, 10)[1] == []


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_file_that_is_cut_off_anywhere_is_an_error(tmp_path, kind, compression):
    data = write(tmp_path / "a.arrow", TABLE, kind, compression, 500).read_bytes()
    for end in [0, 3, 8, 100, *random.Random(0).sample(range(len(data)), 60), len(data) - 8, len(data) - 1]:
        (tmp_path / "cut.arrow").write_bytes(data[:end])
        with pytest.raises(DataError, match=r"cut\.arrow"):
            read(tmp_path / "cut.arrow")


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("table", [TABLE, WITH_DICTIONARY], ids=["plain", "dictionary"])
def test_a_damaged_file_is_an_error_or_has_bad_rows_or_other_values(tmp_path, kind, compression, table):
    """And never a crash."""
    table = table.slice(0, 50)
    data = write(tmp_path / "a.arrow", table, kind, compression, 25).read_bytes()
    dice = random.Random(1)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(dice.choice([1, 1, 4])):
            damaged[dice.randrange(len(data))] = dice.choice([0, 1, 0x7F, 0x80, 0xFF])
        (tmp_path / "bad.arrow").write_bytes(damaged)
        try:
            for batch in readers.read(Piece(str(tmp_path / "bad.arrow"), 0)):
                batch.table.validate(full=True)
                batch.table.to_pylist()
        except DataError as error:
            assert "bad.arrow" in f"{error.where}{error}"


def test_text_that_is_not_utf8_makes_its_row_bad(tmp_path):
    texts = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    nested = pa.ListArray.from_arrays([0, 1, 2, 3], pa.array([b"a", b"b", b"\xff"]).view(pa.string()))
    path = write(tmp_path / "a.arrow", pa.table({"x": texts, "y": nested}), "stream")
    [batch] = readers.read(Piece(str(path), 0))
    assert [(bad.row, bad.reason) for bad in batch.bad_records] == [
        (1, "column 'x' is not UTF-8"),
        (2, "column 'y' is not UTF-8"),
    ]
    assert batch.table.to_pylist() == [{"x": "a", "y": ["a"]}]


def test_a_small_file_that_expands_without_end_is_an_error(tmp_path):
    table = pa.table({"text": ["x" * (1 << 22)] * 64})
    path = write(tmp_path / "a.arrow", table, "stream", "zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"expands to more than"):
        read(path)
    nulls = write(tmp_path / "b.arrow", pa.table({"x": pa.nulls(1 << 24)}), "stream", rows=1 << 30)
    with pytest.raises(DataError, match=r"expands to more than"):
        read(nulls)


def test_feather_version_1_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(100))
    with pytest.raises(DataError, match="Feather version 1"):
        read(tmp_path / "a.feather")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("crawl.warc.gz", "trafilatura"),
        ("page.HTML", "trafilatura"),
        ("a.h5", r"\.npy"),
        ("a.npy", "input.vectors"),
        ("a.txt", "JSON Lines"),
        ("a.unknown", "rename the file"),
        ("noname", "rename the file"),
        ("a.arrow.gz", "rename the file"),
    ],
)
def test_another_format_is_an_error_that_names_a_way(name, advice):
    with pytest.raises(DataError, match="has no known format") as error:
        readers.detect_format(Path(name))
    assert re.search(advice, error.value.hint)
