"""Similarities that sums run over, for functions of sets of rows: those of a neighbour graph, or all of them."""

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
_RISES = 256  # rows of an (n, n) array that are worked on at once
GRID = np.float32(2**24)  # similarities are multiples of 1/GRID: sums of them are exact, in any order
DENSE_ROWS = 16_384  # all similarities of so many rows take 1 GiB, and three while they are made

Worth = Callable[..., NDArray[np.floating]]


class Similarities(Protocol):
    """Symmetric similarities of n rows, in [0, 1], each on the grid."""

    n: int

    def of(self, row: int) -> tuple[Indices, Matrix]:
        """The rows that ``row`` is similar to, itself among them, and how much."""

    def total(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        """For each j of ``rows``, the sum over rows i of ``worth(s_ij, *(array[i] for array in state))``.

        ``worth`` is applied to whole arrays, and must be 0 where s_ij is 0.
        """

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        """Subtract the sum over i of ``rows`` of min(s_ij, after_i) − before_i, where positive, from each gain j.

        Parameters
        ----------
        gains : (n,) float64, changed in place
        rows : (m,) different rows
        before, after : (m,) float32 on the grid, before < after
        """


class GraphSimilarities:
    """The similarities that a graph stores; what it does not store is 0."""

    def __init__(self, graph: sparse.csr_array) -> None:
        self.n = len(graph.indptr) - 1
        self.starts, self.columns, self.values = graph.indptr.astype(np.int64), graph.indices, graph.data

    def of(self, row: int) -> tuple[Indices, Matrix]:
        own = slice(self.starts[row], self.starts[row + 1])
        return self.columns[own], self.values[own]

    def total(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        edges, lengths = row_entries(self.starts, rows)
        others = self.columns[edges]
        each = worth(self.values[edges], *(array[others] for array in state))
        sums: Numbers = np.add.reduceat(each, np.cumsum(lengths) - lengths, dtype=np.float64)
        return sums  # no line is empty: it holds the row itself

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        edges, lengths = row_entries(self.starts, rows)
        rise = np.minimum(self.values[edges], np.repeat(after, lengths)) - np.repeat(before, lengths)
        positive = np.flatnonzero(rise > 0)
        np.subtract.at(gains, self.columns[edges[positive]], rise[positive].astype(np.float64))


class DenseSimilarities:
    """All similarities, as an (n, n) array."""

    def __init__(self, x: Matrix) -> None:
        self.n = len(x)
        self.values = round_to_grid(x @ x.T)
        self.values = np.maximum(self.values, self.values.T)
        np.fill_diagonal(self.values, 1)

    def of(self, row: int) -> tuple[Indices, Matrix]:
        return np.arange(self.n), self.values[row]

    def total(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        sums: Numbers = worth(self.values[rows], *state).sum(axis=1, dtype=np.float64)
        return sums

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        for block in block_slices(len(rows), _RISES):
            low = before[block, None]
            capped = np.clip(self.values[rows[block]], low, after[block, None])
            gains -= capped.sum(axis=0, dtype=np.float64) - low.sum(dtype=np.float64)


def similarity_graph(embeddings: Matrix, cluster: Codes, n_neighbors: int, n_probe: int = 4) -> sparse.csr_array:
    """Build the graph of cosine similarities of each row with its most similar rows.

    Symmetric: two rows are joined if either is among the other's ``n_neighbors``. Complete if n <= n_neighbors + 1.
    Above 20,000 rows, neighbors are searched in the ``n_probe`` clusters nearest to a row's own cluster: see
    ``knn_by_cluster``.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32, -1 for rows in no cluster

    Returns
    -------
    (n, n) float32, multiples of 2^-24 in [0, 1]; 1 on the diagonal
    """
    from scipy import sparse

    n = len(embeddings)
    k = min(n_neighbors, n - 1)
    own = np.arange(n, dtype=np.int32)[:, None]
    columns, values = own, np.ones((n, 1), np.float32)
    if k > 0:
        indices, similarities = knn_by_cluster(embeddings, k, cluster, n_probe=n_probe)
        columns, values = np.hstack((own, indices)), np.hstack((values, round_to_grid(similarities)))
    starts = np.arange(0, columns.size + 1, columns.shape[1])
    one_way = sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=(n, n))
    return one_way.maximum(one_way.T.tocsr()).tocsr()


def similarity_sums(similar: Similarities) -> Numbers:
    """(n,) float64, the sum of each row's similarities."""
    sums = [similar.total(np.arange(rows.start, rows.stop), lambda s: s) for rows in block_slices(similar.n, _ROWS)]
    return np.concatenate([np.empty(0), *sums])


def round_to_grid(similarities: Matrix) -> Matrix:
    """Cosines as multiples of 2^-24 in [0, 1]: those below 0 become 0."""
    rounded = np.clip(similarities, 0, 1)
    rounded *= GRID
    np.round(rounded, out=rounded)
    rounded /= GRID
    return rounded


def row_entries(starts: Positions, rows: Indices) -> tuple[Positions, Positions]:
    """Where the entries of ``rows`` stand in a sparse matrix, one row after the other, and how many each row has.

    >>> places, lengths = row_entries(np.array([0, 2, 2, 5]), np.array([2, 0]))
    >>> places.tolist(), lengths.tolist()
    ([2, 3, 4, 0, 1], [3, 2])
    """
    lengths = starts[rows + 1] - starts[rows]
    return concatenate_ranges(starts[rows], lengths), lengths
