"""Pool files are read record by record, and what cannot be read is told with its line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curate.errors import DataError
from curate.store import decompression, readers
from curate.store.readers import Piece
from curate.store.records import NOT_UTF8


def records(path: Path, **where: int) -> tuple[list[dict], list[int], list[tuple[int, str]]]:
    rows, lines, bad = [], [], []
    for batch in readers.read(Piece(str(path), 0, **where)):
        rows += batch.table.to_pylist()
        lines += batch.lines
        bad += [(item.line, item.reason) for item in batch.bad_records]
    return rows, lines, bad


def compressed(path: Path, text: str) -> Path:
    data = text.encode()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(data)
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "A.NDJSON"])
def test_jsonl_is_read_whatever_its_compression(tmp_path, name):
    path = compressed(tmp_path / name, '{"a": 1}\n\n{"a": 2, "b": "x"}')
    rows, lines, bad = records(path)
    assert rows == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    assert lines == [1, 3]
    assert bad == []


def test_a_line_that_does_not_parse_is_told_with_its_number(tmp_path):
    path = compressed(tmp_path / "a.jsonl", '{"a": 1}\n{"a": \n[1]\n{"a": 3}\n"\\ud800"\n')
    rows, lines, bad = records(path)
    assert [row["a"] for row in rows] == [1, 3]
    assert lines == [1, 4]
    assert [line for line, _ in bad] == [2, 3, 5]
    assert bad[0][1].startswith("does not parse")
    assert bad[1][1].startswith("is a JSON array, not an object")


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert records(tmp_path / "a.jsonl")[0] == [{"a": 1}]


def test_times_and_numbers_in_strings_stay_strings(tmp_path):
    path = compressed(tmp_path / "a.jsonl", '{"a": "2020-01-01T00:00:00Z", "b": "007"}\n')
    assert records(path)[0] == [{"a": "2020-01-01T00:00:00Z", "b": "007"}]


def test_whole_numbers_and_fractions_widen(tmp_path):
    path = compressed(tmp_path / "a.jsonl", '{"a": 1}\n{"a": 2.5}\n')
    assert records(path)[0] == [{"a": 1.0}, {"a": 2.5}]


@pytest.mark.parametrize("rows_per_piece", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_the_pieces_of_a_file_hold_each_record_once(tmp_path, rows_per_piece, ending):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"n": n, "pad": "x" * n}) for n in range(20)) + ending)
    _, cuts = readers.scan(path, rows_per_piece)
    assert cuts is not None
    stops = [start for start, _, _ in cuts[1:]] + [None]
    seen, lines = [], []
    for (start, first, rows), stop in zip(cuts, stops, strict=True):
        got, at, _ = records(path, start=start, stop=stop, first_row=first)
        assert abs(len(got) - rows) <= 1  # a last line without its newline is not counted by the scan
        seen += [row["n"] for row in got]
        lines += at
    assert seen == list(range(20))
    assert lines == list(range(1, 21))
    assert all(rows <= rows_per_piece + 1 for _, _, rows in cuts)


def test_a_scan_tells_files_apart_by_content(tmp_path):
    first = compressed(tmp_path / "a.jsonl", '{"a": 1}\n')
    second = compressed(tmp_path / "b.jsonl", '{"a": 2}\n')
    assert readers.scan(first, 10)[0] != readers.scan(second, 10)[0]


def test_csv_cells_stay_as_they_stand(tmp_path):
    path = compressed(tmp_path / "a.csv", 'id,text,n\n007,"two\nlines, and a ""quote""",1\n8,,2.50\n')
    rows, lines, bad = records(path)
    assert rows == [
        {"id": "007", "text": 'two\nlines, and a "quote"', "n": "1"},
        {"id": "8", "text": None, "n": "2.50"},
    ]
    assert lines == [3, 4]
    assert bad == []


def test_a_csv_row_of_the_wrong_length_is_told(tmp_path):
    path = compressed(tmp_path / "a.tsv", "a\tb\n1\t2\n3\n4\t5\n")
    rows, _, bad = records(path)
    assert [row["a"] for row in rows] == ["1", "4"]
    assert bad == [(3, "does not parse: the row has 1 cells, the header has 2")]


