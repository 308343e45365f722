"""Execution of the entries of the select section where their scope allows it: on the workers, or in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate.executors.base import peak_memory, reset_peak_memory
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Rows
from curate.plugins.batches import PublishedRows
from curate.plugins.results import Selection
from curate.pool.view import PoolView
from curate.stages.base import Context
from curate.stages.entry_tasks import ONE_PROCESS, describe_tasks
from curate.stages.select import shard_pass
from curate.stages.select.cell_tasks import select_by_cells
from curate.stages.select.group_tasks import select_within_groups
from curate.stages.select.incumbents import Incumbents
from curate.stages.select.measure_tasks import measure_rows
from curate.stages.select.round_tasks import select_in_two_rounds
from curate.stages.select.row_partitions import RowPartitions, needs_all_rows
from curate.stages.select.run_selector import choose
from curate.stages.select.sketch_tasks import SketchFiles, link_rows

if TYPE_CHECKING:
    from curate.config.model import SelectEntry


@dataclass(frozen=True, slots=True)
class EntryResult:
    """Selection of an entry, and its cost."""

    selection: Selection
    """Selection among the rows that reach the entry."""

    seconds: float
    peak_memory: int


@dataclass(slots=True)
class EntryRunner:
    """Execution of entries one after another; a pass over the shards may compute the results of several entries."""

    context: Context
    pool: PoolView
    folder: Path
    """Folder for the results of tasks, which is deleted when the stage is complete."""

    fingerprint: str
    """Fingerprint of the stage, which determines all of them."""

    passed: dict[str, shard_pass.EntryPass] = field(default_factory=dict)
    """Results of the passes over the shards, by entry."""

    def run(
        self,
        entries: Sequence[SelectEntry],
        before: Rows,
        incumbents: Incumbents | None,
        published: PublishedRows | None,
    ) -> EntryResult:
        """Run the first of the remaining entries on the rows ``before`` that reach it.

        ``incumbents`` and ``published`` are of those rows.
        """
        entry = entries[0]
        reset_peak_memory()
        if entry.name not in self.passed and len(self.pool.numbers) > 1:  # a single shard needs no workers
            together = shard_pass.entries_in_one_pass(entries, self.pool)
            self.passed |= shard_pass.run_pass(self.context, self.pool, before, together, self.folder, self.fingerprint)
        started = time.perf_counter()
        done = self.passed.get(entry.name, shard_pass.EntryPass())
        if done.selection is not None:
            selection, peak = done.selection, 0
        else:
            selection, peak = self._select(entry, before, incumbents, published)
        seconds = done.seconds + time.perf_counter() - started
        return EntryResult(selection, seconds, max(peak, done.peak_memory, peak_memory()))

    def _select(
        self, entry: SelectEntry, before: Rows, incumbents: Incumbents | None, published: PublishedRows | None
    ) -> tuple[Selection, int]:
        """Return the selection among ``before``, and the highest peak memory of a worker."""
        context, pool, folder = self.context, self.pool, self.folder / entry.name
        if entry.name in self.passed:
            files = SketchFiles(folder, self.fingerprint, tuple(pool.numbers))
            return link_rows(context, pool, entry, before, published, files)
        rows_of = RowPartitions.for_entry(context, pool, entry, folder, self.fingerprint)
        is_divided = len(pool.numbers) > 1 and not needs_all_rows(entry, pool)
        tasks = describe_tasks(entry) if is_divided else ONE_PROCESS
        if tasks == "groups":
            return select_within_groups(context, before, incumbents, rows_of)
        if tasks == "clusters":
            return select_by_cells(context, before, rows_of)
        if tasks == "partitions" and incumbents is None:  # published rows may need more than one selection
            return select_in_two_rounds(context, before, rows_of)
        measured, peak = None, 0
        if tasks == "shards":
            measured, peak = measure_rows(context, pool, before, entry, folder, self.fingerprint)
        context.progress.begin(f"selecting with {entry.name}", len(before))
        budget = (
            None if entry.budget is None else replace(entry.budget, at_most=True).resolve_rows(len(before), entry.name)
        )
        with context.judge(entry, len(before), budget) as judge, one_blas_thread():
            selection = choose(pool, before, entry, context.config.seed, incumbents, published, measured, judge)
        if judge is None:
            context.progress.advance(len(before))
        return selection, peak
