"""Files of an export are in an order that readers without its card can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial


def exported(folder: Path, rows: list[dict[str, Any]], use: str) -> Path:
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(folder / "a.jsonl"), "text": "text"},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": use, "rows_per_file": 5},
    }
    pipeline.run(config_from_dict(data), Serial())
    assert not (folder / "run" / "export" / ".incoming").exists()
    return folder / "run" / "export" / "current"


ROWS = [
    {"n": i, "text": f"text {i}", "note": None if i < 15 else "x", "other": "y" if i == 12 else None} for i in range(20)
]


def test_the_first_file_without_types_has_values_in_most_columns(tmp_path):
    current = exported(tmp_path, ROWS, "jsonl")
    frame = pl.read_ndjson(str(current / "data" / "*.jsonl"), schema_overrides={"note": pl.String})
    assert frame.sort("n").to_dicts() == ROWS
    files = json.loads((current / "manifest.json").read_text())["files"]
    assert [file["file"] for file in files] == [f"data/train-0000{number}-of-00004.jsonl" for number in range(4)]
    assert [json.loads((current / file["file"]).read_text().splitlines()[0])["n"] for file in files] == [10, 5, 0, 15]
    assert all("empty_columns" not in file for file in files)


def test_files_that_have_types_stay_in_the_order_of_the_pool(tmp_path):
    current = exported(tmp_path, ROWS, "parquet")
    assert pl.read_parquet(str(current / "data" / "*.parquet")).to_dicts() == ROWS


@pytest.mark.parametrize("use", ["jsonl", "parquet"])
def test_files_whose_first_is_as_good_as_any_stay_in_order(tmp_path, use):
    current = exported(tmp_path, [{**row, "note": "x", "other": None} for row in ROWS], use)
    read = pl.read_parquet if use == "parquet" else pl.read_ndjson
    assert read(str(current / "data" / f"*.{use}"))["n"].to_list() == list(range(20))
