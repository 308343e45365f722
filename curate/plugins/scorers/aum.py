"""By how much a model prefers a row's label to every other class, while it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_LEAST = np.finfo(np.float32).tiny


def margin(probabilities: Matrix, labels: Codes) -> tuple[Vector, Vector]:
    """The probability of each row's label, and the highest of any other class.

    Parameters
    ----------
    probabilities : (n, classes) float32, at least two classes
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    own, other : (n,) float32 each

    Cost: O(n classes) time and memory.

    >>> own, other = margin(np.array([[0.7, 0.2, 0.1]], np.float32), np.array([1], np.int32))
    >>> own.tolist(), other.tolist()
    ([0.20000000298023224], [0.699999988079071])
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1
    return own, others.max(axis=1)


def aum(dynamics: Dynamics, margins: Literal["logits", "probabilities"]) -> Vector:
    """The mean margin over all epochs of all runs; NaN for rows without a label."""
    known = np.flatnonzero(dynamics.labels >= 0)
    total = np.zeros(len(known), np.float64)
    for run in range(dynamics.runs):
        for epoch in range(dynamics.epochs):
            own, other = margin(dynamics.probabilities(run, epoch)[known], dynamics.labels[known])
            if margins == "logits":
                own, other = np.log(np.maximum(own, _LEAST)), np.log(np.maximum(other, _LEAST))
            total += own - other
    score = np.full(len(dynamics), np.nan, np.float32)
    score[known] = total / (dynamics.runs * dynamics.epochs)
    return score


@scorer(
    version=1,
    reads={"dynamics"},
    columns=(OutputColumn(higher_is_better=True, unit="margin of the label", higher_means="the label fits better"),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AUM:
    """Area under the margin: by how much a proxy prefers a row's label to any other class, on average over epochs.

    Low for hard rows, lowest and negative for rows with a wrong label, and for those of a class with a handful of rows,
    which a proxy hardly learns. Higher counts as better, so that ``cutoff_by: aum`` of CCS cuts off what is likely
    mislabelled. NaN for a row without a label.

    References
    ----------
    Pleiss, Zhang, Elenberg & Weinberger (2020), Identifying Mislabeled Data using the Area Under the Margin Ranking,
    arXiv:2001.10528, section 3.1. Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809.

    Deviations: logits are told from probabilities, of which they differ by a constant a row, so that the margin is the
    same; a probability below 1e-38 counts as that. Means over runs too.
    """

    margin: Literal["logits", "probabilities"] = "logits"
    """Of what: logits, as in the paper on AUM, or probabilities, as in the code of CCS, where it is at most 1."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return aum(require(batch.dynamics), self.margin)
