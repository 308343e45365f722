"""Importance of rows of a retrieval corpus, by the multilinear extension of a utility of retrieved rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.types import Codes, Flags, Numbers, Positions, Rows

PRIOR = 0.5
"""Probability with which the ascent begins, and that of rows that no query retrieves."""

_BLOCK = 1 << 20  # probabilities that a thread keeps: 8 MiB


def utility_gradient(p: Numbers, utility: Numbers, k: int, tolerance: float = 0.0) -> Numbers:
    """Compute the gradient of the expected utility of ranked rows with respect to their existence probabilities.

    Each row of a ranked list exists with a probability. The utility of a query is the sum of the
    contributions of the first K existing rows, divided by K, also if fewer exist.

    Parameters
    ----------
    p : (q, m) float64 probabilities of the ranked rows of q queries, most similar first; pad shorter lists with 0
    utility : (q, m) float64 contributions to the utility
    k : number K of rows that a query reads, at least 1
    tolerance : stop at the first row behind which at most K rows exist with a probability below it; 0 = never

    Returns
    -------
    (q, m) float64; 0 behind the row where the computation stops

    Notes
    -----
    Cost: O(q m k) time and memory; with a tolerance, m is the number of rows up to the last stop.

    Guarantee: exact up to rounding without a tolerance. With it, the error is at most tolerance / k times the largest
    difference of two contributions, counting 0 as one.

    Deviations: the recursion carries the expected contribution of the k-th existing row, instead of one probability for
    each distinct contribution as the authors' code does, which rounds them to two decimals.

    References
    ----------
    Lyu et al. (2023), Improving Retrieval-Augmented Large Language Models via Data Importance Learning,
    arXiv:2307.03027, section 3.

    Examples
    --------
    >>> p, utility = np.full((1, 6), 0.5), np.array([[1.0, 1, 0, 1, 1, 0]])
    >>> utility_gradient(p, utility, 3).round(4).tolist()
    [[0.2292, 0.2292, -0.1042, 0.2292, 0.2292, 0.0]]
    """
    q, m = p.shape
    existing = np.zeros((m + 1, q, k + 1))  # probability that exactly j of the first i rows exist
    existing[0, :, 0] = 1
    for i in range(m):
        here = p[:, i, None]
        np.multiply(existing[i], 1 - here, out=existing[i + 1])
        existing[i + 1, :, 1:] += existing[i, :, :-1] * here
        if (existing[i + 1].sum(axis=1) < tolerance).all():
            m = i + 1
            break
    gradient = np.zeros(p.shape)
    expected = np.zeros(
        (q, k)
    )  # expected contribution of the existing row k, k - 1, …, 1 behind row i, 0 if there is none
    for i in reversed(range(m)):
        here, own, before = p[:, i, None], utility[:, i, None], existing[i, :, :k]
        gradient[:, i] = (before * (own - expected)).sum(axis=1) / k
        expected = expected * (1 - here) + here * np.concatenate([expected[:, 1:], own], axis=1)
    return gradient


def retrieval_importance(
    rows: Rows,
    starts: Positions,
    utility: Numbers,
    n: int,
    *,
    k: int,
    steps: int,
    step_size: float,
    tolerance: float = 0.0,
    groups: Codes | None = None,
) -> Numbers:
    """Compute the probabilities of the rows of a corpus that maximize the expected utility of its queries.

    Projected gradient ascent begins with 0.5 for all rows. Rows that help rise towards 1, and rows that displace better
    ones fall towards 0.

    Parameters
    ----------
    rows : (r,) retrieved rows, query by query, most similar first; a query retrieves a row once
    starts : (q + 1,) first retrieval of each query, and r
    utility : (r,) contribution of each retrieved row to the utility of its query
    n : number of rows in the corpus
    k : number K of rows that a query reads
    steps : number of steps of the ascent
    step_size : length of a step in units of the gradient
    tolerance : see ``utility_gradient``
    groups : (n,) group of each row, whose probabilities are averaged after every step; -1 and None = on its own

    Returns
    -------
    (n,) float64 in [0, 1]; 0.5 for rows that no query retrieves

    Notes
    -----
    Cost: O(steps r k) time; 20 bytes for each retrieval, and about 30 MB a thread.

    Deviations: the gradient of a row is its mean over the queries that retrieve it, not over all queries, so that the
    length of a step does not depend on their number. The direction of a row is the same.

    References
    ----------
    Lyu et al. (2023), arXiv:2307.03027.
    """
    blocks = [_Block.of(rows, starts, utility, queries) for queries in _query_blocks(np.diff(starts), k)]
    queries = np.maximum(np.bincount(rows, minlength=n), 1)
    p = np.full(n, PRIOR)
    for _ in range(steps):

        def of_block(block: _Block, p: Numbers = p) -> Numbers:
            known = np.where(block.inside, p[block.rows], 0)
            return utility_gradient(known, block.utility, k, tolerance)[block.inside]

        total = np.zeros(n)
        for block, gradient in zip(blocks, map_blocks(of_block, blocks), strict=True):
            total += np.bincount(block.rows[block.inside], gradient, minlength=n)
        p = np.clip(p + step_size * total / queries, 0, 1)
        if groups is not None:
            p = _group_means(p, groups)
    return p


@dataclass(frozen=True, slots=True)
class _Block:
    """Lists of some queries, padded to the length of the longest one, (q, m)."""

    rows: Rows
    utility: Numbers
    inside: Flags
    """Whether each element is in the list."""

    @classmethod
    def of(cls, rows: Rows, starts: Positions, utility: Numbers, queries: Rows) -> _Block:
        """Return the block of some queries."""
        lengths = starts[queries + 1] - starts[queries]
        inside = np.arange(lengths.max()) < lengths[:, None]
        positions = np.where(inside, starts[queries][:, None] + np.arange(lengths.max()), 0)
        return cls(rows[positions], np.where(inside, utility[positions], 0), inside)


def _query_blocks(lengths: Positions, k: int) -> Iterator[Rows]:
    """Yield queries with at least one row in blocks of similar length that fit into the memory of a thread."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    end = len(order)
    while end:
        size = max(1, int(_BLOCK // ((lengths[order[end - 1]] + 1) * (k + 1))))
        start = max(0, end - size)
        yield order[start:end]
        end = start


def _group_means(p: Numbers, groups: Codes) -> Numbers:
    """Return the mean of each row's group; rows without a group keep their own."""
    grouped = groups >= 0
    if not grouped.any():
        return p
    means = np.bincount(groups[grouped], p[grouped]) / np.maximum(np.bincount(groups[grouped]), 1)
    return np.where(grouped, means[groups], p)
