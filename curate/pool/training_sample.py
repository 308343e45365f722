"""An even sample of a pool's rows, for what learns from some of them."""

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
    what: str,
    size: int,
    rng: np.random.Generator,
    role: str | None,
    column: str = "",
) -> list[str] | pa.ChunkedArray:
    """At most ``size`` values of a role or of a column, in the order of their rows: texts as a list, else an array.

    Memory: the values, and a shard.
    """
    size = min(size, source.rows)
    chosen = np.sort(rng.choice(source.rows, size, replace=False))
    progress.begin(f"{what} on {size:,} rows", size)
    taken: list[pa.Array] = []
    start = 0
    for number, rows in enumerate(source.shards):
        mine = chosen[(chosen >= start) & (chosen < start + rows)] - start
        if len(mine):
            table = source.read(number, [role] if role else [], [column] if column else [])
            taken.append(table[0].take(mine))
            progress.advance(len(mine))
        start += rows
    values = pa.chunked_array([chunk for item in taken for chunk in item.chunks])
    return values.to_pylist() if role == "text" else values
