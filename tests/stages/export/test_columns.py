"""Columns of an export: kept, dropped and renamed, with the metadata that describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import ConfigError, CurateError, DataError
from curate.store import versions

ROWS = [
    {
        "id": f"r{i}",
        "body": f"write to ann{i}@example.org",
        "note": None if i % 2 else "n",
        "n": i,
        "chat": [{"a": str(i)}],
    }
    for i in range(10)
]


def export(folder: Path, export: dict[str, Any], rows: list[dict[str, Any]] = ROWS, **changes: Any) -> Path:
    """Export all rows, and return the folder of the version."""
    pool = folder / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(pool), "id": "id", "text": "body"},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": "parquet", **export},
        **changes,
    }
    done = curate.run(data)
    return Path(done.version)


def read(version: Path) -> pl.DataFrame:
    return pl.read_parquet(str(version / "data" / "*.parquet"))


def test_columns_are_kept_in_the_listed_order_and_added_ones_follow(tmp_path):
    frame = read(export(tmp_path, {"columns": ["n", "body"], "add": ["weight", "id"]}))
    assert frame.columns == ["n", "body", "curate_id", "curate_weight"]
    assert frame["n"].to_list() == list(range(10))


def test_dropped_columns_are_missing_and_the_text_may_be_one_of_them(tmp_path):
    assert read(export(tmp_path, {"drop": ["body", "note"]})).columns == ["id", "n", "chat"]


def test_columns_get_new_names_also_in_the_card(tmp_path):
    version = export(tmp_path, {"rename": {"body": "text", "curate_weight": "weight"}, "add": ["weight"]})
    assert read(version).columns == ["id", "text", "note", "n", "chat", "weight"]
    card = (version / "README.md").read_text()
    assert "- name: weight" in card
    assert "- name: body" not in card


def test_two_columns_can_exchange_their_names(tmp_path):
    frame = read(export(tmp_path, {"rename": {"body": "note", "note": "body"}}))
    assert frame["body"].to_list() == [row["note"] for row in ROWS]
    assert frame["note"].to_list() == [row["body"] for row in ROWS]


def test_masking_applies_to_kept_text_columns(tmp_path):
    version = export(tmp_path, {"columns": ["body"], "rename": {"body": "text"}, "mask_pii": ["email"]})
    assert read(version)["text"].to_list() == ["write to <EMAIL>"] * 10
    assert versions.read_contents(version)["masked"] == {"rows": 10, "spans": {"email": 10}}


def test_explicit_nulls_of_json_records_follow_new_names(tmp_path):
    rows = [{"id": "a", "body": "x", "note": None, "old": None}, {"id": "b", "body": "y", "old": "z"}]
    version = export(tmp_path, {"use": "jsonl", "rename": {"note": "old", "old": "note"}, "drop": ["body"]}, rows)
    lines = [json.loads(line) for line in next(version.rglob("*.jsonl")).read_text().splitlines()]
    assert lines == [{"id": "a", "old": None, "note": None}, {"id": "b", "note": "z"}]


def test_features_in_the_metadata_follow_the_columns(tmp_path):
    label = {"names": ["no", "yes"], "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "y": label, "z": label}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode(), b"pandas": b"{}"}
    table = pa.table({"text": ["a", "b"], "y": [0, 1], "z": [1, 0]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "pool.parquet")
    settings = {
        "curate": 1,
        "run": str(tmp_path / "run"),
        "input": {"files": str(tmp_path / "pool.parquet"), "text": "text"},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": "parquet", "rename": {"y": "label"}, "drop": ["z"]},
    }
    version = Path(curate.run(settings).version)
    written = pq.read_schema(next(version.rglob("*.parquet"))).metadata
    kept = {"text": features["text"], "label": label}
    assert json.loads(written[b"huggingface"])["info"]["features"] == kept
    assert b"pandas" not in written
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(version), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["label"].names == ["no", "yes"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": ["bodi"]}, "no input file has a column 'bodi'; did you mean 'body'?"),
        ({"drop": ["bodi"]}, "no input file has a column 'bodi'; did you mean 'body'?"),
        ({"rename": {"bodi": "x"}}, "no input file has a column 'bodi'; did you mean 'body'?"),
        ({"columns": ["n", "n"]}, "'n' is listed twice"),
        ({"columns": ["n"], "drop": ["body"]}, "either listed to be kept or to be left out"),
        ({"rename": {"body": "x", "note": "x"}}, "two columns would be called 'x'"),
        ({"rename": {"body": "n"}}, "two columns would be called 'n'"),
        ({"rename": {"body": "x"}, "drop": ["body"]}, "column 'body' is not exported"),
        ({"rename": {"body": "x"}, "columns": ["n"]}, "column 'body' is not exported"),
        ({"rename": {"curate_rank": "x"}}, "no input file has a column 'curate_rank'"),
        ({"drop": list(ROWS[0])}, "no input column is left to export"),
        ({"drop": ["body"], "mask_pii": ["email"]}, "no column of input.text is exported"),
        ({"drop": ["body"], "remove_repeated_spans": 5}, "no column of input.text is exported"),
        ({"bytes_per_file": "2 gigs"}, "a size such as '256MiB'"),
        ({"columns": []}, "non-empty list"),
    ],
)
def test_mistakes_are_refused_before_the_run(tmp_path, given, message):
    with pytest.raises(CurateError, match=message.replace("?", r"\?").replace("(", r"\(")) as error:
        export(tmp_path, given)
    assert isinstance(error.value, ConfigError | DataError)
    assert not (tmp_path / "run" / "embed").exists()
