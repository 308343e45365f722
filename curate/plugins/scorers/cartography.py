"""Dataset cartography: confidence, variability and correctness of a model on a row during training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer


def cartography(dynamics: Dynamics) -> Matrix:
    """Compute the statistics of the probability of each row's label over the epochs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows

    Returns
    -------
    (n, 3) float32: variability (standard deviation), confidence (mean) and correctness (share of the epochs in which
    the label has the highest probability), each the mean over the runs

    Notes
    -----
    Cost: O(runs epochs n) time and memory.
    """
    probability = np.exp(-dynamics.statistic("loss").astype(np.float64))
    parts = probability.std(axis=1), probability.mean(axis=1), dynamics.statistic("correct").mean(axis=1)
    score: Matrix = np.stack([part.mean(axis=0) for part in parts], axis=1).clip(0, [0.5, 1, 1]).astype(np.float32)
    return score


@scorer(
    version=2,
    reads={"dynamics"},
    statistics=("loss", "correct"),
    min_epochs=2,
    columns=(
        OutputColumn(higher_is_better=True, unit="standard deviation", range=(0, 0.5), higher_means="more ambiguous"),
        OutputColumn(
            name="confidence",
            higher_is_better=True,
            unit="probability of the label",
            range=(0, 1),
            higher_means="easier to learn",
            label_errors="low",
        ),
        OutputColumn(
            name="correctness",
            higher_is_better=True,
            unit="share of epochs",
            range=(0, 1),
            higher_means="learned earlier",
        ),
    ),
    cost="O(n e) for e epochs of all runs",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Cartography:
    """Dataset cartography: how much a proxy's probability of the label varies between epochs.

    Use it to keep ambiguous rows, whose probability varies most: in the paper, a third of the rows then trains as good
    a model as all rows. Rows of low ``confidence`` and low variability are hard to learn, and often mislabeled; rows of
    high confidence are easy.

    The score itself is the variability, the standard deviation over the epochs. ``cartography_confidence`` is the mean
    probability of the label, and ``cartography_correctness`` the share of the epochs in which the label is predicted.
    NaN for a row without a label.

    Notes
    -----
    Deviations: the mean over runs as well. The population standard deviation, as in the paper.

    References
    ----------
    Swayamdipta et al. (2020), Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics,
    arXiv:2009.10795, section 2, equations 1 and 2.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        return cartography(require(batch.dynamics))
