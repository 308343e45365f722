"""How often a model that was right about a row is wrong about it again, while it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.types import Flags, Rows, Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


def forgotten(right: Flags) -> Rows:
    """How often each row is wrong straight after it was right.

    Parameters
    ----------
    right : (epochs, n) bool

    Returns
    -------
    (n,) at most half the number of epochs

    >>> forgotten(np.array([[True, False], [False, False], [True, True], [False, True]])).tolist()
    [2, 0]
    """
    events: Rows = np.count_nonzero(right[:-1] & ~right[1:], axis=0)
    return events


def forgetting(dynamics: Dynamics, never_learned: Literal["most", "none"]) -> Vector:
    """The mean of ``forgotten`` over the runs; NaN for rows without a label.

    Cost: O(runs epochs n classes) time; O(n (classes + epochs)) memory.
    """
    known = np.flatnonzero(dynamics.labels >= 0)
    labels = dynamics.labels[known]
    total = np.zeros(len(known), np.float64)
    for run in range(dynamics.runs):
        each = (dynamics.probabilities(run, epoch)[known] for epoch in range(dynamics.epochs))
        right = np.array([probabilities.argmax(axis=1) == labels for probabilities in each])
        total += forgotten(right)
        if never_learned == "most":
            total[~right.any(axis=0)] += dynamics.epochs // 2 + 1
    score = np.full(len(dynamics), np.nan, np.float32)
    score[known] = total / dynamics.runs
    return score


@scorer(
    version=1,
    reads={"dynamics"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="times forgotten", range=(0, float("inf")), higher_means="harder to learn"
        ),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """Forgetting events: how often a proxy is right about a row after one epoch and wrong after the next.

    High for hard rows. Higher counts as better, as in the paper, which drops the rows that are never forgotten. Nearly
    all counts are 0 where the proxy is good: of a model that is fine-tuned, log more often than once an epoch. NaN for
    a row without a label.

    References
    ----------
    Toneva et al. (2019), An Empirical Study of Example Forgetting during Deep Neural Network Learning,
    arXiv:1812.05159, section 3.

    Deviations: a mean over the runs; all rows are judged after an epoch, not while it goes on. The paper gives a row
    that was never learnt an infinite count, which no selector can divide into strata: see ``never_learned``.
    """

    never_learned: Literal["most", "none"] = "most"
    """What a row counts that a run was never right about: one more than any row can, so that it comes first as in the
    paper and the score stays finite; or none, as in the code of CCS, where the hardest rows then count as easy."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return forgetting(require(batch.dynamics), self.never_learned)
