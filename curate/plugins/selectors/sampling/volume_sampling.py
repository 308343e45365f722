"""Volume sampling: draw rows so that least squares on them is, on average, least squares on all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.determinantal import draw_eigenvectors, projection_dpp
from curate.kernels.linalg.leverage import RowSpace, row_space, squared_lengths
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Matrix, Numbers, Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_ZERO = 1e-12  # a leverage score that rounding may have made


def volume_sampling(x: Matrix, budget: int, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Exact volume sampling: a set S of k rows is drawn with probability in proportion to det(X_Sᵀ X_S).

    Least squares fitted to such a set has, on average, the coefficients of the fit to all rows, whatever the targets.
    By the formula of Cauchy and Binet, det(X_Sᵀ X_S) is the sum of det(X_D)² over the sets D of d rows in S. So S is
    drawn as a D by the projection DPP of X, and k − d more rows evenly from those that are left.

    Parameters
    ----------
    x : (n, d) float32 of rank r, which takes the place of d if it is lower: X is then seen in its span
    budget : number of rows to keep, k, 0 <= budget <= n; below r, S is drawn in proportion to det(X_S X_Sᵀ), the volume
        that its rows span, which makes the k-DPP

    Returns
    -------
    order : (budget,) rows, those of the determinantal process first
    leverage : (n,) leverage scores, in [0, 1] and of sum r: the probabilities of being in D

    Cost: O(n d²) time, in matrix products, and O(d³ log d); O(n + d²) memory. Guarantee: exact and unbiased; for k = d
    the expected squared error on all rows is d + 1 times the least there is. No more than d rows are drawn otherwise
    than by chance alone: for budgets many times d, see ``volume_rescaled_sampling``.

    References
    ----------
    Dereziński & Warmuth (2018), "Reverse iterative volume sampling for linear regression", arXiv:1806.01969.
    Below the rank: Deshpande, Rademacher, Vempala & Wang (2006), doi:10.4086/toc.2006.v002a012.

    Deviations: the papers delete rows one by one; the determinantal form draws the same distribution without.

    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> order, leverage = volume_sampling(x, 2, np.random.default_rng(0))
    >>> 2 in order, leverage.round(6).tolist()
    (True, [0.5, 0.5, 1.0])
    """
    with one_blas_thread():
        space = row_space(x, np.ones(len(x)))
        leverage = squared_lengths(x, np.ones(len(x)), space.whitening())
        drawn = _determinantal(x, space, budget, rng)
    rest = np.delete(np.arange(len(x)), drawn)
    return np.concatenate((drawn, rng.choice(rest, budget - len(drawn), replace=False))), leverage


