"""Columns of every type can be used in conditions, groups and as labels, or an error names them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError, DataError
from curate.executors.serial import Serial
from curate.pool.view import to_series
from curate.progress import NullProgress
from curate.stages.select import run_selector
from curate.store import parquet_io
from curate.store.arrow_values import to_storable

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("type_table", ROOT / "docs" / "type_table.py")
TABLE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TABLE)
REFUSED = {
    "a decimal of more than 38 digits": pa.array([1], pa.decimal256(60, 2)),
    "a list of these": pa.array([[1]], pa.list_(pa.decimal256(60, 2))),
    "a time zone that there is not": pa.array([0], pa.timestamp("us", "Mars/Olympus")),
}
TYPES = {name: array for name, array in TABLE.examples() if not pa.types.is_union(array.type)}


def run(folder: Path, array: pa.Array, **use: str) -> None:
    column = pa.chunked_array([array, pa.nulls(1, array.type)])
    pq.write_table(pa.table({"text": ["one two", "three four"], "x": column}), folder / "a.parquet")
    select = [{"use": "where", "drop": use["drop"]}] if "drop" in use else []
    within = {"within": use["within"]} if "within" in use else {}
    config = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(folder / "a.parquet"), "text": use.get("text", "text"), "label": use.get("label")},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [*select, {"use": "uniform", "keep_rate": 1.0, **within}],
        "export": {"use": "jsonl"},
    }
    config["input"] = {key: value for key, value in config["input"].items() if value is not None}
    pipeline.run(config_from_dict(config), Serial())


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_a_column_of_every_type_can_be_used_or_is_refused_by_name(tmp_path, name):
    array = TYPES[name]
    if pa.types.is_run_end_encoded(array.type) or array.type == pa.struct([]):  # which Parquet does not hold
        array = to_storable(array)
    run(tmp_path, array, drop="x is not null and false", within="x", text="{text} {x}")
    if pa.types.is_nested(array.type):
        with pytest.raises(DataError, match=r"input\.label: column 'x' is .*; it must be text or a number"):
            run(tmp_path, array, label="x")
    else:
        run(tmp_path, array, label="x")


@pytest.mark.parametrize("name", TYPES)
def test_a_quota_names_groups_of_every_type_or_refuses_the_type(name):
    try:
        column = to_series(pa.chunked_array([TYPES[name], pa.nulls(1, TYPES[name].type)]), "x")
        groups = run_selector.build_groups(column, {"a": 1})
    except DataError as error:
        assert re.search("a quota cannot name groups of|which conditions and groups cannot use", str(error))
        return
    assert groups.names[0] == ""
    assert len(groups.names) == len(groups.rows) == len(set(groups.names))


@pytest.mark.parametrize("use", [{"drop": "x is null"}, {"within": "x"}], ids=lambda use: next(iter(use)))
@pytest.mark.parametrize("array", REFUSED.values(), ids=REFUSED)
def test_a_column_that_conditions_cannot_use_is_refused_with_a_remedy(tmp_path, array, use):
    with pytest.raises(CurateError, match=r"column 'x' is .*, which conditions and groups cannot use") as refused:
        run(tmp_path, array, **use)
    assert "input.types: {x: string}" in str(refused.value)


# ---------------------------------------------------------------- how often a column is read


class Steps(NullProgress):
    """The step under way."""

    def __init__(self):
        self.step = ""

    def enter(self, stage, entry):
        self.step = f"{stage} {entry}"


@pytest.mark.parametrize("lost", [False, True], ids=["every row", "some rows quarantined"])
def test_a_step_reads_the_ids_of_a_shard_once(pool, config, monkeypatch, lost):
    """Whatever it needs them for, and however many embed entries there are."""
    for path in pool.iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        vectors = [[float(number % 5 + 1), 1.0] for number in range(len(rows))]
        if lost:
            vectors[3] = [0.0, 0.0]
        lines = [json.dumps({**row, "v": vector}) for row, vector in zip(rows, vectors, strict=True)]
        path.write_text("\n".join(lines) + "\n")
    settings = config(
        embed=[{"use": "hashing", "dimensions": 32}, {"use": "column", "column": "v"}],
        proxy={"use": "logistic", "epochs": 2},
        score=[{"use": "el2n"}, {"use": "density"}],
        select=[{"use": "where", "drop": "stars = 4"}, {"use": "k_center", "keep": 20, "within": "topic"}],
        export={"use": "jsonl", "add": ["cluster"]},
        guard={"max_quarantine_rate": 0.5},
    )
    progress, reads, real = Steps(), Counter(), parquet_io.read

    def read(path, columns=None, **options):
        if path.parts[1] == "embed" and progress.step and columns is not None and "id" in columns:
            reads[progress.step, path] += 1
        return real(path, columns, **options)

    monkeypatch.setattr(parquet_io, "read", read)
    pipeline.run(config_from_dict(settings), Serial(), progress)
    steps = {step for step, _ in reads}
    assert {"proxy logistic", "score el2n", "select select"} <= steps
    assert set(reads.values()) == {1}
