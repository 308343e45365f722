"""Turns of queries: each proposes its most similar rows, one in every round."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.kernels.linalg.blocked_matmul import Transform, for_each_product, similarity_to_nearest
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Indices, Matrix, Positions, Rows, Vector

_CELLS = 1 << 24  # similarities in memory: 64 MiB
_CANDIDATES = 1 << 26  # rows and similarities in memory: 768 MiB
_DEPTH = 8  # rounds that are ranked at first, as a multiple of the budget divided by the number of queries

NEVER = np.iinfo(np.int64).max
"""Turn of a row that no query proposes in the rounds that a budget needs."""


def find_turns(
    x: Matrix, queries: Matrix, tasks: Codes | None, budget: int, transform: Transform | None = None
) -> tuple[Positions, Vector]:
    """Find the turn in which each row is first proposed, when the queries, or the tasks, take turns.

    In round r, query q proposes the row of rank r in its similarity, in turn r m + q.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    queries : (m, d) float32, rows of unit length, m at least 1
    tasks : (m,) int32, optional
        Task of each query. The tasks take turns, with the similarity of a row to the nearest query of the task; without
        tasks, the queries take turns.
    budget : int
        Number of rows of the earliest turns that are needed, 0 <= budget <= n.
    transform : callable, optional
        Function of some rows of ``x`` that returns the vectors to compare with the queries.

    Returns
    -------
    turn : (n,) int64, ``NEVER`` for some or all rows after the first ``budget``
    similarity : (n,) float32, of each row to the query or task that proposes it first; 0 for ``NEVER``

    Notes
    -----
    Cost: O(n m d) time, usually in one pass over ``x``; memory for 16 M similarities, and some 100 bytes for each row
    of the budget. The turn of a row depends only on its rank for each query. Queries are ranked to a depth that is
    increased until ``budget`` rows are proposed. If they propose few different rows, one query after another is ranked,
    in more passes. Ties go to the lowest index. Exact.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    >>> find_turns(x, x[[0, 1]], None, 4)[0].tolist()
    [0, 1, 3, 6]
    """
    turns = len(queries) if tasks is None else len(np.unique(tasks))
    depth = min(len(x), _DEPTH * -(-budget // turns))
    while True:
        turn = np.full(len(x), NEVER)
        similarity = np.zeros(len(x), np.float32)
        for number, (rows, values) in enumerate(_rank_all(x, queries, tasks, depth, transform)):
            proposed = np.arange(len(rows)) * turns + number
            earlier = proposed < turn[rows]
            turn[rows[earlier]] = proposed[earlier]
            similarity[rows[earlier]] = values[earlier]
        if depth == len(x) or np.count_nonzero(turn < NEVER) >= budget:
            return turn, similarity
        depth = min(len(x), 4 * depth)


def _rank_all(
    x: Matrix, queries: Matrix, tasks: Codes | None, depth: int, transform: Transform | None
) -> Iterator[tuple[Rows, Vector]]:
    """Yield the most similar rows of each query or task, best first, and their similarities."""

    def rank(similarities: Vector) -> tuple[Rows, Vector]:
        rows = rank_rows(similarities, depth)
        return rows, similarities[rows]

    if tasks is not None:
        of_task = (queries[tasks == task] for task in np.unique(tasks))
        yield from map(rank, (similarity_to_nearest(x, part, transform) for part in of_task))
    elif len(queries) * depth <= _CANDIDATES:
        yield from zip(*nearest_rows(x, queries, depth, transform), strict=True)
    else:
        for block in block_slices(len(queries), max(1, _CELLS // max(1, len(x)))):
            yield from map_blocks(rank, iter(_products(x, queries[block], transform)))


def nearest_rows(x: Matrix, queries: Matrix, depth: int, transform: Transform | None = None) -> tuple[Indices, Matrix]:
    """Return the ``depth`` most similar rows of ``x`` for each query, best first, ties to the lowest index.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    queries : (m, d) float32, rows of unit length
    depth : int
        Number of rows, 0 <= depth <= n.
    transform : callable, optional
        See ``find_turns``.

    Returns
    -------
    rows : (m, depth) int64
    similarity : (m, depth) float32

    Notes
    -----
    Cost: O(n m d) time, one pass over ``x``; memory for 16 M similarities, and 12 bytes for each result.
    """
    m = len(queries)
    rows, values = [np.empty(0, np.int64)] * m, [np.empty(0, np.float32)] * m

    def merge(query: int) -> None:
        similarities = products[query]
        if len(values[query]) == depth:  # of equal values, the earlier rows stay
            candidates = np.flatnonzero(similarities > lowest[query])
        else:
            candidates = np.arange(len(similarities))
        joined = np.concatenate([values[query], similarities[candidates]])
        kept = largest(joined, depth)
        rows[query] = np.concatenate([rows[query], start + candidates])[kept]
        values[query] = joined[kept]
        lowest[query] = values[query].min(initial=np.inf)

    lowest = np.full(m, np.inf, np.float32)
    for block in block_slices(len(x), max(1024, _CELLS // max(1, m)) if depth else max(1, len(x))):
        start, products = block.start, _products(x[block], queries, transform)
        for _ in map_blocks(merge, range(m)):
            pass
    order = [np.argsort(-one, kind="stable") for one in values]
    return (
        np.array([one[by] for one, by in zip(rows, order, strict=True)], np.int64).reshape(m, depth),
        np.array([one[by] for one, by in zip(values, order, strict=True)], np.float32).reshape(m, depth),
    )


def _products(x: Matrix, queries: Matrix, transform: Transform | None) -> Matrix:
    """Return the similarities (m, n)."""
    products = np.empty((len(queries), len(x)), np.float32)

    def store(similarities: Matrix, rows: slice, columns: slice) -> None:
        products[columns, rows] = similarities.T

    for_each_product(x, queries, store, transform=transform)
    return products


def largest(values: Vector, depth: int) -> Rows:
    """Return the rows of the ``depth`` largest values, ascending; of equal values, the first.

    Examples
    --------
    >>> largest(np.array([1, 3, 2, 2], np.float32), 2).tolist()
    [1, 2]
    """
    if len(values) <= depth:
        return np.arange(len(values))
    if not depth:
        return np.empty(0, np.intp)
    threshold = np.partition(values, len(values) - depth)[len(values) - depth]
    rows = np.flatnonzero(values >= threshold)
    equal = np.flatnonzero(values[rows] == threshold)
    return np.delete(rows, equal[len(equal) - (len(rows) - depth) :])


def rank_rows(values: Vector, depth: int) -> Rows:
    """Return the ``depth`` rows of the largest values, largest first, ties to the lowest index.

    Examples
    --------
    >>> rank_rows(np.array([1, 3, 3, 2], np.float32), 3).tolist()
    [1, 2, 3]
    """
    rows = largest(values, depth)
    return rows[np.argsort(-values[rows], kind="stable")]
