"""Relevance and diversity of the data of sellers for a buyer, from variances along the buyer's directions."""

from __future__ import annotations

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers

_ROWS = 4096


def relevance_and_diversity(buyer: Numbers, sellers: Numbers, floor: float) -> Numbers:
    """Compare the variances of sellers with those of the buyer along the same directions.

    Relevance is the geometric mean of min(λ, λ̂) / max(λ, λ̂) over the directions, and diversity that of
    |λ - λ̂| / max(λ, λ̂), for the variances λ of the buyer and λ̂ of a seller.

    Parameters
    ----------
    buyer : (r,) float64 variances of the buyer, above 0, r >= 1
    sellers : (s, r) float64 variances of the sellers
    floor : smallest value of each factor: a single factor of 0 would make the product 0

    Returns
    -------
    (s, 2) float64 relevance and diversity in [floor, 1]

    Notes
    -----
    The means are computed as means of logarithms.

    Deviations: the floor, which the paper does not have; with 0, the result is that of the paper.

    References
    ----------
    Amiri et al. (2023), Fundamentals of Task-Agnostic Data Valuation, doi:10.1609/aaai.v37i8.26106.

    Examples
    --------
    >>> relevance_and_diversity(np.array([4.0, 1.0]), np.array([[2.0, 1.0], [4.0, 1.0]]), 0).round(4).tolist()
    [[0.7071, 0.0], [1.0, 0.0]]
    """
    larger, smaller = np.maximum(buyer, sellers), np.minimum(buyer, sellers)
    with np.errstate(divide="ignore"):
        logs = [np.log(np.maximum(part / larger, floor)).mean(axis=1) for part in (smaller, larger - smaller)]
    values: Numbers = np.exp(np.stack(logs, axis=1))
    return values


def source_values(
    x: Matrix,
    groups: Codes,
    buyer: int,
    n_groups: int,
    *,
    min_variance: float,
    max_directions: int,
    floor: float,
) -> tuple[Numbers, int]:
    """Compute the relevance and diversity of every group of rows for one of them, the buyer.

    Directions are the eigenvectors of the buyer's covariance matrix.

    Parameters
    ----------
    x : (n, d) float32
    groups : (n,) int32 group of each row, -1 for none
    buyer : group of the buyer
    n_groups : number of groups
    min_variance : smallest variance of a direction, in units of the buyer's mean variance over all d directions
    max_directions : maximum number of directions, those of the largest variances
    floor : see ``relevance_and_diversity``

    Returns
    -------
    values : (n_groups, 2) float64 relevance and diversity; NaN for groups without rows, and for all groups if the
        buyer's rows do not vary
    directions : number of directions that are compared

    Notes
    -----
    Cost: O(n d r + b d² + d³) time for r directions and b rows of the buyer.

    Guarantee: the buyer's group has relevance 1 and the smallest possible diversity.

    Deviations: variances are not standardized column by column, as the columns of embeddings share a unit; the authors'
    threshold of 0.04 for standardized data, whose mean variance is 1, is relative to the mean variance instead.

    References
    ----------
    See ``relevance_and_diversity``.
    """
    values = np.full((n_groups, 2), np.nan)
    own = x[groups == buyer].astype(np.float64)
    own -= own.mean(axis=0)
    variances, directions = np.linalg.eigh(own.T @ own / len(own))
    mean = variances.sum() / x.shape[1]
    kept = np.flatnonzero((variances > max(min_variance * mean, 0)) & (variances > 1e-12))[::-1][:max_directions]
    if not len(kept):
        return values, 0
    axes = directions[:, kept]
    members = np.flatnonzero(groups >= 0)
    sizes = np.bincount(groups[members], minlength=n_groups)
    means = np.zeros((n_groups, x.shape[1]))
    for part in map_blocks(lambda block: _sum_by_group(x[block], groups[block], n_groups), _blocks(len(x))):
        means += part
    means /= np.maximum(sizes, 1)[:, None]

    def squares_of(block: slice) -> Numbers:
        own_mean = means[np.maximum(groups[block], 0)]
        return _sum_by_group(((x[block] - own_mean) @ axes) ** 2, groups[block], n_groups)

    squares = np.zeros((n_groups, len(kept)))
    for part in map_blocks(squares_of, _blocks(len(x))):
        squares += part
    spread = squares / np.maximum(sizes, 1)[:, None]
    there = sizes > 0
    values[there] = relevance_and_diversity(spread[buyer], spread[there], floor)
    return values, len(kept)


def _blocks(n: int) -> list[slice]:
    return list(block_slices(n, _ROWS))


def _sum_by_group(values: np.ndarray, groups: Codes, n_groups: int) -> Numbers:
    """Return the sums of the rows of each group, (n_groups, columns) float64."""
    sums = np.zeros((n_groups, values.shape[1]))
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    if len(order):
        codes, firsts = np.unique(groups[order], return_index=True)
        sums[codes] = np.add.reduceat(values[order], firsts, axis=0, dtype=np.float64)
    return sums
