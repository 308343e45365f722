"""Reading of the ground truth that the report compares with the outcomes of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from curate import paths
from curate.errors import DataError
from curate.store import readers

if TYPE_CHECKING:
    from curate.config.model import RunConfig

_COLUMNS = ("id", "kind")


def check_readable(config: RunConfig) -> None:
    """Check that the file of the ground truth can be read.

    Raises
    ------
    DataError
        The file is missing or invalid.
    """
    if config.evaluate.ground_truth is None:
        return
    path = paths.parse_path(config.evaluate.ground_truth)
    if not path.is_file():
        message = "expected a file, found a folder" if path.is_dir() else "there is no such file"
        raise DataError(
            message,
            where=config.evaluate.ground_truth,
            hint="set evaluate.ground_truth to a file with the columns id and kind",
        )
    read(path)


def read(path: Path) -> pl.DataFrame:
    """Read the ``id``, ``kind`` and ``of`` of the rows as strings; ``of`` is null if the file has no such column.

    Raises
    ------
    DataError
        A line cannot be read, has no kind or repeats an id, or a column is missing or is not text; the error names the
        line or the column.

    Notes
    -----
    A line without an id describes a row without an id, which is not in the pool.
    """
    columns_to_read = (*_COLUMNS, "of")
    batches = list(readers.read(readers.Piece(str(path), 0), readers.ReadOptions(scalar_columns=columns_to_read)))
    if bad := next((record for batch in batches for record in batch.bad_records), None):
        hint = "fix the line, or remove it"
        raise DataError(f"cannot read the ground truth: the line {bad.reason}", where=f"{path}:{bad.line}", hint=hint)
    names = list(dict.fromkeys(name for batch in batches for name in batch.table.column_names))
    tables = [
        batch.table.select([name for name in columns_to_read if name in batch.table.column_names]) for batch in batches
    ]
    table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        hint = f"the file has the columns: {', '.join(names)}" if tables else "the file has no rows"
        raise DataError(f"the ground truth has no column {missing[0]!r}", where=str(path), hint=hint)
    columns = {name: _strings(table, name, path) for name in columns_to_read}
    frame = pl.DataFrame({name: pl.Series(name, column) for name, column in columns.items()})
    with_lines = frame.with_columns(line=pl.Series([line for batch in batches for line in batch.lines], dtype=pl.Int64))
    for line in with_lines.filter(pl.col("kind").is_null())["line"].head(1):
        raise DataError("the line of the ground truth has no kind", where=f"{path}:{line}", hint="add the kind")
    duplicates = with_lines.filter(pl.col("id").is_not_null() & ~pl.col("id").is_first_distinct())
    for name, line in duplicates.select("id", "line").head(1).iter_rows():
        raise DataError(
            f"the ground truth has a second line for the id {name!r}", where=f"{path}:{line}", hint="remove one"
        )
    return frame


def _strings(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(len(table), pa.string())])
    if pa.types.is_nested(table[name].type):
        message = f"column {name!r} of the ground truth is {table[name].type}, not text"
        raise DataError(message, where=str(path), hint="store it as text")
    return table[name].cast(pa.string())