def volume_rescaled_sampling(x: Matrix, budget: int, rng: np.random.Generator) -> tuple[Rows, Numbers, Numbers]:
    """Draw rows by volume-rescaled sampling: as ``volume_sampling``, with the rows added by leverage, and weights.

    A D is drawn by the projection DPP of X; then rows are drawn with replacement, in proportion to their leverage
    scores τ. They are weighted by the inverse of τ, which makes least squares much closer to that on all rows.

    Parameters
    ----------
    x : (n, d) float32 of rank r
    budget : number of rows to keep, 0 <= budget <= n; below r, the k-DPP

    Returns
    -------
    order : (budget,) rows in the order they were first drawn
    weights : (budget,) float64, c r / (N τ) for a row that was drawn c times of N, so that a weighted sum over them
        estimates the sum over all rows; 1 where all rows are kept; all n / budget for a budget below r, where there is
        no least squares
    leverage : (n,) leverage scores

    Notes
    -----
    Guarantee: coefficients and weighted sums are unbiased for a budget of r and where all rows are kept. Between those
    they are nearly so: for pools of 8 and 12 rows no bias of the coefficients was found in 20,000 draws, and weighted
    sums were too low by up to 2 %. The published bounds are for a fixed N: with O(d log d + d / ε) draws, the squared
    error on all rows is within 1 + ε of the least, but for a small probability.

    Deviations: a row is kept once, however often it was drawn, and drawing ends just before a row would come that is
    one too many, so N is random. (To end with the last row itself favors rows of low leverage, and biased coefficients
    by up to 31 %.) The draws are not made one by one: in time, each row comes by a Poisson process of rate τ / r. Rows
    with τ below 1e-12 are never drawn; where nothing else is left, they follow in the order of the pool, with weight 0.

    Cost: that of ``volume_sampling``, and O(n log n).

    References
    ----------
    Dereziński, Warmuth & Hsu (2018), "Leveraged volume sampling for linear regression", arXiv:1802.06749; the two
    steps: the same (2018), "Correcting the bias in least squares regression with volume-rescaled sampling",
    arXiv:1810.02453. Nouy & Michel (2023), arXiv:2312.14057.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> order, weights, _ = volume_rescaled_sampling(x, 2, np.random.default_rng(0))
    >>> sorted(weights.round(6).tolist())
    [1.0, 2.0]
    """
    n = len(x)
    with one_blas_thread():
        space = row_space(x, np.ones(n))
        leverage = squared_lengths(x, np.ones(n), space.whitening())
        drawn = _determinantal(x, space, budget, rng)
    rank = len(space.values)
    if budget < rank or not rank:
        order = np.concatenate((drawn, np.arange(budget - len(drawn))))
        return order, np.full(budget, n / budget if rank and budget else 0.0), leverage
    rate = leverage / rank
    first = np.divide(rng.exponential(size=n), rate, out=np.full(n, np.inf), where=leverage > _ZERO)
    first[drawn] = 0
    arrivals = np.argsort(first, kind="stable")
    arrivals = np.concatenate((drawn, arrivals[rank:]))
    order, weights = arrivals[:budget], np.zeros(budget)
    reachable = int(np.isfinite(first).sum())
    if reachable <= budget:
        weights[:reachable] = 1
    else:
        end = first[arrivals[budget]] if budget > rank else 0.0
        counts = 1 + rng.poisson(rate[order] * (end - first[order]))
        weights[:] = counts * rank / (counts.sum() * leverage[order])
    return order, weights, leverage


def _determinantal(x: Matrix, space: RowSpace, budget: int, rng: np.random.Generator) -> Rows:
    """As many rows as the rank, or as the budget where that is less, by the volume they span."""
    rank = len(space.values)
    if not min(budget, rank):
        return np.empty(0, np.intp)
    chosen = draw_eigenvectors(space.values, budget, rng) if budget < rank else np.arange(rank)
    return projection_dpp(x, np.ones(len(x)), space.whitening()[:, chosen], rng)[0]


@selector(
    version=2,
    reads={"embedding"},
    cost="O(n d²)",
    guarantee="unbiased least squares from d rows on; nearly, if rescaled",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSampling:
    """Draw rows on which a linear model of the embeddings is fitted, on average, as it is on all of them.

    The gain of a row is its leverage score. d rows are drawn by the volume they span; the others, by default, evenly:
    for budgets many times the dimension d of the embeddings, that is little else than ``uniform``.

    References
    ----------
    Dereziński & Warmuth (2018), "Reverse iterative volume sampling for linear regression", arXiv:1806.01969.
    Dereziński, Warmuth & Hsu (2018), "Leveraged volume sampling for linear regression", arXiv:1802.06749.
    """

    rescaled: bool = False
    """Draw the rows beyond d by leverage score instead of evenly, and give training weights that correct for it: least
    squares are much closer to those on all rows, and no longer exactly unbiased."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        if self.rescaled:
            order, weights, leverage = volume_rescaled_sampling(pool.embeddings, budget, rng)
            weight = weights.astype(np.float32)
        else:
            (order, leverage), weight = volume_sampling(pool.embeddings, budget, rng), None
        return Selection(order, leverage[order].astype(np.float32), weight, reasons=("not drawn",))
