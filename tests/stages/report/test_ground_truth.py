"""The answer key is looked at before the pool is read, in any format that a pool may have."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.errors import DataError
from curate.stages.report.ground_truth import read


@pytest.mark.parametrize("name", ["key.csv", "key.jsonl", "key.parquet"])
def test_a_key_of_any_format_gives_strings(tmp_path, name):
    frame = pl.DataFrame({"id": [7, 8], "kind": ["junk", "copy"], "line": [1, 2]})
    getattr(frame, {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}[name[4:]])(tmp_path / name)
    assert read(tmp_path / name).rows() == [("7", "junk", None), ("8", "copy", None)]


def test_what_is_wrong_with_a_key_is_told_before_anything_is_done(pool, config):
    with pytest.raises(DataError, match=r"evaluate.ground_truth: no file matches 'nowhere.csv'"):
        curate.run(config(evaluate={"ground_truth": "nowhere.csv"}))
    Path("key.csv").write_text("id,sort\nr1,junk\n")
    with pytest.raises(DataError, match="no column 'kind'") as error:
        curate.run(config(evaluate={"ground_truth": "key.csv"}))
    assert "id, sort" in error.value.hint
    assert not Path("run/input").exists()


def test_the_report_sets_the_key_beside_what_became_of_the_rows(pool, config, command):
    Path("key.csv").write_text("id,kind\nr0001,odd\nr0002,odd\nnobody,odd\n")
    told = config(evaluate={"ground_truth": "key.csv"}, select=[{"use": "uniform", "keep": 59}])
    curate.run(told)
    page = Path("run/report.html").read_text()
    assert "Comparison with the ground truth" in page
    assert "1 row of the ground truth is not in the pool" in page


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        pytest.param(
            ['{"id": "a", "kind": "x"}', "half"],
            "key.jsonl:2: cannot read the ground truth: the line does not parse",
            id="no JSON",
        ),
        pytest.param(
            ['{"id": "a", "kind": null}'], "key.jsonl:1: the line of the ground truth has no kind", id="no kind"
        ),
        pytest.param(
            ['{"id": "a", "kind": "x"}'] * 2, "key.jsonl:2: the ground truth has a second line for the id 'a'", id="2"
        ),
        pytest.param(['{"id": "a", "kind": ["x"]}'], "column 'kind' of the ground truth is list<", id="a list"),
        pytest.param([""], "no column 'id'; the file has no rows", id="empty"),
    ],
)
def test_a_row_that_says_nothing_of_a_row_is_refused_with_its_line(tmp_path, lines, told):
    path = tmp_path / "key.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=re.escape(told)):
        read(path)


def test_lines_without_an_id_are_of_rows_that_have_none(tmp_path):
    path = tmp_path / "key.jsonl"
    path.write_text('{"id": null, "kind": "unreadable"}\n' * 2 + '{"id": "a", "kind": "x"}\n')
    assert read(path)["id"].to_list() == [None, None, "a"]
