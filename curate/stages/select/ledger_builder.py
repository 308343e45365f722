"""Builder of the ledger: outcomes of the pool's rows, entry by entry, while the select section runs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.kernels.types import Rows, Vector
from curate.plugins.results import Selection


class LedgerBuilder:
    """Outcomes so far of the pool's n rows."""

    def __init__(self, ids: pa.ChunkedArray) -> None:
        n = len(ids)
        self.ids = ids
        """Ids of the pool, followed by those of published rows that represent rows of the pool."""

        self.survivors: Rows = np.arange(n)
        self.indices: Rows = np.arange(n)
        """Survivors, best first."""

        self.gain: Vector = np.full(n, np.nan, np.float32)
        self.weight: Vector = np.full(n, np.nan, np.float32)
        self.dropped_by: NDArray[np.int16] = np.full(n, -1, np.int16)
        self.reason: NDArray[np.int32] = np.full(n, -1, np.int32)
        self.reasons: dict[str, int] = {}
        self.representative: Rows = np.full(n, -1, np.intp)
        """Index in ``ids`` of the representative of each row; -1 for none."""

        self.similarity: Vector = np.full(n, np.nan, np.float32)
        self.epochs: tuple[Rows, ...] | None = None
        """Rows of each epoch of a plan, which only the last entry can make."""

    def record(
        self, number: int, chosen: Selection, *, ranked: bool, published_ids: pa.ChunkedArray | None = None
    ) -> None:
        """Record the selection of entry ``number``, whose rows are positions among the survivors.

        Parameters
        ----------
        ranked : bool
            Whether its order and gains replace those of earlier entries; those of a filter do not.
        published_ids : pa.ChunkedArray, optional
            Ids of published rows, if they can represent rows of the pool.
        """
        before = self.survivors
        kept = before[chosen.indices]
        is_kept = np.zeros(len(before), np.bool_)
        is_kept[chosen.indices] = True
        dropped = np.flatnonzero(~is_kept)
        codes = np.array([self.reasons.setdefault(text, len(self.reasons)) for text in chosen.reasons], np.int32)
        self.dropped_by[before[dropped]] = number
        self.reason[before[dropped]] = codes[0 if chosen.reason is None else chosen.reason[dropped]]
        if chosen.representative is not None:
            n_published = 0 if published_ids is None else len(published_ids)
            names = np.concatenate((before, len(self.ids) + np.arange(n_published), [-1]))
            self.representative[before[dropped]] = names[chosen.representative[dropped]]
        if published_ids is not None:
            self.ids = pa.chunked_array([*self.ids.chunks, *published_ids.chunks], pa.string())
        if chosen.similarity is not None:
            self.similarity[before[dropped]] = chosen.similarity[dropped]
        if chosen.epochs is not None:
            self.epochs = tuple(before[rows] for rows in chosen.epochs)
        self.survivors = before[is_kept]
        if ranked:
            self.indices = kept
            self.gain[kept] = chosen.gain
            self.weight[kept] = 1 if chosen.weight is None else chosen.weight
        else:
            self.indices = self.indices[self.dropped_by[self.indices] != number]
