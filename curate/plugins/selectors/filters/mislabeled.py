"""Mislabeled rows: the worst rows by the ranks of several scores are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, MinLen

from curate.kernels.stats.rank_ensemble import ranks_by_score, worst_first
from curate.kernels.stats.rounding import floor_count
from curate.kernels.types import Counts, Flags, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import OrientedScoreName, selector
from curate.plugins.results import Selection

_STEPS = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
"""Percentages to which reasons round a rank up."""


def mislabeled(
    qualities: Sequence[Vector], *, rate: float | None = None, rows: int | None = None, min_votes: int | None = None
) -> tuple[Rows, Numbers]:
    """Find the rows whose label is probably wrong, by the ranks of several scores.

    Parameters
    ----------
    qualities : k arrays (n,) float32, higher = the label fits better; NaN for rows without the score
    rate : number of rows as a share of those that have all scores, in [0, 1]; used if ``rows`` is None
    rows : number of rows
    min_votes : if not None, a row is found if at least that many scores rank it among so many worst rows; otherwise, if
        it is among the rows with the lowest mean rank

    Returns
    -------
    found : (m,) rows, worst first; never a row that lacks a score
    ranks : (k, n) float64, rank by each score, 1 = worst, equal values share their mean rank; NaN for unranked rows

    Notes
    -----
    Cost: O(k n log n) time, O(k n) memory.

    Examples
    --------
    >>> by_margin, by_neighbors = np.array([1, 2, 9, 8], np.float32), np.array([5, 1, 9, 2], np.float32)
    >>> mislabeled([by_margin, by_neighbors], rows=2)[0].tolist()
    [1, 0]
    >>> mislabeled([by_margin, by_neighbors], rows=2, min_votes=2)[0].tolist()
    [1]
    """
    ranks = ranks_by_score(qualities)
    order = worst_first(ranks)
    count = floor_count((rate or 0.0) * len(order)) if rows is None else min(rows, len(order))
    if min_votes is None:
        return order[:count], ranks
    with np.errstate(invalid="ignore"):
        votes = (ranks <= count).sum(axis=0)
    return order[votes[order] >= min_votes], ranks


@selector(
    version=1,
    scope="merge",
    reads={"scores"},
    budgeted=False,
    random=False,
    example={"by": ("prototypicality", "-length"), "drop_rate": 0.1},
    cost="O(n log n)",
    guarantee="exactly the rows of the lowest mean rank are dropped, or those with enough votes",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Mislabeled:
    """Drop the rows whose label is probably wrong, by the ranks of several scores.

    Use it to train on noisy labels without correcting them, with scores that look at a label from different sides, such
    as ``confident_learning``, ``aum`` and ``knn_disagreement``: the ensemble is close to the best of them, which is not
    known beforehand. Hard but correct rows score low as well: correct the labels if you can (section ``review``), and
    drop only as many rows as are wrong.

    Rows are ranked by each score, the worst first, in the direction in which the score is better; equal values share
    their mean rank. Rows that lack one of the scores, such as rows without a label, are kept.

    Reasons contain the rank by each score as a percentage of the ranked rows, rounded up to 0.1, 0.2, 0.5, 1, 2, 5, ….

    References
    ----------
    Mean ranks of several lists: Borda (1781), "Mémoire sur les élections au scrutin". Votes of several filters of wrong
    labels: Brodley & Friedl (1999), "Identifying mislabeled training data", doi:10.1613/jair.606.
    """

    by: Annotated[tuple[OrientedScoreName, ...], MinLen(1)]
    """Scores whose ranks are averaged. A "-" before a name inverts the score: "-el2n", as ``el2n`` counts hard rows,
    which may be mislabeled, as better."""

    drop_rate: Annotated[float, Ge(0), Le(1)] | None = None
    """Number of rows to drop, as a share of those that have all the scores; with ``min_votes``, the share of worst rows
    for which a score votes."""

    drop_rows: Annotated[int, Ge(0)] | None = None
    """Number of rows, in place of ``drop_rate``."""

    min_votes: Annotated[int, Ge(1)] | None = None
    """Number of scores that must rank a row among the worst; all for a consensus. null: the mean rank decides."""

    def __post_init__(self) -> None:
        if (self.drop_rate is None) == (self.drop_rows is None):
            raise ValueError("drop_rate: set either drop_rate or drop_rows")
        if len({name.removeprefix("-") for name in self.by}) < len(self.by):
            raise ValueError("by: a score is listed twice")
        if self.min_votes is not None and self.min_votes > len(self.by):
            raise ValueError(f"min_votes: there are only {len(self.by)} scores to vote; got {self.min_votes}")

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        qualities = [pool.oriented_score(name) for name in self.by]
        found, ranks = mislabeled(qualities, rate=self.drop_rate, rows=self.drop_rows, min_votes=self.min_votes)
        is_kept: Flags = np.ones(len(pool), np.bool_)
        is_kept[found] = False
        kept = np.flatnonzero(is_kept)
        reasons, reason = self._reasons(found, ranks)
        return Selection(kept, np.zeros(len(kept), np.float32), reasons=reasons, reason=reason)

    def _reasons(self, found: Rows, ranks: Numbers) -> tuple[tuple[str, ...], Counts]:
        """Return the different reasons, and the index of the reason of each row."""
        n_ranked = max(1, int(np.count_nonzero(~np.isnan(ranks[0]))))
        percentages = np.minimum(100 * ranks[:, found] / n_ranked, 100)
        steps, index = np.unique(np.searchsorted(_STEPS, percentages - 1e-9), axis=1, return_inverse=True)
        texts = [
            ", ".join(
                f"{_STEPS[step]:g} % by {name.removeprefix('-')}" for name, step in zip(self.by, column, strict=True)
            )
            for column in steps.T
        ]
        reason = np.zeros(ranks.shape[1], np.int64)
        reason[found] = index.ravel()
        return tuple(f"label probably wrong: in the worst {text}" for text in texts) or (
            "label probably wrong",
        ), reason
