"""Memorization and out-of-bag values: what models predict for a row that they have seen, or have not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.types import Advance, Flags, Numbers, Rows, Vector

Evaluate = Callable[[Rows, Rows, np.random.Generator], Vector]
"""Train on the first rows (with repetitions), and return for each of the second rows how well it is predicted."""


@dataclass(slots=True)
class _Moments:
    """Counts, sums and sums of squares of n rows."""

    n: int
    counts: Numbers = field(init=False)
    sums: Numbers = field(init=False)
    squares: Numbers = field(init=False)

    def __post_init__(self) -> None:
        self.counts, self.sums, self.squares = np.zeros((3, self.n))

    def add(self, rows: Rows | Flags, values: Vector) -> None:
        self.counts[rows] += 1
        self.sums[rows] += values
        self.squares[rows] += np.square(values, dtype=np.float64)

    @property
    def means(self) -> Numbers:
        """Mean of each row; NaN for rows without a value."""
        return np.where(self.counts > 0, self.sums / np.maximum(self.counts, 1), np.nan)

    @property
    def squared_errors(self) -> Numbers:
        """Squared standard error of each mean; that of a fair coin for rows with one value."""
        counts = np.maximum(self.counts, 1)
        spread = np.maximum(self.squares / counts - (self.sums / counts) ** 2, 0)
        variance = np.where(self.counts > 1, spread * counts / np.maximum(counts - 1, 1), 0.25)
        return np.where(self.counts > 0, variance / counts, np.nan)


def memorization(
    n: int,
    evaluate: Evaluate,
    *,
    share: float,
    subsets: int,
    rng: np.random.Generator,
    advance: Advance | None = None,
) -> tuple[Numbers, Numbers]:
    """Estimate how much better each row is predicted by models that were trained on it than by others.

    Parameters
    ----------
    n : number of rows
    evaluate : trains on some rows, and returns for all n rows how well they are predicted; called from several threads
    share : share of the rows in a subset, in (0, 1)
    subsets : number of random subsets that a model is trained on
    rng : random generator
    advance : receives the progress

    Returns
    -------
    values : (n,) float64 difference of the mean over the subsets with the row and without it; NaN for a row that is in
        all subsets, or in none
    errors : (n,) float64 standard errors

    Notes
    -----
    Cost: one training on share n rows, and a prediction of all rows, for each subset; O(n) memory.

    Deviations: the rows that are left out are consecutive parts of random permutations, so that all rows are left out
    about equally often. Each subset is uniformly random, as in the paper, but subsets of one permutation depend on each
    other, which does not bias the estimates.

    References
    ----------
    Feldman & Zhang (2020), What Neural Networks Memorize and Why: Discovering the Long Tail via Influence Estimation,
    arXiv:2008.03703, section 2 and algorithm 1.
    """
    left_out = n - min(max(round(share * n), 1), max(n - 1, 1))

    def of_subset(sample: tuple[Rows, np.random.Generator]) -> tuple[Flags, Vector]:
        outside, own_rng = sample
        inside = np.ones(n, np.bool_)
        inside[outside] = False
        return inside, evaluate(np.flatnonzero(inside), np.arange(n), own_rng)

    seen, unseen = _Moments(n), _Moments(n)
    samples = ((part, rng.spawn(1)[0]) for part in _parts(n, left_out, subsets, rng))
    for inside, values in map_blocks(of_subset, samples):
        seen.add(inside, values[inside])
        unseen.add(~inside, values[~inside])
        if advance is not None:
            advance(1 / subsets)
    return seen.means - unseen.means, np.sqrt(seen.squared_errors + unseen.squared_errors)


def _parts(n: int, size: int, number: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield disjoint parts of random permutations of n rows."""
    start = n
    permutation = np.zeros(0, np.intp)
    for _ in range(number):
        if start + size > n:
            permutation, start = rng.permutation(n), 0
        yield permutation[start : start + size]
        start += size


def out_of_bag(
    n: int, evaluate: Evaluate, *, bags: int, rng: np.random.Generator, advance: Advance | None = None
) -> tuple[Numbers, Numbers]:
    """Estimate how well each row is predicted by models that were trained on bootstrap samples without it.

    Parameters
    ----------
    n : number of rows
    evaluate : trains on a bag of rows, some of them several times, and returns for the rows outside how well they are
        predicted; called from several threads
    bags : number of bootstrap samples of n rows
    rng : random generator
    advance : receives the progress

    Returns
    -------
    values : (n,) float64 mean over the bags without the row; NaN for a row that is in all bags
    errors : (n,) float64 standard errors

    Notes
    -----
    Cost: one training on n rows for each bag; O(n) memory.

    References
    ----------
    Kwon & Zou (2023), Data-OOB: Out-of-bag Estimate as a Simple and Efficient Data Value, arXiv:2304.07718.
    """

    def of_bag(own_rng: np.random.Generator) -> tuple[Rows, Vector]:
        bag = np.sort(own_rng.integers(n, size=n))
        inside = np.zeros(n, np.bool_)
        inside[bag] = True
        outside = np.flatnonzero(~inside)
        return outside, evaluate(bag, outside, own_rng) if len(outside) else np.zeros(0, np.float32)

    unseen = _Moments(n)
    for outside, values in map_blocks(of_bag, (rng.spawn(1)[0] for _ in range(bags))):
        unseen.add(outside, values)
        if advance is not None:
            advance(1 / bags)
    return unseen.means, np.sqrt(unseen.squared_errors)
