"""Split stage: divide the selected rows into splits, such as train and test, that no near-duplicate crosses.

Rows that belong together form groups (``row_groups``), and each group is in one split. A row that was in a split before
stays in it (``history``). Afterwards, the stage measures how similar rows of different splits are (``leak``). Memory:
about 100 bytes for each selected row, and what ``minhash`` needs in each task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from curate import paths
from curate.config.model import SPLIT, to_plain
from curate.errors import DataError, summarize_names
from curate.kernels.stats.group_split import split_groups
from curate.kernels.types import Codes, Counts, Rows
from curate.pool.stage_outputs import SplitOutput
from curate.pool.view import PoolView
from curate.report import split_text
from curate.report.formatting import plural
from curate.report.report_data import SplitCount
from curate.stages.base import (
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    count_all_kept,
    run_step,
)
from curate.stages.split import history, leak, row_groups
from curate.store import parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import RunConfig, SplitConfig

_VERSION = 1
_WORK = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult(StageResult):
    """Result of the split stage, as stored in its manifest."""

    splits: tuple[SplitCount, ...]
    """Rows of each split, and how similar they are to rows of other splits."""

    groups: int
    """Number of groups of rows that belong together, including single rows."""

    divided: int
    """Number of rows in groups that are in several splits, because their rows were in different splits before."""


class Split(Stage["SplitConfig", SplitOutput]):
    """Stage that divides the selected rows into splits."""

    name = SPLIT
    section = SPLIT
    result = SplitResult
    summary = "Divide the selected rows into splits"
    has_single_step = True

    def run(
        self, context: Context, done: CompletedStages, entry: SplitConfig
    ) -> tuple[SplitOutput, Record[SplitResult]]:
        return split(context, done.pool, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[SplitOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, split_output=results[0])) if results else done

    def guard(self, context: Context, done: CompletedStages) -> Sequence[str]:
        if not done.records_of(self.name):
            return ()
        divided = done.record_of(self.name, SplitResult).result.divided
        if not divided:
            return ()
        return (f"split: {divided:,} rows are near-duplicates of rows that were in another split before",)


def split(context: Context, pool: PoolView, config: SplitConfig) -> tuple[SplitOutput, Record[SplitResult]]:
    """Run the split section.

    Raises
    ------
    DataError
        A split would have no rows, or the record of earlier splits is damaged.
    """
    folder = context.folder / SPLIT
    previous = history.find_previous(folder, lambda version: _fingerprint_inputs(context.config, pool, config, version))
    record = run_step(
        Step(context, SPLIT, SPLIT, folder, SplitResult),
        _fingerprint_inputs(context.config, pool, config, previous),
        lambda key: _work(context, pool, config, folder, key, previous),
    )
    if context.plan is None:
        context.progress.note(f"split: {split_text.sentence(record.result.splits)}")
    return SplitOutput(folder, record.fingerprint, tuple(config.shares)), record


def _fingerprint_inputs(run: RunConfig, pool: PoolView, config: SplitConfig, previous: str) -> dict[str, object]:
    entries = row_groups.near_duplicates(config, run.input)
    return {
        "version": _VERSION,
        **to_plain(config),
        "order": list(config.shares),
        "seed": run.seed,
        "select": pool.select_output.fingerprint,
        "input": pool.inputs.fingerprint,
        "embed": pool.embedding(None).fingerprint,
        "near_duplicates": [entry.fingerprint_parts() for entry in entries],
        "cluster": pool.cluster_output.fingerprint if "cluster" in (*config.groups, config.stratify) else None,
        "history": previous,
    }


def _work(
    context: Context, pool: PoolView, config: SplitConfig, folder: Path, fingerprint: str, previous: str
) -> Outcome[SplitResult]:
    rows = np.flatnonzero(pool.kept)
    group, peak = row_groups.find(context, pool, config, rows, folder / _WORK, fingerprint)
    earlier = history.read(folder)
    names = tuple(config.shares)
    before = history.find_splits(earlier, pool.ids.take(pa.array(rows)), pool.hashes.take(pa.array(rows)), names)
    fixed, is_divided = _splits_of_groups(group, before, len(names))
    sizes = _sizes(group, None if config.unit == "rows" else pool.tokens[rows])
    stratum = None if config.stratify is None else _strata(group, pool.groups(config.stratify).gather(rows))
    key = row_groups.keys(pool, rows, group, context.config.seed)
    split_of_group = split_groups(sizes, key, tuple(config.shares.values()), fixed=fixed, stratum=stratum)
    assigned = np.where(before >= 0, before, split_of_group[group])
    counts = np.bincount(assigned, minlength=len(names))
    _require_rows(names, counts, group)
    codes = np.full(len(pool), -1, np.int32)
    codes[rows] = assigned
    _write(pool, codes, names, folder, fingerprint)
    history.write(folder, fingerprint, previous, earlier, _as_frame(pool, rows, assigned, names))
    leaks = leak.measure(context, pool, rows, assigned, len(names), folder / _WORK, fingerprint)
    paths.remove_directory(folder / _WORK)
    tokens = np.bincount(assigned, weights=pool.tokens[rows], minlength=len(names)).astype(np.int64)
    splits = [
        SplitCount(name=name, share=share, rows=count, tokens=total, leak=leaks[number])
        for number, (name, share, count, total) in enumerate(
            zip(names, config.shares.values(), counts.tolist(), tokens.tolist(), strict=True)
        )
    ]
    sources = dict(pool.source[rows].value_counts().iter_rows())
    return Outcome(
        sources=count_all_kept({name: sources[name] for name in sorted(sources)}),
        shards=len(pool.inputs.shards),
        peak_memory=peak,
        result=SplitResult(splits=tuple(splits), groups=len(sizes), divided=int(np.count_nonzero(is_divided[group]))),
    )


def _splits_of_groups(group: Rows, before: Codes, n_splits: int) -> tuple[Codes, np.ndarray]:
    """Return the split in which most rows of each group were, -1 for none, and whether they were in several."""
    n_groups = int(group.max(initial=-1)) + 1
    counts = np.zeros((n_groups, n_splits), np.int64)
    known = np.flatnonzero(before >= 0)
    np.add.at(counts, (group[known], before[known]), 1)
    fixed = np.where(counts.any(axis=1), counts.argmax(axis=1), -1).astype(np.int32)
    return fixed, (counts > 0).sum(axis=1) > 1


def _sizes(group: Rows, tokens: np.ndarray | None) -> Counts:
    return np.bincount(group, weights=tokens).astype(np.int64)


def _strata(group: Rows, values: pl.Series) -> Codes:
    """Return the stratum of each group: that of most of its rows, ties to the lowest."""
    codes = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    pairs, counts = np.unique(np.stack((group, codes)), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = order[np.unique(pairs[0][order], return_index=True)[1]]
    return np.unique(pairs[1][first], return_inverse=True)[1].astype(np.int32)


def _require_rows(names: Sequence[str], counts: Counts, group: Rows) -> None:
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if not empty:
        return
    rows, largest = plural(len(group), "row"), int(np.bincount(group, minlength=1).max())
    message = f"no row is in {summarize_names(empty)}: {rows} in groups of up to {largest:,} that belong together"
    hint = "raise its share, select more rows, or use fewer groups and a higher min_similarity"
    raise DataError(message, where=f"{SPLIT}.shares", hint=hint)


def _write(pool: PoolView, codes: Codes, names: Sequence[str], folder: Path, fingerprint: str) -> None:
    """Write the split of every row of each input shard."""
    every, start = pa.array([*names, None], pa.string()), 0
    for shard in pool.shards():
        own = codes[start : start + len(shard)]
        ids = pool.inputs.read(shard.number, ("id",))["id"]
        of_row = np.full(len(ids), len(names))
        of_row[shard.positions] = np.where(own < 0, len(names), own)
        table = pa.table([ids, every.take(pa.array(of_row))], schema=schemas.SPLIT)
        parquet_io.write(table, parquet_io.shard_path(folder, shard.number), fingerprint, compression="zstd")
        start += len(shard)


def _as_frame(pool: PoolView, rows: Rows, assigned: Codes, names: Sequence[str]) -> pa.Table:
    taken = pa.array(rows)
    split_names = pa.array(names, pa.string()).take(pa.array(assigned))
    columns: Mapping[str, object] = {"id": pool.ids.take(taken), "content_hash": pool.hashes.take(taken)}
    return pa.table([*columns.values(), split_names], schema=schemas.SPLIT_HISTORY)
