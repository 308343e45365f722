"""EL2N: error of a model on a row early in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


def error_norm(probabilities: Matrix, labels: Codes) -> Vector:
    """Compute the Euclidean distance between each row's probabilities and its one-hot label.

    Parameters
    ----------
    probabilities : (n, classes) float32
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    (n,) float32 in [0, √2]

    Notes
    -----
    Cost: O(n classes) time and memory.

    Examples
    --------
    >>> round(float(error_norm(np.array([[0.7, 0.2, 0.1]], np.float32), np.array([1], np.int32))[0]), 5)
    1.06771
    """
    error = probabilities.copy()
    error[np.arange(len(labels)), labels] -= 1
    length: Vector = np.sqrt(np.einsum("ij,ij->i", error, error))
    return length


def el2n(dynamics: Dynamics, epochs: int) -> Vector:
    """Compute the mean of ``error_norm`` over all runs and first ``epochs`` epochs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows
    epochs : number of first epochs to average

    Returns
    -------
    (n,) float32
    """
    labeled = np.flatnonzero(dynamics.labels >= 0)
    n_epochs = min(epochs, dynamics.epochs)
    sums = np.zeros(len(labeled), np.float64)
    for run in range(dynamics.runs):
        for epoch in range(n_epochs):
            sums += error_norm(dynamics.probabilities(run, epoch)[labeled], dynamics.labels[labeled])
    score = np.full(len(dynamics), np.nan, np.float32)
    score[labeled] = np.minimum(sums / (dynamics.runs * n_epochs), np.sqrt(2))
    return score


@scorer(
    version=1,
    reads={"dynamics"},
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="mean length of the error vector",
            range=(0, 1.4142136),
            higher_means="harder, or mislabeled",
        ),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class EL2N:
    """EL2N: mean error of a proxy on a row over its first epochs and all runs.

    Use it as a difficulty score: keep hard rows of clean data with ``top_k``, or sample all difficulties with ``ccs``.
    Keeping the hardest rows is worse than a random sample if few rows are kept or labels are wrong; then use ``ccs``
    with ``cutoff_by: aum``.

    It is high for hard rows, and for rows with a wrong label. Higher counts as better, as in the paper, which keeps the
    hardest. NaN for a row without a label.

    Notes
    -----
    Deviations: the mean over the first epochs as well as over runs; the paper takes one early epoch of ten runs. With
    ``epochs: 10`` it is a tenth of the sum in the code of CCS.

    References
    ----------
    Paul, Ganguli & Dziugaite (2021), Deep Learning on a Data Diet, arXiv:2107.07075, definition 2.2.
    """

    epochs: Annotated[int, Ge(1), Le(10_000)] = 10
    """Number of first epochs that are averaged; all of them if the proxy has fewer."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return el2n(require(batch.dynamics), self.epochs)
