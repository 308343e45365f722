"""Metrics of a run for a monitoring system, written at its end, whether it succeeded or failed.

No metric has the source as a label: a pool may have more sources than a monitoring system supports series. The
guardrails watch the sources; their numbers are in the manifests and the report.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc

from curate import no_follow, paths
from curate.errors import ConfigError, DataError, escape_line
from curate.report import prometheus_format
from curate.report.prometheus_format import Gauge
from curate.store import parquet_io, versions
from curate.store.manifest import Record, StageResult

_OURS = "# HELP curate_"
_EXIT_CODE, _LAST_SUCCESS = "curate_exit_code", "curate_last_success_timestamp_seconds"

_REASONS = 20
"""Number of reasons with a separate series, for each entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """Result of a run."""

    run: str | None
    """Run directory; None if the configuration could not be read."""

    seconds: float
    exit_code: int
    steps: Sequence[tuple[Record[StageResult], bool]]
    """Completed steps, with one record per entry of the select section, and whether each was reused."""

    stage: str = ""
    """Stage of the step that failed; empty if no step failed."""

    entry: str = ""
    error: str = ""


def check(path: Path, *, overwrite: bool) -> None:
    """Check that ``path`` may be written: it contains metrics of curate or nothing, or ``overwrite`` is set.

    Raises
    ------
    ConfigError
        The file may not be overwritten.
    """
    if path.is_dir():
        raise ConfigError("--metrics-file: this is a folder", where=str(path), hint="pass a file in it")
    text = _read(path)
    if text and not text.startswith(_OURS) and not overwrite:
        hint = "use another file, or pass --overwrite"
        raise ConfigError("--metrics-file: the file does not contain metrics of curate", where=str(path), hint=hint)


def write(path: Path, ending: RunEnd) -> None:
    """Replace the metrics at ``path``; the time of the last success is kept until the next success."""
    before = _read(path)
    previous = prometheus_format.read_sample(before, _EXIT_CODE)
    run = ending.run if ending.run is not None else previous[0] if previous else ""
    success = prometheus_format.read_sample(before, _LAST_SUCCESS)
    shown = "\n".join(map(escape_line, run.split("\n")))  # as in a label
    last = success[1] if success is not None and success[0] == shown else None
    with no_follow.protect(*([] if ending.run is None else [paths.parse_path(ending.run)])):
        text = prometheus_format.render(_gauges(run, ending, last))
    parquet_io.write_text(path, text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        hint = "check the permissions of the file, or pass another --metrics-file"
        raise DataError(f"cannot read the metrics: {error.strerror}", where=str(path), hint=hint) from error


def _gauges(run: str, ending: RunEnd, last_success: float | None) -> Iterator[Gauge]:
    now = round(time.time(), 3)
    run_label: Mapping[str, str] = {"run": run}
    if ending.exit_code == 0:
        last_success = now
    yield Gauge(_EXIT_CODE, "Exit code of the last run; 0 is success.", [(run_label, ending.exit_code)])
    yield Gauge("curate_last_run_timestamp_seconds", "Time at which the last run ended.", [(run_label, now)])
    succeeded = [] if last_success is None else [(run_label, last_success)]
    yield Gauge(_LAST_SUCCESS, "Time at which the last successful run ended.", succeeded)
    yield Gauge("curate_run_seconds", "Duration of the last run in seconds.", [(run_label, round(ending.seconds, 3))])
    labels = {"run": run, "stage": ending.stage, "entry": ending.entry, "error": ending.error}
    failed: list[tuple[Mapping[str, str], float]] = [(labels, 1)] if ending.error else []
    yield Gauge("curate_failure", "1: the last run failed in this step with this error.", failed)
    yield from _steps(run, ending.steps)
    if ending.run is not None:
        yield from _publication(run_label, paths.parse_path(ending.run) / versions.FOLDER)


def _steps(run: str, steps: Sequence[tuple[Record[StageResult], bool]]) -> Iterator[Gauge]:
    labeled = [({"run": run, "stage": record.stage, "entry": record.name}, record, reused) for record, reused in steps]
    for outcome, about in {
        "in": "that entered the step",
        "kept": "that the step kept",
        "dropped": "that the step dropped",
        "quarantined": "that the step quarantined because they cannot be used",
    }.items():
        counted = [
            (labels, getattr(record.count, "rows_in" if outcome == "in" else outcome)) for labels, record, _ in labeled
        ]
        yield Gauge(f"curate_rows_{outcome}", f"Rows {about}.", counted)
    durations = [(labels, round(record.seconds, 3)) for labels, record, _ in labeled]
    yield Gauge("curate_step_seconds", "Duration of the step in seconds, when it last ran.", durations)
    memory = [(labels, record.peak_memory) for labels, record, _ in labeled]
    yield Gauge(
        "curate_step_peak_memory_bytes", "Peak memory of a process of the step in bytes, when it last ran.", memory
    )
    yield Gauge(
        "curate_step_reused",
        "1: the step was reused because its inputs had not changed.",
        [(labels, int(reused)) for labels, _, reused in labeled],
    )
    about = f"Rows that an entry dropped, by reason; reasons beyond the {_REASONS} most frequent count as (other)."
    entries = [record for record, _ in steps if record.stage == "select"]
    yield Gauge("curate_rows_dropped_by_reason", about, list(_reasons(run, entries)))


def _reasons(run: str, entries: Sequence[Record[StageResult]]) -> Iterator[tuple[Mapping[str, str], float]]:
    """Yield the samples by reason, from the ledger. Memory: a shard of the ledger."""
    counts: dict[str, Counter[str]] = {record.name: Counter() for record in entries}
    for number in range(entries[0].shards if entries else 0):
        path = parquet_io.shard_path(paths.parse_path(run) / "select", number)
        table = parquet_io.read(path, ["selected", "dropped_by", "reason"])
        dropped = (
            table.filter(pc.invert(table["selected"])).group_by(["dropped_by", "reason"]).aggregate([([], "count_all")])
        )
        for line in dropped.to_pylist():
            if line["dropped_by"] in counts:  # otherwise an embedder quarantined the row
                counts[line["dropped_by"]][line["reason"] or ""] += line["count_all"]
    for entry, reasons in counts.items():
        most = reasons.most_common(_REASONS)
        if rest := reasons.total() - sum(rows for _, rows in most):
            most.append(("(other)", rest))
        for reason, rows in most:
            yield {"run": run, "entry": entry, "reason": reason}, rows


def _publication(run_label: Mapping[str, str], root: Path) -> Iterator[Gauge]:
    """Yield the metrics of the published version and the changes of its publication."""
    version, lines = versions.published_version(root), versions.read_history(root)
    contents = None if version is None else versions.read_contents(root / version)
    if not lines or contents is None:
        return
    size = sum(file["bytes"] for file in contents["files"])
    yield Gauge("curate_export_rows", "Rows of the published export.", [(run_label, contents["rows"])])
    yield Gauge("curate_export_bytes", "Bytes of the data files of the published export.", [(run_label, size)])
    last = lines[-1]
    published = datetime.fromisoformat(last["published"]).timestamp()
    yield Gauge("curate_published_timestamp_seconds", "Time of the last publication.", [(run_label, published)])
    for change in ("added", "removed"):
        rows = [(run_label, last[change])] if change in last else []
        yield Gauge(f"curate_published_rows_{change}", f"Rows {change} by the last publication.", rows)
    churn = [(run_label, last["churn_rate"])] if "churn_rate" in last else []
    about = "Rows added or removed by the last publication, as a share of the rows in either export."
    yield Gauge("curate_published_churn_ratio", about, churn)
