"""What a small file may make of itself is bounded in every format."""

from __future__ import annotations

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DataError
from curate.store import expansion, readers
from curate.store.readers import Piece
from curate.store.records import MAX_COLUMNS


def write_jsonl(path, record):
    path.write_text(json.dumps(record) + "\n")


def write_json(path, record):
    path.write_text(json.dumps([record]))


def write_csv(path, record):
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([record.keys(), record.values()])


def write_parquet(path, record):
    pq.write_table(pa.Table.from_pylist([record]), path)


WRITERS = {
    "a.jsonl": write_jsonl,
    "a.json": write_json,
    "a.csv": write_csv,
    "a.tsv": write_csv,
    "a.parquet": write_parquet,
}
NESTED = [name for name in WRITERS if name not in ("a.csv", "a.tsv")]


def read(path):
    return list(readers.read(Piece(str(path), 0)))


@pytest.mark.parametrize("name", WRITERS)
def test_there_is_one_limit_of_columns_for_every_format(tmp_path, name):
    WRITERS[name](tmp_path / name, {f"c{number}": 1 for number in range(MAX_COLUMNS + 1)})
    with pytest.raises(DataError, match=rf"{name}.* has {MAX_COLUMNS + 1:,} columns, .*the limit is {MAX_COLUMNS:,}"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", NESTED)
def test_fields_of_objects_count_as_columns(tmp_path, name):
    inner = {f"c{number}": 1 for number in range(MAX_COLUMNS)}
    WRITERS[name](tmp_path / name, {"id": 1, "outer": {"inner": inner}})
    with pytest.raises(DataError, match=rf"{name}.*columns, .*the limit is {MAX_COLUMNS:,}"):
        read(tmp_path / name)


@pytest.mark.parametrize("line", [b"", b"{\n", b'{"a": 1}', b"a,b,c,d"], ids=["blank", "bad", "good", "ragged"])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.tsv.gz", "a.json.gz"])
def test_a_file_that_expands_to_too_much_is_refused(tmp_path, monkeypatch, name, line):
    monkeypatch.setattr(expansion, "FREE_BYTES", 1 << 16)
    (tmp_path / name).write_bytes(gzip.compress(b"a,b\n" * ("csv" in name) + (line + b"\n") * 200_000))
    with pytest.raises(
        DataError, match=rf"{name}: .*bytes expands to more than .*; check that it is the right file; if so, "
    ):
        read(tmp_path / name)
