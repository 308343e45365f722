"""Exact and cell-based nearest-neighbor search by blocked products, without an n × n matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.kernels.linalg.centroids import clusters_as_cells
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Indices, Matrix, Positions32

EXACT_ROWS = 20_000  # comparing all pairs takes two seconds on two cores; cells would miss 2 % and save one second
_ROWS, _COLUMNS = 1024, 4096  # one product: 16 MiB of similarities a thread
_FIRST = 8  # multiple of k candidates that are ranked first

Task = tuple[Indices, Indices, Sequence[Indices]]
"""Positions in the result, the rows there, and the candidates they are compared with, in parts, each ascending."""


def knn(
    x: Matrix,
    k: int,
    *,
    queries: Indices | None = None,
    candidates: Indices | None = None,
    centroids: Matrix | None = None,
    cluster: Codes | None = None,
    n_probe: int = 24,
    exact_rows: int | None = None,
) -> tuple[Positions32, Matrix]:
    """Find the ``k`` rows most similar to each row, excluding itself.

    The search is exact unless there are more than ``exact_rows`` rows and ``centroids`` and ``cluster`` are given. Then
    a row is compared with the rows of the ``n_probe`` cells whose centroids are most similar to that of its cell (its
    own first), and of further cells until there are k other rows. Rows in no cluster are assigned to the most similar
    centroid.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    k : number of neighbors, at least 1
    queries : (m,) rows whose neighbors are searched; None = all n, or all of ``candidates``
    candidates : (a,) rows to compare with, ascending; the result is then exact, and no vector is copied. None = all n
    centroids : (c, d) float32, rows of unit length
    cluster : (n,) int32, the cell of each row, -1 for none
    n_probe : number of cells to search, at least 1
    exact_rows : number of rows up to which the search is exact; None = 20,000

    Returns
    -------
    indices : (m, k) int32, most similar first, ties to the lowest index; -1 if there are fewer than k other rows
    similarities : (m, k) float32, cosine, at most 1; -inf where the index is -1

    Notes
    -----
    Cost: exact O(m n d) time; by cells O(m p d) for p rows in the probed cells, about n n_probe / c for cells of
    similar size. Memory: O(m k), and about 30 MB a thread.

    Guarantee: the exact search finds the k most similar rows up to the rounding of float32 products. By cells, every
    neighbor returned is exact and some are missed (1 to 2 % at k = 32 and n_probe = 24).

    Deviations: the cells are the caller's clusters, all rows of a cell share one list of cells, and rows are compared
    by their vectors, not by codes.

    References
    ----------
    Search in the nearest cells only: Jégou, Douze & Schmid (2011), doi:10.1109/TPAMI.2010.57, section IV.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]], np.float32)
    >>> indices, similarities = knn(x, 2)
    >>> indices.tolist()
    [[1, 3], [3, 0], [3, 1], [1, 2]]
    """
    allowed = np.arange(len(x)) if candidates is None else candidates
    rows = allowed if queries is None else np.asarray(queries)
    packed = np.full((len(rows), k), _EMPTY)
    limit = EXACT_ROWS if exact_rows is None else exact_rows
    if candidates is not None or len(x) <= limit or centroids is None or cluster is None or not len(centroids):
        tasks = _exact_tasks(allowed, rows)
    else:
        tasks = _cell_tasks(x, k, rows, centroids=centroids, cluster=cluster, n_probe=n_probe)

    def search(task: Task) -> tuple[Indices, NDArray[np.int64]]:
        positions, block, allowed = task
        return positions, _search(x, k, block, allowed)

    for positions, results in map_blocks(search, tasks):
        packed[positions] = results
    return _unpack(packed[:, ::-1])


def knn_by_cluster(
    x: Matrix, k: int, cluster: Codes, *, n_probe: int = 24, exact_rows: int | None = None
) -> tuple[Positions32, Matrix]:
    """Find the ``k`` rows most similar to each row; in a large pool, only in the clusters nearest to its own.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    k : number of neighbors, at least 1
    cluster : (n,) int32, -1 for rows in no cluster
    n_probe, exact_rows : see ``knn``

    Returns
    -------
    indices, similarities : see ``knn``

    Examples
    --------
    >>> knn_by_cluster(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), 1, np.zeros(3, np.int32))[0].ravel().tolist()
    [2, 2, 1]
    """
    limit = EXACT_ROWS if exact_rows is None else exact_rows
    centroids, cell = (None, None) if len(x) <= limit else clusters_as_cells(x, cluster)
    return knn(x, k, centroids=centroids, cluster=cell, n_probe=n_probe, exact_rows=limit)


def nearest_similarity(x: Matrix, queries: Indices | None = None, *, candidates: Indices | None = None) -> Matrix:
    """Compute the similarity of each row, or of ``queries``, to its most similar other row.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    queries : (m,) rows; a sample of them limits the cost
    candidates : (a,) rows to compare with, ascending, without a copy of their vectors; None = all n

    Returns
    -------
    (m,) float32, cosine, at most 1; -inf if x has one row

    Notes
    -----
    Cost: O(m n d) time and O(m) memory. Exact.

    Examples
    --------
    >>> nearest_similarity(np.array([[1, 0], [0, 1], [0, 1]], np.float32)).tolist()
    [0.0, 1.0, 1.0]
    """
    return knn(x, 1, queries=queries, candidates=candidates)[1][:, 0]


# A neighbor is packed into one int64 that sorts by similarity, then by lowest index: the bits of the float, mapped so
# that they sort as integers, above 2**31 - 1 - index.


def _pack(similarities: Matrix, indices: Indices) -> NDArray[np.int64]:
    bits = (np.minimum(similarities, np.float32(1)) + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    return (ordered << 32) | (0x7FFFFFFF - indices.astype(np.int64))


def _unpack(packed: NDArray[np.int64]) -> tuple[Positions32, Matrix]:
    indices = (0x7FFFFFFF - (packed & 0xFFFFFFFF)).astype(np.int32)
    bits = (packed >> 32).astype(np.int32)
    return indices, np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).view(np.float32)


_EMPTY = _pack(np.array([-np.inf], np.float32), np.array([-1]))[0]


def _search(x: Matrix, k: int, rows: Indices, candidates: Sequence[Indices]) -> NDArray[np.int64]:
    """Find the k best candidates for each of ``rows``, packed, worst first; searched part by part."""
    best = np.full((len(rows), k), _EMPTY)
    queries = x[rows]
    buffer = np.empty(len(rows) * min(_COLUMNS, max(map(len, candidates))), np.float32)
    for number, part in enumerate(candidates):
        for columns in block_slices(len(part), _COLUMNS):
            ids = part[columns]
            others = x[ids[0] : ids[-1] + 1] if ids[-1] - ids[0] == len(ids) - 1 else x[ids]  # a view if possible
            similarities = buffer[: len(rows) * len(ids)].reshape(len(rows), len(ids))
            np.matmul(queries, others.T, out=similarities)
            self_columns = np.searchsorted(ids, rows)
            self_rows = np.flatnonzero(ids[np.minimum(self_columns, len(ids) - 1)] == rows)
            similarities[self_rows, self_columns[self_rows]] = -np.inf
            best = _merge_candidates(best, similarities, ids, ascending=not number)
    return best


def _merge_candidates(
    best: NDArray[np.int64], similarities: Matrix, ids: Indices, *, ascending: bool
) -> NDArray[np.int64]:
    """Return the k best of ``best`` and of the columns of ``similarities``, which represent the rows ``ids``.

    If ``ascending``, all these rows come after those merged before, so a candidate that ties with the current worst
    loses.
    """
    m, k = best.shape
    width = similarities.shape[1]
    worst = _unpack(best[:, 0])[1][:, None]
    better = similarities > worst if ascending else similarities >= worst
    if np.count_nonzero(better) > 4 * k * m and width > k:  # mostly the first block: keep only its k best
        better &= similarities >= np.partition(similarities, width - k, axis=1)[:, width - k, None]
    row, column = np.divmod(np.flatnonzero(better), width)
    count = np.bincount(row, minlength=m)
    merged = np.full((m, k + count.max(initial=0)), _EMPTY)
    merged[:, :k] = best
    first = np.cumsum(count) - count
    merged[row, k + np.arange(len(row)) - first[row]] = _pack(similarities[row, column], ids[column])
    merged.sort(axis=1)
    return merged[:, -k:]


def _iter_blocks(positions: Indices) -> Iterator[Indices]:
    return (positions[block] for block in block_slices(len(positions), _ROWS))


def _exact_tasks(candidates: Indices, rows: Indices) -> Iterator[Task]:
    """Return tasks that compare each block of rows with all candidates."""
    return ((positions, rows[positions], [candidates]) for positions in _iter_blocks(np.arange(len(rows))))


def _cell_tasks(x: Matrix, k: int, rows: Indices, *, centroids: Matrix, cluster: Codes, n_probe: int) -> Iterator[Task]:
    """Yield tasks for each block of each cell, with the rows of the nearest cells as candidates.

    The rows of the very nearest cells, a multiple of k, come first, so that few of the others improve the result.
    """
    cell = cluster.astype(np.int64)
    for unassigned in _iter_blocks(np.flatnonzero(cluster < 0)):
        cell[unassigned] = (x[unassigned] @ centroids.T).argmax(axis=1)
    members, starts = _group_by_cell(cell, len(centroids))
    positions, position_starts = _group_by_cell(cell[rows], len(centroids))
    nearest = knn(centroids, n_probe)[0]
    for c in np.flatnonzero(np.diff(position_starts)):
        cells = np.concatenate(([c], nearest[c, : n_probe - 1]))
        cells = cells[cells >= 0]
        if (starts[cells + 1] - starts[cells]).sum() <= k:
            ranking = np.argsort(-(centroids @ centroids[c]), kind="stable")
            cumulative = np.cumsum(np.diff(starts)[ranking])
            cells = np.union1d(cells, ranking[: np.searchsorted(cumulative, k, side="right") + 1])
        first = int(np.searchsorted(np.cumsum(starts[cells + 1] - starts[cells]), _FIRST * k)) + 1
        near, far = ([members[starts[j] : starts[j + 1]] for j in part] for part in (cells[:first], cells[first:]))
        candidates = [np.sort(np.concatenate(part)) for part in (near, far) if part]
        for block in _iter_blocks(positions[position_starts[c] : position_starts[c + 1]]):
            yield block, rows[block], candidates


def _group_by_cell(cell: NDArray[np.int64], cells: int) -> tuple[Indices, Indices]:
    """Return positions sorted by cell, and the offset of each cell, followed by the end."""
    order = np.argsort(cell, kind="stable")
    return order, np.searchsorted(cell[order], np.arange(cells + 1))
