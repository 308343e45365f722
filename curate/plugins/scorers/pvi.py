"""Pointwise V-information: bits about the label that a model reads from a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.types import Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_LEAST = np.finfo(np.float32).tiny


def pointwise_v_information(dynamics: Dynamics, epoch: int) -> Vector:
    """Compute log₂ f(label | row) − log₂ f(label) of each row after an epoch; NaN for rows without a label.

    A model without input that is trained to convergence predicts the shares of the labels, so these are f(label).

    Parameters
    ----------
    dynamics : training dynamics of n rows
    epoch : number of the epoch from 1; the last one if there are fewer

    Returns
    -------
    (n,) float32, in bits; the mean over the runs. The mean over rows is the V-information of the rows

    Notes
    -----
    Cost: O(runs n classes) time and memory for one run.
    """
    labeled = np.flatnonzero(dynamics.labels >= 0)
    labels = dynamics.labels[labeled]
    counts = np.bincount(labels, minlength=dynamics.classes)
    bits = np.zeros(len(labeled))
    for run in range(dynamics.runs):
        probabilities = dynamics.probabilities(run, min(epoch, dynamics.epochs) - 1)[labeled]
        bits += np.log2(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), _LEAST))
    score = np.full(len(dynamics), np.nan, np.float32)
    if len(labeled):
        score[labeled] = bits / dynamics.runs - np.log2(counts[labels] / len(labeled))
    return score


@scorer(
    version=1,
    reads={"dynamics"},
    within="corpus",
    columns=(OutputColumn(higher_is_better=True, unit="bits", higher_means="tells more about its label"),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PVI:
    """Pointwise V-information: how many bits about its label a proxy reads from a row.

    Use it to find mislabeled rows, whose values are negative: the proxy expects the label less than without the row. To
    keep hard rows, invert it: ``quality: "-pvi"``.

    It is 0 if the row tells nothing about the label, and at most the surprise of the label without the row: rows of
    rare classes can have more bits. Its mean is the V-information, by which data sets can be compared. NaN for a row
    without a label.

    Notes
    -----
    Deviations: the model without input is not trained; its optimum, the shares of the labels, is known. The proxy has
    seen the row in training, where the paper takes held-out rows; an early epoch is closer to that. The mean over the
    runs of the proxy.

    References
    ----------
    Ethayarajh, Choi & Swayamdipta (2022), Understanding Dataset Difficulty with V-Usable Information, arXiv:2110.08420,
    definition 4.1.
    """

    epoch: Annotated[int, Ge(1)] = 2
    """Epoch of the proxy after which its probabilities are read; the last epoch, if it has fewer."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return pointwise_v_information(require(batch.dynamics), self.epoch)
