"""Last layers of trained proxies, with the rows that they were trained on and those whose loss should fall.

Shared by scorers that measure the effect of a training row on the loss of other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from curate.errors import PluginError
from curate.kernels.influence.softmax_layer import SoftmaxLayer
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Codes, Numbers, Rows, Vector
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.dynamics import Dynamics, Learner, ProxyModel

Reference = Literal["target", "held_out", "pool"]
"""Rows whose mean loss should fall.

- ``target``: those of the section ``target``;
- ``held_out``: in turn, each of five parts of the pool, for a proxy that was trained on the other parts;
- ``pool``: all labeled rows, on which the proxy was trained.
"""

N_FOLDS = 5

LayerAt = Callable[[int, int], SoftmaxLayer]
"""Function from a run and an epoch, counted from 0, to a layer with its rows."""


@dataclass(frozen=True, slots=True)
class TrainedLayers:
    """Last layer of a proxy after each epoch of each run."""

    rows: Rows
    """Rows of the batch that the proxy was trained on, (k,)."""

    training: LayerAt
    """Layer with these rows."""

    reference: LayerAt
    """Layer with the rows whose loss should fall."""

    runs: int
    epochs: int

    def read(self, run: int, epoch: int) -> tuple[SoftmaxLayer, SoftmaxLayer]:
        """Read the layers with the training rows and with the reference rows; the same rows are read once."""
        layer = self.training(run, epoch)
        return layer, layer if self.reference is self.training else self.reference(run, epoch)


def mean_over_trainings(
    batch: ScoreBatch,
    reference: Reference | None,
    rng: np.random.Generator,
    measure: Callable[[TrainedLayers], Numbers],
) -> Vector:
    """Compute a number for each training row of a proxy, and its mean over the proxies that were trained on the row.

    Parameters
    ----------
    batch : n rows with dynamics
    reference : rows whose loss should fall; None: those of the target section if there are any, else held-out rows, or
        the pool if the proxy is a log
    rng : random generator
    measure : function that returns (k,) float64 for the k training rows

    Returns
    -------
    (n,) float32; NaN for rows without a label, and for rows that no proxy was trained on: all rows, if the pool cannot
    be divided because all vectors are equal

    Raises
    ------
    PluginError : if the reference does not exist, or the proxy cannot predict it
    """
    n = len(require(batch.dynamics))
    sums, counts = np.zeros(n), np.zeros(n)
    for layers in _train(batch, reference, rng):
        sums[layers.rows] += measure(layers)
        counts[layers.rows] += 1
    means: Vector = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)
    return means


def pool_layers(dynamics: Dynamics) -> TrainedLayers:
    """Return the layers of the proxy, with all labeled rows of the pool as training rows and as reference."""
    rows = np.flatnonzero(dynamics.labels >= 0)
    labeled = dynamics if len(rows) == len(dynamics) else dynamics.take(rows)

    def layer(run: int, epoch: int) -> SoftmaxLayer:
        return SoftmaxLayer(labeled.features(run, epoch), labeled.probabilities(run, epoch), labeled.labels)

    return TrainedLayers(rows, layer, layer, dynamics.runs, dynamics.epochs)


def sum_over_groups(values: Vector, group: Codes | None) -> Vector:
    """Replace the value of each row by the sum over its group.

    Parameters
    ----------
    values : (n,) float32, NaN for rows without a value
    group : (n,) int32, -1 for rows in no group; None: no groups

    Returns
    -------
    (n,) float32; ``values`` without groups; NaN for rows without a value, and for rows in no group

    Examples
    --------
    >>> sum_over_groups(np.array([1, 2, np.nan, 4], np.float32), np.array([0, 0, 0, -1], np.int32)).tolist()
    [3.0, 3.0, nan, nan]
    """
    if group is None:
        return values
    has_value = ~np.isnan(values) & (group >= 0)
    sums = np.bincount(group[has_value], weights=values[has_value], minlength=int(group.max(initial=0)) + 1)
    result = np.full(len(values), np.nan, np.float32)
    result[has_value] = sums[group[has_value]]
    return result


# ---------------------------------------------------------------- trainings


def _train(batch: ScoreBatch, reference: Reference | None, rng: np.random.Generator) -> Iterator[TrainedLayers]:
    dynamics = require(batch.dynamics)
    if not (dynamics.labels >= 0).any():
        return
    if reference is None:
        reference = "target" if batch.target is not None else "held_out" if batch.learner is not None else "pool"
    if reference == "held_out":
        if batch.learner is None:
            raise PluginError(
                "reference: held_out trains the proxy on parts of the pool, and a log cannot be trained",
                hint="use the proxy logistic or mlp, or reference: pool",
            )
        yield from _train_on_folds(batch.learner, rng)
    elif reference == "target":
        if batch.target is None:
            raise PluginError("reference: target needs target rows", hint="add a section target: {files: …, label: …}")
        yield replace(pool_layers(dynamics), reference=_target_layer(dynamics, batch.target))
    else:
        yield pool_layers(dynamics)


def _target_layer(dynamics: Dynamics, target: TargetRows) -> LayerAt:
    """Return the layer with the labeled target rows."""
    network = dynamics.model
    if network is None or network.proxy is None:
        raise PluginError(
            "target rows need a proxy that predicts their labels, and a log has only rows of the pool",
            hint="use the proxy logistic or mlp, or reference: pool",
        )
    rows = np.flatnonzero(target.labels >= 0)
    if not len(rows):
        raise PluginError("no target row has a label of the pool", hint="set target.label")
    return _layer_of_state(replace(network, embeddings=target.embeddings[rows]), target.labels[rows])


def _train_on_folds(learner: Learner, rng: np.random.Generator) -> Iterator[TrainedLayers]:
    """Train the proxy on all folds but one, in turn; rows with equal vectors share a fold."""
    labeled = np.flatnonzero(learner.labels >= 0)
    fold = assign_vector_folds(learner.embeddings[labeled], N_FOLDS, rng)
    numbers = [number for number in range(N_FOLDS) if 0 < np.count_nonzero(fold == number) < len(fold)]
    rngs = rng.spawn(N_FOLDS)
    states = map_blocks(lambda number: learner.train(labeled[fold != number], rngs[number]), numbers)
    for number, state in zip(numbers, states, strict=True):
        training = labeled[fold != number]
        layers = []
        for rows in (training, labeled[fold == number]):
            model = ProxyModel(learner.embeddings[rows], learner.proxy, state)
            layers.append(_layer_of_state(model, learner.labels[rows]))
        yield TrainedLayers(training, layers[0], layers[1], learner.runs, learner.epochs)


def _layer_of_state(model: ProxyModel, labels: Codes) -> LayerAt:
    def layer(run: int, epoch: int) -> SoftmaxLayer:
        features = model.features(run, epoch)
        return SoftmaxLayer(features, softmax(features @ model.last_layer(run, epoch)), labels)

    return layer
