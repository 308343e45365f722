"""Selection in two rounds: the first selects from each partition of the rows on the workers.

The second round selects from the union of these in this process, which also compares dropped rows with the kept ones:
embeddings of more than ``memory_limit`` are memory-mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Rows
from curate.plugins.results import Selection
from curate.plugins.two_rounds import PartSelection, TwoRoundSelector, combine, union_rows
from curate.seeds import rng_for
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select import selection_files
from curate.stages.select.row_partitions import RowPartitions
from curate.stages.select.run_selector import build_pool, split_shares


def select_in_two_rounds(context: Context, before: Rows, rows_of: RowPartitions) -> tuple[Selection, int]:
    """Select among the rows ``before``, exactly as in one process.

    Returns
    -------
    selection : Selection
        Selection among ``before``.
    peak_memory : int
        Highest peak memory of a worker, in bytes.
    """
    entry, n = rows_of.entry, len(before)
    (budget,) = split_shares(entry, np.array([n], np.int64), None)
    selector: TwoRoundSelector = entry.spec.build()
    rng = rng_for(context.config.seed, f"select/{entry.name}")
    partitions = selector.partition(n, rng) or ()
    *part_rngs, merge_rng = rng.spawn(len(partitions) + 1)
    tasks = [_Task(rows_of, number, budget or 0, part_rng) for number, part_rng in enumerate(part_rngs)]
    partition = np.empty(n, np.int32)
    for number, rows in enumerate(partitions):
        partition[rows] = number
    label = f"dividing rows at random for {entry.name}"
    peak = rows_of.divide(context, before, partition, np.zeros(n, np.int32), None, label)
    label = f"selecting with {entry.name}"
    _, failed, other_peak = context.map(f"{label}: first round", _select, tasks, list(map(len, partitions)))
    raise_if_failed(failed)
    parts = [
        PartSelection(rows, selection_files.load(task.path, rows_of.fingerprint)[0][1])
        for task, rows in zip(tasks, partitions, strict=True)
    ]
    context.progress.begin(f"{label}: second round", n)
    selection = _merge(rows_of, before, parts, budget or 0, merge_rng)
    context.progress.advance(n)
    return selection.check(n, budget), max(peak, other_peak)


def _merge(
    rows_of: RowPartitions, before: Rows, parts: Sequence[PartSelection], budget: int, rng: np.random.Generator
) -> Selection:
    """Select from the union of the selections of the first round."""
    entry = rows_of.entry
    selector: TwoRoundSelector = entry.spec.build()
    pool = build_pool(rows_of.pool, before, entry)
    with plugin_call(entry.spec, entry.name), one_blas_thread():
        return combine(pool, parts, selector.merge(pool.take(union_rows(parts)), parts, budget, rng))


@dataclass(frozen=True, slots=True)
class _Task:
    rows: RowPartitions
    number: int
    budget: int
    rng: np.random.Generator

    @property
    def path(self) -> Path:
        return self.rows.path("selected", self.number).with_suffix(".npz")


def _select(task: _Task) -> None:
    """Select from one partition."""
    if selection_files.is_current(task.path, task.rows.fingerprint):
        return
    entry = task.rows.entry
    selector: TwoRoundSelector = entry.spec.build()
    pool = task.rows.read(task.number).pool
    with plugin_call(entry.spec, entry.name):
        selection = selector.select_part(pool, min(task.budget, len(pool)), task.rng)
    selection_files.save(task.path, task.rows.fingerprint, [len(pool)], [selection.check(len(pool), None)])
