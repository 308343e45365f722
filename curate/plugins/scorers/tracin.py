"""TracIn: inner products of the gradients of a row and of target rows, summed over training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, MinLen

from curate.kernels.influence.softmax_layer import gradient_products, mean_gradient
from curate.kernels.types import Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ConfigReference, OutputColumn, scorer
from curate.plugins.trained_layers import Reference, TrainedLayers, mean_over_trainings, sum_over_groups


@scorer(
    version=1,
    reads={"dynamics", "features", "group"},
    optional={"target", "learner"},
    statistics=("error",),  # logs of probabilities have it
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True, unit="fall of the mean loss, per step on the row", higher_means="teaches more"
        ),
    ),
    cost="O(n f c) for f features, c classes and each epoch, and five trainings unless `reference` is set",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TracIn:
    """TracIn: decrease of a mean loss by the steps on a row during training, to first order; or on a group of rows.

    Use it to find rows that teach a model what a task requires (with a section ``target``), or what most rows require.
    It needs no Hessian, and covers all of the training, where ``influence`` looks at one epoch. If the reference rows
    have many labels, their gradients cancel, and rows that are learned late count most: use ``self_influence`` to find
    mislabeled rows.

    It is the sum over all epochs of the learning rate times the inner product of the gradients of the row's loss and of
    the mean loss of the reference rows, averaged over the runs of the proxy. It is negative for rows whose label pulls
    in the opposite direction. NaN for a row without a label.

    Notes
    -----
    Cost: O(n f C) time for each epoch of n rows, f features and C classes; memory of the features and probabilities of
    all rows.

    Deviations: gradients of the last layer, with its bias (for a log, of a layer on the embeddings, without a bias);
    the checkpoints are the ends of all epochs. Momentum, which multiplies all steps by about the same factor, is not
    counted. With the pool as reference, the proxy was trained on the rows whose loss is measured.

    References
    ----------
    Pruthi, Liu, Kale & Sundararajan (2020), "Estimating training data influence by tracing gradient descent", NeurIPS,
    arXiv:2002.08484, equation 1 (TracInCP).
    """

    reference: Reference | None = None
    """Rows whose mean loss should fall: "target" (the section ``target``), "held_out" (each fifth of the pool, in turn,
    for a proxy that is trained on the rest, so that five proxies are trained), or "pool" (all labeled rows). null:
    "target" with a section ``target``, else "held_out", or "pool" for a log."""

    learning_rate: Annotated[float, Gt(0)] | None = None
    """Learning rate of all epochs. null: that of the proxy, and 1 for a log."""

    group: Annotated[str, MinLen(1), ConfigReference("group")] | None = None
    """Groups whose influence is measured: "cluster", "label", "source", or an input column. Each row gets the sum over
    its group; NaN for rows in no group. null: each row by itself."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:
        rate = self.learning_rate or require(batch.dynamics).learning_rate

        def measure(layers: TrainedLayers) -> Numbers:
            total = np.zeros(len(layers.rows))
            for run in range(layers.runs):
                for epoch in range(layers.epochs):
                    layer, reference = layers.read(run, epoch)
                    total += gradient_products(layer, rate * mean_gradient(reference))
            return total / layers.runs

        return sum_over_groups(
            mean_over_trainings(batch, self.reference, rng, measure), batch.groups if self.group else None
        )
