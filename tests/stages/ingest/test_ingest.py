"""Files of every kind become input shards: each line is accounted for, each value is what the file says."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.executors.serial import Serial
from curate.progress import NullProgress
from curate.stages import guardrails
from curate.stages.base import Context
from curate.stages.ingest import shard_writer
from curate.stages.ingest.stage import ingest
from curate.store import records
from curate.store.inputs import Inputs
from curate.store.manifest import Record


def configured(folder: Path, pool: dict[str, Any], **sections: Any):
    section = {"files": str(folder / "pool" / "*"), "text": "text", **pool}
    data = {"curate": 1, "run": str(folder / "run"), "input": section, "select": [{"use": "uniform", "keep_rate": 1.0}]}
    return config_from_dict({**data, "embed": {"use": "hashing", "dimensions": 8}, **sections})


def ingested(folder: Path, contents: dict[str, Any], **pool: Any) -> tuple[Inputs, Record]:
    shutil.rmtree(folder / "pool", ignore_errors=True)
    for name, content in contents.items():
        path = folder / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ingest(Context(configured(folder, pool), Serial(), NullProgress()))


def rows(source: Inputs) -> list[dict[str, Any]]:
    return [row for table in source.iterate_shards((), tuple(source.columns)) for row in table.to_pylist()]


def quarantined(folder: Path) -> list[tuple[str, int, str]]:
    tables = [pq.read_table(path) for path in sorted((folder / "run" / "input" / "quarantine").glob("*.parquet"))]
    return [(Path(line["file"]).name, line["line"], line["reason"]) for table in tables for line in table.to_pylist()]


def lines(*objects: Any) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


# ---------------------------------------------------------------- accounting by file


def test_every_file_is_in_the_manifest_with_its_lines_and_rows(tmp_path):
    files = {
        "a.csv": "\nid,text\n1,x\n2,\n3,y,z\n",
        "b.jsonl": '{"id": 4, "text": "x"}\n\n{"id": 1, "text": "again"}\nno\n',
        "c.csv": "id,text\n",
        "d.parquet": pa.table({"id": [5, 6], "text": ["x", None]}),
        "e.jsonl": "",
    }
    source, record = ingested(tmp_path, files, id="id")
    counted = {
        Path(file["path"]).name: (file["lines"], file["rows"], file["quarantined"]) for file in record.result.files
    }
    assert counted == {
        "a.csv": (5, 1, 2),
        "b.jsonl": (4, 1, 2),
        "c.csv": (0, 0, 0),
        "d.parquet": (2, 1, 1),
        "e.jsonl": (0, 0, 0),
    }
    assert all(
        file["size"] == (tmp_path / "pool" / Path(file["path"]).name).stat().st_size for file in record.result.files
    )
    assert sum(count[1] for count in counted.values()) == source.rows == record.count.kept
    assert sum(count[2] for count in counted.values()) == record.count.quarantined == len(quarantined(tmp_path))
    [warning] = guardrails.check_files(configured(tmp_path, {}), record)
    assert warning.startswith("2 of 5 input files have no usable row")
    assert "c.csv (8 bytes)" in warning
    with pytest.raises(DataError, match=r"2 of 5 input files .*guard.max_empty_file_rate allows 30.00%"):
        guardrails.check_files(configured(tmp_path, {}, guard={"max_empty_file_rate": 0.3}), record)


def test_counts_stay_when_a_file_is_only_touched(tmp_path):
    _, record = ingested(tmp_path, {"a.jsonl": lines({"text": "x"})})
    (tmp_path / "pool" / "a.jsonl").touch()
    _, again = ingest(Context(configured(tmp_path, {}), Serial(), NullProgress()))
    assert again.fingerprint == record.fingerprint
    assert again.result.files[0]["rows"] == 1


def test_too_many_bad_rows_end_a_run_before_anything_is_embedded(tmp_path):
    ingested(tmp_path, {"a.jsonl": lines({"text": "x"}, {"text": 7}, {"text": "y"})})
    with pytest.raises(DataError, match=r"guard\.max_quarantine_rate"):
        pipeline.run(configured(tmp_path, {}), Serial())
    assert not (tmp_path / "run" / "embed").exists()


# ---------------------------------------------------------------- types over files


def test_a_mistyped_row_is_quarantined_with_its_file_and_line(tmp_path):
    good = [{"text": f"t{number}", "n": number} for number in range(20)]
    source, _ = ingested(tmp_path, {"a.jsonl": lines(*good[:7], {"text": "bad", "n": "seven"}, *good[7:])})
    assert [row["n"] for row in rows(source)] == [one["n"] for one in good]
    [(file, line, reason)] = quarantined(tmp_path)
    assert (file, line) == ("a.jsonl", 8)
    assert reason == "column 'n' is text, but a number in most records of the file"


@pytest.mark.parametrize("rows_per_shard", [1, 2, 3, 5, 100])
def test_the_kind_of_most_values_of_a_file_counts_however_it_is_cut(tmp_path, rows_per_shard, monkeypatch):
    monkeypatch.setattr("curate.store.json_records.MAX_BATCH_ROWS", 2)
    values = ["a", "b", 1, 2, 3, None, 4, "c", 5, 6.5]
    content = {"a.jsonl": lines(*({"text": f"t{i}", "v": value} for i, value in enumerate(values)))}
    content["b.jsonl"] = lines({"text": "other", "v": 7})
    source, record = ingested(tmp_path, content, rows_per_shard=rows_per_shard)
    assert sorted(row["v"] for row in rows(source) if row["v"] is not None) == [1, 2, 3, 4, 5, 6.5, 7]
    assert sorted(line for _, line, _ in quarantined(tmp_path)) == [1, 2, 8]
    assert record.count.rows_in == 11
    record.check()


PAIRS = {
    "a big integer and a fraction": (pa.table({"x": [2**53 + 1]}), pa.table({"x": [0.5]})),
    "text and numbers": (lines({"x": "seven"}), lines({"x": 7})),
    "a list and a cell": (lines({"x": [7]}), "text,x\nt,7\n"),
    "an aware and a naive time": tuple(pa.table({"x": pa.array([0], pa.timestamp("us", tz))}) for tz in (None, "UTC")),
    "bytes and text": (pa.table({"x": [b"x"]}), pa.table({"x": ["x"]})),
}
JOINED = {
    "an integer and a fraction": (pa.table({"x": [1]}), pa.table({"x": [0.5]}), {1.0, 0.5}),
    "decimals and integers": (
        pa.table({"x": pa.array([1], pa.decimal128(3, 2))}),
        pa.table({"x": [2**40]}),
        {1, 2**40},
    ),
    "a cell and text": ("text,x\nt,7\n", lines({"x": "seven"}), {"7", "seven"}),
    "a cell and a number": ("text,x\nt,7\n", lines({"x": 8}), {7, 8}),
    "unsigned and signed": (pa.table({"x": pa.array([2**63], pa.uint64())}), pa.table({"x": [-1]}), {2**63, -1}),
    "required and missing": (
        pa.table([pa.array([5])], schema=pa.schema([pa.field("x", pa.int64(), nullable=False)])),
        pa.table({"y": [1]}),
        {5, None},
    ),
    "a dictionary and text": (pa.table({"x": pa.array(["a"]).dictionary_encode()}), pa.table({"x": ["b"]}), {"a", "b"}),
    "an empty object and an object": (lines({"x": {}}), lines({"x": {"a": 1}}), {"{}", '{"a":1}'}),
    "objects with different fields": (
        lines({"x": {"b": 1}}),
        pa.table({"x": [{"a": 1, "b": None}]}),
        {'{"b":1}', '{"a":1,"b":null}'},
    ),
    "a list and text": (lines({"x": [1]}), lines({"x": "a"}), {"[1]", '"a"'}),
}


def files_of(contents: tuple[Any, ...], names: tuple[str, ...]) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for name, content in zip(names, contents, strict=True):
        if isinstance(content, pa.Table):
            files[f"{name}.parquet"] = content.append_column("text", pa.array([f"t{name}"] * len(content)))
        elif content.startswith("text"):
            files[f"{name}.csv"] = content
        else:
            files[f"{name}.jsonl"] = lines({"text": f"t{name}", **json.loads(content)})
    return files


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("rows_per_shard", [1, 100])
def test_two_files_without_a_common_type_are_both_named(tmp_path, pair, names, rows_per_shard):
    with pytest.raises(DataError, match=r"column 'x' is .* in .*pool/[ab]\..* and .* in .*pool/[ab]\.") as refused:
        ingested(tmp_path, files_of(pair, names), rows_per_shard=rows_per_shard)
    assert "input.types: {x: string}" in str(refused.value)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_remedy_that_is_named_works(tmp_path, pair):
    source, _ = ingested(tmp_path, files_of(pair, ("a", "b")), types={"x": "string"})
    assert source.columns["x"] == pa.string()
    assert source.rows == 2


@pytest.mark.parametrize("rows_per_shard", [1, 100])
@pytest.mark.parametrize("case", JOINED.values(), ids=JOINED)
def test_two_files_with_a_common_type_are_joined_in_any_order(tmp_path, case, rows_per_shard):
    kinds = set()
    for names in (("a", "b"), ("b", "a")):
        source, _ = ingested(tmp_path, files_of(case[:2], names), rows_per_shard=rows_per_shard)
        kinds.add(source.columns["x"])
        values = [row["x"] for row in rows(source)]
        assert {
            json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value for value in values
        } == case[2]
    assert len(kinds) == 1


def test_a_row_that_is_quarantined_says_nothing_of_the_types(tmp_path):
    files = {"a.csv": "text,x\nt,7\n,seven\n", "b.jsonl": lines({"text": "u", "x": 8}, {"text": None, "x": 9})}
    source, record = ingested(tmp_path, files)
    assert source.columns["x"] == pa.int64()
    assert (record.count.kept, record.count.quarantined) == (2, 2)


def test_declared_types_hold_for_every_format(tmp_path):
    files = {
        "a.csv": "text,zip,price\nt1,01234,1.10\nt2,5,x\n",
        "b.jsonl": lines({"text": "t3", "zip": 1234, "price": "7"}),
        "c.parquet": pa.table({"text": ["t4"], "zip": [5.0], "price": [2]}),
    }
    source, _ = ingested(tmp_path, files, types={"zip": "string", "price": "float64"})
    assert [(row["zip"], row["price"]) for row in rows(source)] == [("01234", 1.1), ("1234", 7.0), ("5.0", 2.0)]
    assert quarantined(tmp_path) == [("a.csv", 3, "column 'price' is not a number")]
    with pytest.raises(DataError, match=r"input.types: no input file has a column 'prize'; did you mean 'price'"):
        ingested(tmp_path, files, types={"zip": "string", "price": "string", "prize": "string"})


# ---------------------------------------------------------------- values that are not what their type says


def invalid(values: list[bytes], kind: pa.DataType) -> pa.Array:
    """An array of strings whose bytes nobody checked."""
    return pa.Array.from_buffers(kind, len(values), pa.array(values, pa.binary()).buffers())


@pytest.mark.parametrize(
    ("role", "nested"), [*((role, False) for role in ("text", "id", "label", "source", "carried")), ("carried", True)]
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), "dictionary"], ids=str)
def test_a_row_that_is_not_utf8_is_quarantined_whatever_the_column(tmp_path, role, nested, kind):
    bad = invalid([b"ok", b"caf\xe9", b"fine"], pa.string())
    bad = bad.dictionary_encode() if kind == "dictionary" else bad.cast(kind)
    if nested:
        bad = pa.StructArray.from_arrays([pa.ListArray.from_arrays([0, 1, 2, 3], bad)], ["inner"])
    columns = {name: ["p", "q", "r"] for name in ("text", "id", "label", "source", "carried")}
    table = pa.table({**columns, role: bad})
    source, _ = ingested(tmp_path, {"a.parquet": table}, id="id", label="label", source="source")
    assert source.rows == 2
    assert quarantined(tmp_path) == [("a.parquet", 2, f"column {role!r} is not UTF-8")]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_bytes_are_text_in_utf8(tmp_path, kind):
    table = pa.table({name: pa.array([b"x", b"\xff", "é".encode()], kind) for name in ("text", "label", "source")})
    source, _ = ingested(tmp_path, {"a.parquet": table}, label="label", source="source")
    read = source.read(0, ("text", "label", "source"))
    assert read.to_pylist() == [{"text": one, "label": one, "source": one} for one in ("x", "é")]
    assert [line for _, line, _ in quarantined(tmp_path)] == [2]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (pa.array([b"\xff\x00", b"a"]), ["ff00", "61"]),
        (pa.array([b"abc", b"abd"], pa.binary(3)), ["616263", "616264"]),
        (pa.array([bytes(16), b"\xff" * 16], pa.uuid()), [str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))]),
        (pa.array([2**64 - 1, 2**64 - 2], pa.uint64()), ["18446744073709551615", "18446744073709551614"]),
        (pa.array([2**62], pa.timestamp("us")), ["148108-07-06T14:00:27.387904"]),
        (pa.array([True, False]), ["true", "false"]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_ids_may_be_of_any_type(tmp_path, ids, names):
    source, _ = ingested(tmp_path, {"a.parquet": pa.table({"id": ids, "text": ["x", "y"][: len(ids)]})}, id="id")
    assert source.read(0, ("id",))["id"].to_pylist() == names


def test_a_type_that_cannot_be_stored_names_its_column(tmp_path):
    table = pa.table({"text": ["x"], "s": pa.array([{"a": 1}])})
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match=r"a\.parquet: column 's': an object with two fields of the same name"):
        ingested(tmp_path, {"a.parquet": table.set_column(1, "s", twice)})


def test_files_that_expand_very_much_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.store.expansion.FREE_BYTES", 1 << 16)
    rng = np.random.default_rng(0)
    repeated = [{"text": rng.bytes(count).hex() + "ab " * 4_000} for count in [40] * 50]
    table = pa.table({"text": pa.array(["ab " * 4_000] * 30).dictionary_encode()})
    files = {"a.jsonl": lines({"text": "x"}), "b.jsonl.gz": gzip.compress(lines(*repeated).encode())}
    _, record = ingested(tmp_path, {**files, "c.parquet": table})
    [warning] = guardrails.find_expanded_files(record)
    times = {Path(file["path"]).name: file.get("expansion", 0) for file in record.result.files}
    assert times["a.jsonl"] == 0
    assert times["b.jsonl.gz"] > 100
    assert times["c.parquet"] > 100
    worst = max(times, key=lambda name: times[name])
    assert warning.startswith(f"2 of 3 input files expand to more than 100 times their size, {tmp_path}/pool/{worst}")
    _, again = ingested(tmp_path, files)
    assert len(guardrails.find_expanded_files(again)) == 1
    _, usual = ingested(tmp_path, {"a.jsonl": lines({"text": "x"})})
    assert guardrails.find_expanded_files(usual) == []


def test_records_without_a_key_are_quarantined(tmp_path):
    _, record = ingested(tmp_path, {"a.jsonl": "{}\n{}\n", "b.jsonl": lines({"text": "x"}), "c.json": "[{}]"})
    assert (record.count.rows_in, record.count.kept, record.count.quarantined) == (4, 1, 3)
    assert quarantined(tmp_path) == [
        (f, n, "is an empty object") for f, n in [("a.jsonl", 1), ("a.jsonl", 2), ("c.json", 1)]
    ]


def test_a_column_without_a_value_goes_with_any_type(tmp_path):
    files = {"a.jsonl": lines({"text": "x"}, {"text": None, "lang": []}), "lang=en/b.jsonl": lines({"text": ""})}
    source, record = ingested(tmp_path, files, files=str(tmp_path / "pool" / "**"))
    assert (record.count.kept, record.count.quarantined) == (1, 2)
    assert rows(source) == [{"text": "x", "lang": None}]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "size"), [(6_600, 3_300), (220, 100_000)])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("same", [False, True])
def test_shards_of_long_texts_have_fewer_rows(tmp_path, monkeypatch, count, size, kind, same):
    """As 66,000 texts of 33 KB, or 2,200 of 1 MB, do at a hundred and ten times this scale."""
    monkeypatch.setattr(shard_writer, "SHARD_BYTES", 1 << 21)
    monkeypatch.setattr("curate.store.parquet_records.MAX_BATCH_BYTES", 1 << 20)
    monkeypatch.setattr("curate.store.arrow_batches.MAX_BATCH_BYTES", 1 << 20)
    texts = ["x" * size if same else f"{number:06d}" + "x" * (size - 6) for number in range(count)]
    source, record = ingested(tmp_path, {"a.parquet": pa.table({"text": pa.array(texts, kind)})})
    assert source.rows == record.count.kept == count
    assert len(source.shards) > 3
    for table in source.iterate_shards(("text",)):
        assert table["text"].nbytes <= (1 << 21) + (1 << 20)


# ---------------------------------------------------------------- metadata, folders, tokens


def described(table: pa.Table, **features: Any) -> pa.Table:
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


LABELS = {"names": ["neg", "pos"], "_type": "ClassLabel"}


def test_class_labels_are_carried_to_the_export(tmp_path):
    table = described(
        pa.table({"text": ["x", "y"], "label": [0, 1]}), label=LABELS, text={"dtype": "string", "_type": "Value"}
    )
    ingested(tmp_path, {"a.parquet": table, "b.jsonl": lines({"text": "z", "label": 1})})
    pipeline.run(configured(tmp_path, {}), Serial())
    [path] = (tmp_path / "run" / "export" / "current" / "data").glob("*.parquet")
    metadata = json.loads(pq.read_schema(path).metadata[b"huggingface"])
    assert metadata["info"]["features"]["label"] == LABELS
    import datasets

    loaded = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["label"].names == ["neg", "pos"]
    assert loaded["label"] == [0, 1, 1]


def test_class_labels_with_other_names_are_refused(tmp_path):
    table = pa.table({"text": ["x"], "label": [0]})
    other = {**LABELS, "names": ["pos", "neg"]}
    with pytest.raises(
        DataError, match=r"column 'label' has class labels with different names in .*a\.parquet and .*b"
    ):
        ingested(tmp_path, {"a.parquet": described(table, label=LABELS), "b.parquet": described(table, label=other)})


@pytest.mark.parametrize("metadata", [b"\xff", b"[]", b'{"info": 7}', b'{"info": {"features": [1]}}'])
def test_metadata_that_makes_no_sense_is_ignored(tmp_path, metadata):
    table = pa.table({"text": ["x"]}).replace_schema_metadata({"huggingface": metadata})
    source, _ = ingested(tmp_path, {"a.parquet": table})
    assert source.schema.metadata is None


def test_folders_are_columns_of_one_type(tmp_path):
    files = {"lang=en/y=01/a.jsonl": lines({"text": "x"}), "lang=de/y=2/a.jsonl": lines({"text": "y"})}
    source, _ = ingested(tmp_path, files, files=str(tmp_path / "pool" / "**" / "*.jsonl"), source="lang")
    assert [(row["lang"], row["y"]) for row in rows(source)] == [("de", "2"), ("en", "01")]
    assert source.read(0, ("source",))["source"].to_pylist() == ["de", "en"]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_column_of_token_counts_must_be_in_every_file(tmp_path, names):
    files = {f"{names[0]}.jsonl": lines({"text": "x", "n": 5}), f"{names[1]}.jsonl": lines({"text": "y"})}
    with pytest.raises(
        DataError, match=rf"{names[1]}\.jsonl: input.tokens: the file has no column 'n', but .*{names[0]}"
    ):
        ingested(tmp_path, files, tokens="n")


def test_a_row_without_a_token_count_is_quarantined(tmp_path):
    values = [5, None, -1, 2**31, 0]
    source, _ = ingested(tmp_path, {"a.jsonl": lines(*({"text": f"t{n}", "n": n} for n in values))}, tokens="n")
    assert source.read(0, ("tokens",))["tokens"].to_pylist() == [5, 0]
    assert [reason for _, _, reason in quarantined(tmp_path)] == [
        "has no token count (column 'n' is null)",
        *["has a token count out of range (column 'n')"] * 2,
    ]


def test_nan_literals_are_counted(tmp_path):
    _, record = ingested(tmp_path, {"a.jsonl": '{"text": "x", "v": NaN}\n{"text": "y", "v": -Infinity}\n'})
    assert record.result.files[0]["non_finite"] == 2


def test_batches_are_small_where_records_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.store.json_records.MAX_BATCH_BYTES", 1_000)
    source, record = ingested(tmp_path, {"a.jsonl": lines(*({"text": "x" * 900 + str(i)} for i in range(9)))})
    assert source.rows == 9
    assert record.result.files[0]["lines"] == 9
    assert records.MAX_BATCH_BYTES > 1_000


def test_every_value_of_a_float_column_is_as_it_was(tmp_path):
    values = [0.1, -0.0, math.inf, 5e-324, None]
    table = pa.table({"text": list("abcde"), "v": values, "w": np.arange(5).astype(np.float16)})
    source, _ = ingested(tmp_path, {"a.parquet": table})
    assert pa.concat_tables(source.iterate_shards((), ("text", "v", "w"))).equals(table)


def test_any_order_of_any_files_gives_the_same_columns(tmp_path):
    contents = [lines({"x": 1, "m": {"b": 1}}), lines({"x": 0.5, "m": {"a": 1}}), "text,x\nt,7\n"]
    kinds = set()
    for order in itertools.permutations("abc"):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        files = {}
        for name, content in zip(order, contents, strict=True):
            files |= files_of((content,), (name,))
        source, _ = ingested(tmp_path, files)
        kinds.add(tuple(sorted((name, str(kind)) for name, kind in source.columns.items())))
    assert len(kinds) == 1
