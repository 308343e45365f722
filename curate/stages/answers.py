"""Reads the answer key that a report sets beside what became of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from curate import places
from curate.errors import DataError
from curate.store import formats

if TYPE_CHECKING:
    from curate.settings.model import RunConfig

_COLUMNS = ("id", "kind")


def asked(config: RunConfig) -> None:
    """Nothing, if the key that ``evaluate.key`` names can be read.

    Raises
    ------
    DataError : if it is not there, or has no columns id and kind
    """
    if config.evaluate.key is None:
        return
    path = places.place(config.evaluate.key)
    if not path.is_file():
        raise DataError("there is no such file", where=config.evaluate.key, hint="evaluate.key names an answer key")
    names = formats.column_names(path)
    if missing := [name for name in _COLUMNS if name not in names]:
        told = f"an answer key has a column {missing[0]!r}"
        raise DataError(told, where=str(path), hint=f"there are: {', '.join(names)}")


def read(path: Path) -> pl.DataFrame:
    """The ``id``, ``kind`` and ``of`` (null where the file has no such column) of its rows, as strings."""
    tables = [batch.table for batch in formats.read(formats.Piece(str(path), 0))]
    table = pa.concat_tables(tables, promote_options="permissive")
    columns = {
        name: table[name].cast(pa.string()) if name in table.column_names else pa.nulls(len(table), pa.string())
        for name in (*_COLUMNS, "of")
    }
    return pl.DataFrame({name: pl.Series(name, column) for name, column in columns.items()})
