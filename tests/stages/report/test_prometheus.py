"""What a run tells a monitoring system, read back by Prometheus's own parser and held against the manifests."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from curate.errors import ConfigError, DataError
from curate.report.prometheus_format import Gauge, read_sample, render
from curate.stages.report import prometheus
from curate.stages.report.prometheus import RunEnd

FILE = Path("out/curate.prom")


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample by name; each must have its help and be a gauge."""
    families = list(text_string_to_metric_families(text))
    assert all(family.type == "gauge" and family.documentation for family in families)
    assert len({family.name for family in families}) == len(families)
    return {family.name: [(one.labels, one.value) for one in family.samples] for family in families}


def one(found: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str) -> float:
    """The value of the only sample that has these labels."""
    (value,) = [value for has, value in found[name] if labels.items() <= has.items()]
    return value


@pytest.fixture
def run(pool, config):
    """Runs the pipeline as the command line does, and gives the exit code and the metrics."""
    from typer.testing import CliRunner

    from curate.cli.app import app
    from curate.cli.command_scope import ReportedError

    def done(*flags: str, **sections: Any) -> tuple[int, dict[str, list[tuple[dict[str, str], float]]]]:
        Path("config.yaml").write_text(json.dumps(config(**sections)))
        arguments = ["run", "config.yaml", "--executor", "serial", "--log-format", "quiet", "--metrics-file", str(FILE)]
        result = CliRunner().invoke(app, [*arguments, *flags])
        code = result.exception.exit_code if isinstance(result.exception, ReportedError) else result.exit_code
        return code, parsed(FILE.read_text())

    return done


SELECT = [{"use": "where", "drop": "stars = 0"}, {"use": "semdedup"}, {"use": "top_k", "keep": 20}]


def test_the_numbers_are_those_of_the_manifests_and_the_ledger(run):
    begun = time.time()
    code, found = run(select=SELECT)
    assert (code, one(found, "curate_exit_code", run="run")) == (0, 0)
    assert begun <= one(found, "curate_last_run_timestamp_seconds") <= time.time()
    assert one(found, "curate_last_success_timestamp_seconds") == one(found, "curate_last_run_timestamp_seconds")
    assert "curate_failure" not in found
    steps = json.loads(Path("run/manifest.json").read_text())["accounting"]
    assert [step["name"] for step in steps][-4:] == ["where", "semdedup", "top_k", "parquet"]
    for step in steps:
        labels = {"stage": step["stage"], "entry": step["name"]}
        for what in ("rows_in", "rows_kept", "rows_dropped", "rows_quarantined"):
            key = what if what == "rows_in" else what.removeprefix("rows_")
            assert one(found, f"curate_{what}", **labels) == step[key]
        assert one(found, "curate_step_seconds", **labels) == step["seconds"]
        assert one(found, "curate_step_peak_memory_bytes", **labels) == step["peak_memory"]
        assert one(found, "curate_step_reused", **labels) == 0
    ledger = pl.read_parquet("run/select/*.parquet").filter(~pl.col("selected"))
    counted = ledger.group_by("dropped_by", "reason").len().rows()
    told = [((has["entry"], has["reason"]), rows) for has, rows in found["curate_rows_dropped_by_reason"]]
    assert sorted(told) == sorted(((by, reason), rows) for by, reason, rows in counted)
    files = json.loads(Path("run/export/current/manifest.json").read_text())["files"]
    assert one(found, "curate_export_rows") == sum(file["rows"] for file in files) == 20
    assert one(found, "curate_export_bytes") == sum(file["bytes"] for file in files)
    assert "curate_published_churn_ratio" not in found  # there was nothing before it


