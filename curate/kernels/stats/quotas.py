"""Exact allocation of a budget to groups of limited size, by proportional, balanced or tempered shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from curate.kernels.types import Counts, Numbers

_LEAST = 1e-200  # smaller shares of the largest get rows only after the others are full; avoids overflow


def allocate(sizes: ArrayLike, budget: int, shares: ArrayLike) -> Counts:
    """Allocate a budget to groups by their shares, never more than the size of a group.

    The amount that a full group cannot take is distributed to the others, in proportion to their shares
    (water-filling). Fractions are rounded by largest remainders, ties to the lowest index. A group of share 0 gets rows
    only if all others are full; such groups have equal shares.

    Parameters
    ----------
    sizes : (g,) number of rows in each group
    budget : number of rows to allocate; a budget above the total allocates all rows
    shares : (g,) weights of at least 0, in any unit

    Returns
    -------
    (g,) int64, 0 <= result <= sizes, of sum min(budget, sizes.sum())

    Notes
    -----
    Cost: O(g log g).

    References
    ----------
    Largest remainders: Balinski & Young (1982), Fair Representation, ch. 3. Water-filling: Boyd & Vandenberghe (2004),
    Convex Optimization, example 5.2.

    Examples
    --------
    >>> allocate(np.array([1, 5, 10, 2]), 10, balanced_shares(np.array([1, 5, 10, 2]))).tolist()
    [1, 4, 3, 2]
    >>> allocate(np.array([60, 30, 10]), 10, [6, 3, 1]).tolist()
    [6, 3, 1]
    """
    sizes_array: Counts = np.asarray(sizes, np.int64)
    weights: Numbers = np.asarray(shares, np.float64)
    budget = min(budget, int(sizes_array.sum()))
    preferred: Counts = np.where(weights > 0, sizes_array, 0)
    preferred_budget = min(budget, int(preferred.sum()))
    allocation = _fill(preferred, preferred_budget, weights)
    allocation += _fill(sizes_array - preferred, budget - preferred_budget, np.ones(len(sizes_array)))
    return allocation


def _fill(sizes: Counts, budget: int, shares: Numbers) -> Counts:
    """Allocate as ``allocate`` does, for budget <= sizes.sum() and shares above 0 wherever sizes are."""
    allocation = np.zeros_like(sizes)
    groups = np.flatnonzero(sizes)
    if not budget:
        return allocation
    group_sizes = sizes[groups]
    group_shares = np.maximum(shares[groups] / shares[groups].max(), _LEAST)
    order = np.argsort(group_sizes / group_shares, kind="stable")  # groups in the order in which they fill up
    filled_before = np.concatenate(([0], np.cumsum(group_sizes[order])[:-1]))
    open_share = np.cumsum(group_shares[order][::-1])[::-1]
    level = (budget - filled_before) / open_share  # rows per unit of share if only the groups before are full
    open_groups = np.flatnonzero(level * group_shares[order] < group_sizes[order])
    n_full = open_groups[0] if len(open_groups) else len(order)
    amounts = group_sizes.astype(np.float64)
    if n_full < len(order):
        amounts[order[n_full:]] = level[n_full] * group_shares[order[n_full:]]
    floors = np.minimum(np.floor(amounts).astype(np.int64), group_sizes)
    remaining = budget - int(floors.sum())
    by_remainder = np.argsort(floors - amounts, kind="stable")
    while remaining > 0:  # one pass, except for rounding errors
        recipients = by_remainder[floors[by_remainder] < group_sizes[by_remainder]][:remaining]
        floors[recipients] += 1
        remaining -= len(recipients)
    allocation[groups] = floors
    return allocation


def proportional_shares(sizes: ArrayLike) -> Numbers:
    """Return shares (g,) in proportion to the sizes.

    Parameters
    ----------
    sizes : (g,) number of rows in each group
    """
    return np.asarray(sizes, np.float64)


def balanced_shares(sizes: ArrayLike) -> Numbers:
    """Return equal shares (g,).

    Parameters
    ----------
    sizes : (g,) number of rows in each group
    """
    return np.ones(np.shape(sizes))


def temperature_shares(sizes: ArrayLike, temperature: float) -> Numbers:
    """Return shares (g,) in proportion to size^(1/T), T > 0: 1 is proportional, larger T is closer to balanced.

    Parameters
    ----------
    sizes : (g,) number of rows in each group
    temperature : T, above 0

    Returns
    -------
    (g,) float64

    References
    ----------
    Conneau et al. (2020), arXiv:1911.02116; their exponent alpha is 1/T.

    Examples
    --------
    >>> temperature_shares(np.array([1, 16]), 4.0).tolist()
    [0.5, 1.0]
    """
    sizes_array: Numbers = np.asarray(sizes, np.float64)
    shares: Numbers = (sizes_array / sizes_array.max(initial=1)) ** (
        1 / temperature
    )  # at most 1: powers cannot overflow
    return shares
