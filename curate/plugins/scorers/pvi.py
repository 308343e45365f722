"""Pointwise V-information: bits about the label that a model reads from a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.types import Codes, Matrix, Numbers
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


def pointwise_v_information(loss: Numbers, labels: Codes) -> Matrix:
    """Compute log₂ f(label | row) − log₂ f(label) of each row, and its mean over the rows of each label.

    A model without input that is trained to convergence predicts the shares of the labels, so these are f(label).

    Parameters
    ----------
    loss : (n,) float64, −log f(label | row) in nats
    labels : (n,) int32; -1 for rows without a label

    Returns
    -------
    (n, 2) float32, in bits; NaN for rows without a label

    Examples
    --------
    >>> pointwise_v_information(-np.log([0.8, 0.8]), np.array([0, 1], np.int32))[0].round(5).tolist()
    [0.6780700087547302, 0.6780700087547302]
    """
    labeled = labels >= 0
    bits = np.full((len(labels), 2), np.nan)
    if labeled.any():
        codes = labels[labeled]
        counts = np.bincount(codes)
        bits[labeled, 0] = -loss[labeled] / np.log(2) - np.log2(counts[codes] / len(codes))
        sums = np.bincount(codes, bits[labeled, 0])
        bits[labeled, 1] = sums[codes] / counts[codes]
    return bits.astype(np.float32)


@scorer(
    version=2,
    reads={"dynamics"},
    within="corpus",
    statistics=("loss",),
    columns=(
        OutputColumn(higher_is_better=True, unit="bits", higher_means="tells more about its label", label_errors="low"),
        OutputColumn(name="label", higher_is_better=True, unit="bits", higher_means="its label is easier to predict"),
    ),
    cost="O(n e) for e epochs of all runs",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PVI:
    """Pointwise V-information: how many bits about its label a proxy reads from a row.

    Use it to find mislabeled rows, whose values are negative: the proxy expects the label less than without the row. To
    keep hard rows, invert it: ``quality: "-pvi"``.

    It is 0 if the row tells nothing about the label, and at most the surprise of the label without the row: rows of
    rare classes can have more bits. ``pvi_label`` is the mean over the rows of the same label, the V-information of
    that part of the pool, by which labels and data sets can be compared. NaN for a row without a label.

    Notes
    -----
    Deviations: the model without input is not trained; its optimum, the shares of the labels, is known. The proxy has
    seen the row in training, where the paper takes held-out rows; an early epoch is closer to that, and the score
    ``consistency`` has the loss of held-out rows. The mean over the runs of the proxy.

    References
    ----------
    Ethayarajh, Choi & Swayamdipta (2022), Understanding Dataset Difficulty with V-Usable Information, arXiv:2110.08420,
    definition 4.1.
    """

    epoch: Annotated[int, Ge(1)] = 2
    """Epoch of the proxy after which its probabilities are read; the last epoch, if it has fewer."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        dynamics = require(batch.dynamics)
        loss = dynamics.statistic("loss")[:, min(self.epoch, dynamics.epochs) - 1].mean(axis=0, dtype=np.float64)
        return pointwise_v_information(loss, dynamics.labels)