def test_csv_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\nok\n\xff\xfe\n")
    rows, _, bad = records(tmp_path / "a.csv")
    assert rows == [{"a": "ok"}]
    assert bad == [(3, NOT_UTF8)]


def test_a_column_that_stands_twice_in_the_header_is_refused(tmp_path):
    path = compressed(tmp_path / "a.csv", "a,a\n1,2\n")
    with pytest.raises(DataError, match="the header has two columns named 'a'"):
        records(path)


def test_parquet_types_are_carried_through(tmp_path):
    table = pa.table({"a": pa.array([1, 2, 3], pa.int8()), "t": pa.array([["x"], [], None], pa.list_(pa.string()))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    batches = list(readers.read(Piece(str(tmp_path / "a.parquet"), 0)))
    assert pa.concat_tables([batch.table for batch in batches]) == table
    assert [line for batch in batches for line in batch.lines] == [1, 2, 3]
    _, cuts = readers.scan(tmp_path / "a.parquet", 2)
    assert cuts == [(0, 0, 2), (1, 2, 1)]


def test_a_truncated_file_is_named(tmp_path):
    whole = gzip.compress(b'{"a": 1}\n' * 10_000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: cannot read the file"):
        records(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"a\.parquet: not a complete Parquet file"):
        records(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.zip", "rename the file to end in .jsonl"),
        ("a.txt", "write one row per text as JSON Lines"),
        ("a.parquet.gz", "rename the file to end in .jsonl"),
    ],
)
def test_an_unknown_format_says_what_to_do(name, hint):
    with pytest.raises(DataError, match=hint):
        readers.detect_format(Path(name))


COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("ending", decompression.SUFFIXES)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_every_text_format_is_read_from_every_compression(tmp_path, name, ending):
    text = {"a.jsonl": '{"a": "x"}\n', "a.json": '[{"a": "x"}]', "a.csv": "a\nx\n", "a.tsv": "a\nx\n"}[name]
    path = tmp_path / (name + ending)
    path.write_bytes(COMPRESS[ending](text.encode()))
    assert records(path)[0] == [{"a": "x"}]


@pytest.mark.parametrize("ending", decompression.SUFFIXES)
def test_several_streams_in_one_file_are_read_one_after_another(tmp_path, ending):
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(b"".join(COMPRESS[ending](b'{"a": %d}\n' % number) for number in range(3)))
    assert [row["a"] for row in records(path)[0]] == [0, 1, 2]


@pytest.mark.parametrize("ending", decompression.SUFFIXES)
def test_a_compressed_file_that_is_cut_off_anywhere_is_an_error(tmp_path, ending):
    complete = COMPRESS[ending](b"".join(b'{"a": %d}\n' % number for number in range(50)))
    path = tmp_path / f"a.jsonl{ending}"
    for size in range(1, len(complete)):
        path.write_bytes(complete[:size])
        with pytest.raises(DataError, match=r"a\.jsonl\..*: cannot read the file"):
            records(path)


def test_a_zstd_window_of_a_gigabyte_is_read(tmp_path):
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30, enable_ldm=True)
    (tmp_path / "a.jsonl.zst").write_bytes(
        zstandard.ZstdCompressor(compression_params=parameters).compress(b'{"a": 1}\n')
    )
    assert records(tmp_path / "a.jsonl.zst")[0] == [{"a": 1}]


def test_folders_are_columns_as_hive_writes_them(tmp_path):
    path = tmp_path / "lang=en" / "place=New%20York" / "n=__HIVE_DEFAULT_PARTITION__" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"a": 1}\n')
    assert records(path)[0] == [{"a": 1, "lang": "en", "place": "New York", "n": None}]


def test_a_column_of_the_file_is_kept_before_that_of_a_folder(tmp_path):
    (tmp_path / "lang=en").mkdir()
    (tmp_path / "lang=en" / "a.csv").write_text("lang\nde\n")
    assert records(tmp_path / "lang=en" / "a.csv")[0] == [{"lang": "de"}]
