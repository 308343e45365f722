"""Guardrails: rules that stop a run before it publishes, with the rule, the number and the worst sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curate import paths
from curate.errors import DataError, GuardrailError
from curate.paths import FileInfo
from curate.pool.view import PoolView
from curate.stages.base import QUARANTINE, Context
from curate.store import parquet_io, versions
from curate.store.churn import compute_churn
from curate.store.expansion import MAX_EXPANSION, REPORTED_EXPANSION
from curate.store.inputs import InputResult
from curate.store.ledger import read_chosen
from curate.store.manifest import Record, StageResult
from curate.store.quarantine import summarize_reasons

if TYPE_CHECKING:
    from curate.config.model import GuardConfig, RunConfig

_SHOWN = 5
"""Number of sources in a message."""


def check_quarantine(context: Context, records: Sequence[Record[StageResult]]) -> list[str]:
    """Raise an error for a pool with too many quarantined rows; return a warning if there are any."""
    config, stages = context.config, {stage.name: stage for stage in context.stages}
    rows = records[0].count.rows_in
    bad = sum(record.count.quarantined for record in records)
    if not bad:
        return []
    folders = {
        stages[record.stage].folder(context.folder, record.name): record.fingerprint
        for record in records
        if record.count.quarantined
    }
    counts = f"{bad:,} of {rows:,} rows ({bad / rows:.2%}) were quarantined"
    parts = [path for folder, fingerprint in folders.items() for path in _quarantine_files(folder, fingerprint)]
    files = " and ".join(str(folder / QUARANTINE) for folder in folders)
    reasons = f"see {files}: {summarize_reasons(parts, config.export.mask_pii)}"
    if bad > config.guard.max_quarantine_rate * rows:
        raise DataError(
            f"{counts}; guard.max_quarantine_rate allows {config.guard.max_quarantine_rate:.2%}; {reasons}",
            hint="fix the input, or raise guard.max_quarantine_rate if these rows may be lost",
        )
    return [f"{counts}; {reasons}"]


def _quarantine_files(folder: Path, fingerprint: str) -> list[Path]:
    """Return the quarantine files that belong to the present shards of a step."""
    files = paths.list_shards(folder / QUARANTINE)
    candidates = ((path, {fingerprint, parquet_io.read_fingerprint(folder / path.name)}) for path in files)
    return [path for path, valid in candidates if parquet_io.read_fingerprint(path) in valid - {None}]


def find_expanded_files(record: Record[InputResult]) -> list[str]:
    """Return a warning about files that expand to many times their size, with the worst one."""
    times = {file["path"]: file["expansion"] for file in record.result.files if file.get("expansion")}
    if not times:
        return []
    worst = max(times, key=lambda path: times[path])
    counts = f"{len(times):,} of {len(record.result.files):,} input files"
    summary = f"{counts} expand to more than {REPORTED_EXPANSION} times their size"
    return [f"{summary}, {worst} to {times[worst]:,} times; beyond {MAX_EXPANSION} times, files are refused"]


def check_files(config: RunConfig, record: Record[InputResult]) -> list[str]:
    """Raise an error for a pool with too many files without usable rows; return a warning if there are any."""
    every = record.result.files
    empty = [file for file in every if not file["rows"]]
    if not empty:
        return []
    listing = ", ".join(_emptiness(file) for file in empty[:_SHOWN]) + (", …" if len(empty) > _SHOWN else "")
    message = f"{len(empty):,} of {len(every):,} input files have no usable row: {listing}"
    if len(empty) > config.guard.max_empty_file_rate * len(every):
        raise DataError(
            f"{message}; guard.max_empty_file_rate allows {config.guard.max_empty_file_rate:.2%}",
            hint="fix the files, remove them from input.files, or raise guard.max_empty_file_rate",
        )
    return [message]


def _emptiness(file: FileInfo) -> str:
    if file["quarantined"]:
        return f"{file['path']} (all {file['quarantined']:,} quarantined)"
    return f"{file['path']} ({file['size']:,} bytes)"


def find_drift(config: RunConfig, drifts: Mapping[str, float | None]) -> list[str]:
    """Return warnings about reused fits that have drifted too far from the current pool.

    Parameters
    ----------
    config : RunConfig
        The configuration.
    drifts : mapping
        Drift of each fitted step by its stage and name; None where it is unknown.
    """
    return [
        f"{step}: the reused fitted state expresses {drifted:.2%} less of the current rows than of the rows "
        "that it was fitted to; to fit again: --set refresh.refit=always"
        for step, drifted in drifts.items()
        if (drifted or 0) > config.refresh.max_drift
    ]


def check_selection(context: Context, pool: PoolView, record: Record[StageResult]) -> None:
    """Raise an error for a selection that breaks a rule of the guard section.

    Raises
    ------
    GuardrailError
        A rule is broken; the error names the rule, the number and the worst sources.
    """
    guard = context.config.guard
    check_drops(guard, record)
    if guard.max_churn_rate is not None:
        _churn(context.folder / versions.FOLDER, guard.max_churn_rate, pool)


def check_drops(guard: GuardConfig, record: Record[StageResult]) -> None:
    """Raise an error for a selection that keeps too few rows, or drops too much of the pool or of a source."""
    count = record.count
    dropped = {name: (source.dropped, source.rows_in) for name, source in record.sources.items()}
    if not count.kept:
        hint = "check the conditions and budgets of the select section"
        raise GuardrailError("the selection is empty: no row would be exported", hint=hint)
    if guard.min_rows is not None and count.kept < guard.min_rows:
        raise GuardrailError(
            f"only {count.kept:,} of {count.rows_in:,} rows would be exported; guard.min_rows requires "
            f"{guard.min_rows:,}; most are dropped from {_worst(dropped)}",
            hint="raise the budgets of the select section, or lower guard.min_rows",
        )
    if count.dropped > guard.max_drop_rate * count.rows_in:
        raise GuardrailError(
            f"{count.dropped:,} of {count.rows_in:,} rows ({count.dropped / count.rows_in:.2%}) would be dropped; "
            f"guard.max_drop_rate allows {guard.max_drop_rate:.2%}; most are dropped from {_worst(dropped)}",
            hint="check the entries of the select section, or raise guard.max_drop_rate",
        )
    over = {name: (bad, rows) for name, (bad, rows) in dropped.items() if bad > guard.max_source_drop_rate * rows}
    if over:
        worst = sorted(over, key=lambda name: (-over[name][0] / over[name][1], name))[:_SHOWN]
        listed = ", ".join(f"{name!r} {_share(*over[name])}" for name in worst)
        raise GuardrailError(
            f"{len(over)} sources would lose too much: {listed}; "
            f"guard.max_source_drop_rate allows {guard.max_source_drop_rate:.2%}",
            hint="check these sources and the entries of the select section, or raise guard.max_source_drop_rate",
        )


def _churn(root: Path, limit: float, pool: PoolView) -> None:
    """Raise an error for an export that differs too much from the published one."""
    version = versions.published_version(root)
    if version is None:
        return
    try:
        before = versions.read_ids(root, version)
    except DataError as error:
        hint = f"remove guard.max_churn_rate for one run; or {error.hint}"
        message = f"guard.max_churn_rate cannot be checked: {error.message}"
        raise GuardrailError(message, where=error.where, hint=hint) from error
    changed = compute_churn(before, read_chosen(pool.inputs, pool.select_output.folder))
    if changed.rate > limit:
        moved = {
            name: (one.added + one.removed, one.added + one.removed + one.kept) for name, one in changed.sources.items()
        }
        raise GuardrailError(
            f"{changed.added:,} rows would be added to the published export and {changed.removed:,} removed, "
            f"{changed.rate:.2%} of the rows in either; guard.max_churn_rate allows {limit:.2%}; "
            f"most change in {_worst(moved)}",
            hint="if the change is intended, raise the guard for one run: --set guard.max_churn_rate=1",
        )


def _worst(sources: Mapping[str, tuple[int, int]]) -> str:
    """Return the sources with the most bad rows, each with its share."""
    listed = sorted(sources, key=lambda name: (-sources[name][0], name))[:_SHOWN]
    return ", ".join(f"{name!r} {_share(*sources[name])}" for name in listed)


def _share(bad: int, rows: int) -> str:
    return f"{bad / rows:.2%} ({bad:,} of {rows:,})"
