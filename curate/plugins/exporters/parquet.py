"""Parquet exporter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from annotated_types import Ge, Le

from curate.plugins.interfaces import exporter

ROWS_PER_GROUP = 8_192
"""Fixed number of rows of a row group, so that the bytes depend only on the rows; small enough to stream long
documents."""

BYTES_PER_GROUP = 1 << 30
"""Maximum number of bytes of a row group of two rows or more."""


def write_parquet(table: pa.Table, path: Path, *, compression_level: int) -> None:
    """Write ``table`` to ``path`` as Parquet, compressed with zstd.

    The bytes depend on the rows and the level, not on the chunks of the table: a chunk would end a data page, so the
    chunks of each row group are combined first. A row group has ``ROWS_PER_GROUP`` rows, halved until it has at most
    ``BYTES_PER_GROUP``.

    Parameters
    ----------
    table : rows to write
    path : output file
    compression_level : level of zstd, 1 to 22

    Notes
    -----
    Cost: O(bytes) time and memory for one additional row group.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.parquet"
    >>> write_parquet(pa.table({"text": ["a", "b"]}), path, compression_level=3)
    >>> pq.read_table(path).to_pylist()
    [{'text': 'a'}, {'text': 'b'}]
    """
    with pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=compression_level) as file:
        for start in range(0, len(table), ROWS_PER_GROUP) if len(table) else (0,):
            for rows in _split_large(table.slice(start, ROWS_PER_GROUP)):
                file.write_table(rows.combine_chunks(), row_group_size=max(1, len(rows)))


def _split_large(rows: pa.Table) -> Iterator[pa.Table]:
    """Halve a table until 32-bit offsets of its texts suffice."""
    if rows.nbytes <= BYTES_PER_GROUP or len(rows) < 2:
        yield rows
        return
    half = len(rows) // 2
    yield from _split_large(rows.slice(0, half))
    yield from _split_large(rows.slice(half))


@exporter(version=1, schema=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Parquet:
    """Parquet files, compressed with zstd.

    Use it by default: trainers, dataset hubs and query engines read it, and it keeps the types of all columns. Use
    ``jsonl`` for tools that read only JSON.
    """

    compression_level: Annotated[int, Ge(1), Le(22)] = 3
    """Level of zstd: 1 is fast, 22 is small and slow."""

    suffix: ClassVar[str] = ".parquet"

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""
        write_parquet(table, path, compression_level=self.compression_level)
