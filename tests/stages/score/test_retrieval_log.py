"""Logs of retrievals: formats, rows that are not in the pool, groups, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import curate
from curate.errors import CurateError, DataError
from curate.kernels.valuation.retrieval_importance import retrieval_importance
from curate.progress import NullProgress
from curate.stages.score import retrieval_log
from curate.stages.score.stage import build_groups

LINES = [
    {"query": "a", "id": "r0003", "rank": 2, "utility": 0},
    {"query": "7", "id": "r0001", "rank": 1, "utility": 0.5},
    {"query": "a", "id": "r0001", "rank": 1, "utility": 1},
    {"query": "a", "id": "gone", "rank": 3, "utility": 1},
    {"query": "b", "id": "gone", "rank": 1, "utility": 1},
    {"query": "a", "id": "r0000", "rank": 10, "utility": 1},
]
IDS = pa.chunked_array([[f"r{n:04d}" for n in range(3)], [f"r{n:04d}" for n in range(3, 6)]])


def write(lines, path="log.jsonl") -> str:
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def read(path="log.jsonl"):
    progress = NullProgress()
    notes: list[str] = []
    progress.note = notes.append
    return retrieval_log.read(progress, "importance", path, IDS), notes


def as_lists(log):
    return [log.rows[a:b].tolist() for a, b in zip(log.starts[:-1], log.starts[1:], strict=True)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_rows_are_ranked_query_by_query_and_unknown_rows_are_counted():
    log, notes = read(write(LINES))
    assert as_lists(log) == [[1, 3, 0], [1], []]
    assert log.utility.tolist() == [1, 0, 1, 0.5]
    assert notes == ["score importance: 2 of 6 retrievals are of rows that are not in the pool"]


def test_similarities_rank_in_descending_order_and_ties_by_line():
    lines = [{k: v for k, v in line.items() if k != "rank"} | {"similarity": -line["rank"] // 4} for line in LINES]
    assert as_lists(read(write(lines))[0]) == [[3, 1, 0], [1], []]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_other_formats_and_several_files_give_the_same(suffix):
    expected = read(write(LINES))[0]
    frame = pl.DataFrame(LINES, schema_overrides={"utility": float})
    for number, part in enumerate((frame[:2], frame[2:])):
        getattr(part, f"write_{suffix}")(f"part{number}.{suffix}")
    log = read(f"part*.{suffix}")[0]
    assert as_lists(log) == as_lists(expected)
    assert np.array_equal(log.utility, expected.utility)


WRONG = {
    "no utility": ([{"query": "a", "id": "r0000", "rank": 1}], "log.jsonl:1: the log has no column 'utility'"),
    "no rank": ([{"query": "a", "id": "r0000", "utility": 1}], "the log has no column 'rank' or 'similarity'"),
    "a null query": (
        [LINES[0], {"query": None, "id": "r0000", "rank": 1, "utility": 1}],
        "log.jsonl:2: the log has no 'query' in this line",
    ),
    "words as utility": (
        [{"query": "a", "id": "r0000", "rank": 1, "utility": "good"}],
        "lines 1 to 1: the column 'utility' of the log does not contain numbers",
    ),
    "a null utility": ([LINES[0], LINES[1] | {"utility": None}], "log.jsonl:2: the log has no finite 'utility'"),
    "a row twice": (
        [LINES[0], LINES[1], LINES[0] | {"rank": 9}],
        "log.jsonl:3: the log has a second line for this query and row",
    ),
    "only other rows": ([LINES[3]], "log.jsonl: no line of the log is about a row of the pool"),
}


@pytest.mark.parametrize(("lines", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_log_is_an_error_that_names_the_line(lines, message):
    with pytest.raises(DataError) as error:
        read(write(lines))
    assert message in str(error.value)


def test_an_infinite_number_and_a_broken_line_are_errors():
    Path("log.csv").write_text("query,id,rank,utility\na,r0000,1,inf\n")
    with pytest.raises(DataError, match=r"log\.csv:2: the log has no finite 'utility'"):
        read("log.csv")
    Path("log.jsonl").write_text(json.dumps(LINES[0]) + "\n{\n")
    with pytest.raises(DataError, match=r"log\.jsonl:2: cannot read the log"):
        read()


def test_an_empty_log_is_an_error():
    Path("log.jsonl").write_text("")
    with pytest.raises(DataError, match="the log has no lines"):
        read()


def scores(run="run"):
    table = pl.read_parquet(f"{run}/score/retrieval_importance/*.parquet").sort("id")
    return table["score_retrieval_importance"].to_numpy(), table["score_retrieval_importance_queries"].to_list()


def test_a_run_computes_the_importance_by_group(pool, config):
    entry = {"use": "retrieval_importance", "files": write(LINES), "top_k": 1, "steps": 3, "step_size": 0.5}
    curate.run(config(score=[entry]))
    options = {"k": 1, "steps": 3, "step_size": 0.5, "tolerance": 0.001}
    rows, starts, utility = np.array([1, 3, 0, 1]), np.array([0, 3, 4]), np.array([1, 0, 1, 0.5])
    values, queries = scores()
    np.testing.assert_allclose(values, retrieval_importance(rows, starts, utility, 60, **options), rtol=1e-6)
    assert queries[:4] == [1, 2, 0, 1]
    assert values[5] == 0.5
    groups = (np.arange(60) % 4).astype(np.int32)
    curate.run(config(score=[entry | {"group": "topic"}], run="grouped"))
    expected = retrieval_importance(rows, starts, utility, 60, **options, groups=groups)
    np.testing.assert_allclose(scores("grouped")[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["b", None, "a", "b"], ("a", "b"), [1, -1, 0, 1]),
        ([10, 9, None, 10], ("9", "10"), [1, 0, -1, 1]),
        ([True, False], ("false", "true"), [1, 0]),
        ([["x"], ["a", "b"], None, ["x"]], ("['a', 'b']", "['x']"), [1, 0, -1, 1]),
        ([None, None], (), [-1, -1]),
    ],
)
def test_groups_are_those_of_equal_values(values, names, codes):
    found, found_names = build_groups(pl.Series(values))
    assert found.dtype == np.int32
    assert (found.tolist(), found_names) == (codes, names)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"group": "label"}, "input.label is not set"),
        ({"group": "tpic"}, "no input file has a column 'tpic'; did you mean 'topic'?"),
        ({"files": "none/*.jsonl"}, "no file matches 'none/*.jsonl'"),
        ({"files": "bad.jsonl"}, "score.0.files: bad.jsonl:1: the log has no column 'utility'"),
    ],
)
def test_a_wrong_entry_is_found_before_the_run(pool, config, entry, message):
    data = config(score=[{"use": "retrieval_importance", "files": write(LINES), **entry}])
    data["input"].pop("label", None)
    write([{"query": "a", "id": "r0000", "rank": 1}], "bad.jsonl")
    with pytest.raises(CurateError) as error:
        curate.run(data)
    assert not Path("run/embed").exists()
    assert message in str(error.value)
