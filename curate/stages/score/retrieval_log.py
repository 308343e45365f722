"""Reading of logs of retrievals: which rows of the pool each query retrieved, in order, and their utility.

Memory: about 40 bytes per line, the ids of the pool, and the names of the queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate import paths
from curate.errors import DataError
from curate.kernels.types import AnyArray, Codes, Counts, Flags, Numbers, Rows
from curate.plugins.batches import Retrievals
from curate.progress import Progress
from curate.stages.ingest.stage import match_files
from curate.store import readers
from curate.store.inputs import as_identifiers
from curate.store.readers import Piece

_COLUMNS_HINT = "every line needs the columns 'query', 'id', 'utility', and 'rank' or 'similarity'"


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines of the log about rows of the pool."""

    query: Counts
    row: Rows
    order: Numbers
    """Rank, or similarity times -1: lower is nearer."""

    utility: Numbers
    file: Codes
    line: Counts

    def take(self, lines: Rows | Flags) -> _Lines:
        return _Lines(*(part[lines] for part in self.parts()))

    def parts(self) -> tuple[AnyArray, ...]:
        return self.query, self.row, self.order, self.utility, self.file, self.line


def read(progress: Progress, name: str, pattern: str, ids: pa.ChunkedArray) -> Retrievals:
    """Read the log of the scorer ``name`` in the files that match ``pattern`` for a pool with these ``ids``.

    Retrievals of rows that are not in the pool are left out, as if the corpus did not have them; a note counts them.

    Raises
    ------
    DataError
        The log is invalid; the error names the file and the line.
    """
    files = [paths.parse_path(file) for file in match_files(f"score.{name}.files", pattern)]
    rows = {identifier: row for row, identifier in enumerate(ids.to_pylist())}
    queries: dict[str, int] = {}
    parts = [part for number, path in enumerate(files) for part in _read_file(path, number, queries, rows)]
    if not parts:
        raise DataError("the log has no lines", where=", ".join(map(str, files[:3])), hint=_COLUMNS_HINT)
    lines = _Lines(*(np.concatenate(each) for each in zip(*(part.parts() for part in parts), strict=True)))
    known = lines.row >= 0
    if not known.any():
        hint = "compare the ids in the log with those of the pool"
        raise DataError(
            "no line of the log is about a row of the pool", where=", ".join(map(str, files[:3])), hint=hint
        )
    if unknown := int((~known).sum()):
        progress.note(f"score {name}: {unknown:,} of {len(known):,} retrievals are of rows that are not in the pool")
    lines = lines.take(known)
    lines = lines.take(np.lexsort((lines.line, lines.file, lines.order, lines.query)))
    _refuse_repetitions(lines, files)
    starts = np.searchsorted(lines.query, np.arange(len(queries) + 1))
    return Retrievals(lines.row, starts, lines.utility, len(rows))


def check(path: Path) -> None:
    """Read the first lines of one file of a log.

    Raises
    ------
    DataError
        A line is invalid; the error names it.
    """
    next(_read_file(path, 0, {}, {}), None)


def _read_file(path: Path, number: int, queries: dict[str, int], rows: dict[str, int]) -> Iterator[_Lines]:
    for batch in readers.read(Piece(str(path), number)):
        if batch.bad_records:
            record = batch.bad_records[0]
            hint = "fix the line, or remove it from the log"
            raise DataError(f"cannot read the log: the line {record.reason}", where=f"{path}:{record.line}", hint=hint)
        table, lines = batch.table, np.array(batch.lines, np.int64)
        names, identifiers = (_identifiers(table, column, path, lines) for column in ("query", "id"))
        if "rank" in table.column_names:
            order = _numbers(table, "rank", path, lines)
        else:
            order = -_numbers(table, "similarity", path, lines)
        yield _Lines(
            query=np.array([queries.setdefault(query, len(queries)) for query in names], np.int64),
            row=np.array([rows.get(identifier, -1) for identifier in identifiers], np.intp),
            order=order,
            utility=_numbers(table, "utility", path, lines),
            file=np.full(len(lines), number, np.int32),
            line=lines,
        )


def _identifiers(table: pa.Table, column: str, path: Path, lines: Counts) -> list[str]:
    values = as_identifiers(_column(table, column, path, lines))
    if values.null_count:
        where = f"{path}:{lines[values.is_null().to_numpy().argmax()]}"
        raise DataError(f"the log has no {column!r} in this line", where=where, hint=_COLUMNS_HINT)
    identifiers: list[str] = values.to_pylist()
    return identifiers


def _numbers(table: pa.Table, column: str, path: Path, lines: Counts) -> Numbers:
    values = _column(table, column, path, lines)
    try:
        numbers = values.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        where = f"{path}, lines {lines[0]} to {lines[-1]}"
        message = f"the column {column!r} of the log does not contain numbers: {error}"
        raise DataError(message, where=where, hint="write a number in every line") from error
    if (bad := np.flatnonzero(~np.isfinite(numbers))).size:
        where = f"{path}:{lines[bad[0]]}"
        raise DataError(f"the log has no finite {column!r} in this line", where=where, hint=_COLUMNS_HINT)
    return np.asarray(numbers, np.float64)


def _column(table: pa.Table, column: str, path: Path, lines: Counts) -> pa.ChunkedArray:
    if column not in table.column_names:
        where = f"{path}:{lines[0]}" if len(lines) else str(path)
        names = "'rank' or 'similarity'" if column == "similarity" else repr(column)
        raise DataError(f"the log has no column {names}", where=where, hint=_COLUMNS_HINT)
    return table[column]


def _refuse_repetitions(lines: _Lines, files: list[Path]) -> None:
    """Raise an error if a query retrieves a row twice; the order is by query."""
    order = np.lexsort((lines.line, lines.file, lines.row, lines.query))
    by_row = lines.take(order)
    repeated = (np.diff(by_row.query) == 0) & (np.diff(by_row.row) == 0)
    if repeated.any():
        second = int(repeated.argmax()) + 1
        where = f"{files[by_row.file[second]]}:{by_row.line[second]}"
        hint = "write one line for each query and retrieved row"
        raise DataError("the log has a second line for this query and row", where=where, hint=hint)
