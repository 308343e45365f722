"""The k most similar rows of every row, by blocked products, without ever holding an n × n matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.kernels.linalg.centroids import clusters_as_cells
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Indices, Matrix, Positions32

EXACT_ROWS = 20_000  # comparing all of them takes two seconds on two cores; cells would miss 2 % and save one
_ROWS, _COLUMNS = 1024, 4096  # one product: 16 MiB of similarities a thread
_FIRST = 8  # times k candidates are ranked before the others are offered

Task = tuple[Indices, Indices, Sequence[Indices]]
"""Places in the result, the rows that belong there, and those they are compared with in parts, each ascending."""


def knn(
    x: Matrix,
    k: int,
    *,
    queries: Indices | None = None,
    among: Indices | None = None,
    centroids: Matrix | None = None,
    cluster: Codes | None = None,
    n_probe: int = 24,
) -> tuple[Positions32, Matrix]:
    """The ``k`` rows most similar to each row, itself excluded.

    Exact unless there are more than 20,000 rows and ``centroids`` and ``cluster`` are given. Then a row is compared
    with the rows of the ``n_probe`` cells whose centroids are most similar to its own cell's (its own first), and
    of as many more as it takes to meet k other rows. The cells of a row in no cluster are those of the most similar
    centroid.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    k : number of neighbours, at least 1
    queries : (m,) rows whose neighbours are wanted; None = all n, or all of ``among``
    among : (a,) rows to compare with, ascending; the result is then exact, and no vector is copied. None = all n
    centroids : (c, d) float32, rows of unit length
    cluster : (n,) int32, the cell of each row, -1 for none
    n_probe : number of cells to look into, at least 1

    Returns
    -------
    indices : (m, k) int32, most similar first, ties to the lowest index; -1 where there are fewer than k other rows
    similarities : (m, k) float32, cosine, at most 1; -inf where the index is -1

    Cost: exact O(m n d) time; by cells O(m p d), where p is the number of rows in the probed cells, about n probes / c
    when cells are alike. Memory: O(m k), and about 30 MB a thread. Guarantee: the exact form finds the k most similar
    rows as float32 products tell them apart; by cells every neighbour found is real and some are missed (1 to 2 % at
    k = 32 and probes = 24).

    References
    ----------
    Looking into the nearest cells only: Jégou, Douze & Schmid (2011), doi:10.1109/TPAMI.2010.57, section IV.

    Deviations: the cells are the caller's clusters, all rows of a cell share one list of cells, and rows are compared
    by their vectors, not by codes.

    >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]], np.float32)
    >>> indices, similarities = knn(x, 2)
    >>> indices.tolist()
    [[1, 3], [3, 0], [3, 1], [1, 2]]
    """
    candidates = np.arange(len(x)) if among is None else among
    rows = candidates if queries is None else np.asarray(queries)
    best = np.full((len(rows), k), _EMPTY)
    if among is not None or len(x) <= EXACT_ROWS or centroids is None or cluster is None or not len(centroids):
        tasks = _everything(candidates, rows)
    else:
        tasks = _probe(x, k, rows, centroids=centroids, cluster=cluster, n_probe=n_probe)

    def search(task: Task) -> tuple[Indices, NDArray[np.int64]]:
        places, block, candidates = task
        return places, _search(x, k, block, candidates)

    for places, found in map_blocks(search, tasks):
        best[places] = found
    return _unpack(best[:, ::-1])


def knn_by_cluster(x: Matrix, k: int, cluster: Codes, *, n_probe: int = 24) -> tuple[Positions32, Matrix]:
    """Find the ``k`` rows most similar to each row, above 20,000 rows in the clusters nearest to its own.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    k : number of neighbors, at least 1
    cluster : (n,) int32, -1 for rows in no cluster
    n_probe : see ``knn``

    Returns
    -------
    See ``knn``.

    Examples
    --------
    >>> knn_by_cluster(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), 1, np.zeros(3, np.int32))[0].ravel().tolist()
    [2, 2, 1]
    """
    centroids, cell = (None, None) if len(x) <= EXACT_ROWS else clusters_as_cells(x, cluster)
    return knn(x, k, centroids=centroids, cluster=cell, n_probe=n_probe)


def nearest_similarity(x: Matrix, queries: Indices | None = None, *, among: Indices | None = None) -> Matrix:
    """Return the similarity of each row, or of ``queries``, to the most similar other row of ``x``, or of ``among``.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    queries : (m,) rows; a sample of them keeps the cost down
    among : (a,) rows to compare with, ascending, without a copy of their vectors; None = all n

    Returns
    -------
    (m,) float32, cosine, at most 1; -inf when x has one row. Exact, in O(m n d) time and O(m) memory.

    >>> nearest_similarity(np.array([[1, 0], [0, 1], [0, 1]], np.float32)).tolist()
    [0.0, 1.0, 1.0]
    """
    return knn(x, 1, queries=queries, among=among)[1][:, 0]


# A neighbour is one int64 that sorts by similarity, then by lowest index: the float's bits, turned so that they sort
# as integers do, above 2**31 - 1 - index.


def _pack(similarities: Matrix, indices: Indices) -> NDArray[np.int64]:
    bits = (np.minimum(similarities, np.float32(1)) + np.float32(0)).view(np.int32)  # + 0 makes one zero of -0 and 0
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    return (ordered << 32) | (0x7FFFFFFF - indices.astype(np.int64))


def _unpack(packed: NDArray[np.int64]) -> tuple[Positions32, Matrix]:
    indices = (0x7FFFFFFF - (packed & 0xFFFFFFFF)).astype(np.int32)
    bits = (packed >> 32).astype(np.int32)
    return indices, np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).view(np.float32)


_EMPTY = _pack(np.array([-np.inf], np.float32), np.array([-1]))[0]


def _search(x: Matrix, k: int, rows: Indices, candidates: Sequence[Indices]) -> NDArray[np.int64]:
    """The k best of the ``candidates``, some after the others, for each of ``rows``, packed, worst first."""
    best = np.full((len(rows), k), _EMPTY)
    queries = x[rows]
    buffer = np.empty(len(rows) * min(_COLUMNS, max(map(len, candidates))), np.float32)
    for number, some in enumerate(candidates):
        for columns in block_slices(len(some), _COLUMNS):
            ids = some[columns]
            others = x[ids[0] : ids[-1] + 1] if ids[-1] - ids[0] == len(ids) - 1 else x[ids]  # a view if it can be
            similarities = buffer[: len(rows) * len(ids)].reshape(len(rows), len(ids))
            np.matmul(queries, others.T, out=similarities)
            own = np.searchsorted(ids, rows)
            here = np.flatnonzero(ids[np.minimum(own, len(ids) - 1)] == rows)
            similarities[here, own[here]] = -np.inf
            best = _offer(best, similarities, ids, ascending=not number)
    return best


def _offer(best: NDArray[np.int64], similarities: Matrix, ids: Indices, *, ascending: bool) -> NDArray[np.int64]:
    """The k best of ``best`` and of the columns of ``similarities``, which stand for the rows ``ids``.

    ``ascending``: all of these come after those that were offered before, so one that equals the worst so far has lost.
    """
    m, k = best.shape
    width = similarities.shape[1]
    worst = _unpack(best[:, 0])[1][:, None]
    better = similarities > worst if ascending else similarities >= worst
    if np.count_nonzero(better) > 4 * k * m and width > k:  # mostly the first block: let through its own k best only
        better &= similarities >= np.partition(similarities, width - k, axis=1)[:, width - k, None]
    row, column = np.divmod(np.flatnonzero(better), width)
    count = np.bincount(row, minlength=m)
    offered = np.full((m, k + count.max(initial=0)), _EMPTY)
    offered[:, :k] = best
    first = np.cumsum(count) - count
    offered[row, k + np.arange(len(row)) - first[row]] = _pack(similarities[row, column], ids[column])
    offered.sort(axis=1)
    return offered[:, -k:]


def _blocks_of(places: Indices) -> Iterator[Indices]:
    return (places[block] for block in block_slices(len(places), _ROWS))


def _everything(candidates: Indices, rows: Indices) -> Iterator[Task]:
    """Yield each block of rows with all candidates."""
    return ((places, rows[places], [candidates]) for places in _blocks_of(np.arange(len(rows))))


def _probe(x: Matrix, k: int, rows: Indices, *, centroids: Matrix, cluster: Codes, n_probe: int) -> Iterator[Task]:
    """The rows of the nearest cells as the candidates of each block of each cell.

    Those of the very nearest, some times k of them, come first: after them there is little to gain from the others.
    """
    cell = cluster.astype(np.int64)
    for stray in _blocks_of(np.flatnonzero(cluster < 0)):
        cell[stray] = (x[stray] @ centroids.T).argmax(axis=1)
    members, starts = _grouped(cell, len(centroids))
    places, place_starts = _grouped(cell[rows], len(centroids))
    nearest = knn(centroids, n_probe)[0]
    for c in np.flatnonzero(np.diff(place_starts)):
        cells = np.concatenate(([c], nearest[c, : n_probe - 1]))
        cells = cells[cells >= 0]
        if (starts[cells + 1] - starts[cells]).sum() <= k:
            ranking = np.argsort(-(centroids @ centroids[c]), kind="stable")
            met = np.cumsum(np.diff(starts)[ranking])
            cells = np.union1d(cells, ranking[: np.searchsorted(met, k, side="right") + 1])
        first = int(np.searchsorted(np.cumsum(starts[cells + 1] - starts[cells]), _FIRST * k)) + 1
        near, far = ([members[starts[j] : starts[j + 1]] for j in some] for some in (cells[:first], cells[first:]))
        candidates = [np.sort(np.concatenate(some)) for some in (near, far) if some]
        for block in _blocks_of(places[place_starts[c] : place_starts[c + 1]]):
            yield block, rows[block], candidates


def _grouped(cell: NDArray[np.int64], cells: int) -> tuple[Indices, Indices]:
    """Positions sorted by cell, and where each cell's begin, with the end as the last entry."""
    order = np.argsort(cell, kind="stable")
    return order, np.searchsorted(cell[order], np.arange(cells + 1))
