"""Self-influence: effect of a row on its own loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from curate.errors import PluginError
from curate.kernels.influence.inverse_hessian import self_products_by_kronecker, self_products_exactly
from curate.kernels.influence.softmax_layer import (
    SoftmaxLayer,
    mean_hessian_eigenvalue,
    mean_squared_error,
    mean_squared_input,
    squared_gradient_norms,
)
from curate.kernels.types import Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.trained_layers import pool_layers


@scorer(
    version=1,
    reads={"dynamics", "features"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=False,
            unit="fall of the loss of the row itself",
            range=(0, float("inf")),
            higher_means="learned from itself only",
            label_errors="high",
        ),
    ),
    cost="O(n e) for e epochs of all runs, or O(n f (f + c)) with the inverse of the Hessian",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SelfInfluence:
    """Self-influence: decrease of a row's own loss by the steps on it, to first order.

    Use it to find mislabeled and atypical rows: the model learns them from themselves, while the loss of a typical row
    falls because of similar rows. Lower counts as better. With ``logistic`` on unit vectors, "tracin" ranks rows by the
    squared errors of all epochs; with ``mlp``, the length of a row's features counts as well.

    By "tracin" it is the sum over all epochs of the learning rate times the squared norm of the gradient, averaged over
    the runs of the proxy. By the influence function it is ∇L(row)ᵀ (H + λI)⁻¹ ∇L(row) after one epoch. It is 0 for a
    row that is predicted with certainty. NaN for a row without a label.

    Notes
    -----
    Cost, for n rows, f features and C classes: O(n (f + C)) time for each epoch by "tracin"; O(n (f² + C²) + f³ + C³)
    by "kronecker"; O(n (C f)² + (C f)³) by "exact". Memory: the features and probabilities of all rows.

    Deviations: gradients of the last layer, with its bias; the checkpoints are the ends of all epochs. Momentum is not
    counted. For a log, the norms of its column ``gradient`` if it has one, otherwise those of a layer on the
    embeddings, without a bias.

    References
    ----------
    Pruthi, Liu, Kale & Sundararajan (2020), "Estimating training data influence by tracing gradient descent", NeurIPS,
    arXiv:2002.08484, section 4.1. Koh & Liang (2017), "Understanding black-box predictions via influence functions",
    ICML, section 5.4.
    """

    method: Literal["tracin", "kronecker", "exact"] = "tracin"
    """Definition: "tracin" sums over the training; "kronecker" and "exact" are the influence function, with Kronecker
    factors or with a dense Hessian of at most 10,000 weights."""

    learning_rate: Annotated[float, Gt(0)] | None = None
    """Learning rate of all epochs for "tracin". null: that of the proxy, and 1 for a log."""

    epoch: Annotated[int, Ge(1)] | None = None
    """Epoch of the proxy for "kronecker" and "exact"; null, or more than it has: the last."""

    damping: Annotated[float, Gt(0)] = 0.1
    """λ for "kronecker" and "exact", in units of the mean eigenvalue of the Hessian, or of the matrix in its place."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        dynamics = require(batch.dynamics)
        if self.method == "tracin":
            return squared_norms_of_training(dynamics, self.learning_rate or dynamics.learning_rate)
        layers = pool_layers(dynamics)
        epoch = min(self.epoch or layers.epochs, layers.epochs) - 1
        score = np.full(len(dynamics), np.nan, np.float32)
        if len(layers.rows):
            values = [self._measure(layers.training(run, epoch)) for run in range(layers.runs)]
            score[layers.rows] = np.mean(values, axis=0)
        return score

    def _measure(self, layer: SoftmaxLayer) -> Numbers:
        """Return gᵀ(H + λI)⁻¹g for the gradient g of each row."""
        norms = squared_gradient_norms(layer)
        if not norms.any():
            return norms
        n_weights = layer.shape[0] * layer.shape[1]
        if self.method == "kronecker":
            mean_eigenvalue = mean_squared_error(layer) * mean_squared_input(layer) / n_weights
            return self_products_by_kronecker(layer, self.damping * mean_eigenvalue)
        mean_eigenvalue = mean_hessian_eigenvalue(layer)
        if not mean_eigenvalue:
            raise PluginError(
                "self_influence: the Hessian is zero, because the proxy predicts every row with certainty",
                hint="use an earlier epoch, or method: kronecker",
            )
        return self_products_exactly(layer, self.damping * mean_eigenvalue)


def squared_norms_of_training(dynamics: Dynamics, learning_rate: float) -> Vector:
    """Compute Σ η ‖∇L(row)‖² over all epochs, averaged over the runs.

    Parameters
    ----------
    dynamics : training dynamics of n rows
    learning_rate : η

    Returns
    -------
    (n,) float32, NaN for rows without a label
    """
    if "gradient" in dynamics.statistics:
        squared = np.square(dynamics.statistic("gradient").astype(np.float64))
        total = squared.sum(axis=(0, 1))
    else:
        layers = pool_layers(dynamics)
        total = np.full(len(dynamics), np.nan)
        total[layers.rows] = 0
        steps = [(run, epoch) for run in range(layers.runs) for epoch in range(layers.epochs)]
        for step in steps if len(layers.rows) else ():
            total[layers.rows] += squared_gradient_norms(layers.training(*step))
    score: Vector = (learning_rate * total / dynamics.runs).astype(np.float32)
    return score
