"""Results of a run as Polars frames: the ledger, scores, clusters, embeddings and the published export.

Frames are lazy: Polars reads the columns and rows of the shards that a query needs. Those of a run in an object store
are read first. Every file is compared with its manifest before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from curate import no_follow, paths
from curate.errors import ConfigError, DataError
from curate.store import manifest, parquet_io, versions
from curate.store.ledger import Run, to_polars
from curate.store.manifest import Record, StageResult


def ledger(folder: Path) -> pl.LazyFrame:
    """Return the ledger: the outcome of every input row, with the reasons and representatives of dropped rows.

    Raises
    ------
    ConfigError
        If no rows have been selected.
    DataError
        If a shard is missing or corrupt.
    """
    with no_follow.protect(folder):
        return _scan_step(Run.open(folder).require_selection(), folder / "select")


def scores(folder: Path) -> pl.LazyFrame:
    """Return the id, the cluster and all scores of every embedded row.

    Raises
    ------
    DataError
        If a shard is missing or corrupt.
    """
    with no_follow.protect(folder):
        run = Run.open(folder)
        cluster = run.cluster_record()
        frames = [_scan_step(record, folder / "score" / record.name) for record in run.stage_records("score")]
        if cluster is not None:
            frames.insert(0, _scan_step(cluster, folder / "cluster").select("id", "cluster"))
        if not frames:
            raise ConfigError("the run has neither scores nor clusters", where=str(folder))
        first, *others = frames
        return pl.concat([first, *(frame.drop("id") for frame in others)], how="horizontal")


def embeddings(folder: Path, name: str | None = None) -> pl.LazyFrame:
    """Return the id, the hash of the content and the vector of every row; of the first embed entry by default.

    Raises
    ------
    ConfigError
        If there is no such entry.
    DataError
        If a shard is missing or corrupt.
    """
    with no_follow.protect(folder):
        records = {record.name: record for record in Run.open(folder).stage_records("embed")}
        if not records or (name is not None and name not in records):
            raise ConfigError(f"the run has no embeddings {name or ''!r}", hint=f"there are: {', '.join(records)}")
        record = records[name] if name is not None else next(iter(records.values()))
        return _scan_step(record, folder / "embed" / record.name)


def export(folder: Path) -> pl.LazyFrame:
    """Return the published rows.

    Raises
    ------
    ConfigError
        If nothing is published, or Polars cannot read the format of the export.
    DataError
        If a file of the version is missing, or its size differs from the size that was written.
    """
    published = versions.resolve_published(folder)
    suffix = Path(published.files[0]).suffix if published.files else ""
    if suffix == ".parquet":
        return _scan([paths.parse_path(file) for file in published.files])
    if suffix == ".jsonl":
        return pl.scan_ndjson(list(published.files))
    message = f"Polars cannot scan {suffix or 'compressed'} files as one frame"
    raise ConfigError(message, where=published.path, hint="read the files with get_published(run).files")


def _scan_step(record: Record[StageResult], folder: Path) -> pl.LazyFrame:
    """Return the rows of a step."""
    problems = manifest.find_broken_files(record, folder)
    if problems:
        hint = "run the same command again; it rewrites the file"
        raise DataError(next(iter(problems.values())), where=str(folder), hint=hint)
    return _scan([parquet_io.shard_path(folder, number) for number in range(record.shards)])


def _scan(files: Sequence[Path]) -> pl.LazyFrame:
    if any(map(paths.is_object, files)):
        return _concatenate(to_polars(parquet_io.read(file)) for file in files)
    return pl.scan_parquet([str(file) for file in files], glob=False, hive_partitioning=False)


def _concatenate(frames: Iterable[pl.DataFrame]) -> pl.LazyFrame:
    return pl.concat(list(frames)).lazy()
