"""Bradley–Terry model: strengths of items from the outcomes of comparisons of pairs."""

from __future__ import annotations

import numpy as np
from scipy import optimize, sparse

from curate.kernels.types import Numbers, Rows


def fit_bradley_terry(first: Rows, second: Rows, wins: Numbers, n: int, prior_precision: float = 0.1) -> Numbers:
    """Estimate the strength of each item by the maximum of the posterior.

    Parameters
    ----------
    first, second : (m,) items of each comparison
    wins : (m,) share of the outcomes in which the first item won, in [0, 1]; a probability counts as a share
    n : number of items
    prior_precision : precision of the normal prior of the strengths, > 0

    Returns
    -------
    (n,) float64; the item a wins over b with probability 1 / (1 + exp(b's strength − a's)); 0 for an item in no
    comparison

    Notes
    -----
    The prior makes the estimate unique if the comparisons do not connect all items, or an item always wins. Its mean is
    0 among the items of each connected part, as the gradient of the likelihood sums to 0 there.

    Cost: O(m) for each of a few iterations of L-BFGS.

    References
    ----------
    Bradley & Terry (1952), doi:10.2307/2334029.

    Examples
    --------
    >>> strengths = fit_bradley_terry(np.array([0, 1]), np.array([1, 2]), np.array([1.0, 0.5]), 3)
    >>> bool(strengths[0] > strengths[1]), bool(abs(strengths.sum()) < 1e-6)
    (True, True)
    """
    m = len(first)
    if m == 0:
        return np.zeros(n)
    ends = np.concatenate([first, second])
    signs = np.concatenate([np.ones(m), -np.ones(m)])
    incidence = sparse.csr_matrix((signs, (np.tile(np.arange(m), 2), ends)), shape=(m, n))

    def negative_log_posterior(strengths: Numbers) -> tuple[float, Numbers]:
        margin = incidence @ strengths
        likelihood = wins * np.logaddexp(0, -margin) + (1 - wins) * np.logaddexp(0, margin)
        residual = 1 / (1 + np.exp(-margin)) - wins
        value = likelihood.sum() + prior_precision / 2 * float(strengths @ strengths)
        return value, incidence.T @ residual + prior_precision * strengths

    found = optimize.minimize(
        negative_log_posterior, np.zeros(n), jac=True, method="L-BFGS-B", options={"maxiter": 1_000, "ftol": 1e-12}
    )
    strengths: Numbers = found.x
    return strengths
