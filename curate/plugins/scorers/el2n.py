"""EL2N: error of a model on a row early in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer


def el2n(dynamics: Dynamics, epochs: int) -> Vector:
    """Compute the mean error of each row over all runs and first ``epochs`` epochs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows
    epochs : number of first epochs to average

    Returns
    -------
    (n,) float32 in [0, √2]
    """
    error = dynamics.statistic("error")[:, :epochs]
    score: Vector = np.minimum(error.mean(axis=(0, 1), dtype=np.float64), np.sqrt(2)).astype(np.float32)
    return score


@scorer(
    version=2,
    reads={"dynamics"},
    statistics=("error",),
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="mean length of the error vector",
            range=(0, 1.4142136),
            higher_means="harder, or mislabeled",
            label_errors="high",
        ),
    ),
    cost="O(n e) for e epochs of all runs",
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
