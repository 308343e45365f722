"""Nearest labeled rows of a few rows, searched block by block of a pool that is not in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Rows

_CELLS = 1 << 22
"""Number of similarities that a thread holds: 16 MiB."""

_SAME = 1 - 1e-6
"""Cosine from which two vectors are the same, but for rounding."""


@dataclass(slots=True)
class NearestLabeled:
    """Nearest k labeled rows of each query so far.

    Copies of a query that have its label are left out, because they do not say whether it is right.
    """

    queries: Matrix
    """Vectors of the queries (q, d) float32, of unit length."""

    query_labels: Codes
    """Label of each query (q,) int32."""

    query_rows: Rows
    """Row of each query in the pool, (q,)."""

    rows: Rows
    """Nearest rows (q, k), most similar first, ties to the lowest row; -1 if there are fewer."""

    similarities: Matrix
    """Cosine of each of them (q, k) float32; -inf where the row is -1."""

    @classmethod
    def start(cls, queries: Matrix, query_labels: Codes, query_rows: Rows, k: int) -> NearestLabeled:
        """Return the state before any block."""
        shape = len(queries), k
        return cls(queries, query_labels, query_rows, np.full(shape, -1, np.intp), np.full(shape, -np.inf, np.float32))

    def add(self, x: Matrix, labels: Codes, start: int) -> None:
        """Compare the queries with the next rows of the pool.

        Parameters
        ----------
        x : (m, d) float32, rows of unit length
        labels : (m,) int32, with the codes of ``query_labels``; -1 for rows without a label
        start : row of the pool of the first of them

        Notes
        -----
        Cost: O(q m d) time; O(q k) memory and 16 MiB a thread.
        """
        k = self.rows.shape[1]
        if not k or not len(self.queries):
            return

        def search(block: slice) -> tuple[Rows, Matrix]:
            similarity = np.minimum(self.queries @ x[block].T, np.float32(1))
            rows = np.arange(block.start, block.stop) + start
            is_copy = (similarity >= _SAME) & (labels[block] == self.query_labels[:, None])
            similarity[is_copy | (labels[block] < 0) | (rows == self.query_rows[:, None])] = -np.inf
            return _select_largest(similarity, rows, k)

        size = max(k, _CELLS // len(self.queries))
        for rows, similarities in map_blocks(search, block_slices(len(x), size)):
            every = np.concatenate([self.similarities, similarities], axis=1)
            best = np.argsort(-every, axis=1, kind="stable")[:, :k]
            self.similarities = np.take_along_axis(every, best, axis=1)
            self.rows = np.take_along_axis(np.concatenate([self.rows, rows], axis=1), best, axis=1)


def _select_largest(values: Matrix, columns: Rows, k: int) -> tuple[Rows, Matrix]:
    """Return the columns of the k largest finite values of each row, largest first, ties to the first, and the values.

    Without as many, the column is -1 and the value -inf.
    """
    width = values.shape[1]
    kth = np.partition(values, width - k, axis=1)[:, width - k, None] if width > k else np.float32(-np.inf)
    row, column = np.nonzero((values >= kth) & (values > -np.inf))  # more than k only if there are ties
    order = np.lexsort((column, -values[row, column], row))
    row, column = row[order], column[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    row, column, place = (each[place < k] for each in (row, column, place))
    found, largest = np.full((len(values), k), -1, np.intp), np.full((len(values), k), -np.inf, np.float32)
    found[row, place], largest[row, place] = columns[column], values[row, column]
    return found, largest
