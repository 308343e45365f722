"""Uniform sampling: the random baseline for every other selector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def uniform(n: int, budget: int, rng: np.random.Generator) -> Rows:
    """Draw ``budget`` of n rows without replacement, every subset and every order equally likely.

    Parameters
    ----------
    n : number of rows
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator

    Returns
    -------
    (budget,) rows; a smaller budget with the same rng gives a prefix

    Notes
    -----
    Cost: O(n) time and memory.

    Deviations: the complete pool is shuffled, not only the first ``budget`` positions, so that a larger budget keeps
    the rows of a smaller one.

    References
    ----------
    Fisher & Yates (1938), Statistical Tables, example 12; Knuth, The Art of Computer Programming, vol. 2,
    section 3.4.2, Alg. P.

    Examples
    --------
    >>> sorted(uniform(3, 3, np.random.default_rng(0)).tolist())
    [0, 1, 2]
    """
    return rng.permutation(n)[:budget].astype(np.intp, copy=False)


@selector(
    version=1,
    scope="merge",
    reads=frozenset(),
    prefix=True,
    cost="O(n)",
    guarantee="every set of rows equally likely",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Keep rows at random, each with the same probability.

    Use it as the baseline for every comparison, and to reduce a pool without changing its distribution. For training
    over several epochs, ``rs2`` draws a new sample for each.

    All gains are 0.

    References
    ----------
    Fisher & Yates (1938), Statistical Tables, example 12.
    """

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        return Selection(uniform(len(pool), budget, rng), np.zeros(budget, np.float32), reasons=("not drawn",))
