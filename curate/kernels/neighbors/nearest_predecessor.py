"""Most similar predecessor of rows in an order, group by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Rows, Vector

_ROWS, _COLUMNS = 192, 4096  # one product: 3 MiB; with few rows at a time, few products with later rows are wasted
_ALIGNED = 16  # products of these widths are an eighth faster than others
_TASK = 1 << 20  # pairs of rows that a thread compares before it hands over results: some milliseconds

_MASK = np.where(np.arange(_ROWS + _ALIGNED) >= np.arange(_ROWS)[:, None], -np.inf, 0).astype(np.float32)
"""Added to the similarities of row i to rows 0, 1, …, it excludes row i and those after it."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """Most similar candidate of each of n rows, ties to the first in order; candidates n, n + 1, … come before all."""

    similarity: Vector
    """Largest similarity of each row, (n,) float32; -inf without a candidate."""

    row: Rows
    """Candidate with that similarity, (n,); -1 if the similarity is too low to be of interest."""

    rank: Rows
    """Position of each row in the order, (n,)."""

    @classmethod
    def empty(cls, rank: Rows) -> Nearest:
        """Return an instance without candidates."""
        n = len(rank)
        return cls(np.full(n, -np.inf, np.float32), np.full(n, -1, np.intp), rank)

    def copy(self) -> Nearest:
        """Return a copy that can be updated."""
        return Nearest(self.similarity.copy(), self.row.copy(), self.rank)

    def offer(self, rows: Rows, similarity: Vector, candidates: Rows) -> None:
        """Update the most similar candidate of each of ``rows``, which are distinct.

        Examples
        --------
        >>> nearest = Nearest.empty(np.arange(3))
        >>> nearest.offer(np.array([1, 2]), np.array([0.5, 0.9], np.float32), np.array([0, 1]))
        >>> nearest.offer(np.array([2]), np.array([0.9], np.float32), np.array([0]))
        >>> nearest.row.tolist()
        [-1, 0, 0]
        """
        n, old_similarity, old_rows = len(self.rank), self.similarity[rows], self.row[rows]
        is_tie = (similarity == old_similarity) & (candidates >= 0) & (old_rows >= 0) & (old_rows < n)
        is_tie[is_tie] = self.rank[candidates[is_tie]] < self.rank[old_rows[is_tie]]
        is_better = (similarity > old_similarity) | is_tie
        self.similarity[rows[is_better]], self.row[rows[is_better]] = similarity[is_better], candidates[is_better]


def most_similar_in_prefix(
    queries: Matrix, x: Matrix, prefix_lengths: Rows | range, threshold: float, buffer: Vector | None = None
) -> tuple[Vector, Rows]:
    """Find the most similar of the first rows of ``x`` for each query, where each query has its own prefix length.

    Parameters
    ----------
    queries : (q, d) float32, rows of unit length
    x : (m, d) float32, rows of unit length
    prefix_lengths : (q,) from 0 to m, ascending; a range of up to 192 consecutive numbers is faster than an array
    threshold : similarity from which the position is determined
    buffer : (q × min(m, 4096) or more,) float32, memory for the similarities; None = allocated

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
    first, last = int(prefix_lengths[0]), int(prefix_lengths[-1])
    end = min(len(x), -(-last // _ALIGNED) * _ALIGNED)
    if buffer is None:
        buffer = np.empty(len(queries) * min(_COLUMNS, end), np.float32)
    for columns in block_slices(end, _COLUMNS):
        width = columns.stop - columns.start
        similarity = buffer[: len(queries) * width].reshape(len(queries), width)
        np.matmul(queries, x[columns].T, out=similarity)
        first_late = max(columns.start, first)  # from here on, columns come later than some query
        if first_late < columns.stop:
            late = similarity[:, first_late - columns.start :]
            if isinstance(prefix_lengths, range):
                late += _MASK[: len(queries), first_late - first : columns.stop - first]
            else:
                np.copyto(late, -np.inf, where=np.arange(first_late, columns.stop) >= prefix_lengths[:, None])
        largest = similarity.max(axis=1)
        improved = np.flatnonzero((largest >= threshold) & (largest > best))
        if len(improved):
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
        other, of groups that have no row in common
    threshold : as for ``most_similar_in_prefix``

    Yields
    ------
    queries, similarity, nearest : for each group, in order: the queries, and the results of ``most_similar_in_prefix``
        with positions as rows of ``x``; small groups that are compared with themselves come together

    Notes
    -----
    Cost: O(a m d) time for a group of m members and a queries; half of that if members are compared with each other, or
    ranks are mixed. Memory: 4 m d bytes, and 3 MiB a thread.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    >>> groups = [(np.array([0, 1]), np.array([1, 2]))]
    >>> [(_, similarity, nearest)] = most_similar_predecessors(x, np.arange(3), groups, 0.7)
    >>> similarity.round(1).tolist(), nearest.tolist()
    ([0.0, 0.800000011920929], [-1, 0])
    """

    def search(task: list[tuple[Rows, Rows]]) -> list[tuple[Rows, Vector, Rows]]:
        longest = max(len(members) for members, _ in task)
        vectors_buffer = np.empty((longest, x.shape[1]), np.float32)
        products_buffer = np.empty(_ROWS * min(_COLUMNS, longest), np.float32)
        results = []
        for members, queries in task:
            vectors = np.take(x, members, axis=0, out=vectors_buffer[: len(members)], mode="clip")
            similarity, nearest = np.empty(len(queries), np.float32), np.empty(len(queries), np.intp)
            is_own = queries is members
            prefix_lengths = range(len(members)) if is_own else np.searchsorted(rank[members], rank[queries])
            for block in block_slices(len(queries), _ROWS):
                similarity[block], nearest[block] = most_similar_in_prefix(
                    vectors[block] if is_own else x[queries[block]],
                    vectors,
                    prefix_lengths[block],
                    threshold,
                    products_buffer,
                )
            results.append((queries, similarity, np.where(nearest >= 0, members[nearest], -1)))
        if any(members is not queries for members, queries in task):
            return results
        queries, similarity, nearest = map(np.concatenate, zip(*results, strict=True))
        return [(queries, similarity, nearest)]

    return chain.from_iterable(map_blocks(search, _tasks(groups)))


def _tasks(groups: Iterable[tuple[Rows, Rows]]) -> Iterator[list[tuple[Rows, Rows]]]:
    """Collect groups until they have ``_TASK`` pairs of a member and a query: many cells are small."""
    task, pairs = [], 0
    for members, queries in groups:
        task.append((members, queries))
        pairs += len(members) * len(queries)
        if pairs >= _TASK:
            yield task
            task, pairs = [], 0
    if task:
        yield task
