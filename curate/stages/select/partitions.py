"""Tables that are divided into partitions on disk: one file for each writer, with a row group for each partition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.store import parquet_io

_PARTITIONS = b"curate.partitions"


def write(path: Path, fingerprint: str, table: pa.Table, partition: NDArray[np.integer]) -> None:
    """Write the rows of a table by partition, in their order.

    Parameters
    ----------
    partition : ndarray of int
        Number of the partition of each row, shape (n,).
    """
    order = np.argsort(partition, kind="stable")
    numbers, starts = np.unique(partition[order], return_index=True)
    metadata = {**(table.schema.metadata or {}), _PARTITIONS: json.dumps(numbers.tolist()).encode()}

    def parts() -> Iterator[pa.Table]:
        for rows in np.split(order, starts[1:]) if len(numbers) else ():
            yield table.take(pa.array(rows))

    parquet_io.write_row_groups(parts(), table.schema.with_metadata(metadata), path, fingerprint)


def read(path: Path, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of one partition, optionally only some columns; no rows if the file has none of it."""

    def find(schema: pa.Schema) -> int | None:
        numbers: list[int] = json.loads((schema.metadata or {})[_PARTITIONS])
        return numbers.index(number) if number in numbers else None

    return parquet_io.read_row_group(path, find, columns)
