"""Sums over shards: arrays of integers that plugins compute of some rows, added to describe all rows."""

from __future__ import annotations

from collections.abc import Iterable

from curate.kernels.types import AnyArray, FittedState


def add_summaries(parts: Iterable[FittedState]) -> FittedState:
    """Add arrays by name; shorter ones count as if they ended with zeros.

    Examples
    --------
    >>> import numpy as np
    >>> add_summaries([{"rows": np.array([1])}, {"rows": np.array([2, 5])}])
    {'rows': array([3, 5])}
    """
    total: dict[str, AnyArray] = {}
    for part in parts:
        for name, values in part.items():
            longer, shorter = values.copy(), total.get(name, values[:0])
            if len(shorter) > len(longer):
                longer, shorter = shorter, longer
            longer[: len(shorter)] += shorter
            total[name] = longer
    return total
