"""Volume sampling: rows on which least squares equals, in expectation, least squares on all rows."""

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

_ZERO = 1e-12  # smaller leverage scores may be rounding


def volume_sampling(x: Matrix, budget: int, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Draw a set S of k rows with probability proportional to det(X_Sᵀ X_S): exact volume sampling.

    Least squares fitted to such a set has, in expectation, the coefficients of the fit to all rows, for any targets. By
    the Cauchy-Binet formula, det(X_Sᵀ X_S) is the sum of det(X_D)² over the sets D of d rows in S. So S is drawn as a D
    by the projection DPP of X, and k − d more rows uniformly from the others.

    Parameters
    ----------
    x : (n, d) float32 of rank r, which replaces d if it is lower: X is then considered in its row space
    budget : number of rows to keep, k, 0 <= budget <= n; below r, S is drawn in proportion to det(X_S X_Sᵀ), the volume
        that its rows span, which is the k-DPP
    rng : random generator

    Returns
    -------
    indices : (budget,) rows, those of the determinantal process first
    leverage : (n,) leverage scores, in [0, 1] and of sum r: the probabilities of being in D

    Notes
    -----
    Cost: O(n d²) time, in matrix products, and O(d³ log d); O(n + d²) memory.

    Guarantee: exact and unbiased; for k = d the expected squared error on all rows is d + 1 times the minimum. At most
    d rows are drawn other than uniformly: for budgets many times d, see ``volume_rescaled_sampling``.

    Deviations: the papers delete rows one by one; the determinantal form draws from the same distribution directly.

    References
    ----------
    Dereziński & Warmuth (2018), "Reverse iterative volume sampling for linear regression", arXiv:1806.01969.
    Below the rank: Deshpande, Rademacher, Vempala & Wang (2006), doi:10.4086/toc.2006.v002a012.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> indices, leverage = volume_sampling(x, 2, np.random.default_rng(0))
    >>> 2 in indices, leverage.round(6).tolist()
    (True, [0.5, 0.5, 1.0])
    """
    with one_blas_thread():
        space = row_space(x, np.ones(len(x)))
        leverage = squared_lengths(x, np.ones(len(x)), space.whitening())
        dpp_rows = _draw_dpp(x, space, budget, rng)
    other_rows = np.delete(np.arange(len(x)), dpp_rows)
    return np.concatenate((dpp_rows, rng.choice(other_rows, budget - len(dpp_rows), replace=False))), leverage


def volume_rescaled_sampling(x: Matrix, budget: int, rng: np.random.Generator) -> tuple[Rows, Numbers, Numbers]:
    """Draw rows by volume-rescaled sampling: as ``volume_sampling``, with further rows drawn by leverage, and weights.

    A D is drawn by the projection DPP of X; then rows are drawn with replacement, in proportion to their leverage
    scores τ. They are weighted by the inverse of τ, which makes least squares much closer to that on all rows.

    Parameters
    ----------
    x : (n, d) float32 of rank r
    budget : number of rows to keep, 0 <= budget <= n; below r, the k-DPP
    rng : random generator

    Returns
    -------
    indices : (budget,) rows in the order they were first drawn
    weights : (budget,) float64, c r / (N τ) for a row that was drawn c times of N, so that a weighted sum over them
        estimates the sum over all rows; 1 if all rows are kept; all n / budget for a budget below r, where there is no
        least squares
    leverage : (n,) leverage scores

    Notes
    -----
    Guarantee: coefficients and weighted sums are unbiased for a budget of r and if all rows are kept. In between they
    are nearly unbiased: for pools of 8 and 12 rows no bias of the coefficients was found in 20,000 draws, and weighted
    sums were too low by up to 2 %. The published bounds are for a fixed N: with O(d log d + d / ε) draws, the squared
    error on all rows is within 1 + ε of the minimum, with high probability.

    Deviations: a row is kept once, however often it was drawn, and drawing ends just before a row that would exceed the
    budget, so N is random. (Ending with the last row itself favors rows of low leverage, and biased coefficients by up
    to 31 %.) The draws are not made one by one: in time, each row arrives by a Poisson process of rate τ / r. Rows with
    τ below 1e-12 are never drawn; if no others remain, they follow in pool order, with weight 0.

    Cost: that of ``volume_sampling``, and O(n log n).

    References
    ----------
    Dereziński, Warmuth & Hsu (2018), "Leveraged volume sampling for linear regression", arXiv:1802.06749; the two
    steps: the same (2018), "Correcting the bias in least squares regression with volume-rescaled sampling",
    arXiv:1810.02453. Nouy & Michel (2023), arXiv:2312.14057.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> indices, weights, _ = volume_rescaled_sampling(x, 2, np.random.default_rng(0))
    >>> sorted(weights.round(6).tolist())
    [1.0, 2.0]
    """
    n = len(x)
    with one_blas_thread():
        space = row_space(x, np.ones(n))
        leverage = squared_lengths(x, np.ones(n), space.whitening())
        dpp_rows = _draw_dpp(x, space, budget, rng)
    rank = len(space.eigenvalues)
    if budget < rank or not rank:
        indices = np.concatenate((dpp_rows, np.arange(budget - len(dpp_rows))))
        return indices, np.full(budget, n / budget if rank and budget else 0.0), leverage
    rate = leverage / rank
    first_arrival = np.divide(rng.exponential(size=n), rate, out=np.full(n, np.inf), where=leverage > _ZERO)
    first_arrival[dpp_rows] = 0
    arrivals = np.argsort(first_arrival, kind="stable")
    arrivals = np.concatenate((dpp_rows, arrivals[rank:]))
    indices, weights = arrivals[:budget], np.zeros(budget)
    n_reachable = int(np.isfinite(first_arrival).sum())
    if n_reachable <= budget:
        weights[:n_reachable] = 1
    else:
        end = first_arrival[arrivals[budget]] if budget > rank else 0.0
        counts = 1 + rng.poisson(rate[indices] * (end - first_arrival[indices]))
        weights[:] = counts * rank / (counts.sum() * leverage[indices])
    return indices, weights, leverage


def _draw_dpp(x: Matrix, space: RowSpace, budget: int, rng: np.random.Generator) -> Rows:
    """Draw as many rows as the rank, or as the budget if that is less, by the volume they span."""
    rank = len(space.eigenvalues)
    if not min(budget, rank):
        return np.empty(0, np.intp)
    eigenvectors = draw_eigenvectors(space.eigenvalues, budget, rng) if budget < rank else np.arange(rank)
    return projection_dpp(x, np.ones(len(x)), space.whitening()[:, eigenvectors], rng)[0]


@selector(
    version=2,
    scope="pool",
    reads={"embedding"},
    cost="O(n d²)",
    guarantee="unbiased least squares for at least d rows; nearly unbiased if rescaled",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSampling:
    """Draw rows on which a linear model of the embeddings has, in expectation, the coefficients of all rows.

    Use it to choose rows to label for a linear model on the embeddings, with a budget of up to a few times their
    dimension d. With larger budgets it is close to ``uniform`` unless ``rescaled``; for other losses than squared
    errors, see ``sensitivity``.

    The gain of a row is its leverage score. d rows are drawn by the volume they span; the others, by default,
    uniformly.

    References
    ----------
    Dereziński & Warmuth (2018), "Reverse iterative volume sampling for linear regression", arXiv:1806.01969.
    Dereziński, Warmuth & Hsu (2018), "Leveraged volume sampling for linear regression", arXiv:1802.06749.
    """

    rescaled: bool = False
    """Draw the rows beyond d by leverage score instead of uniformly, with training weights that correct for it: least
    squares are much closer to those on all rows, but no longer exactly unbiased."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        if self.rescaled:
            indices, weights, leverage = volume_rescaled_sampling(pool.embeddings, budget, rng)
            weight = weights.astype(np.float32)
        else:
            (indices, leverage), weight = volume_sampling(pool.embeddings, budget, rng), None
        return Selection(indices, leverage[indices].astype(np.float32), weight, reasons=("not drawn",))
