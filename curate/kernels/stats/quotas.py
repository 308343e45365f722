"""Splits a budget over groups of limited size, exactly, by proportional, balanced or tempered shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from curate.kernels.types import Counts, Numbers

_LEAST = 1e-200  # of the largest share: what is smaller gets no row before the others are full, and no level overflows


def allocate(sizes: ArrayLike, budget: int, shares: ArrayLike) -> Counts:
    """How much of ``budget`` each group gets: its share, but never more than its size.

    What a full group cannot take flows to the others, in proportion to their shares: the water level rises until the
    budget is spent. Fractions go to the largest remainders, ties to the lowest index. A group of share 0 gets rows only
    when all the others are full; among such groups the shares are equal.

    Parameters
    ----------
    sizes : (g,) rows in each group
    budget : rows to give out; more than there are means all
    shares : (g,) weights of at least 0, in any unit

    Returns
    -------
    (g,) int64, 0 <= result <= sizes, of sum min(budget, sizes.sum())

    Cost: O(g log g).

    References
    ----------
    Largest remainders: Balinski & Young (1982), Fair Representation, ch. 3. Water-filling: Boyd & Vandenberghe (2004),
    Convex Optimization, example 5.2.

    >>> allocate(np.array([1, 5, 10, 2]), 10, balanced_shares(np.array([1, 5, 10, 2]))).tolist()
    [1, 4, 3, 2]
    >>> allocate(np.array([60, 30, 10]), 10, [6, 3, 1]).tolist()
    [6, 3, 1]
    """
    rows: Counts = np.asarray(sizes, np.int64)
    weights: Numbers = np.asarray(shares, np.float64)
    budget = min(budget, int(rows.sum()))
    favoured: Counts = np.where(weights > 0, rows, 0)
    first = min(budget, int(favoured.sum()))
    given = _fill(favoured, first, weights)
    given += _fill(rows - favoured, budget - first, np.ones(len(rows)))
    return given


def _fill(sizes: Counts, budget: int, shares: Numbers) -> Counts:
    """``allocate`` for budget <= sizes.sum() and shares that are above 0 wherever sizes are."""
    given = np.zeros_like(sizes)
    groups = np.flatnonzero(sizes)
    if not budget:
        return given
    size = sizes[groups]
    share = np.maximum(shares[groups] / shares[groups].max(), _LEAST)
    order = np.argsort(size / share, kind="stable")  # the order in which groups fill up as the level rises
    filled = np.concatenate(([0], np.cumsum(size[order])[:-1]))
    open_share = np.cumsum(share[order][::-1])[::-1]
    level = (budget - filled) / open_share  # rows a unit of share, if the groups before are full and the others not
    open_groups = np.flatnonzero(level * share[order] < size[order])
    full = open_groups[0] if len(open_groups) else len(order)
    amount = size.astype(np.float64)
    if full < len(order):
        amount[order[full:]] = level[full] * share[order[full:]]
    whole = np.minimum(np.floor(amount).astype(np.int64), size)
    rest = budget - int(whole.sum())
    by_remainder = np.argsort(whole - amount, kind="stable")
    while rest > 0:  # once round, but for rounding errors in amount
        takers = by_remainder[whole[by_remainder] < size[by_remainder]][:rest]
        whole[takers] += 1
        rest -= len(takers)
    given[groups] = whole
    return given


def proportional_shares(sizes: ArrayLike) -> Numbers:
    """(g,) shares that keep the groups' proportions."""
    return np.asarray(sizes, np.float64)


def balanced_shares(sizes: ArrayLike) -> Numbers:
    """(g,) equal shares."""
    return np.ones(np.shape(sizes))


def temperature_shares(sizes: ArrayLike, temperature: float) -> Numbers:
    """(g,) shares in proportion to size^(1/T), T > 0: 1 is proportional, and the larger T, the nearer to balanced.

    References
    ----------
    Conneau et al. (2020), arXiv:1911.02116, whose exponent alpha is 1/T.

    >>> temperature_shares(np.array([1, 16]), 4.0).tolist()
    [0.5, 1.0]
    """
    rows: Numbers = np.asarray(sizes, np.float64)
    shares: Numbers = (rows / rows.max(initial=1)) ** (1 / temperature)  # at most 1, so that no power overflows
    return shares
