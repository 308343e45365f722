"""What a run tells a monitoring system at its end, however it ended.

No metric has the source as a label: a pool may have more sources than a monitoring system can hold series. That no
source is lost is what the guardrails see to; the numbers are in the manifests and the report.
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
"""Reasons that have a series of their own, for each entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run went."""

    run: str | None
    """Its folder; None if the configuration could not be read."""

    seconds: float
    exit_code: int
    steps: Sequence[tuple[Record[StageResult], bool]]
    """Every step that is done, the select section as one an entry, and whether it was before."""

    stage: str = ""
    """Where it failed, if it did so within a step."""

    entry: str = ""
    error: str = ""


def check(path: Path, *, overwrite: bool) -> None:
    """See to it that ``path`` may be written: it holds metrics of ours, or nothing, or ``overwrite`` says so.

    Raises
    ------
    ConfigError : naming it
    """
    if path.is_dir():
        raise ConfigError("--metrics-file: this is a folder", where=str(path), hint="name a file in it")
    text = _read(path)
    if text and not text.startswith(_OURS) and not overwrite:
        hint = "name another, or say --overwrite"
        raise ConfigError(
            "--metrics-file: the file holds something else than metrics of curate", where=str(path), hint=hint
        )


def write(path: Path, ending: RunEnd) -> None:
    """Replace the metrics at ``path``; the time of the last success stays until there is another."""
    before = _read(path)
    known = prometheus_format.read_sample(before, _EXIT_CODE)
    run = ending.run if ending.run is not None else known[0] if known else ""
    success = prometheus_format.read_sample(before, _LAST_SUCCESS)
    shown = "\n".join(map(escape_line, run.split("\n")))  # as a label has it
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
        raise DataError(f"cannot read the metrics: {error.strerror}", where=str(path)) from error


def _gauges(run: str, ending: RunEnd, last_success: float | None) -> Iterator[Gauge]:
    now = round(time.time(), 3)
    only: Mapping[str, str] = {"run": run}
    if ending.exit_code == 0:
        last_success = now
    yield Gauge(_EXIT_CODE, "Exit code of the last run; 0 is success.", [(only, ending.exit_code)])
    yield Gauge("curate_last_run_timestamp_seconds", "When the last run ended.", [(only, now)])
    succeeded = [] if last_success is None else [(only, last_success)]
    yield Gauge(_LAST_SUCCESS, "When the last run that succeeded ended.", succeeded)
    yield Gauge("curate_run_seconds", "How long the last run took.", [(only, round(ending.seconds, 3))])
    place = {"run": run, "stage": ending.stage, "entry": ending.entry, "error": ending.error}
    failed: list[tuple[Mapping[str, str], float]] = [(place, 1)] if ending.error else []
    yield Gauge("curate_failure", "1: the last run failed, in this step, with this error.", failed)
    yield from _steps(run, ending.steps)
    if ending.run is not None:
        yield from _publication(only, paths.parse_path(ending.run) / versions.FOLDER)


def _steps(run: str, steps: Sequence[tuple[Record[StageResult], bool]]) -> Iterator[Gauge]:
    of = [({"run": run, "stage": record.stage, "entry": record.name}, record, reused) for record, reused in steps]
    for what, about in {
        "in": "that entered the step",
        "kept": "that the step kept",
        "dropped": "that the step dropped",
        "quarantined": "that the step set aside because they cannot be used",
    }.items():
        counted = [(labels, getattr(record.count, "rows_in" if what == "in" else what)) for labels, record, _ in of]
        yield Gauge(f"curate_rows_{what}", f"Rows {about}.", counted)
    took = [(labels, round(record.seconds, 3)) for labels, record, _ in of]
    yield Gauge("curate_step_seconds", "How long the step took when it was last done.", took)
    held = [(labels, record.peak_memory) for labels, record, _ in of]
    yield Gauge(
        "curate_step_peak_memory_bytes", "The most that a process of the step held when it was last done.", held
    )
    yield Gauge(
        "curate_step_reused",
        "1: nothing had changed, so the step was not done again.",
        [(labels, int(reused)) for labels, _, reused in of],
    )
    about = f"Rows that an entry dropped, by reason; those beyond its {_REASONS} most frequent are (other)."
    entries = [record for record, _ in steps if record.stage == "select"]
    yield Gauge("curate_rows_dropped_by_reason", about, list(_reasons(run, entries)))


def _reasons(run: str, entries: Sequence[Record[StageResult]]) -> Iterator[tuple[Mapping[str, str], float]]:
    """The samples, from the ledger that the entries of the select section made. Memory: a shard of it."""
    counts: dict[str, Counter[str]] = {record.name: Counter() for record in entries}
    for number in range(entries[0].shards if entries else 0):
        path = parquet_io.shard_path(paths.parse_path(run) / "select", number)
        table = parquet_io.read(path, ["selected", "dropped_by", "reason"])
        dropped = (
            table.filter(pc.invert(table["selected"])).group_by(["dropped_by", "reason"]).aggregate([([], "count_all")])
        )
        for line in dropped.to_pylist():
            if line["dropped_by"] in counts:  # else an embedder set the row aside
                counts[line["dropped_by"]][line["reason"] or ""] += line["count_all"]
    for entry, reasons in counts.items():
        most = reasons.most_common(_REASONS)
        if rest := reasons.total() - sum(rows for _, rows in most):
            most.append(("(other)", rest))
        for reason, rows in most:
            yield {"run": run, "entry": entry, "reason": reason}, rows


def _publication(only: Mapping[str, str], root: Path) -> Iterator[Gauge]:
    """What is published now, and what its publication changed."""
    version, lines = versions.published_version(root), versions.read_history(root)
    contents = None if version is None else versions.read_contents(root / version)
    if not lines or contents is None:
        return
    size = sum(file["bytes"] for file in contents["files"])
    yield Gauge("curate_export_rows", "Rows of the published export.", [(only, contents["rows"])])
    yield Gauge("curate_export_bytes", "Bytes of the data files of the published export.", [(only, size)])
    last = lines[-1]
    published = datetime.fromisoformat(last["published"]).timestamp()
    yield Gauge("curate_published_timestamp_seconds", "When an export was published last.", [(only, published)])
    for what in ("added", "removed"):
        rows = [(only, last[what])] if what in last else []
        yield Gauge(f"curate_published_rows_{what}", f"Rows {what} by the last publication.", rows)
    churn = [(only, last["churn_rate"])] if "churn_rate" in last else []
    about = "Rows added or removed by the last publication, as a share of the rows in either export."
    yield Gauge("curate_published_churn_ratio", about, churn)
