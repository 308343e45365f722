"""Network with one hidden layer on the embeddings, by mini-batch gradient descent, with a snapshot of every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Codes, FittedState, Matrix
from curate.plugins.interfaces import proxy


def train_mlp(
    embeddings: Matrix,
    labels: Codes,
    n_classes: int,
    rng: np.random.Generator,
    *,
    hidden_size: int,
    epochs: int,
    learning_rate: float,
    momentum: float,
    batch_size: int,
    weight_decay: float,
    start: tuple[Matrix, Matrix] | None = None,
) -> tuple[Matrix, Matrix]:
    """Train a network with one hidden layer by stochastic gradient descent, and return the weights after each epoch.

    The network is softmax(relu(√d x W₁ + b₁) W₂ + b₂): rows of unit length are scaled to a mean square of 1. Weights
    start from a normal distribution of variance 2 / inputs, biases from zero. Each epoch takes a new permutation of the
    rows, cut into batches. The gradient is that of the mean cross-entropy of a batch; weight decay is added to it, but
    not for the biases; the step is classical (heavy-ball) momentum at a constant rate.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length, n >= 1
    labels : (n,) int32 in 0 … n_classes − 1
    n_classes : number of classes
    rng : random generator
    hidden_size, epochs, learning_rate, momentum, batch_size, weight_decay : see ``MLP``
    start : initial weights, (d + 1, hidden_size) and (hidden_size + 1, n_classes) float32; random by default

    Returns
    -------
    hidden : (epochs, d + 1, hidden_size) float32; the last of the d + 1 rows is the bias
    output : (epochs, hidden_size + 1, n_classes) float32; the last row is the bias

    Notes
    -----
    Cost: O(epochs n hidden_size (d + n_classes)) time; O(epochs hidden_size (d + n_classes)) memory. Run it on one BLAS
    thread for the same bytes on any machine of the same kind.

    References
    ----------
    He, Zhang, Ren & Sun (2015), arXiv:1502.01852, equation 10 (initial weights).
    """
    n, d = embeddings.shape
    scale, rate = np.float32(np.sqrt(d)), np.float32(learning_rate)
    w1, w2 = _initial_weights(d, hidden_size, n_classes, rng) if start is None else (start[0].copy(), start[1].copy())
    v1, v2 = np.zeros_like(w1), np.zeros_like(w2)
    hidden = np.empty((epochs, *w1.shape), np.float32)
    output = np.empty((epochs, *w2.shape), np.float32)
    for epoch in range(epochs):
        order = rng.permutation(n)
        for batch in block_slices(n, batch_size):
            rows = order[batch]
            x = embeddings[rows] * scale
            h = np.maximum(x @ w1[:-1] + w1[-1], 0)
            error = softmax(h @ w2[:-1] + w2[-1])
            error[np.arange(len(rows)), labels[rows]] -= 1
            error /= len(rows)
            hidden_error = (error @ w2[:-1].T) * (h > 0)
            gradients = ((w1, v1, x.T @ hidden_error, hidden_error), (w2, v2, h.T @ error, error))
            for weights, velocity, gradient, errors in gradients:
                np.multiply(velocity, momentum, out=velocity)
                velocity[:-1] += gradient + weight_decay * weights[:-1]
                velocity[-1] += errors.sum(axis=0)
                np.subtract(weights, rate * velocity, out=weights)
        hidden[epoch], output[epoch] = w1, w2
    return hidden, output


def _initial_weights(d: int, hidden_size: int, n_classes: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    layers = []
    for inputs, outputs in ((d, hidden_size), (hidden_size, n_classes)):
        weights = np.zeros((inputs + 1, outputs), np.float32)
        weights[:-1] = rng.standard_normal((inputs, outputs), np.float32) * np.float32(np.sqrt(2 / inputs))
        layers.append(weights)
    return layers[0], layers[1]


@proxy(version=1, reads={"embedding", "label"}, input_gradients=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class MLP:
    """Network with one hidden layer on the embeddings by mini-batch gradient descent, recorded after every epoch.

    Use it instead of ``logistic`` for scores that need features of the proxy (``grand``, ``vog``, ``self_influence``),
    and where a linear model is not flexible enough to learn hard rows or to memorize wrong labels.

    The probabilities of a row are those of the model at the end of an epoch, whether or not it was trained on the row.

    Notes
    -----
    Deviations: the scores that read it were published for deep networks trained from scratch on the inputs, with
    predictions recorded during an epoch; here the embeddings are fixed, and all rows are evaluated at its end.

    References
    ----------
    Stochastic gradient descent with momentum: Sutskever, Martens, Dahl & Hinton (2013), "On the importance of
    initialization and momentum in deep learning", ICML, equations 1 and 2. Initial weights: He et al. (2015),
    arXiv:1502.01852.
    """

    hidden_size: Annotated[int, Ge(1), Le(10_000)] = 128
    """Number of hidden units."""

    epochs: Annotated[int, Ge(1), Le(10_000)] = 20
    """Number of passes over the rows in each run."""

    runs: Annotated[int, Ge(1), Le(1_000)] = 1
    """Number of runs, each with other initial weights and another order of the rows. Scores are averaged over them."""

    learning_rate: Annotated[float, Gt(0)] = 0.02
    """Step size."""

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Share of the previous step that is added to each step."""

    batch_size: Annotated[int, Ge(1), Le(1_000_000)] = 128
    """Number of rows per step."""

    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Strength of the decay of weights to zero: the weights times this are added to the gradient."""

    def train(
        self,
        embeddings: Matrix,
        labels: Codes,
        classes: int,
        rng: np.random.Generator,
        start: FittedState | None = None,
    ) -> FittedState:
        def run(number_and_rng: tuple[int, np.random.Generator]) -> tuple[Matrix, Matrix]:
            number, run_rng = number_and_rng
            return train_mlp(
                embeddings,
                labels,
                classes,
                run_rng,
                hidden_size=self.hidden_size,
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                momentum=self.momentum,
                batch_size=self.batch_size,
                weight_decay=self.weight_decay,
                start=None if start is None else (start["hidden"][number, -1], start["output"][number, -1]),
            )

        hidden, output = zip(*map_blocks(run, enumerate(rng.spawn(self.runs))), strict=True)
        return {"hidden": np.stack(hidden), "output": np.stack(output)}

    def features(self, state: FittedState, embeddings: Matrix, run: int, epoch: int) -> Matrix:
        weights = state["hidden"][run, epoch]
        scale = np.float32(np.sqrt(embeddings.shape[1]))
        activations: Matrix = np.maximum((embeddings * scale) @ weights[:-1] + weights[-1], 0)
        return activations

    def last_layer(self, state: FittedState, run: int, epoch: int) -> Matrix:
        weights: Matrix = state["output"][run, epoch]
        return weights

    def input_gradients(self, state: FittedState, embeddings: Matrix, labels: Codes, run: int, epoch: int) -> Matrix:
        hidden, output = state["hidden"][run, epoch], state["output"][run, epoch]
        is_active = self.features(state, embeddings, run, epoch) > 0
        scale = np.float32(np.sqrt(embeddings.shape[1]))
        gradients: Matrix = ((output[:-1].T[labels] * is_active) @ hidden[:-1].T) * scale
        return gradients
