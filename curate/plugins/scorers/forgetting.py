"""Forgetting events: predictions that become wrong again during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.types import Flags, Rows, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer


def count_forgetting(is_correct: Flags) -> Rows:
    """Count how often each row is wrong immediately after being right.

    Parameters
    ----------
    is_correct : (epochs, n) bool

    Returns
    -------
    (n,) counts, at most half the number of epochs

    Examples
    --------
    >>> count_forgetting(np.array([[True, False], [False, False], [True, True], [False, True]])).tolist()
    [2, 0]
    """
    events: Rows = np.count_nonzero(is_correct[:-1] & ~is_correct[1:], axis=0)
    return events


def forgetting(dynamics: Dynamics, never_learned: Literal["infinite", "most", "none"]) -> Vector:
    """Compute the mean of ``count_forgetting`` over the runs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows
    never_learned : see ``Forgetting``

    Returns
    -------
    (n,) float32

    Notes
    -----
    Cost: O(runs epochs n) time and memory.
    """
    correct = dynamics.statistic("correct")
    counts_of_never_learned = {"infinite": np.inf, "most": dynamics.epochs // 2 + 1, "none": 0}
    sums = np.zeros(len(dynamics))
    for is_correct in correct == 1:
        sums += np.where(is_correct.any(axis=0), count_forgetting(is_correct), counts_of_never_learned[never_learned])
    score: Vector = np.where(dynamics.labels >= 0, sums / dynamics.runs, np.nan).astype(np.float32)
    return score


@scorer(
    version=2,
    reads={"dynamics"},
    statistics=("correct",),
    min_epochs=2,
    columns=(
        OutputColumn(
            higher_is_better=True, unit="times forgotten", range=(0, float("inf")), higher_means="harder to learn"
        ),
    ),
    cost="O(n e) for e epochs of all runs",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """Forgetting events: number of epochs after which a proxy is wrong about a row it was right about.

    Use it as a difficulty score of models trained from scratch over many epochs. With a good proxy nearly all counts
    are 0; then log a fine-tuned model more often than once per epoch, or use ``el2n``.

    It is high for hard rows. Higher counts as better, as in the paper, which drops the rows that are never forgotten.
    NaN for a row without a label.

    Notes
    -----
    Deviations: the mean over the runs; all rows are evaluated after an epoch, not during it. The paper assigns an
    infinite count to rows that were never learned, which no selector can divide into strata: see ``never_learned``. A
    row starts as not learned, so its first correct epoch is no event.

    References
    ----------
    Toneva et al. (2019), An Empirical Study of Example Forgetting during Deep Neural Network Learning,
    arXiv:1812.05159, section 3.
    """

    never_learned: Literal["infinite", "most", "none"] = "most"
    """Count of a row that a run was never right about: ``infinite``, as in the paper, for filters and reports, since no
    selector takes infinite values; ``most``, one more than any other row can have, so that it comes first as in the
    paper and the score stays finite; or ``none``, 0, as in the code of CCS, where the hardest rows then count as
    easy."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return forgetting(require(batch.dynamics), self.never_learned)
