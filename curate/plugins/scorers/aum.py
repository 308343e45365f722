"""Area under the margin: preference of a model for the label of a row during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_LEAST = np.finfo(np.float32).tiny


def margin(probabilities: Matrix, labels: Codes) -> tuple[Vector, Vector]:
    """Return the probability of each row's label, and the highest of any other class.

    Parameters
    ----------
    probabilities : (n, classes) float32, at least two classes
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    label_probability, other_probability : (n,) float32 each

    Notes
    -----
    Cost: O(n classes) time and memory.

    Examples
    --------
    >>> own, other = margin(np.array([[0.7, 0.2, 0.1]], np.float32), np.array([1], np.int32))
    >>> own.tolist(), other.tolist()
    ([0.20000000298023224], [0.699999988079071])
    """
    rows = np.arange(len(labels))
    label_probability = probabilities[rows, labels]
    other_probabilities = probabilities.copy()
    other_probabilities[rows, labels] = -1
    return label_probability, other_probabilities.max(axis=1)


def aum(dynamics: Dynamics, margins: Literal["logits", "probabilities"]) -> Vector:
    """Compute the mean margin over all epochs of all runs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows
    margins : "logits" or "probabilities"

    Returns
    -------
    (n,) float32
    """
    labeled = np.flatnonzero(dynamics.labels >= 0)
    sums = np.zeros(len(labeled), np.float64)
    for run in range(dynamics.runs):
        for epoch in range(dynamics.epochs):
            label_probability, other_probability = margin(
                dynamics.probabilities(run, epoch)[labeled], dynamics.labels[labeled]
            )
            if margins == "logits":
                label_probability, other_probability = (
                    np.log(np.maximum(label_probability, _LEAST)),
                    np.log(np.maximum(other_probability, _LEAST)),
                )
            sums += label_probability - other_probability
    score = np.full(len(dynamics), np.nan, np.float32)
    score[labeled] = sums / (dynamics.runs * dynamics.epochs)
    return score


@scorer(
    version=1,
    reads={"dynamics"},
    columns=(OutputColumn(higher_is_better=True, unit="margin of the label", higher_means="the label fits better"),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AUM:
    """Area under the margin: mean preference of a proxy for a row's label over the other classes.

    Use it to find mislabeled rows: sort by it, or set ``cutoff_by: aum`` in ``ccs``. To rank rows by difficulty,
    ``el2n`` or ``forgetting`` are the usual scores.

    It is low for hard rows, lowest and negative for rows with a wrong label, and for rows of classes with only a
    handful of rows, which a proxy hardly learns. Higher counts as better. NaN for a row without a label.

    Notes
    -----
    Deviations: logits are computed from probabilities; they differ by a constant per row, so the margin is the same.
    Probabilities below 1e-38 are clipped to that. The mean is over runs as well.

    References
    ----------
    Pleiss, Zhang, Elenberg & Weinberger (2020), Identifying Mislabeled Data using the Area Under the Margin Ranking,
    arXiv:2001.10528, section 3.1. Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809.
    """

    margin: Literal["logits", "probabilities"] = "logits"
    """Basis of the margin: logits, as in the paper on AUM, or probabilities, as in the code of CCS, where it is at most
    1."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return aum(require(batch.dynamics), self.margin)
