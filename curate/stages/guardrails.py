"""The guardrails: when to stop rather than to publish, naming the rule, the number and the worst sources."""

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
"""Sources named in a message."""


def check_quarantine(context: Context, records: Sequence[Record[StageResult]]) -> list[str]:
    """Refuse a pool with too many bad rows; warn if there are any at all."""
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
    parts = [path for folder, fingerprint in folders.items() for path in _quarantined(folder, fingerprint)]
    seen = f"see {' and '.join(str(folder / QUARANTINE) for folder in folders)}: {summarize_reasons(parts, config.export.mask_pii)}"
    if bad > config.guard.max_quarantine_rate * rows:
        raise DataError(
            f"{counts}; guard.max_quarantine_rate allows {config.guard.max_quarantine_rate:.2%}; {seen}",
            hint="fix the input, or raise the guard if these rows may go",
        )
    return [f"{counts}; {seen}"]


def _quarantined(folder: Path, fingerprint: str) -> list[Path]:
    """Return the files of quarantined rows that belong to the shards of a step as it was last done."""
    files = paths.list_shards(folder / QUARANTINE)
    made_from = ((path, {fingerprint, parquet_io.read_fingerprint(folder / path.name)}) for path in files)
    return [path for path, known in made_from if parquet_io.read_fingerprint(path) in known - {None}]


def find_expanded_files(record: Record[InputResult]) -> list[str]:
    """Warn if there are files that expand to very much more than their size, naming the worst."""
    times = {file["path"]: file["expansion"] for file in record.result.files if file.get("expansion")}
    if not times:
        return []
    worst = max(times, key=lambda path: times[path])
    beyond = f"{len(times):,} of {len(record.result.files):,} input files expand to more than {REPORTED_EXPANSION} times their size"
    return [f"{beyond}, {worst} to {times[worst]:,} times; beyond {MAX_EXPANSION} times, files are refused"]


def check_files(config: RunConfig, record: Record[InputResult]) -> list[str]:
    """Refuse a pool with too many files that give no row; warn if there are any at all."""
    every = record.result.files
    empty = [file for file in every if not file["rows"]]
    if not empty:
        return []
    named = ", ".join(_emptiness(file) for file in empty[:_SHOWN]) + (", …" if len(empty) > _SHOWN else "")
    message = f"{len(empty):,} of {len(every):,} input files have no row that can be used: {named}"
    if len(empty) > config.guard.max_empty_file_rate * len(every):
        raise DataError(
            f"{message}; guard.max_empty_file_rate allows {config.guard.max_empty_file_rate:.2%}",
            hint="fix the files, take them out of input.files, or raise the guard",
        )
    return [message]


def _emptiness(file: FileInfo) -> str:
    if file["quarantined"]:
        return f"{file['path']} (all {file['quarantined']:,} quarantined)"
    return f"{file['path']} ({file['size']:,} bytes)"


def find_drift(config: RunConfig, drifts: Mapping[str, float | None]) -> list[str]:
    """Warn about earlier fits that express less of today's rows than they may.

    Parameters
    ----------
    config : RunConfig
        The configuration.
    drifts : mapping
        The drift of each fitted step, by its stage and name; None where it is not known.
    """
    return [
        f"{step}: what it learnt before expresses {drifted:.2%} less of today's "
        "rows than it did of those; to learn anew: --set refresh.refit=always"
        for step, drifted in drifts.items()
        if (drifted or 0) > config.refresh.max_drift
    ]


def check_selection(context: Context, pool: PoolView, record: Record[StageResult]) -> None:
    """Refuse to publish a selection that breaks a rule of the guard section.

    Raises
    ------
    GuardrailError : naming the rule, the number and the worst sources
    """
    guard = context.config.guard
    check_drops(guard, record)
    if guard.max_churn_rate is not None:
        _churn(context.folder / versions.FOLDER, guard.max_churn_rate, pool)


def check_drops(guard: GuardConfig, record: Record[StageResult]) -> None:
    """Refuse a selection that keeps nothing or too little, or drops more of the pool or of one source than it may."""
    count = record.count
    dropped = {name: (source.dropped, source.rows_in) for name, source in record.sources.items()}
    if not count.kept:
        raise GuardrailError("the selection is empty: nothing would be exported", hint="look at the select section")
    if guard.min_rows is not None and count.kept < guard.min_rows:
        raise GuardrailError(
            f"only {count.kept:,} of {count.rows_in:,} rows would be exported; guard.min_rows asks for "
            f"{guard.min_rows:,}; most are dropped from {_worst(dropped)}"
        )
    if count.dropped > guard.max_drop_rate * count.rows_in:
        raise GuardrailError(
            f"{count.dropped:,} of {count.rows_in:,} rows ({count.dropped / count.rows_in:.2%}) would be dropped; "
            f"guard.max_drop_rate allows {guard.max_drop_rate:.2%}; most are dropped from {_worst(dropped)}"
        )
    over = {name: (bad, rows) for name, (bad, rows) in dropped.items() if bad > guard.max_source_drop_rate * rows}
    if over:
        worst = sorted(over, key=lambda name: (-over[name][0] / over[name][1], name))[:_SHOWN]
        listed = ", ".join(f"{name!r} {_share(*over[name])}" for name in worst)
        raise GuardrailError(
            f"{len(over)} sources would lose too much: {listed}; "
            f"guard.max_source_drop_rate allows {guard.max_source_drop_rate:.2%}"
        )


def _churn(root: Path, limit: float, pool: PoolView) -> None:
    """Refuse to replace the published export by one that differs too much from it."""
    version = versions.published_version(root)
    if version is None:
        return
    try:
        before = versions.read_ids(root, version)
    except DataError as error:
        hint = f"leave the rule out of one run; or {error.hint}"
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
            hint="if that is wanted, raise the guard for one run: --set guard.max_churn_rate=1",
        )


def _worst(sources: Mapping[str, tuple[int, int]]) -> str:
    """The sources with the most bad rows, each with its share."""
    listed = sorted(sources, key=lambda name: (-sources[name][0], name))[:_SHOWN]
    return ", ".join(f"{name!r} {_share(*sources[name])}" for name in listed)


def _share(bad: int, rows: int) -> str:
    return f"{bad / rows:.2%} ({bad:,} of {rows:,})"
