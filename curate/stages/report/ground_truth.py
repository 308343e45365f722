"""Reads the answer key that a report sets beside what became of the rows."""

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
    """Nothing, if the key that ``evaluate.ground_truth`` names can be read.

    Raises
    ------
    DataError : if it is not there, or as ``read``
    """
    if config.evaluate.ground_truth is None:
        return
    path = paths.parse_path(config.evaluate.ground_truth)
    if not path.is_file():
        message = "this is a folder, where a file is expected" if path.is_dir() else "there is no such file"
        raise DataError(message, where=config.evaluate.ground_truth, hint="evaluate.ground_truth names an answer key")
    read(path)


def read(path: Path) -> pl.DataFrame:
    """The ``id``, ``kind`` and ``of`` (null where the file has no such column) of its rows, as strings.

    Raises
    ------
    DataError : naming the line that cannot be read, that has no kind, or an id that came before; or the column that is
        missing, or is no text. A line without an id is of a row that has none, which is not in the pool
    """
    wanted = (*_COLUMNS, "of")
    batches = list(readers.read(readers.Piece(str(path), 0), readers.ReadOptions(scalar_columns=wanted)))
    if bad := next((record for batch in batches for record in batch.bad_records), None):
        raise DataError(f"the answer key {bad.reason}", where=f"{path}:{bad.line}")
    names = list(dict.fromkeys(name for batch in batches for name in batch.table.column_names))
    tables = [batch.table.select([name for name in wanted if name in batch.table.column_names]) for batch in batches]
    table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        hint = f"there are: {', '.join(names)}" if tables else "it has no rows"
        raise DataError(f"an answer key has a column {missing[0]!r}", where=str(path), hint=hint)
    columns = {name: _strings(table, name, path) for name in wanted}
    frame = pl.DataFrame({name: pl.Series(name, column) for name, column in columns.items()})
    told = frame.with_columns(line=pl.Series([line for batch in batches for line in batch.lines], dtype=pl.Int64))
    for line in told.filter(pl.col("kind").is_null())["line"].head(1):
        raise DataError("the answer key names no kind", where=f"{path}:{line}")
    again = told.filter(pl.col("id").is_not_null() & ~pl.col("id").is_first_distinct())
    for name, line in again.select("id", "line").head(1).iter_rows():
        raise DataError(f"the answer key has a row for {name!r} already", where=f"{path}:{line}")
    return frame


def _strings(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(len(table), pa.string())])
    if pa.types.is_nested(table[name].type):
        raise DataError(f"column {name!r} of the answer key is {table[name].type}, not text", where=str(path))
    return table[name].cast(pa.string())
