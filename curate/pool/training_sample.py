"""Random sample of the rows of a pool, for plugins that are fitted to a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.store.inputs import Inputs

if TYPE_CHECKING:
    from curate.progress import Progress


def sample_values(
    progress: Progress,
    source: Inputs,
    label: str,
    size: int,
    rng: np.random.Generator,
    role: str | None,
    column: str = "",
) -> list[str] | pa.ChunkedArray:
    """Return the values of a role or a column for at most ``size`` random rows, in row order.

    Texts are returned as a list, other values as an array.

    Notes
    -----
    Memory: the values and one shard.
    """
    size = min(size, source.rows)
    chosen = np.sort(rng.choice(source.rows, size, replace=False))
    progress.begin(f"{label} on {size:,} rows", size)
    parts: list[pa.Array] = []
    start = 0
    for number, rows in enumerate(source.shards):
        indices = chosen[(chosen >= start) & (chosen < start + rows)] - start
        if len(indices):
            table = source.read(number, [role] if role else [], [column] if column else [])
            parts.append(table[0].take(indices))
            progress.advance(len(indices))
        start += rows
    values = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
    return values.to_pylist() if role == "text" else values
