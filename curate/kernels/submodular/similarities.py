"""Similarities for functions of sets of rows: a neighbor graph, or all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from curate.kernels.neighbors.knn import knn_by_cluster
from curate.kernels.parallel import block_slices
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Codes, Indices, Matrix, Numbers, Positions

if TYPE_CHECKING:
    from scipy import sparse

_ROWS = 1024
_RISES = 256  # rows of an (n, n) array processed at a time
GRID = np.float32(2**24)  # similarities are multiples of 1/GRID, so their sums are exact in any order
EXACT_ROWS = 10_000  # comparing all pairs takes half a second; for 20,000, nine times as long as cells
DENSE_ROWS = 16_384  # all similarities of this many rows take 1 GiB, and 3 GiB during their computation

Worth = Callable[..., NDArray[np.floating]]


class Similarities(Protocol):
    """Symmetric similarities of n rows in [0, 1], each a multiple of 2^-24."""

    n: int

    def row(self, row: int) -> tuple[Indices, Matrix]:
        """Return the rows similar to ``row``, including itself, and their similarities."""

    def sum_over_rows(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        """Compute the sum over rows i of ``worth(s_ij, *(array[i] for array in state))`` for each j of ``rows``.

        ``worth`` is applied to arrays, and must be 0 where s_ij is 0.
        """

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        """Subtract the sum over i of ``rows`` of min(s_ij, after_i) − before_i, if positive, from each gain j.

        Parameters
        ----------
        gains : (n,) float64, changed in place
        rows : (m,) distinct rows
        before, after : (m,) float32 multiples of 2^-24, before < after
        """


class GraphSimilarities:
    """Similarities stored in a graph; pairs that are not stored have similarity 0."""

    def __init__(self, graph: sparse.csr_array) -> None:
        self.n = len(graph.indptr) - 1
        self.starts, self.columns, self.values = graph.indptr.astype(np.int64), graph.indices, graph.data

    def row(self, row: int) -> tuple[Indices, Matrix]:
        entries = slice(self.starts[row], self.starts[row + 1])
        return self.columns[entries], self.values[entries]

    def sum_over_rows(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        edges, lengths = row_entries(self.starts, rows)
        columns = self.columns[edges]
        values = worth(self.values[edges], *(array[columns] for array in state))
        sums: Numbers = np.add.reduceat(values, np.cumsum(lengths) - lengths, dtype=np.float64)
        return sums  # no row is empty: it contains the row itself

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        edges, lengths = row_entries(self.starts, rows)
        rise = np.minimum(self.values[edges], np.repeat(after, lengths)) - np.repeat(before, lengths)
        positive = np.flatnonzero(rise > 0)
        np.subtract.at(gains, self.columns[edges[positive]], rise[positive].astype(np.float64))


class DenseSimilarities:
    """Similarities of all pairs, as an (n, n) array."""

    def __init__(self, x: Matrix) -> None:
        self.n = len(x)
        self.values = round_to_grid(x @ x.T)
        self.values = np.maximum(self.values, self.values.T)
        np.fill_diagonal(self.values, 1)

    def row(self, row: int) -> tuple[Indices, Matrix]:
        return np.arange(self.n), self.values[row]

    def sum_over_rows(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        sums: Numbers = worth(self.values[rows], *state).sum(axis=1, dtype=np.float64)
        return sums

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        for block in block_slices(len(rows), _RISES):
            lower = before[block, None]
            capped = np.clip(self.values[rows[block]], lower, after[block, None])
            gains -= capped.sum(axis=0, dtype=np.float64) - lower.sum(dtype=np.float64)


def similarity_graph(embeddings: Matrix, cluster: Codes, n_neighbors: int, n_probe: int = 4) -> sparse.csr_array:
    """Build the graph of cosine similarities of each row with its most similar rows.

    The graph is symmetric: two rows are connected if either is among the other's ``n_neighbors``. It is complete if n
    <= n_neighbors + 1. Above 10,000 rows, neighbors are searched in the ``n_probe`` clusters nearest to a row's own
    cluster: see ``knn_by_cluster``.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32, -1 for rows in no cluster
    n_neighbors : number of neighbors of each row
    n_probe : number of clusters to search

    Returns
    -------
    (n, n) float32, multiples of 2^-24 in [0, 1]; 1 on the diagonal
    """
    from scipy import sparse

    n = len(embeddings)
    k = min(n_neighbors, n - 1)
    self_columns = np.arange(n, dtype=np.int32)[:, None]
    columns, values = self_columns, np.ones((n, 1), np.float32)
    if k > 0:
        indices, similarities = knn_by_cluster(embeddings, k, cluster, n_probe=n_probe, exact_rows=EXACT_ROWS)
        columns, values = np.hstack((self_columns, indices)), np.hstack((values, round_to_grid(similarities)))
    starts = np.arange(0, columns.size + 1, columns.shape[1])
    directed = sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=(n, n))
    return directed.maximum(directed.T.tocsr()).tocsr()


def similarity_sums(similarities: Similarities) -> Numbers:
    """Compute the sum of the similarities of each row.

    Parameters
    ----------
    similarities : similarities of n rows

    Returns
    -------
    (n,) float64
    """
    sums = [
        similarities.sum_over_rows(np.arange(rows.start, rows.stop), lambda s: s)
        for rows in block_slices(similarities.n, _ROWS)
    ]
    return np.concatenate([np.empty(0), *sums])


def round_to_grid(similarities: Matrix) -> Matrix:
    """Round cosines to multiples of 2^-24 in [0, 1]; negative ones become 0.

    Parameters
    ----------
    similarities : float32 of any shape
    """
    rounded = np.clip(similarities, 0, 1)
    rounded *= GRID
    np.round(rounded, out=rounded)
    rounded /= GRID
    return rounded


def row_entries(starts: Positions, rows: Indices) -> tuple[Positions, Positions]:
    """Return the positions of the entries of ``rows`` in a sparse matrix, and their number in each row.

    Parameters
    ----------
    starts : (n + 1,) int64, offset of each row
    rows : (m,) row indices

    Returns
    -------
    positions : (sum of lengths,) int64, row by row
    lengths : (m,) int64

    Examples
    --------
    >>> positions, lengths = row_entries(np.array([0, 2, 2, 5]), np.array([2, 0]))
    >>> positions.tolist(), lengths.tolist()
    ([2, 3, 4, 0, 1], [3, 2])
    """
    lengths = starts[rows + 1] - starts[rows]
    return concatenate_ranges(starts[rows], lengths), lengths
