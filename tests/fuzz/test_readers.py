"""Whatever bytes an input file holds: rows in = kept + quarantined, or an error names the file."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate.config.loader import config_from_dict
from curate.errors import DataError, PluginError
from curate.executors.serial import Serial
from curate.progress import NullProgress
from curate.stages.base import Context
from curate.stages.ingest.stage import ingest

fuzz = settings(deadline=None, derandomize=True)


def parquet(table: pa.Table, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


JSONL = (
    b'{"id": "a", "text": "one", "source": "x", "n": 1}\n{"id": "b", "text": "two", "n": [1, {"m": null}]}\r\n\n'
    b'{"id": "c", "text": null}\n'
)
CSV = b'\xef\xbb\xbfid,text,source,n\na,one,x,1\nb,"two ""2""\nlines",y,007\n'
TABLE = pa.table(
    {
        "id": ["a", "b", "c"],
        "text": ["one", "two", None],
        "source": pa.array(["x", None, "x"]).dictionary_encode(),
        "n": [[1], [], None],
        "o": [{"p": 1.5}, None, {"p": None}],
    }
)
PARQUET = [
    parquet(TABLE),
    parquet(TABLE, row_group_size=1, compression="zstd", data_page_version="2.0"),
    parquet(TABLE, use_dictionary=False),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["a", "one", " "]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["id", "text", "source", "n", "", "_curate_x", "t\n"])
RECORDS = st.lists(
    st.dictionaries(NAMES, VALUES, max_size=5).map(json.dumps) | st.text(max_size=9) | st.just("[" * 2000), max_size=8
)
COLUMNS = st.sampled_from(
    [
        *(
            pa.string(),
            pa.large_string(),
            pa.binary(),
            pa.int8(),
            pa.uint64(),
            pa.float16(),
            pa.bool_(),
            pa.date32(),
            pa.time64("ns"),
        ),
        *(
            pa.timestamp("us", "UTC"),
            pa.duration("s"),
            pa.decimal128(5, 2),
            pa.list_(pa.int32()),
            pa.large_list(pa.string()),
        ),
        *(
            pa.struct([("x", pa.int8())]),
            pa.map_(pa.string(), pa.int8()),
            pa.dictionary(pa.int8(), pa.string()),
            pa.null(),
        ),
        *(pa.list_(pa.float32(), 2), pa.string_view(), pa.binary(3)),
    ]
)


@st.composite
def edited(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with some of its bytes replaced or taken out."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


@st.composite
def typed(draw: st.DrawFn) -> bytes:
    """A Parquet file of two rows whose columns are of any type, the second row null."""
    names = draw(st.lists(st.sampled_from(["id", "text", "source", "n"]), min_size=1, max_size=4))
    columns = [draw(COLUMNS) for _ in names]
    values = {"string": "x", "large_string": "x", "string_view": "y", "int8": 1, "uint64": 2**64 - 1, "float": 0.5}
    arrays = [pa.array([values.get(str(kind)), None], kind) for kind in columns]
    try:
        return parquet(pa.table(arrays, names=names))
    except pa.ArrowNotImplementedError:
        assume(False)
        raise


def read(name: str, data: bytes, **pool: object) -> None:
    """Make input shards of a file: every row is accounted for, or the error names the file."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync"):
        path = Path(folder) / name
        path.write_bytes(data)
        section = {"files": str(path), "text": "text", "rows_per_shard": 2, **pool}
        config = config_from_dict(
            {"curate": 1, "run": f"{folder}/run", "input": section, "select": [{"use": "uniform", "keep": 1}]}
        )
        try:
            with mock.patch("curate.stages.ingest.token_counts.make_counter", side_effect=PluginError("input: no hub")):
                source, record = ingest(Context(config, Serial(), NullProgress()))
        except (DataError, PluginError) as error:
            assert name in str(error) or "input" in str(error), error
            assert str(error).isprintable()
        else:
            record.check()
            assert source.rows == record.count.kept > 0
            for table in source.iterate_shards(("id", "text", "source", "tokens", "hash", "line")):
                assert table["id"].null_count == table["text"].null_count == 0
            assert sum(len(table) for table in source.iterate_shards(columns=tuple(source.columns))) == source.rows


POOLS = st.sampled_from(
    [{"id": "id", "source": "source"}, {}, {"text": "{id}: {n}", "id": "id"}, {"source": "n"}, {"tokens": "n"}]
)


@fuzz
@given(
    RECORDS.map("\n".join).map(lambda text: text.encode(errors="replace")) | edited([JSONL]) | st.binary(max_size=60),
    POOLS,
)
def test_jsonl(data, pool):
    read("a.jsonl", data, **pool)


@fuzz
@given(
    edited([CSV])
    | st.binary(max_size=60)
    | st.text(st.sampled_from('ab,"\n\r\0\t é'), max_size=40).map(lambda t: f"id,text\n{t}".encode()),
    POOLS,
)
def test_csv(data, pool):
    read("a.csv", data, **pool)
    read("a.tsv", data.replace(b",", b"\t"), **pool)


@fuzz
@given(edited(PARQUET) | typed(), POOLS)
def test_parquet(data, pool):
    read("a.parquet", data, **pool)


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


@fuzz
@given(st.booleans(), edited([JSONL]), st.data())
def test_compressed(gz, data, drawn):
    whole = gzip.compress(data, mtime=0) if gz else zstd(data)
    read("a.jsonl.gz" if gz else "a.jsonl.zst", drawn.draw(edited([whole, whole + whole]) | st.just(whole)))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@fuzz
@given(
    edited([npy(np.ones((3, 2), np.float32)), npy(np.ones((3, 2)))])
    | st.sampled_from(["f4", "f8", "i1", "?", "c8", "U3", "S2", "M8[s]", "V4", "f4,i2"]).map(
        lambda kind: npy(np.zeros((3, 2), kind))
    )
)
def test_vectors(data):
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync"):
        (Path(folder) / "a.npy").write_bytes(data)
        path = Path(folder) / "a.jsonl"
        path.write_bytes(b'{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n')
        section = {"files": str(path), "text": "text", "vectors": ".npy"}
        config = config_from_dict(
            {"curate": 1, "run": f"{folder}/run", "input": section, "select": [{"use": "uniform", "keep": 1}]}
        )
        try:
            source, _ = ingest(Context(config, Serial(), NullProgress()))
        except DataError as error:
            assert "a.npy" in str(error)
        else:
            assert len(source.read(0, ["vector"])) == 3
