"""Removal of repeated spans from the export: found among all chosen rows, removed when the rows are written.

Workers find the spans. First they list the windows of each shard; then, for a range of hashes, those that an earlier
shard has; and then they join the repeated windows of each shard to spans. Memory: the windows of one shard, or about
4 million windows.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from curate import paths
from curate.config.template_syntax import TextPath
from curate.kernels.text.span_index import WindowHashes, find_spans_with_earlier, remove_spans
from curate.pool.stage_outputs import SelectOutput
from curate.stages import partitions
from curate.stages.base import Context, is_current_shard, raise_if_failed
from curate.stages.export.map_strings import map_strings, root_columns, text_paths
from curate.store import manifest, parquet_io, schemas
from curate.store.inputs import Inputs

Counts = Mapping[str, int]
T = TypeVar("T")

FOLDER = "cut"
"""Folder in the run directory with the spans to remove from the texts of each shard."""

VERSION = 1
"""Version of the definition of a repeated span."""


_WINDOWS_PER_TASK = 1 << 22
_WINDOWS_PER_ROW_GROUP = 1 << 16
_LARGEST_HASH = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Task:
    source: Inputs
    selected: SelectOutput
    shard: int
    paths_to_text: tuple[TextPath, ...]
    min_words: int
    folder: Path
    fingerprint: str
    ranges: int = 0
    """Number of ranges of hashes."""

    @property
    def path(self) -> Path:
        return parquet_io.shard_path(self.folder, self.shard)

    @property
    def windows(self) -> Path:
        return parquet_io.shard_path(self.folder / _WORK / "windows", self.shard)

    def read_windows(self) -> WindowHashes:
        """Hash the windows of the strings of the chosen rows."""
        chosen = self.selected.read(self.shard, ["selected"])["selected"].to_pylist()
        table = self.source.read(self.shard, (), root_columns(self.paths_to_text))
        return WindowHashes.from_texts(lambda: [_strings(table, self.paths_to_text, chosen)], self.min_words)


@dataclass(frozen=True, slots=True)
class _RangeTask:
    shards: tuple[_Task, ...]
    number: int
    low: int
    high: int

    @property
    def path(self) -> Path:
        return _range_path(self.shards[0].folder, self.number)


def _range_path(folder: Path, number: int) -> Path:
    return parquet_io.shard_path(folder / _WORK / "earlier", number)


_WORK = "work"


def find(context: Context, source: Inputs, selected: SelectOutput, min_words: int) -> None:
    """Find the runs of words that occur repeatedly in the text columns of the chosen rows, and write them to disk.

    Each string is a separate text, in the order of the pool and of the columns. The first copy of a run is kept.
    """
    folder, paths_to_text = context.folder / FOLDER, text_paths(context.config.input)
    inputs = {
        "version": VERSION,
        "min_words": min_words,
        "columns": [way[0] if len(way) == 1 else way for way in paths_to_text],
    }
    key = manifest.fingerprint({**inputs, "input": source.fingerprint, "select": selected.fingerprint})
    tasks = [
        _Task(source, selected, shard, tuple(paths_to_text), min_words, folder, key)
        for shard in range(len(source.shards))
    ]
    if all(is_current_shard(task.path, key) for task in tasks):
        return
    for obsolete in set(paths.list_names(folder)) - {task.path.name for task in tasks} - {_WORK}:
        paths.unlink(folder / obsolete)
    label = "searching for repeated spans"
    _run(context, f"{label}: reading texts", _list_windows, tasks, source.shards)
    count = max(1, -(-sum(parquet_io.count_rows(task.windows) for task in tasks) // _WINDOWS_PER_TASK))
    bounds = [number * (_LARGEST_HASH + 1) // count for number in range(count + 1)]
    ranges = [_RangeTask(tuple(tasks), number, low, high - 1) for number, (low, high) in enumerate(pairwise(bounds))]
    _run(context, f"{label}: comparing shards", _find_earlier, ranges, [1] * count, "parts")
    _run(context, label, _write_spans, [replace(task, ranges=count) for task in tasks], source.shards)
    paths.remove_directory(folder / _WORK)


def _run(
    context: Context,
    label: str,
    work: Callable[[T], None],
    tasks: Sequence[T],
    sizes: Sequence[int],
    unit: str = "rows",
) -> None:
    _, failed, _ = context.map(label, work, tasks, sizes, unit)
    raise_if_failed(failed)


def _list_windows(task: _Task) -> None:
    """Write the distinct windows of a shard, sorted by their hashes."""
    if is_current_shard(task.windows, task.fingerprint):
        return
    windows = task.read_windows()
    order = np.lexsort((windows.second, windows.first))
    first, second = windows.first[order], windows.second[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    table = pa.table({"first": first[is_new], "second": second[is_new]})
    parquet_io.write(table, task.windows, task.fingerprint, dictionary=False, row_group=_WINDOWS_PER_ROW_GROUP)


def _find_earlier(task: _RangeTask) -> None:
    """Write the windows of each shard that an earlier shard has, for a range of hashes."""
    if is_current_shard(task.path, task.shards[0].fingerprint):
        return
    parts = [parquet_io.read_sorted_range(shard.windows, task.low, task.high) for shard in task.shards]
    table = pa.concat_tables(parts)
    number = np.repeat([shard.shard for shard in task.shards], list(map(len, parts)))
    first, second = table["first"].to_numpy(), table["second"].to_numpy()
    order = np.lexsort((number, second, first))
    first, second, number = first[order], second[order], number[order]
    is_known = np.zeros(len(order), np.bool_)
    is_known[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    known = pa.table({"first": first[is_known], "second": second[is_known]})
    partitions.write(task.path, task.shards[0].fingerprint, known, number[is_known])


def _write_spans(task: _Task) -> None:
    """Write the repeated spans of a shard."""
    if is_current_shard(task.path, task.fingerprint):
        return
    known = pa.concat_tables(
        [partitions.read(_range_path(task.folder, number), task.shard) for number in range(task.ranges)]
    )
    earlier = known["first"].to_numpy(), known["second"].to_numpy()
    spans = find_spans_with_earlier(task.read_windows(), task.min_words, earlier)
    table = pa.table([pa.array(part.astype(np.int32)) for part in spans], schema=schemas.CUTS)
    table = schemas.check(table, schemas.CUTS, str(task.path))
    parquet_io.write(table, task.path, task.fingerprint, compression="zstd")


def _strings(table: pa.Table, paths_to_text: Sequence[TextPath], chosen: Sequence[bool]) -> list[str]:
    """Return every string at the paths, in the order of ``cut``; "" for rows that are not chosen."""
    strings: list[str] = []

    def note(row: int, text: str) -> str:
        strings.append(text if chosen[row] else "")
        return text

    map_strings(table, paths_to_text, note)
    return strings


def cut(
    table: pa.Table, paths_to_text: Sequence[TextPath], path: Path, chosen_rows: Iterable[int]
) -> tuple[pa.Table, Counts]:
    """Remove the spans that ``find`` wrote to disk from the rows of a shard.

    Parameters
    ----------
    table : pa.Table
        All rows of the shard.
    ways : paths to the strings, the same as for ``find``
    path : Path
        File written by ``find``.
    wanted : rows to change; others stay unchanged

    Returns
    -------
    table : pa.Table
        Table with the same rows, columns and types.
    counts : Counts
        Number of changed ``rows``, removed ``spans`` and ``words``, and ``empty`` rows, which have no word left.
    """
    runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for text, first, end in zip(*(column.to_pylist() for column in parquet_io.read(path).columns), strict=True):
        runs[text].append((first, end))
    number, rows = itertools.count(), frozenset(chosen_rows)
    counts: Counter[str] = Counter()
    changed_rows: set[int] = set()
    with_text: set[int] = set()

    def change(row: int, text: str) -> str:
        spans = runs.get(next(number), ())
        if spans and row in rows:
            changed_rows.add(row)
            counts.update(spans=len(spans), words=sum(end - first for first, end in spans))
            text = remove_spans(text, spans)
        if text and not text.isspace():
            with_text.add(row)
        return text

    table = map_strings(table, paths_to_text, change)
    counts.update(rows=len(changed_rows), empty=len(changed_rows - with_text))
    return table, total([counts])


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of the counts of several tables; a row counts once for every epoch that has it."""
    counts = list(counts)
    return {name: sum(each.get(name, 0) for each in counts) for name in ("rows", "spans", "words", "empty")}
