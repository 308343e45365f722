"""History of splits: all rows that were ever in a split, so that no row changes sides when the pool changes.

The file names the version of the history that it was made from. A run that repeats the last one, after an interruption
or a loss of its shards, therefore has the same fingerprint as the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.errors import DataError
from curate.kernels.types import Codes
from curate.store import manifest, parquet_io, schemas
from curate.store.ledger import to_polars

NAME = "history.parquet"

_PREVIOUS = b"curate.previous"


def find_previous(folder: Path, inputs: Callable[[str], Mapping[str, object]]) -> str:
    """Return the version of the history from which the next one is made; "" if there is none.

    Parameters
    ----------
    folder : Path
        Folder of the stage.
    inputs : callable
        Function that returns the inputs of the stage's fingerprint for a version of the history.

    Raises
    ------
    DataError
        The history is damaged.
    """
    path = folder / NAME
    if not parquet_io.exists(path):
        return ""
    try:
        version = parquet_io.read_fingerprint(path)
        previous = (parquet_io.read_schema(path).metadata or {}).get(_PREVIOUS, b"").decode()
    except DataError as error:
        raise _damaged(path) from error
    return previous if manifest.fingerprint(inputs(previous)) == version else str(version)


def read(folder: Path) -> pl.DataFrame:
    """Return the history, one line for each id: ``id``, ``content_hash`` and ``split``.

    Raises
    ------
    DataError
        The history is damaged.
    """
    path = folder / NAME
    if not parquet_io.exists(path):
        return to_polars(schemas.SPLIT_HISTORY.empty_table())
    try:
        return to_polars(parquet_io.read(path, schemas.SPLIT_HISTORY))
    except DataError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> DataError:
    hint = "restore it from a backup; or delete it, which may move rows to another split"
    return DataError("the history of splits is damaged", where=str(path), hint=hint)


def write(folder: Path, fingerprint: str, previous: str, earlier: pl.DataFrame, rows: pa.Table) -> None:
    """Write the history after a run: the earlier rows, and those of this run."""
    frame = to_polars(rows)
    every = pl.concat([frame, earlier.join(frame, on="id", how="anti")]).sort("id")
    table = every.to_arrow().cast(schemas.SPLIT_HISTORY).replace_schema_metadata({_PREVIOUS: previous.encode()})
    parquet_io.write(table, folder / NAME, fingerprint, compression="zstd")


def find_splits(earlier: pl.DataFrame, ids: pa.ChunkedArray, hashes: pa.ChunkedArray, names: Sequence[str]) -> Codes:
    """Return the split in which each row was, by its id or else by its text, (n,) int32; -1 for none."""
    code = {name: number for number, name in enumerate(names)}
    known = earlier.filter(pl.col("split").is_in(names)).with_columns(
        pl.col("split").replace_strict(code, return_dtype=pl.Int32)
    )
    by_hash = known.unique("content_hash", keep="first", maintain_order=True)
    rows = to_polars(pa.table({"id": ids, "content_hash": hashes}))
    found = rows.join(known.select("id", "split"), on="id", how="left", maintain_order="left")
    found = found.join(
        by_hash.select("content_hash", of_text="split"), on="content_hash", how="left", maintain_order="left"
    )
    return found.select(pl.coalesce("split", "of_text").fill_null(-1)).to_series().to_numpy().astype(np.int32)