def test_a_second_publication_has_its_churn_and_what_was_reused_is_told(run):
    run(select=SELECT)
    _, found = run(select=[*SELECT[:2], {"use": "top_k", "keep": 15}])
    last = json.loads(Path("run/export/history.json").read_text())["publications"][-1]
    assert one(found, "curate_published_rows_removed") == last["removed"] == 5
    assert one(found, "curate_published_rows_added") == last["added"] == 0
    assert one(found, "curate_published_churn_ratio") == last["churn_rate"] == 5 / 20
    assert one(found, "curate_step_reused", stage="embed") == 1
    assert one(found, "curate_step_reused", entry="top_k") == 0


def test_a_failure_is_told_and_leaves_the_last_success_and_what_is_published(run):
    _, good = run()
    code, found = run(select=[{"use": "top_k", "keep": 20, "within": "cluster", "quota": {"999": 1}}])
    assert (code, one(found, "curate_exit_code")) == (3, 3)
    assert found["curate_failure"] == [
        ({"run": "run", "stage": "select", "entry": "select", "error": "DataError"}, 1.0)
    ]
    assert one(found, "curate_last_success_timestamp_seconds") == one(good, "curate_last_success_timestamp_seconds")
    assert one(found, "curate_last_run_timestamp_seconds") > one(good, "curate_last_run_timestamp_seconds")
    assert one(found, "curate_export_rows") == 20
    assert {has["stage"] for has, _ in found["curate_rows_kept"]} == {"input", "embed", "cluster", "score"}
    assert run()[0] == 0
    code, found = run(guard={"max_drop_rate": 0.1})
    assert (code, found["curate_failure"][0][0]["error"]) == (5, "GuardrailError")


def test_a_configuration_that_cannot_be_read_is_told_under_the_name_of_the_run_before(run):
    _, good = run()
    for _ in range(2):
        code, found = run(seed="zero")
        assert (code, one(found, "curate_exit_code", run="run")) == (2, 2)
        assert one(found, "curate_last_success_timestamp_seconds") == one(good, "curate_last_success_timestamp_seconds")


def test_the_success_of_another_run_is_not_this_one_s(run):
    run(run="other")
    _, found = run(select=[{"use": "top_k", "keep": 61}])
    assert "curate_last_success_timestamp_seconds" not in found


def test_reasons_beyond_the_most_frequent_are_told_together(run, monkeypatch):
    monkeypatch.setattr(prometheus, "_REASONS", 1)
    cut = {"cutoff_rate": 0.2, "cutoff_by": "prototypicality"}
    _, found = run(select=[{"use": "ccs", "keep": 10, "by": "prototypicality", **cut}])
    told = {has["reason"]: rows for has, rows in found["curate_rows_dropped_by_reason"]}
    assert (len(told), sum(told.values()), "(other)" in told) == (2, 50, True)


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("held", ["my notes\n", "# HELP node_load1 1m load average.\n"])
def test_a_file_that_holds_something_else_is_not_overwritten_unasked(run, held):
    FILE.parent.mkdir()
    FILE.write_text(held)
    with pytest.raises(ConfigError, match=r"curate\.prom: --metrics-file: the file does not contain metrics"):
        prometheus.check(FILE, overwrite=False)
    assert run("--overwrite")[0] == 0


def test_a_folder_is_no_metrics_file(tmp_path):
    with pytest.raises(ConfigError, match="--metrics-file: this is a folder; pass a file in it"):
        prometheus.check(tmp_path, overwrite=True)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    ending = RunEnd(run=None, seconds=1.0, exit_code=0, steps=())
    path = tmp_path / "a.prom"
    prometheus.write(path, ending)
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"a\.prom: cannot write: No space left"):
        prometheus.write(path, ending)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ['a "b"', "a\\b", "two\nlines", "\\n", "runs/naïve", ""])
def test_any_label_is_read_back(name):
    text = render([Gauge("rows", "Rows.", [({"run": name}, 1.5)])])
    assert parsed(text) == {"rows": [({"run": name}, 1.5)]}
    assert read_sample(text, "rows") == (name, 1.5)
    assert read_sample(text, "row") is None
