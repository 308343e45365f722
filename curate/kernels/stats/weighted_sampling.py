"""Weighted sampling without replacement, with weights given by their logarithms."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Numbers, Rows


def draw_rows(log_weights: Numbers, budget: int, rng: np.random.Generator) -> Rows:
    """Draw rows without replacement, each in proportion to its weight among the remaining rows.

    Parameters
    ----------
    log_weights : (n,) float64
        Natural logarithms of the weights, finite; a constant added to all has no effect.
    budget : int
        Number of rows to draw, 0 <= budget <= n.
    rng : Generator
        Source of the noise.

    Returns
    -------
    (budget,) rows in the order in which they are drawn; a smaller budget with the same rng gives a prefix

    Notes
    -----
    Cost: O(n log n) time, O(n) memory. Gumbel noise is added to the logarithms, and the largest sums are kept. No
    weight overflows, and a negligible weight is still drawn, last.

    References
    ----------
    Efraimidis & Spirakis (2006), doi:10.1016/j.ipl.2005.11.003; Kool, van Hoof & Welling (2019), arXiv:1903.06059.

    Examples
    --------
    >>> draw_rows(np.array([0.0, 0.0, 50.0]), 1, np.random.default_rng(0)).tolist()
    [2]
    """
    keys = log_weights + rng.gumbel(size=len(log_weights))
    return np.argsort(-keys, kind="stable")[:budget]
