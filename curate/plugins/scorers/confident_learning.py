"""Confident learning: how well held-out predictions support the label of a row, and which labels are errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.stats.confident_joint import ErrorFilter, find_label_errors, normalized_margin, self_confidence
from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import HeldOut
from curate.plugins.interfaces import OutputColumn, scorer

RankBy = Literal["self_confidence", "normalized_margin"]
"""Quality of a label; see ``ConfidentLearning``."""


def confident_learning(held_out: HeldOut, rank_by: RankBy, filter_by: ErrorFilter) -> Matrix:
    """Compute the quality of the label of each row, and whether the label is an error.

    Parameters
    ----------
    held_out : held-out predictions of n rows; the mean over the runs is used
    rank_by : quality of a label
    filter_by : way to find errors; see ``find_label_errors``

    Returns
    -------
    (n, 2) float32: quality, and 1 for errors and 0 for others; NaN for rows without a label

    Notes
    -----
    Cost: O((runs + 1) n classes) time; memory for two matrices of n classes numbers.
    """
    labeled = np.flatnonzero(held_out.labels >= 0)
    labels = held_out.labels[labeled]
    mean = np.zeros((len(labeled), held_out.classes), np.float32)
    for run in range(held_out.runs):
        mean += held_out.probabilities(run)[labeled]
    mean /= np.float32(held_out.runs)
    measure = self_confidence if rank_by == "self_confidence" else normalized_margin
    score = np.full((len(held_out), 2), np.nan, np.float32)
    score[labeled, 0] = np.clip(measure(mean, labels), 0, 1)
    score[labeled, 1] = find_label_errors(mean, labels, filter_by)
    return score


@scorer(
    version=1,
    reads={"held_out"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="probability of the label",
            range=(0, 1),
            higher_means="the label fits better",
            label_errors="low",
        ),
        OutputColumn(
            name="error",
            higher_is_better=False,
            unit="1 for label errors",
            range=(0, 1),
            higher_means="a label error",
        ),
    ),
    cost="O(n c) for c classes, after five trainings on four fifths of the rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidentLearning:
    """Confident learning: which labels are errors, by predictions of proxies that were not trained on the row.

    Use it to find wrong labels and to estimate their number: ``confident_learning_error`` is 1 for rows whose label is
    an error, as many as the joint distribution of given and true labels suggests. The score itself ranks all rows: the
    lowest are most likely wrong. The better the proxy, the fewer correct labels it questions.

    A row belongs to a class with confidence if its probability of the class is at least the mean over the rows with
    this label. So the thresholds adapt to classes of which the proxy is less sure, and to classes with many errors.
    NaN for a row without a label.

    Notes
    -----
    Deviations: the mean of the predictions over the runs of the proxy; see ``find_label_errors`` for ties. Options and
    their defaults are those of the authors' library, cleanlab.

    References
    ----------
    Northcutt, Jiang & Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, arXiv:1911.00068.
    """

    filter_by: ErrorFilter = "prune_by_noise_rate"
    """Rows that are errors: for each pair of a given and another label as many as are estimated, those with the largest
    margin of the other label (prune_by_noise_rate); for each given label as many as are estimated, those with the
    lowest probability of the label (prune_by_class); rows that both find (both); or all rows that confidently belong to
    another class (confident_joint)."""

    rank_by: RankBy = "self_confidence"
    """Score of a row: the probability of its label (self_confidence); or half of one plus the margin of this
    probability over the largest of any other class (normalized_margin), which is below 0.5 if another class is more
    probable."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        return confident_learning(require(batch.held_out), self.rank_by, self.filter_by)
