"""Coverage-centric coreset selection: sample evenly over the strata of a difficulty score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, Lt

from curate.kernels.ragged import concatenate_ranges
from curate.kernels.stats.rounding import floor_count
from curate.kernels.types import Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import ScoreName, selector
from curate.plugins.results import Selection


def ccs(
    score: Vector,
    budget: int,
    rng: np.random.Generator,
    *,
    n_strata: int = 50,
    cutoff: Vector | None = None,
    cutoff_rate: float = 0.0,
) -> tuple[Rows, Rows]:
    """Stratified sampling over ``score``, after the rows most likely mislabelled have been cut off.

    The range of the score is divided into strata of equal width. Strata are visited by increasing population; each
    gets an equal part of what is left of the budget, or all its rows, if they are fewer. Rows of rare difficulty are
    so kept more often than common ones.

    Parameters
    ----------
    score : (n,) float32, finite
    budget : number of rows to keep, 0 <= budget <= n
    n_strata : number of strata
    cutoff : (n,) float32, finite; the rows of lowest value are cut off (the paper: AUM); read if cutoff_rate > 0
    cutoff_rate : share of the n rows that is cut off, in [0, 1)

    Returns
    -------
    order : (budget,) rows in random order, so that the first of them are a stratified sample too
    cut : rows that were cut off, lowest first

    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809, Alg. 1.

    Deviations: the last stratum contains its upper edge, and there is one stratum if all scores are equal, so that
    every row is in one. If fewer rows than the budget would survive the cutoff, it cuts off n − budget rows only.

    >>> score = np.array([0, 0, 0, 0, 9], np.float32)
    >>> 4 in ccs(score, 2, np.random.default_rng(0), n_strata=2)[0]
    True
    """
    n = len(score)
    cut = np.empty(0, np.intp)
    if cutoff is not None:
        cut = np.argsort(cutoff, kind="stable")[: min(floor_count(cutoff_rate * n), n - budget)]
    survives = np.ones(n, np.bool_)
    survives[cut] = False
    shuffled = rng.permutation(np.flatnonzero(survives))
    stratum = strata(score[shuffled], n_strata)
    population = np.bincount(stratum, minlength=n_strata)
    by_stratum = np.argsort(stratum, kind="stable")  # within a stratum still in random order
    place = concatenate_ranges(np.zeros_like(population), population)
    drawn = by_stratum[place < np.repeat(stratum_budgets(population, budget), population)]
    return shuffled[rng.permutation(drawn)], cut


def strata(score: Vector, n_strata: int) -> Rows:
    """The stratum 0 … n_strata − 1 of each score: equal widths from the lowest to the highest, both included.

    >>> strata(np.array([0, 4, 5, 10], np.float32), 2).tolist()
    [0, 0, 1, 1]
    """
    if not len(score) or score.min() == score.max():
        return np.zeros(len(score), np.intp)
    low, high = float(score.min()), float(score.max())
    position = (score.astype(np.float64) - low) / (high - low)
    return np.minimum((position * n_strata).astype(np.intp), n_strata - 1)


def stratum_budgets(population: Rows, budget: int) -> Rows:
    """How many rows each stratum gives; ties in population to the lowest index.

    >>> stratum_budgets(np.array([1, 5, 10, 2]), 10).tolist()
    [1, 3, 4, 2]
    """
    budgets = np.zeros_like(population)
    rest = budget
    for visited, stratum in enumerate(np.argsort(population, kind="stable")):
        budgets[stratum] = min(int(population[stratum]), rest // (len(population) - visited))
        rest -= int(budgets[stratum])
    return budgets


@selector(
    version=1,
    reads={"scores", "quality"},
    example={"by": "prototypicality"},
    cost="O(n log n)",
    guarantee="strata of rare scores are kept before common ones",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CCS:
    """Keep a sample spread evenly over the range of a score, optionally without the hardest rows. Gains are that score.

    References
    ----------
    Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809, Alg. 1.
    """

    by: ScoreName
    """The score whose range is divided into strata: how hard or important a row is."""

    n_strata: Annotated[int, Ge(1), Le(1_000_000)] = 50
    """Number of strata of equal width."""

    cutoff_rate: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the rows cut off as too hard or mislabelled; fewer are, if the budget could not be met without them."""

    cutoff_by: ScoreName | None = None
    """The rows worst by this score are cut off, in the paper by AUM; must be given if cutoff_rate is above 0."""

    diversity_weight: Annotated[float, Ge(0), Le(1)] = 1.0
    """1: CCS as published; 0: the rows of highest quality; between: this share of the budget by CCS, from the rows that
    are left when the other share of it was filled by quality."""

    def __post_init__(self) -> None:
        if self.cutoff_rate > 0 and self.cutoff_by is None:
            raise ValueError("cutoff_by: must name a score when cutoff_rate is above 0")

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        by_quality = np.argsort(-pool.quality, kind="stable")
        n_best = floor_count((1 - self.diversity_weight) * budget)
        best, rest = by_quality[:n_best], np.sort(by_quality[n_best:])
        score = pool.require_score(self.by, "ccs")
        cutoff = None
        if self.cutoff_by is not None:
            cutoff = pool.require_score(self.cutoff_by, "ccs", oriented=True)[rest]
        drawn, cut = ccs(
            score[rest],
            budget - n_best,
            rng,
            n_strata=self.n_strata,
            cutoff=cutoff,
            cutoff_rate=self.cutoff_rate,
        )
        order = np.concatenate((best, rest[drawn]))
        reason = np.zeros(len(pool), np.int16)
        reason[rest[cut]] = 1
        reasons = (f"not drawn in its stratum of {self.by}", f"cut off: among the worst by {self.cutoff_by}")
        return Selection(order, score[order], reasons=reasons, reason=reason)
