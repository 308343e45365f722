"""The most similar of the rows that come earlier in an order, group by group, in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Rows, Vector

_ROWS, _COLUMNS = 128, 4096  # one product: 2 MiB; with few rows at once, little is computed of what comes later


def most_similar_in_prefix(queries: Matrix, x: Matrix, before: Rows, threshold: float) -> tuple[Vector, Rows]:
    """Of each query the most similar of the first rows of ``x``, as many as ``before`` tells.

    Parameters
    ----------
    queries : (q, d) float32, rows of unit length
    x : (m, d) float32, rows of unit length
    before : (q,) from 0 to m, ascending
    threshold : similarity from which it is told which row it is

    Returns
    -------
    similarity : (q,) float32, cosine; -inf where there is no such row
    place : (q,) the row of ``x``, ties to the first; -1 if it is less similar than ``threshold``

    Cost: O(q m d) time, one product; memory of q × 4096 similarities. The largest of a row of similarities is found
    three times faster than its place, so that is only looked for where the threshold is met.

    >>> x = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    >>> similarity, place = most_similar_in_prefix(x, x, np.arange(3), 0.7)
    >>> similarity.round(1).tolist(), place.tolist()
    ([-inf, 0.0, 0.800000011920929], [-1, -1, 0])
    """
    best, place = np.full(len(queries), -np.inf, np.float32), np.full(len(queries), -1, np.intp)
    for columns in block_slices(int(before[-1]), _COLUMNS):
        similarity = queries @ x[columns].T
        mixed = max(columns.start, int(before[0]))  # from here on they come later than some query
        if mixed < columns.stop:
            later = np.arange(mixed, columns.stop) >= before[:, None]
            np.copyto(similarity[:, mixed - columns.start :], -np.inf, where=later)
        largest = similarity.max(axis=1)
        near = np.flatnonzero((largest >= threshold) & (largest > best))
        place[near] = columns.start + similarity[near].argmax(axis=1)
        np.maximum(best, largest, out=best)
    return best, place


def most_similar_predecessors(
    x: Matrix, rank: Rows, groups: Iterable[tuple[Rows, Rows]], threshold: float
) -> Iterator[tuple[Rows, Vector, Rows]]:
    """Of the rows that ask in each group, the most similar member that comes earlier.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    rank : (n,) the place of each row in the order
    groups : members and rows that ask, both in that order; the same array where the members ask each other
    threshold : as for ``most_similar_in_prefix``

    Yields
    ------
    Of each group, in their order: the rows that ask, and what ``most_similar_in_prefix`` tells of them, places as rows of ``x``.

    Cost: O(a m d) time for a group of m members that a rows ask; half of that where members ask each other, or ranks
    are mixed. Memory: 4 m d bytes, and 2 MiB a thread.

    >>> x = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    >>> [(_, similarity, closest)] = most_similar_predecessors(x, np.arange(3), [(np.array([0, 1]), np.array([1, 2]))], 0.7)
    >>> similarity.round(1).tolist(), closest.tolist()
    ([0.0, 0.800000011920929], [-1, 0])
    """

    def group(both: tuple[Rows, Rows]) -> tuple[Rows, Vector, Rows]:
        members, asking = both
        vectors = x[members]
        similarity, closest = np.empty(len(asking), np.float32), np.empty(len(asking), np.intp)
        before = np.searchsorted(rank[members], rank[asking])
        for block in block_slices(len(asking), _ROWS):
            queries = vectors[block] if asking is members else x[asking[block]]
            similarity[block], place = most_similar_in_prefix(queries, vectors, before[block], threshold)
            closest[block] = np.where(place >= 0, members[place], -1)
        return asking, similarity, closest

    return map_blocks(group, groups)
