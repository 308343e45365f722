"""Most similar predecessor of rows in an order, group by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Rows, Vector

_ROWS, _COLUMNS = 128, 4096  # one product: 2 MiB; with few rows at a time, few products with later rows are wasted


def most_similar_in_prefix(queries: Matrix, x: Matrix, prefix_lengths: Rows, threshold: float) -> tuple[Vector, Rows]:
    """Find the most similar of the first rows of ``x`` for each query, where each query has its own prefix length.

    Parameters
    ----------
    queries : (q, d) float32, rows of unit length
    x : (m, d) float32, rows of unit length
    prefix_lengths : (q,) from 0 to m, ascending
    threshold : similarity from which the position is determined

    Returns
    -------
    similarity : (q,) float32, cosine; -inf for an empty prefix
    positions : (q,) row of ``x``, ties to the first; -1 if the similarity is below ``threshold``

    Notes
    -----
    Cost: O(q m d) time, one product; memory of q × 4096 similarities. The largest similarity of a row is found three
    times faster than its position, so the position is searched only if the threshold is met.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    >>> similarity, positions = most_similar_in_prefix(x, x, np.arange(3), 0.7)
    >>> similarity.round(1).tolist(), positions.tolist()
    ([-inf, 0.0, 0.800000011920929], [-1, -1, 0])
    """
    best, positions = np.full(len(queries), -np.inf, np.float32), np.full(len(queries), -1, np.intp)
    for columns in block_slices(int(prefix_lengths[-1]), _COLUMNS):
        similarity = queries @ x[columns].T
        first_late = max(columns.start, int(prefix_lengths[0]))  # from here on, columns come later than some query
        if first_late < columns.stop:
            later = np.arange(first_late, columns.stop) >= prefix_lengths[:, None]
            np.copyto(similarity[:, first_late - columns.start :], -np.inf, where=later)
        largest = similarity.max(axis=1)
        improved = np.flatnonzero((largest >= threshold) & (largest > best))
        positions[improved] = columns.start + similarity[improved].argmax(axis=1)
        np.maximum(best, largest, out=best)
    return best, positions


def most_similar_predecessors(
    x: Matrix, rank: Rows, groups: Iterable[tuple[Rows, Rows]], threshold: float
) -> Iterator[tuple[Rows, Vector, Rows]]:
    """Find the most similar earlier member of each query in each group.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    rank : (n,) position of each row in the order
    groups : pairs of members and queries, both sorted by rank; pass the same array twice to compare members with each
        other
    threshold : as for ``most_similar_in_prefix``

    Yields
    ------
    queries, similarity, nearest : for each group, in order: the queries, and the results of ``most_similar_in_prefix``
        with positions as rows of ``x``

    Notes
    -----
    Cost: O(a m d) time for a group of m members and a queries; half of that if members are compared with each other, or
    ranks are mixed. Memory: 4 m d bytes, and 2 MiB a thread.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    >>> groups = [(np.array([0, 1]), np.array([1, 2]))]
    >>> [(_, similarity, nearest)] = most_similar_predecessors(x, np.arange(3), groups, 0.7)
    >>> similarity.round(1).tolist(), nearest.tolist()
    ([0.0, 0.800000011920929], [-1, 0])
    """

    def search_group(member_and_query_rows: tuple[Rows, Rows]) -> tuple[Rows, Vector, Rows]:
        members, queries = member_and_query_rows
        vectors = x[members]
        similarity, nearest = np.empty(len(queries), np.float32), np.empty(len(queries), np.intp)
        prefix_lengths = np.searchsorted(rank[members], rank[queries])
        for block in block_slices(len(queries), _ROWS):
            query_vectors = vectors[block] if queries is members else x[queries[block]]
            similarity[block], position = most_similar_in_prefix(
                query_vectors, vectors, prefix_lengths[block], threshold
            )
            nearest[block] = np.where(position >= 0, members[position], -1)
        return queries, similarity, nearest

    return map_blocks(search_group, groups)
