"""How wrong a model is about a row early in its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


def error_norm(probabilities: Matrix, labels: Codes) -> Vector:
    """The Euclidean distance between each row's probabilities and its label, one-hot.

    Parameters
    ----------
    probabilities : (n, classes) float32
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    (n,) float32 in [0, √2]

    Cost: O(n classes) time and memory.

    >>> round(float(error_norm(np.array([[0.7, 0.2, 0.1]], np.float32), np.array([1], np.int32))[0]), 5)
    1.06771
    """
    error = probabilities.copy()
    error[np.arange(len(labels)), labels] -= 1
    length: Vector = np.sqrt(np.einsum("ij,ij->i", error, error))
    return length


def el2n(dynamics: Dynamics, epochs: int) -> Vector:
    """The mean of ``error_norm`` over all runs and their first ``epochs`` epochs; NaN for rows without a label."""
    known = np.flatnonzero(dynamics.labels >= 0)
    first = min(epochs, dynamics.epochs)
    total = np.zeros(len(known), np.float64)
    for run in range(dynamics.runs):
        for epoch in range(first):
            total += error_norm(dynamics.probabilities(run, epoch)[known], dynamics.labels[known])
    score = np.full(len(dynamics), np.nan, np.float32)
    score[known] = np.minimum(total / (dynamics.runs * first), np.sqrt(2))
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
    """EL2N: how far a proxy's probabilities are from a row's label, on average over the first epochs and all runs.

    High for hard rows, and for rows with a wrong label. Higher counts as better, as in the paper, which keeps the
    hardest; that loses to a uniform sample when few rows are kept or labels are wrong. CCS takes it as strata instead,
    and cuts the wrong labels off by AUM. NaN for a row without a label.

    References
    ----------
    Paul, Ganguli & Dziugaite (2021), Deep Learning on a Data Diet, arXiv:2107.07075, definition 2.2.

    Deviations: the mean over the first epochs as well as over runs, where the paper takes one early epoch of ten runs;
    with ``epochs: 10`` it is a tenth of what the code of CCS sums up.
    """

    epochs: Annotated[int, Ge(1), Le(10_000)] = 10
    """How many epochs from the first on are averaged; all of them, where the proxy has fewer."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return el2n(require(batch.dynamics), self.epochs)
