"""Writes Parquet, the format that every trainer, dataset hub and query engine reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from annotated_types import Ge, Le

from curate.plugins.kinds import exporter

ROWS_PER_GROUP = 8_192
"""Fixed, so that the bytes depend on the rows alone; small enough that a reader streams long documents."""


def write_parquet(table: pa.Table, path: Path, *, compression_level: int) -> None:
    """Write ``table`` to ``path`` as Parquet, compressed with zstd.

    The bytes depend on the rows and the level, not on how the table is cut into chunks: a chunk would end a data page,
    so the chunks are joined first. Costs O(bytes) time and, for the joining, one more copy of the table.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.parquet"
    >>> write_parquet(pa.table({"text": ["a", "b"]}), path, compression_level=3)
    >>> pq.read_table(path).to_pylist()
    [{'text': 'a'}, {'text': 'b'}]
    """
    pq.write_table(
        table.combine_chunks(),
        path,
        compression="zstd",
        compression_level=compression_level,
        row_group_size=ROWS_PER_GROUP,
    )


@exporter(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Parquet:
    """Parquet files, compressed with zstd."""

    compression_level: Annotated[int, Ge(1), Le(22)] = 3
    """How hard zstd tries: 1 is fast, 22 is small and slow."""

    suffix: ClassVar[str] = ".parquet"

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""
        write_parquet(table, path, compression_level=self.compression_level)
