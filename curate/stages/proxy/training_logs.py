"""Reading of training logs into arrays in the pool's order, one array for each epoch of each run.

Memory: 4 bytes per row and epoch, and a few thousand lines; the values are in memory-mapped files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import DataError
from curate.kernels.stats.softmax import half_precision_logs, softmax
from curate.kernels.stats.softmax_statistics import STATISTICS, Statistic, softmax_statistics
from curate.kernels.types import AnyArray, Codes, Half, Vector
from curate.plugins.interfaces import RecordedProxy
from curate.plugins.results import LogLines
from curate.pool import embedding_matrix
from curate.store import readers, schemas
from curate.store.inputs import as_text
from curate.store.readers import BadRecord, Piece


@dataclass(slots=True)
class _Step:
    """Values of one epoch of one run."""

    logs: Half | None
    """Logarithms of probabilities, shape (n, classes), memory-mapped; None for a log without probabilities."""

    statistics: Mapping[Statistic, Vector]
    """Logged statistics, shape (n,) each."""

    line: NDArray[np.int32]
    """Line of each row in the log, shape (n,); 0 for a missing row."""


@dataclass(frozen=True, slots=True)
class Log:
    """Content of a training log."""

    steps: Sequence[_Step]
    """Values of each epoch of each run, in order."""

    runs: int
    """Number of runs."""

    epochs: int
    """Number of epochs of each run."""

    seen: NDArray[np.bool_]
    """Whether the log has each row, shape (n,)."""

    unknown: int
    """Number of lines about rows that are not in the pool."""

    @property
    def has_probabilities(self) -> bool:
        """Whether the log has probabilities."""
        return self.steps[0].logs is not None

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """Names of the statistics that are logged, or computed from the probabilities."""
        return _known_statistics(self.steps[0].statistics, has_probabilities=self.has_probabilities)

    def columns(self, labels: Codes, start: int, rows: slice) -> Mapping[str, AnyArray]:
        """Return the columns of a proxy shard for some rows.

        Parameters
        ----------
        labels : (n,) int32
            Classes of the rows of the pool, -1 for rows without a label or a line.
        start : int
            First row of the shard in the pool.
        rows : slice
            Rows of the shard.
        """
        pool_rows, columns = slice(start + rows.start, start + rows.stop), dict[str, AnyArray]()
        probabilities = schemas.probabilities(self.runs, self.epochs)
        for number, step in enumerate(self.steps):
            values: dict[Statistic, AnyArray] = {name: array[pool_rows] for name, array in step.statistics.items()}
            if step.logs is not None:
                logs = np.asarray(step.logs[pool_rows])
                columns[probabilities[number]] = logs
                values |= softmax_statistics(logs.astype(np.float32), labels[pool_rows], None)
            for name, array in values.items():
                columns[schemas.statistics(name, self.runs, self.epochs)[number]] = array
        return columns


def read(proxy: RecordedProxy, files: Sequence[Path], ids: pa.ChunkedArray, classes: int, scratch: Path) -> Log:
    """Read the log in ``files`` for the rows ``ids``.

    Raises
    ------
    DataError
        The log is invalid; the error names the file and line, or the row and epoch.
    """
    reader = _LogReader(proxy, {name: row for row, name in enumerate(ids.to_pylist())}, classes, scratch)
    for number, path in enumerate(files):
        for batch in readers.read(Piece(str(path), number)):
            if batch.bad_records:
                raise _bad_line_error(batch.bad_records[0], path)
            reader.take(batch.table, np.array(batch.lines, np.int32), path)
    return reader.done(files, ids)


def check(proxy: RecordedProxy, path: Path, labels: Collection[str], *, exact: bool) -> tuple[Statistic, ...] | None:
    """Read the first lines of one file of a log, and compare its classes with the labels of the pool.

    Return the statistics that the log provides; None for an empty file.

    Parameters
    ----------
    labels : collection of str
        All labels of the pool (``exact``), or those of some rows.

    Raises
    ------
    DataError
        The log is invalid or does not fit the pool.
    """
    batch = next(readers.read(Piece(str(path), 0)), None)
    if batch is None:
        return None
    if batch.bad_records:
        raise _bad_line_error(batch.bad_records[0], path)
    _keys(batch.table, f"{path}:{batch.lines[0]}")
    values = _read_lines(proxy, batch.table, batch.lines, path)
    if values.logits is None:
        return _known_statistics(values.statistics, has_probabilities=False)
    classes = values.logits.shape[1]
    expected = len(proxy.classes) or len(labels)
    is_exact = exact or bool(proxy.classes)
    if classes < expected or (is_exact and classes != expected):
        message = f"the log has {classes} classes, but the pool has {expected} labels"
        raise DataError(message, where=str(path), hint=_CLASSES_HINT)
    return _known_statistics(values.statistics, has_probabilities=True)


def _known_statistics(logged: Collection[Statistic], *, has_probabilities: bool) -> tuple[Statistic, ...]:
    """Return the statistics that are logged, or computed from the probabilities."""
    computed = set(STATISTICS) - {"gradient"} if has_probabilities else set()
    return tuple(name for name in STATISTICS if name in {*logged, *computed})


_CLASSES_HINT = "list all classes of the model in its order: proxy.classes"


def _read_lines(proxy: RecordedProxy, table: pa.Table, lines: Sequence[int], path: Path) -> LogLines:
    """Return the values of some lines; raise a DataError that names the line if one is no number."""
    try:
        values = proxy.read(table)
    except DataError as error:
        raise DataError(error.message, where=f"{path}, lines {lines[0]} to {lines[-1]}", hint=error.hint) from error
    logits = [] if values.logits is None else [("logits or probabilities", values.logits)]
    for name, array in [*values.statistics.items(), *logits]:
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            hint = "log a number for every row, or leave the row out of the log"
            message = f"{name}: the line contains NaN, infinity or null"
            raise DataError(message, where=f"{path}:{lines[int(finite.argmin())]}", hint=hint)
    return values


def _bad_line_error(record: BadRecord, path: Path) -> DataError:
    """Return the error for a line of the log that cannot be read."""
    hint = "fix the line, or remove it from the log"
    return DataError(f"cannot read the log: the line {record.reason}", where=f"{path}:{record.line}", hint=hint)


@dataclass(slots=True)
class _LogReader:
    proxy: RecordedProxy
    rows: Mapping[str, int]
    classes: int
    scratch: Path
    steps: dict[tuple[str, float], _Step] = field(default_factory=dict)
    contents: set[str] = field(default_factory=set)
    """Names of what the lines contain."""

    unknown: int = 0

    def take(self, table: pa.Table, lines: NDArray[np.int32], path: Path) -> None:
        """Store the values of one batch of lines."""
        where = f"{path}:{lines[0]}" if len(lines) else str(path)
        names, epochs, runs = _keys(table, where)
        rows = np.array([self.rows.get(name, -1) for name in names], np.intp)
        self.unknown += int((rows < 0).sum())
        values = _read_lines(self.proxy, table, lines.tolist(), path)
        if values.logits is not None and values.logits.shape[1] != self.classes:
            raise DataError(
                f"the log has {values.logits.shape[1]} classes, but the pool has {self.classes} labels",
                where=where,
                hint=_CLASSES_HINT,
            )
        contents = {*values.statistics, *([] if values.logits is None else ["probabilities"])}
        self.contents = self.contents or contents
        if contents != self.contents:
            message = f"the log has {', '.join(sorted(contents))} here, and {', '.join(sorted(self.contents))} before"
            raise DataError(message, where=where, hint="log the same columns in all files")
        for run in np.unique(runs):
            for epoch in np.unique(epochs[runs == run]):
                selected = np.flatnonzero((runs == run) & (epochs == epoch) & (rows >= 0))
                self._store((str(run), float(epoch)), rows[selected], values, selected, lines[selected], path)

    def _store(
        self,
        key: tuple[str, float],
        rows: NDArray[np.intp],
        values: LogLines,
        selected: NDArray[np.intp],
        lines: NDArray[np.int32],
        path: Path,
    ) -> None:
        """Store the values of the ``selected`` lines, which are about ``rows`` and have the numbers ``lines``."""
        if key not in self.steps:
            n, logs = len(self.rows), None
            if values.logits is not None:
                logs = embedding_matrix.allocate_mapped(self.scratch, np.float16, (n, self.classes))
            statistics = {name: np.zeros(n, np.float32) for name in values.statistics}
            self.steps[key] = _Step(logs, statistics, np.zeros(n, np.int32))
        step = self.steps[key]
        order = np.argsort(rows, kind="stable")
        repeated = order[1:][rows[order[1:]] == rows[order[:-1]]]
        duplicates = np.union1d(repeated, np.flatnonzero(step.line[rows] > 0))
        if len(duplicates):
            raise DataError(
                f"the log has a second line for this row in epoch {key[1]:g}",
                where=f"{path}:{lines[duplicates[0]]}",
                hint="if the log has several runs, add a column 'run'",
            )
        if step.logs is not None and values.logits is not None:
            step.logs[rows] = half_precision_logs(softmax(values.logits[selected]))
        for name, array in values.statistics.items():
            step.statistics[name][rows] = array[selected]
        step.line[rows] = lines

    def done(self, files: Sequence[Path], ids: pa.ChunkedArray) -> Log:
        """Return the complete log after checking that no row is missing in an epoch."""
        where = ", ".join(str(path) for path in files[:3])
        n = len(self.rows)
        seen = np.zeros(n, np.bool_)
        for step in self.steps.values():
            seen |= step.line > 0
        if not seen.any():
            hint = "compare the ids in the log with those of the pool"
            raise DataError("no line of the log is about a row of the pool", where=where, hint=hint)
        for (run, epoch), step in self.steps.items():
            if len(lost := np.flatnonzero(seen & (step.line == 0))):
                message = f"the log has no row {ids[int(lost[0])].as_py()!r} in epoch {epoch:g}"
                message += f" of run {run!r}" if run else ""
                raise DataError(message, where=where, hint="log all rows in every epoch")
            if step.logs is not None:
                step.logs[~seen] = half_precision_logs(np.full((1, self.classes), 1 / self.classes))
        lengths = {run: sum(other == run for other, _ in self.steps) for run, _ in self.steps}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{run!r} has {length}" for run, length in sorted(lengths.items()))
            message = f"the runs of the log have different numbers of epochs: {counts}"
            raise DataError(message, where=where, hint="log the same epochs for all runs")
        steps = [self.steps[key] for key in sorted(self.steps)]
        return Log(steps, len(lengths), len(steps) // len(lengths), seen, self.unknown)


def _keys(table: pa.Table, where: str) -> tuple[list[str], NDArray[np.float64], NDArray[np.str_]]:
    """Return the id, epoch and run of each line."""
    for name in ("id", "epoch"):
        if name not in table.column_names or table[name].null_count:
            hint = "every line needs an id and an epoch"
            raise DataError(f"the log has no column {name!r}, or a null in it", where=where, hint=hint)
    try:
        epochs = np.asarray(table["epoch"].cast(pa.float64()).to_numpy())
    except pa.ArrowException as error:
        hint = "write the epoch as a number in every line"
        message = f"the column 'epoch' of the log does not contain numbers: {error}"
        raise DataError(message, where=where, hint=hint) from error
    runs = as_text(table["run"]).fill_null("").to_pylist() if "run" in table.column_names else [""] * len(table)
    return as_text(table["id"]).to_pylist(), epochs, np.array(runs, np.str_)
