"""Reads a log of somebody's training into arrays in the pool's order, one for each epoch of each run.

Memory: 4 bytes a row and epoch, and a few thousand lines; what they say is in mapped files, which the system may drop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import DataError
from curate.kernels.stats.softmax import half_precision_logs
from curate.kernels.types import Half, Matrix
from curate.plugins.interfaces import RecordedProxy
from curate.pool import embedding_matrix
from curate.store import readers
from curate.store.inputs import as_text
from curate.store.readers import Piece


@dataclass(slots=True)
class _Step:
    """What the log says of one epoch of one run."""

    logs: Half
    """(n, classes) logarithms of probabilities."""

    line: NDArray[np.int32]
    """(n,) where it says so; 0 for a row that it has not."""


@dataclass(frozen=True, slots=True)
class Log:
    """A log that was read."""

    steps: Sequence[Half]
    """For each epoch of each run in order, (n, classes) float16 logarithms of probabilities, mapped from a file."""

    runs: int
    epochs: int
    """Of each run."""

    seen: NDArray[np.bool_]
    """(n,) the rows that the log has."""

    unknown: int
    """Lines about rows that are not in the pool."""


def read(proxy: RecordedProxy, files: Sequence[Path], ids: pa.ChunkedArray, classes: int, scratch: Path) -> Log:
    """The log in ``files``, of the rows ``ids``.

    Raises
    ------
    DataError : naming the file and the line, or the row and the epoch, that cannot be used
    """
    reading = _Reading(proxy, {name: row for row, name in enumerate(ids.to_pylist())}, classes, scratch)
    for number, path in enumerate(files):
        for batch in readers.read(Piece(str(path), number)):
            if batch.bad_records:
                raise DataError(f"the log {batch.bad_records[0].reason}", where=f"{path}:{batch.bad_records[0].line}")
            reading.take(batch.table, np.array(batch.lines, np.int32), path)
    return reading.done(files, ids)


def check(proxy: RecordedProxy, path: Path, labels: Collection[str], *, exact: bool) -> None:
    """Read the first lines of one file of a log, and compare its classes with labels of the pool.

    Parameters
    ----------
    labels : collection of str
        Labels of the pool: all of them (``exact``), or those of some rows.

    Raises
    ------
    DataError
        It cannot be used.
    """
    batch = next(readers.read(Piece(str(path), 0)), None)
    if batch is None:
        return
    if batch.bad_records:
        raise DataError(f"the log {batch.bad_records[0].reason}", where=f"{path}:{batch.bad_records[0].line}")
    _keys(batch.table, f"{path}:{batch.lines[0]}")
    classes = proxy.probabilities(batch.table).shape[1]
    expected = len(proxy.classes) or len(labels)
    known = exact or bool(proxy.classes)
    if classes < expected or (known and classes != expected):
        message = f"the log has {classes} classes, the pool {expected} labels"
        raise DataError(message, where=str(path), hint="name all the classes of the model, in its order: proxy.classes")


@dataclass(slots=True)
class _Reading:
    proxy: RecordedProxy
    rows: Mapping[str, int]
    classes: int
    scratch: Path
    steps: dict[tuple[str, float], _Step] = field(default_factory=dict)
    unknown: int = 0

    def take(self, table: pa.Table, lines: NDArray[np.int32], path: Path) -> None:
        """Write down what one batch of lines says."""
        where = f"{path}:{lines[0]}" if len(lines) else str(path)
        names, epochs, runs = _keys(table, where)
        rows = np.array([self.rows.get(name, -1) for name in names], np.intp)
        self.unknown += int((rows < 0).sum())
        try:
            given = self.proxy.probabilities(table)
        except DataError as error:
            raise DataError(error.message, where=f"{path}, lines {lines[0]} to {lines[-1]}", hint=error.hint) from error
        if given.shape[1] != self.classes:
            raise DataError(
                f"the log has {given.shape[1]} classes, the pool {self.classes} labels",
                where=where,
                hint="name all the classes of the model, in its order: proxy.classes",
            )
        for run in np.unique(runs):
            for epoch in np.unique(epochs[runs == run]):
                mine = np.flatnonzero((runs == run) & (epochs == epoch) & (rows >= 0))
                self._settle((str(run), float(epoch)), rows[mine], given[mine], lines[mine], path)

    def _settle(
        self, key: tuple[str, float], rows: NDArray[np.intp], given: Matrix, lines: NDArray[np.int32], path: Path
    ) -> None:
        if key not in self.steps:
            n = len(self.rows)
            logs = embedding_matrix.allocate_mapped(self.scratch, np.float16, (n, self.classes))
            self.steps[key] = _Step(logs, np.zeros(n, np.int32))
        step = self.steps[key]
        order = np.argsort(rows, kind="stable")
        again = order[1:][rows[order[1:]] == rows[order[:-1]]]
        twice = np.union1d(again, np.flatnonzero(step.line[rows] > 0))
        if len(twice):
            raise DataError(
                f"the log has this row twice in epoch {key[1]:g}",
                where=f"{path}:{lines[twice[0]]}",
                hint="if it is of several runs, say which in a column 'run'",
            )
        step.logs[rows] = half_precision_logs(given)
        step.line[rows] = lines

    def done(self, files: Sequence[Path], ids: pa.ChunkedArray) -> Log:
        """The whole, if no row is missing from some of it."""
        where = ", ".join(str(path) for path in files[:3])
        n = len(self.rows)
        seen = np.zeros(n, np.bool_)
        for step in self.steps.values():
            seen |= step.line > 0
        if not seen.any():
            raise DataError("no line of the log is about a row of the pool", where=where, hint="compare the ids")
        for (run, epoch), step in self.steps.items():
            if len(lost := np.flatnonzero(seen & (step.line == 0))):
                told = f"the log has not the row {ids[int(lost[0])].as_py()!r} in epoch {epoch:g}"
                raise DataError(told + (f" of run {run!r}" if run else ""), where=where, hint="log all rows every time")
            step.logs[~seen] = half_precision_logs(np.full((1, self.classes), 1 / self.classes))
        lengths = {run: sum(other == run for other, _ in self.steps) for run, _ in self.steps}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{length} of {run!r}" for run, length in sorted(lengths.items()))
            raise DataError(f"the log's runs are not of the same number of epochs: {told}", where=where)
        steps = [self.steps[key].logs for key in sorted(self.steps)]
        return Log(steps, len(lengths), len(steps) // len(lengths), seen, self.unknown)


def _keys(table: pa.Table, where: str) -> tuple[list[str], NDArray[np.float64], NDArray[np.str_]]:
    """The id, epoch and run of each line."""
    for name in ("id", "epoch"):
        if name not in table.column_names or table[name].null_count:
            raise DataError(f"the log has no column {name!r}, or a null in it", where=where)
    try:
        epochs = np.asarray(table["epoch"].cast(pa.float64()).to_numpy())
    except pa.ArrowException as error:
        raise DataError(f"the log's column 'epoch' does not hold numbers: {error}", where=where) from error
    runs = as_text(table["run"]).fill_null("").to_pylist() if "run" in table.column_names else [""] * len(table)
    return as_text(table["id"]).to_pylist(), epochs, np.array(runs, np.str_)
