"""Whether ``curate evaluate`` judges the published selection, and says what it could not judge."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.errors import DataError
from curate.evaluation.evaluate import as_dict, evaluate
from curate.executors.serial import Serial
from curate.report import evaluation_text
from curate.store import parquet_io

FOLDER = Path(__file__).parent
WITH_PLANS = [str(FOLDER / "nearest_class.py"), str(FOLDER / "weighed.py"), str(FOLDER.parent / "stages/draws.py")]


def test_the_published_selection_is_tested_on_the_test_files(crowd, over):
    curate.run(over(select=[{"use": "facility_location", "keep": 31}]))
    found = evaluate(Path("run"), Serial(), seeds=3)
    line = found.metrics[0]
    assert (found.rows, found.pool, line.selection.mean, line.full.mean) == (31, 636, 1.0, 1.0)
    assert line.difference.mean - line.difference.half_width > 0
    assert line.p_holm < 0.05
    low, high = line.resampled
    assert 0 < low < line.difference.mean < high
    assert "by paired bootstrap" in evaluation_text.metrics(found.metrics)[0]
    written = parquet_io.read_json(Path("run/evaluate/evaluate.json"))
    assert written == json.loads(json.dumps(as_dict(found)))


def test_test_files_that_are_not_there_are_named_as_such(crowd, over):
    curate.run(over(select=[{"use": "uniform", "keep": 9}]))
    with pytest.raises(DataError, match=r"evaluate\.files: no file matches 'nowhere\.parquet'"):
        evaluate(Path("run"), Serial(), files=["nowhere.parquet"])


@pytest.mark.slow
def test_without_test_files_the_section_is_asked_again_with_a_share_held_out(crowd, over):
    curate.run(over(evaluate={"holdout_rate": 0.25}, select=[{"use": "facility_location", "keep": 40}]))
    before = Path("run/export").stat().st_mtime_ns
    found = evaluate(Path("run"), Serial(), seeds=2)
    assert "held out of the pool" in found.tested
    assert found.metrics[0].difference.mean > 0
    assert Path("run/export").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_plan_of_epochs_is_judged_by_its_rows_and_how_often_they_are_used(crowd, over):
    data = over(plugins=WITH_PLANS, metrics=[{"use": "nearest_class"}, {"use": "weighed"}])
    curate.run({**data, "select": [{"use": "draws", "keep": 12}]})
    ledger = pl.read_parquet("run/select/part-*.parquet").filter("selected")
    found = evaluate(Path("run"), Serial(), seeds=2)
    weighed = found.line("weighed")
    assert (found.rows, weighed.selection.mean, weighed.uniform.mean) == (len(ledger), 5 * 12, len(ledger))
    (told,) = [note for note in found.notes if note.startswith("draws plans epochs")]
    assert told in Path("run/report.html").read_text()


@pytest.mark.slow
def test_without_labels_it_says_which_metrics_remain(crowd, over):
    spread = str(Path(__file__).parent / "spread.py")
    files = {"files": "pool/*.parquet", "id": "id", "text": "text"}
    curate.run(over(plugins=[*over()["plugins"], spread], metrics=[], input=files))
    found = evaluate(Path("run"), Serial(), seeds=2)
    assert "spread" in [line.name for line in found.metrics]
    assert "nearest_class_accuracy" not in [line.name for line in found.metrics]
    told = next(note for note in found.notes if "the input has no labels" in note)
    assert "nearest_class" in told.partition("cannot be asked")[0]


@pytest.mark.slow
def test_the_groups_that_lose_are_told_first(crowd, over):
    """Only classes that the selection misses lose: the most typical rows are all of a few."""
    curate.run(over(select=[{"use": "top_k", "keep": 60}]))
    found = evaluate(Path("run"), Serial(), seeds=2)
    labels = [group for group in found.slices if group.by == "label"]
    assert (labels[0].selection, labels[0].full, labels[0].lost.mean) == (0.0, 1.0, -1.0)
    assert {group.lost.mean for group in labels} == {-1.0, 0.0}
    assert found.slices[0].lost.mean == min(group.lost.mean for group in found.slices)
    assert evaluation_text.worst(found)[1][0][1].startswith("0.0 % (")


@pytest.mark.slow
def test_evaluating_changes_nothing_that_a_run_would_do_again(crowd, over):
    curate.run(over())
    evaluate(Path("run"), Serial(), seeds=2)
    assert curate.run(over(evaluate={"files": "test.parquet", "seeds": 9})).unchanged
