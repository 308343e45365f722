"""VoG: variance of the gradients of a row over training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer

_ROWS = 1024


def gradient_variance(gradients: Iterable[Matrix], statistic: Literal["std", "var"]) -> Numbers:
    """Compute how much the gradient of each row varies over checkpoints.

    Parameters
    ----------
    gradients : (n, d) float32 for each checkpoint
    statistic : "std" for the mean over coordinates of the standard deviation, "var" for that of the variance

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> checkpoints = [np.array([[value, 0]], np.float32) for value in (1, 2, 3)]
    >>> [float(gradient_variance(checkpoints, name).round(5)[0]) for name in ("std", "var")]
    [0.40825, 0.33333]
    """
    mean = squares = np.zeros(1)
    for count, gradient in enumerate(gradients, 1):
        difference = gradient - mean
        mean = mean + difference / count  # Welford: a sum of squares would lose the digits of small deviations
        squares = squares + difference * (gradient - mean)
    variance = squares / count
    result: Numbers = (np.sqrt(variance) if statistic == "std" else variance).mean(axis=1)
    return result


def normalize_by_class(values: Numbers, labels: Codes) -> Numbers:
    """Subtract the mean of each class, and divide by its standard deviation; 0 in a class of equal values.

    Parameters
    ----------
    values : (n,) float64
    labels : (n,) int32, at least 0

    Examples
    --------
    >>> normalize_by_class(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1], np.int32)).tolist()
    [-1.0, 1.0, 0.0]
    """
    counts = np.bincount(labels)
    mean = np.bincount(labels, values)[labels] / counts[labels]
    deviation = values - mean
    spread = np.sqrt(np.bincount(labels, deviation**2)[labels] / counts[labels])
    equal = spread <= 1e-6 * np.abs(mean)
    return np.where(equal, 0, deviation / np.where(equal, 1, spread))


def vog(dynamics: Dynamics, statistic: Literal["std", "var"], normalize: Literal["class", "pool", "none"]) -> Vector:
    """Compute the variance of gradients of each row, in the mean over the runs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows, with input gradients
    statistic, normalize : see ``VoG``

    Returns
    -------
    (n,) float32

    Notes
    -----
    Cost: O(runs epochs n) input gradients; O(d) memory for each of 1,024 rows a thread.
    """
    labeled = np.flatnonzero(dynamics.labels >= 0)
    score = np.full(len(dynamics), np.nan, np.float32)
    if not len(labeled):
        return score

    def block(rows: slice) -> Numbers:
        part = dynamics.take(labeled[rows])
        runs = [
            gradient_variance((part.input_gradients(run, epoch) for epoch in range(part.epochs)), statistic)
            for run in range(part.runs)
        ]
        mean: Numbers = np.mean(runs, axis=0)
        return mean

    values = np.concatenate(list(map_blocks(block, block_slices(len(labeled), _ROWS))))
    if normalize != "none":
        labels = dynamics.labels[labeled]
        values = normalize_by_class(values, labels if normalize == "class" else np.zeros_like(labels))
    score[labeled] = values
    return score


@scorer(
    version=1,
    reads={"dynamics", "input_gradients"},
    within="corpus",
    min_epochs=2,
    columns=(OutputColumn(higher_is_better=True, unit="standard deviations", higher_means="harder to learn"),),
    cost="O(n e h d) for e epochs of all runs and h hidden units",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class VoG:
    """VoG: how much the gradient of a row's logit varies between the epochs of a proxy.

    Use it to rank rows by difficulty with the proxy ``mlp``: rows whose gradient still changes late are hard, atypical
    or mislabeled. It needs no comparison with the label beyond the choice of the logit, so it finds other rows than
    ``el2n``.

    The gradient is that of the label's logit with respect to the embedding. Higher counts as better. NaN for a row
    without a label.

    Notes
    -----
    Deviations: the gradient with respect to the embedding in place of the pixels or word embeddings. The mean over the
    runs of the proxy.

    References
    ----------
    Agarwal, D'souza & Hooker (2022), Estimating Example Difficulty Using Variance of Gradients, arXiv:2008.11600,
    equations 2 to 4.
    """

    statistic: Literal["std", "var"] = "std"
    """Measure of the variation of each coordinate before their mean: the standard deviation, as in the paper, or the
    variance, as in later work on texts; they may rank rows differently."""

    normalize: Literal["class", "pool", "none"] = "class"
    """Rows by whose mean and standard deviation the values are normalized: those with the same label, as in the paper,
    or all."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return vog(require(batch.dynamics), self.statistic, self.normalize)
