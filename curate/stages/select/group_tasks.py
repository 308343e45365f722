"""Selection within groups on the workers, exactly as in one process.

The rows that reach the entry are divided by group on disk once. Groups are packed into partitions in order of size,
the largest first, and each task selects within the groups of one partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.kernels.types import Codes, Rows
from curate.plugins.results import Selection
from curate.stages import partitions
from curate.stages.base import Context, raise_if_failed
from curate.stages.select import row_partitions, run_selector, selection_files, split_budget
from curate.stages.select.incumbents import Incumbents
from curate.stages.select.row_partitions import RowPartitions
from curate.stages.select.split_budget import Groups


def select_within_groups(
    context: Context, before: Rows, incumbents: Incumbents | None, rows_of: RowPartitions
) -> tuple[Selection, int]:
    """Select among the rows ``before`` within the groups of an entry.

    Returns
    -------
    selection : Selection
        Selection among ``before``.
    peak_memory : int
        Highest peak memory of a worker, in bytes.
    """
    pool, entry = rows_of.pool, rows_of.entry
    groups = run_selector.find_groups(pool, before, entry)
    sizes = np.array([len(rows) for rows in groups.rows], np.int64)
    shares = run_selector.split_shares(entry, sizes, groups)
    partition = row_partitions.pack(sizes, row_partitions.rows_per_partition(len(before), pool))
    group = np.empty(len(before), np.int32)
    for number, rows in enumerate(groups.rows):
        group[rows] = number
    limits = pa.table({"group": np.arange(len(sizes)), "share": pa.array(shares, pa.int64())})
    partitions.write(_limits_path(rows_of), rows_of.fingerprint, limits, partition)
    flag, weight = (None, None) if incumbents is None else (incumbents.published, incumbents.weight)
    label = f"dividing rows by {entry.within} for {entry.name}"
    peak = rows_of.divide(context, before, partition[group], group, flag, label)
    count = int(partition.max(initial=-1)) + 1
    tasks = [_Task(rows_of, number, context.config.seed, weight) for number in range(count)]
    task_rows = np.bincount(partition, sizes, count).astype(np.int64).tolist()
    _, failed, peak_of_tasks = context.map(f"selecting with {entry.name}", _select, tasks, task_rows)
    raise_if_failed(failed)
    selection = _collect(tasks, groups, partition, len(before))
    budget = None if entry.budget is None else sum(share or 0 for share in shares)
    return selection.check(len(before), budget), max(peak, peak_of_tasks)


def _collect(tasks: list[_Task], groups: Groups, partition: Codes, n: int) -> Selection:
    """Merge the selections of all groups, in the order of the groups."""
    by_partition = np.argsort(partition, kind="stable")
    selections = [
        selection for task in tasks for _, selection in selection_files.load(task.path, task.rows.fingerprint)
    ]
    in_order = [selections[position] for position in np.argsort(by_partition)]
    return split_budget.merge_selections(n, groups.rows, in_order)


def _limits_path(rows_of: RowPartitions) -> Path:
    """Return the path of the groups of each partition, with their share of the budget."""
    return rows_of.path("groups", 0)


@dataclass(frozen=True, slots=True)
class _Task:
    rows: RowPartitions
    number: int
    seed: int
    weight: float | None
    """Weight of incumbents; None without them."""

    @property
    def path(self) -> Path:
        return self.rows.path("selected", self.number).with_suffix(".npz")


def _select(task: _Task) -> None:
    """Select within each group of one partition."""
    if selection_files.is_current(task.path, task.rows.fingerprint):
        return
    inputs = task.rows.read(task.number)
    order = np.argsort(inputs.group, kind="stable")
    limits = partitions.read(_limits_path(task.rows), task.number)
    sizes, selections = [], []
    ends = np.searchsorted(inputs.group[order], limits["group"].to_numpy(), "right")
    for number, share, rows in zip(
        limits["group"].to_pylist(), limits["share"].to_pylist(), np.split(order, ends[:-1]), strict=True
    ):
        incumbents = None if task.weight is None else Incumbents(inputs.flag[rows], task.weight)
        some = inputs.pool if len(rows) == len(inputs.pool) else inputs.pool.take(rows)
        sizes.append(len(rows))
        selections.append(run_selector.select_group(task.rows.entry, some, task.seed, share, incumbents, number))
    selection_files.save(task.path, task.rows.fingerprint, sizes, selections)
