"""Tests that the report of a run shows the evaluation of its current selection, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.evaluation.compare import compare
from curate.evaluation.evaluate import evaluate
from curate.executors.serial import Serial
from curate.report.evaluation_data import Evaluation
from curate.store import parquet_io
from curate.store.json_shape import parse_dataclass

ASKED = "Models trained on the selection"
FILE = Path("run/evaluate/evaluate.json")


def page() -> str:
    """Return the report without its scripts."""
    return re.sub("<script.*?</script>", "", Path("run/report.html").read_text(), flags=re.DOTALL)


def exported(run: str) -> dict[str, bytes]:
    folder = Path(run, "export/current")
    return {path.name: path.read_bytes() for path in folder.resolve().rglob("*") if path.is_file()}


def test_the_report_shows_an_evaluation_only_of_the_current_selection(crowd, over):
    kept = {"select": [{"use": "facility_location", "keep": 31}]}
    curate.run(over(**kept))
    assert "The selection has not been evaluated; run: curate evaluate run" in page()
    evaluate(Path("run"), Serial(), seeds=2)
    assert ASKED in page()
    assert "better than the random baseline" in page()
    Path("run/report.html").unlink()
    assert curate.run(over(**kept)).unchanged
    assert "better than the random baseline" in page()
    pipeline.report(config_from_dict(over(**kept)))
    assert "better than the random baseline" in page()
    curate.run(over(select=[{"use": "facility_location", "keep": 32}]))
    assert "The last evaluation is of an earlier selection; run: curate evaluate run" in page()
    assert ASKED not in page()


def test_the_export_does_not_depend_on_the_evaluation(crowd, over):
    for run in ("one", "two"):
        curate.run(over(run=run))
    evaluate(Path("one"), Serial(), seeds=2)
    for run in ("one", "two"):
        Path(run, "export/current/README.md").unlink()  # the card is written again
        curate.run(over(run=run))
    assert exported("one") == exported("two")


def test_a_stored_evaluation_is_read_back_unchanged(crowd, over):
    curate.run(over())
    found = evaluate(Path("run"), Serial(), seeds=1)
    again = parse_dataclass(Evaluation, parquet_io.read_json(FILE), null_is_nan=True)
    assert repr(again) == repr(found).replace("'overlapping': ()", "'overlapping': []")  # NaN equals nothing


DAMAGED = {
    "another type": {"metrics": "none"},
    "a key that is gone": {"metrics": [{"name": "x"}]},
    "a number that cannot be": {"rows": -1},
    "a truth for a text": {"primary": True},
    "a list for a mapping": {"stability": {"selection": []}},
    "a mapping for a text": {"notes": [{}]},
}


def test_an_evaluation_in_another_format_is_not_shown(crowd, over):
    curate.run(over())
    evaluate(Path("run"), Serial(), seeds=1)
    written = parquet_io.read_json(FILE)
    for what, damage in DAMAGED.items():
        parquet_io.write_json(FILE, {**written, **damage})
        pipeline.report(config_from_dict(over()))
        assert "evaluate.json is corrupt, or from another release; run: curate evaluate run" in page(), what
        assert ASKED not in page(), what


def test_labels_with_markup_are_escaped(crowd, over):
    import pyarrow as pa
    import pyarrow.parquet as pq

    evil = "</script><img src=x onerror=alert(1)>"
    for path in ("pool/a.parquet", "test.parquet"):
        table = pq.read_table(path)
        labels = [f"{evil}{label}" for label in table["label"].to_pylist()]
        pq.write_table(table.set_column(table.column_names.index("label"), "label", pa.array(labels)), path)
    curate.run(over(select=[{"use": "top_k", "keep": 60}]))
    found = evaluate(Path("run"), Serial(), seeds=2)
    assert any(evil in group.name for group in found.slices)
    assert "<img" not in Path("run/report.html").read_text()
    assert "&lt;img" in page()


def test_stability_is_compared_with_the_random_baseline(crowd, over):
    """The selection is the same with every seed; random baselines differ between seeds and for fewer rows."""
    curate.run(over(select=[{"use": "top_k", "keep": 60}]))
    found = evaluate(Path("run"), Serial(), seeds=3).stability
    assert (found["selection"].over_seeds, found["selection"].when_removed > 0.9) == (1.0, True)
    assert 0 < found["uniform"].over_seeds < 0.2
    compared = compare(config_from_dict(over()), Serial(), select=["top_k"], prune_rates=[1 - 60 / 636], seeds=3)
    (cell,) = (cell for (name, _), cell in compared.cells.items() if name == "top_k")
    assert cell.rows in (59, 60)
    assert cell.same_when_removed == pytest.approx(found["selection"].when_removed, abs=0.03)


def test_a_comparison_beside_the_report_is_linked(crowd, over):
    compare(config_from_dict(over()), Serial(), prune_rates=[0.9], seeds=1)
    curate.run(over())
    assert '<a href="compare.html">compare.html</a>' in page()
