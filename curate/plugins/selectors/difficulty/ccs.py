"""Coverage-centric coreset selection (CCS): uniform samples from the strata of a difficulty score."""

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
    cutoff_score: Vector | None = None,
    cutoff_rate: float = 0.0,
) -> tuple[Rows, Rows]:
    """Sample strata of ``score`` after cutting off the rows that are most likely mislabeled.

    The range of the score is divided into strata of equal width. Strata are processed by increasing size; each gets an
    equal part of the remaining budget, or all its rows if it has fewer. So rows of rare difficulty are kept more often
    than common ones.

    Parameters
    ----------
    score : (n,) float32, finite
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator
    n_strata : number of strata
    cutoff_score : (n,) float32, finite; the rows of lowest value are cut off (the paper: AUM); read if cutoff_rate > 0
    cutoff_rate : share of the n rows to cut off, in [0, 1)

    Returns
    -------
    indices : (budget,) rows in random order, so that every prefix is a stratified sample
    cut_rows : rows that were cut off, lowest first

    Notes
    -----
    Cost: O(n log n) time, O(n) memory.

    Deviations: the last stratum contains its upper edge, and there is one stratum if all scores are equal, so that
    every row is in one. If fewer rows than the budget would remain after the cutoff, only n − budget rows are cut off.

    References
    ----------
    Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809, Alg. 1.

    Examples
    --------
    >>> score = np.array([0, 0, 0, 0, 9], np.float32)
    >>> 4 in ccs(score, 2, np.random.default_rng(0), n_strata=2)[0]
    True
    """
    n = len(score)
    cut_rows = np.empty(0, np.intp)
    if cutoff_score is not None:
        cut_rows = np.argsort(cutoff_score, kind="stable")[: min(floor_count(cutoff_rate * n), n - budget)]
    is_candidate = np.ones(n, np.bool_)
    is_candidate[cut_rows] = False
    shuffled = rng.permutation(np.flatnonzero(is_candidate))
    stratum_of_row = assign_strata(score[shuffled], n_strata)
    stratum_sizes = np.bincount(stratum_of_row, minlength=n_strata)
    by_stratum = np.argsort(stratum_of_row, kind="stable")  # within a stratum still in random order
    positions = concatenate_ranges(np.zeros_like(stratum_sizes), stratum_sizes)
    candidates = by_stratum[positions < np.repeat(stratum_budgets(stratum_sizes, budget), stratum_sizes)]
    return shuffled[rng.permutation(candidates)], cut_rows


def assign_strata(score: Vector, n_strata: int) -> Rows:
    """Return the stratum 0 … n_strata − 1 of each score, of equal width from the lowest to the highest score.

    Parameters
    ----------
    score : (n,) float32, finite
    n_strata : number of strata

    Returns
    -------
    (n,) row strata

    Examples
    --------
    >>> assign_strata(np.array([0, 4, 5, 10], np.float32), 2).tolist()
    [0, 0, 1, 1]
    """
    if not len(score) or score.min() == score.max():
        return np.zeros(len(score), np.intp)
    low, high = float(score.min()), float(score.max())
    position = (score.astype(np.float64) - low) / (high - low)
    return np.minimum((position * n_strata).astype(np.intp), n_strata - 1)


def stratum_budgets(stratum_sizes: Rows, budget: int) -> Rows:
    """Compute the number of rows to draw from each stratum; ties in size to the lowest index.

    Parameters
    ----------
    stratum_sizes : (s,) number of rows in each stratum
    budget : number of rows to draw in total

    Returns
    -------
    (s,) number of rows to draw

    Examples
    --------
    >>> stratum_budgets(np.array([1, 5, 10, 2]), 10).tolist()
    [1, 3, 4, 2]
    """
    budgets = np.zeros_like(stratum_sizes)
    remaining = budget
    for n_visited, stratum in enumerate(np.argsort(stratum_sizes, kind="stable")):
        budgets[stratum] = min(int(stratum_sizes[stratum]), remaining // (len(stratum_sizes) - n_visited))
        remaining -= int(budgets[stratum])
    return budgets


@selector(
    version=1,
    scope="merge",
    reads={"scores", "quality"},
    example={"by": "prototypicality"},
    cost="O(n log n)",
    guarantee="rare scores are kept at a higher rate than common ones",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CCS:
    """Keep a sample spread evenly over the range of a score, optionally without the hardest rows.

    Use it at low keep rates, where keeping only hard rows (``top_k`` by a difficulty score) loses to a random sample:
    it covers easy and hard rows alike. Set ``cutoff_by: aum`` to exclude rows that are likely mislabeled.

    Gains are the score.

    References
    ----------
    Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809, Alg. 1.
    """

    by: ScoreName
    """Score whose range is divided into strata: difficulty or importance of a row."""

    n_strata: Annotated[int, Ge(1), Le(1_000_000)] = 50
    """Number of strata of equal width."""

    cutoff_rate: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of rows cut off as too hard or mislabeled; fewer are cut off if the budget could not be met otherwise."""

    cutoff_by: ScoreName | None = None
    """Score by which the worst rows are cut off, AUM in the paper; required if cutoff_rate is above 0."""

    diversity_weight: Annotated[float, Ge(0), Le(1)] = 1.0
    """1: CCS as published; 0: the rows of highest quality; in between: this share of the budget by CCS, from the rows
    that remain after the other share was filled by quality."""

    def __post_init__(self) -> None:
        if self.cutoff_rate > 0 and self.cutoff_by is None:
            raise ValueError("cutoff_by: must be a score if cutoff_rate is above 0")

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        by_quality = np.argsort(-pool.quality, kind="stable")
        n_best = floor_count((1 - self.diversity_weight) * budget)
        best_rows, other_rows = by_quality[:n_best], np.sort(by_quality[n_best:])
        score = pool.require_score(self.by, "ccs")
        cutoff_score = None
        if self.cutoff_by is not None:
            cutoff_score = pool.require_score(self.cutoff_by, "ccs", oriented=True)[other_rows]
        candidates, cut_rows = ccs(
            score[other_rows],
            budget - n_best,
            rng,
            n_strata=self.n_strata,
            cutoff_score=cutoff_score,
            cutoff_rate=self.cutoff_rate,
        )
        indices = np.concatenate((best_rows, other_rows[candidates]))
        reason = np.zeros(len(pool), np.int16)
        reason[other_rows[cut_rows]] = 1
        reasons = (f"not drawn in its stratum of {self.by}", f"cut off: among the worst rows by {self.cutoff_by}")
        return Selection(indices, score[indices], reasons=reasons, reason=reason)
