"""Ranks of rows by several scores, and their order by the mean rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.kernels.types import Numbers, Rows, Vector


def ranks_by_score(qualities: Sequence[Vector]) -> Numbers:
    """Rank rows by each of k scores; the lowest value has rank 1, and equal values share their mean rank.

    Parameters
    ----------
    qualities : k arrays (n,) float32, higher = better; NaN for rows without the score

    Returns
    -------
    (k, n) float64; NaN, by all scores, for a row that lacks one of them

    Notes
    -----
    Cost: O(k n log n) time, O(k n) memory.

    Examples
    --------
    >>> ranks_by_score([np.array([5, 1, 1, np.nan], np.float32)]).tolist()
    [[3.0, 1.5, 1.5, nan]]
    """
    n = len(qualities[0])
    is_ranked = np.ones(n, np.bool_)
    for quality in qualities:
        is_ranked &= ~np.isnan(quality)
    ranks = np.full((len(qualities), n), np.nan)
    for row, quality in zip(ranks, qualities, strict=True):
        _, value, counts = np.unique(quality[is_ranked], return_inverse=True, return_counts=True)
        row[is_ranked] = (np.cumsum(counts) - (counts - 1) / 2)[value]
    return ranks


def worst_first(ranks: Numbers) -> Rows:
    """Order the ranked rows by their mean rank, lowest first, ties to the lowest row.

    Parameters
    ----------
    ranks : (k, n) float64, NaN for rows that are not ranked

    Returns
    -------
    (m,) row indices

    Notes
    -----
    Cost: O(k n + n log n) time, O(n) memory.

    Examples
    --------
    >>> worst_first(np.array([[3.0, 1.0, 2.0, np.nan], [1.0, 3.0, 2.0, np.nan]])).tolist()
    [0, 1, 2]
    """
    means = ranks.mean(axis=0)
    order = np.argsort(means, kind="stable")
    return order[: np.count_nonzero(~np.isnan(means))]
