"""Row filters and sketches of consecutive entries, in one pass over the shards on the workers.

A task reads the columns and the texts of its shard once, and applies the entries in order, each to the rows that the
previous one kept. Memory: one shard a worker.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.types import Rows
from curate.plugins.interfaces import get_scope
from curate.plugins.results import Selection
from curate.pool.view import PoolView
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select import selection_files, split_budget
from curate.stages.select.row_partitions import needs_all_rows
from curate.stages.select.run_selector import build_pool, choose
from curate.stages.select.sketch_tasks import SketchFiles, write_sketches

if TYPE_CHECKING:
    from curate.config.model import SelectEntry


@dataclass(frozen=True, slots=True)
class _Task:
    pool: PoolView
    number: int
    survivors: bytes
    """Whether each row of the shard reaches the first entry, as packed bits."""

    entries: tuple[SelectEntry, ...]
    seed: int
    folder: Path
    fingerprint: str

    def sketch_files(self, entry: SelectEntry) -> SketchFiles:
        return SketchFiles(self.folder / entry.name, self.fingerprint, (self.number,))

    def is_current(self, entry: SelectEntry) -> bool:
        if get_scope(entry.spec.build()) == "sketch":
            return self.sketch_files(entry).is_current("sketches", SketchFiles.name(self.number))
        return selection_files.is_current(_selection_path(self.folder, entry, self.number), self.fingerprint)


def _selection_path(folder: Path, entry: SelectEntry, number: int) -> Path:
    return folder / entry.name / f"part-{number:05d}.npz"


def entries_in_one_pass(entries: Sequence[SelectEntry], pool: PoolView) -> tuple[SelectEntry, ...]:
    """Return the leading entries that one pass over the shards can apply: row filters, and at most one sketch.

    A sketch ends the pass, because all shards must be known before it drops a row.
    """
    together: list[SelectEntry] = []
    for entry in entries:
        scope = get_scope(entry.spec.build())
        if scope == "sketch" and entry.within is None:
            return (*together, entry)
        if scope != "row" or needs_all_rows(entry, pool):
            break
        together.append(entry)
    return tuple(together)


@dataclass(frozen=True, slots=True)
class EntryPass:
    """Result of a pass over the shards for one entry."""

    selection: Selection | None = None
    """Selection of a row filter among the rows that reach it; None for an entry whose sketches were written."""

    seconds: float = 0.0
    """Share of the entry in the duration of the pass."""

    peak_memory: int = 0


def run_pass(
    context: Context,
    pool: PoolView,
    survivors: Rows,
    entries: Sequence[SelectEntry],
    folder: Path,
    fingerprint: str,
) -> dict[str, EntryPass]:
    """Apply entries to all shards, and return the result of each by its name."""
    if not entries:
        return {}
    started = time.perf_counter()
    mask = np.zeros(len(pool), np.bool_)
    mask[survivors] = True
    parts = np.split(mask, np.cumsum(pool.shard_sizes)[:-1])
    tasks = [
        _Task(pool, number, np.packbits(part).tobytes(), tuple(entries), context.config.seed, folder, fingerprint)
        for number, part in zip(pool.numbers, parts, strict=True)
    ]
    label = f"reading shards for {', '.join(entry.name for entry in entries)}"
    seconds, failed, peak = context.map(label, _apply_entries, tasks, [int(part.sum()) for part in parts])
    raise_if_failed(failed)
    totals = np.sum(seconds, axis=0) + 1e-9  # of an interrupted run, all may be 0
    shares = (time.perf_counter() - started) * totals / totals.sum()
    results: dict[str, EntryPass] = {}
    for entry, share in zip(entries, shares.tolist(), strict=True):
        selection = None
        if get_scope(entry.spec.build()) == "row":
            paths = (_selection_path(folder, entry, task.number) for task in tasks)
            selection = _merge([selection_files.load(path, fingerprint)[0] for path in paths])
        results[entry.name] = EntryPass(selection, share, peak)
    return results


def _merge(parts: Sequence[tuple[int, Selection]]) -> Selection:
    """Concatenate the selections of shards, each with its number of rows."""
    ends = np.cumsum([0, *(n for n, _ in parts)]).tolist()
    rows = [np.arange(start, stop) for start, stop in pairwise(ends)]
    return split_budget.merge_selections(ends[-1], rows, [selection for _, selection in parts])


def _apply_entries(task: _Task) -> tuple[float, ...]:
    """Apply the entries to one shard, and return the seconds of each; zeros if their files exist."""
    if all(map(task.is_current, task.entries)):
        return (0.0,) * len(task.entries)
    view = task.pool.restrict(task.number)
    rows = np.flatnonzero(np.unpackbits(np.frombuffer(task.survivors, np.uint8), count=len(view)))
    seconds = []
    for entry in task.entries:
        started = time.perf_counter()
        if get_scope(entry.spec.build()) == "sketch":
            selector = entry.spec.build()
            some = build_pool(view, rows, entry)
            with plugin_call(entry.spec, entry.name):
                sketches = selector.sketch(some)
            write_sketches(task.sketch_files(entry), SketchFiles.name(task.number), entry, sketches, some.quality)
        else:
            selection = choose(view, rows, entry, task.seed)
            path = _selection_path(task.folder, entry, task.number)
            selection_files.save(path, task.fingerprint, [len(rows)], [selection])
            rows = rows[np.sort(selection.indices)]
        seconds.append(time.perf_counter() - started)
    return tuple(seconds)
