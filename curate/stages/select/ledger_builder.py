"""What became of each row of the pool, entry by entry, while the select section runs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.kernels.types import Rows, Vector
from curate.plugins.results import Selection


class LedgerBuilder:
    """What became of each of the pool's n rows so far."""

    def __init__(self, ids: pa.ChunkedArray) -> None:
        n = len(ids)
        self.ids = ids
        """Of the pool, then of published rows that stand for some of it."""

        self.survivors: Rows = np.arange(n)
        self.indices: Rows = np.arange(n)
        """The survivors, best first."""

        self.gain: Vector = np.full(n, np.nan, np.float32)
        self.weight: Vector = np.full(n, np.nan, np.float32)
        self.dropped_by: NDArray[np.int16] = np.full(n, -1, np.int16)
        self.reason: NDArray[np.int32] = np.full(n, -1, np.int32)
        self.reasons: dict[str, int] = {}
        self.representative: Rows = np.full(n, -1, np.intp)
        """Which of ``every_id``; -1 for none."""

        self.similarity: Vector = np.full(n, np.nan, np.float32)
        self.epochs: tuple[Rows, ...] | None = None
        """The rows of each epoch of a plan, which only the last entry can make."""

    def record(self, number: int, chosen: Selection, *, ranked: bool, others: pa.ChunkedArray | None = None) -> None:
        """Write down what entry ``number`` decided; its rows are positions among the survivors.

        Parameters
        ----------
        ranked : its order and gains replace those of the entries before; a filter leaves them as they are
        others : the ids of rows that were published, where those may stand for a row
        """
        before = self.survivors
        kept = before[chosen.indices]
        dropped = np.setdiff1d(np.arange(len(before)), chosen.indices)
        codes = np.array([self.reasons.setdefault(text, len(self.reasons)) for text in chosen.reasons], np.int32)
        self.dropped_by[before[dropped]] = number
        self.reason[before[dropped]] = codes[0 if chosen.reason is None else chosen.reason[dropped]]
        if chosen.representative is not None:
            known = 0 if others is None else len(others)
            names = np.concatenate((before, len(self.ids) + np.arange(known), [-1]))
            self.representative[before[dropped]] = names[chosen.representative[dropped]]
        if others is not None:
            self.ids = pa.chunked_array([*self.ids.chunks, *others.chunks], pa.string())
        if chosen.similarity is not None:
            self.similarity[before[dropped]] = chosen.similarity[dropped]
        if chosen.epochs is not None:
            self.epochs = tuple(before[rows] for rows in chosen.epochs)
        self.survivors = np.sort(kept)
        if ranked:
            self.indices = kept
            self.gain[kept] = chosen.gain
            self.weight[kept] = 1 if chosen.weight is None else chosen.weight
        else:
            self.indices = self.indices[np.isin(self.indices, kept)]
