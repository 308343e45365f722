"""Tests of ``curate evaluate`` on published selections."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.evaluation.compare import compare
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
    assert line.p < 0.05
    low, high = line.resampled
    assert 0 < low < line.difference.mean < high
    assert "95 % interval by paired bootstrap" in evaluation_text.metrics(found.metrics)[0]
    written = parquet_io.read_json(Path("run/evaluate/evaluate.json"))
    assert written == json.loads(json.dumps(as_dict(found)))


def test_missing_test_files_are_named(crowd, over):
    curate.run(over(select=[{"use": "uniform", "keep": 9}]))
    with pytest.raises(DataError, match=r"evaluate\.files: no file matches 'nowhere\.parquet'"):
        evaluate(Path("run"), Serial(), files=["nowhere.parquet"])


@pytest.mark.slow
def test_without_test_files_the_selection_is_repeated_with_held_out_rows(crowd, over):
    curate.run(over(evaluate={"holdout_rate": 0.25}, select=[{"use": "facility_location", "keep": 40}]))
    before = Path("run/export").stat().st_mtime_ns
    found = evaluate(Path("run"), Serial(), seeds=2)
    assert "held out from the pool" in found.tested
    assert found.metrics[0].difference.mean > 0
    assert Path("run/export").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_plan_of_epochs_is_evaluated_by_its_rows_and_their_frequencies(crowd, over):
    data = over(plugins=WITH_PLANS, metrics=[{"use": "nearest_class"}, {"use": "weighed"}])
    curate.run({**data, "select": [{"use": "draws", "keep": 12}]})
    ledger = pl.read_parquet("run/select/part-*.parquet").filter("selected")
    found = evaluate(Path("run"), Serial(), seeds=2)
    weighed = found.line("weighed")
    assert (found.rows, weighed.selection.mean, weighed.uniform.mean) == (len(ledger), 5 * 12, len(ledger))
    (told,) = [note for note in found.notes if "because draws plans epochs" in note]
    assert told[1:] in Path("run/report.html").read_text()


@pytest.mark.slow
def test_without_labels_the_remaining_metrics_are_named(crowd, over):
    spread = str(Path(__file__).parent / "spread.py")
    files = {"files": "pool/*.parquet", "id": "id", "text": "text"}
    curate.run(over(plugins=[*over()["plugins"], spread], metrics=[], input=files))
    found = evaluate(Path("run"), Serial(), seeds=2)
    assert "spread" in [line.name for line in found.metrics]
    assert "nearest_class_accuracy" not in [line.name for line in found.metrics]
    told = next(note for note in found.notes if "without labels" in note)
    assert "nearest_class" in told.partition("cannot be computed")[0]


@pytest.mark.slow
def test_groups_are_ordered_by_their_loss(crowd, over):
    """Only classes that the selection misses lose accuracy: the most typical rows are of few classes."""
    curate.run(over(select=[{"use": "top_k", "keep": 60}]))
    found = evaluate(Path("run"), Serial(), seeds=2)
    labels = [group for group in found.slices if group.grouping == "label"]
    assert (labels[0].selection, labels[0].full, labels[0].lost.mean) == (0.0, 1.0, -1.0)
    assert {group.lost.mean for group in labels} == {-1.0, 0.0}
    assert found.slices[0].lost.mean == min(group.lost.mean for group in found.slices)
    assert evaluation_text.worst(found)[1][0][1].startswith("0.0 % (")


@pytest.mark.slow
def test_an_evaluation_does_not_make_a_run_repeat_stages(crowd, over):
    curate.run(over())
    evaluate(Path("run"), Serial(), seeds=2)
    assert curate.run(over(evaluate={"files": "test.parquet", "seeds": 9})).unchanged


def agree(run: str, data: dict, select: list[str] | None = None, seeds: int = 3) -> None:
    """Evaluate a run and compare the same selector at the same size, and check that both find the same."""
    curate.run({**data, "run": run})
    mine = evaluate(Path(run), Serial(), seeds=seeds)
    (rate,) = {entry["prune_rate"] for entry in data["select"] if "prune_rate" in entry}
    theirs = compare(
        config_from_dict({**data, "run": f"{run}-2"}), Serial(), select=select or (), prune_rates=[rate], seeds=seeds
    )
    cell = theirs.cells[data["select"][-1]["use"], rate]
    assert mine.primary == theirs.primary.name
    for line in mine.metrics:
        assert repr(cell.values[line.name]) == repr(line.selection)  # NaN equals nothing
        assert repr(cell.differences[line.name]) == repr(line.difference)
        assert repr(theirs.full[line.name]) == repr(line.full) or line.full is None
        assert repr(theirs.cells["uniform", rate].values[line.name]) == repr(line.uniform)
    line = mine.line(mine.primary)
    assert repr(line.p) == repr(cell.differences[line.name].p)
    if theirs.comparisons == 1:
        assert (repr(line.p), line.seeds_needed) == (repr(cell.p), cell.seeds_needed)
        exploratory = {one.name: one.p for one in mine.metrics if one.exploratory and one.sign}
        assert repr(sorted(exploratory.items())) == repr(sorted(cell.exploratory.items()))


BOTH = [{"use": "nearest_class"}, {"use": "coverage"}, {"use": "redundancy"}]


@pytest.mark.slow
@pytest.mark.parametrize("selector", ["facility_location", "top_k"])
@pytest.mark.parametrize("primary", [None, "redundancy.percentile_95"])
def test_evaluating_and_comparing_the_same_selection_find_the_same(crowd, over, selector, primary):
    evaluated = {"files": "test.parquet", **({"primary": primary} if primary else {})}
    agree("run", over(metrics=BOTH, select=[{"use": selector, "prune_rate": 0.9}], evaluate=evaluated))


@pytest.mark.slow
def test_evaluate_and_compare_agree_for_several_selectors_except_for_the_correction(crowd, over):
    agree("run", over(metrics=BOTH, select=[{"use": "top_k", "prune_rate": 0.9}]), ["top_k", "facility_location"])


@pytest.mark.slow
@pytest.mark.parametrize("selector", ["facility_location", "sensitivity"])
def test_they_agree_where_rows_are_held_out_in_what_is_learned(crowd, over, selector):
    """Both select again from the remaining rows, so that random selectors agree too."""
    select = [{"use": selector, "prune_rate": 0.9}]
    agree("run", over(select=select, evaluate={"holdout_rate": 0.3}))


@pytest.mark.slow
def test_the_primary_metric_is_not_corrected_by_the_others(crowd, over):
    alone, among = [{"use": "nearest_class"}], [*BOTH, {"use": "vendi"}, {"use": "mmd"}]
    found = []
    for number, metrics in enumerate((alone, among)):
        curate.run(over(run=f"run{number}", metrics=metrics))
        found.append(evaluate(Path(f"run{number}"), Serial(), seeds=3))
    one, several = (each.line("nearest_class_accuracy") for each in found)
    assert one == several
    assert not several.exploratory
    others = [line for line in found[1].metrics if line.sign and line is not several]
    assert len(others) > 3
    assert all(line.exploratory and line.p >= line.difference.p for line in others)
    assert max(line.p / line.difference.p for line in others) > 2
    header, rows = evaluation_text.metrics(found[1].metrics)
    assert [row[header.index("test")] for row in rows].count("primary") == 1


@pytest.mark.slow
def test_a_random_selection_is_rarely_better_than_the_random_baseline(noise, over):
    """Its rows are the same with every seed, and the error of this single draw is included."""
    p = []
    for seed in range(8):
        curate.run(over(run=f"run{seed}", seed=seed, select=[{"use": "uniform", "name": "mine", "keep": 20}]))
        p.append(evaluate(Path(f"run{seed}"), Serial(), seeds=4).metrics[0].p)
    assert sum(one < 0.05 for one in p) <= 2
