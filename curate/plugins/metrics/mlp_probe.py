"""Label prediction by a small neural network on the embeddings of the selected rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import metric
from curate.plugins.label_probes import PROBE_COLUMNS, evaluate_probe
from curate.plugins.results import MetricResult


def multilayer_perceptron(
    x: Matrix,
    classes: Codes,
    weight: Vector,
    test: Matrix,
    *,
    seed: int,
    hidden_size: int = 128,
    alpha: float = 0.1,
    max_iterations: int = 500,
) -> tuple[Matrix, bool]:
    """Compute class probabilities of ``test`` rows by a network with one hidden layer of rectified linear units.

    It is trained on all rows at once by L-BFGS, so only its initial weights depend on the seed.

    Parameters
    ----------
    x : (k, d) float32
    classes : (k,) codes 0 … c − 1, all of which occur, c at least 2
    weight : (k,) float32, above 0
    test : (m, d) float32
    seed : seed of the initial weights, below 2^32
    hidden_size : number of units in the hidden layer
    alpha : L2 penalty; half of it, over k, times the squared coefficients is added to the mean loss
    max_iterations : maximum number of L-BFGS iterations

    Returns
    -------
    probabilities : (m, c) float32
    converged : whether the loss stopped falling

    Notes
    -----
    Cost: O(k (d + c) hidden_size) time an iteration, of some 100; O(k (d + c + hidden_size)) memory.

    References
    ----------
    Rumelhart, Hinton & Williams (1986), doi:10.1038/323533a0. Initial weights: Glorot & Bengio (2010), "Understanding
    the difficulty of training deep feedforward neural networks", AISTATS.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1]], np.float32)
    >>> p, _ = multilayer_perceptron(x, np.array([0, 1], np.int32), np.ones(2, np.float32), x, seed=0, alpha=0.001)
    >>> p.argmax(axis=1).tolist()
    [0, 1]
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((hidden_size,), solver="lbfgs", alpha=alpha, max_iter=max_iterations, random_state=seed)
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result reports it
        model.fit(x, classes, sample_weight=weight)
        return model.predict_proba(test).astype(np.float32), bool(model.n_iter_ < max_iterations)


@metric(version=1, reads={"embedding", "label", "test"}, learns=True, measures=PROBE_COLUMNS)
@dataclass(frozen=True, slots=True, kw_only=True)
class MLPProbe:
    """Accuracy, macro-F1 and cross-entropy on test rows of a small neural network on the selected rows.

    Use it if labels depend on the embeddings in a nonlinear way. It costs several times as much as ``logistic_probe``,
    and varies with the seed.

    Training weights of the selected rows count. A label without a selected row is never predicted; probabilities are
    smoothed towards uniform ones as if by one additional row, so that such a label does not make the cross-entropy
    infinite.

    References
    ----------
    Rumelhart, Hinton & Williams (1986), doi:10.1038/323533a0. As a probe: Hewitt & Liang (2019), arXiv:1909.03368.
    """

    hidden_size: Annotated[int, Ge(1), Le(4_096)] = 128
    """Number of units in the hidden layer."""

    alpha: Annotated[float, Ge(0)] = 0.1
    """L2 penalty: half of it, divided by the number of rows, multiplies the squared coefficients."""

    max_iterations: Annotated[int, Ge(1), Le(100_000)] = 500
    """Maximum number of iterations, after which the fit is used with a note."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        def probe(x: Matrix, classes: Codes, weight: Vector, test: Matrix) -> tuple[Matrix, tuple[str, ...]]:
            probabilities, converged = multilayer_perceptron(
                x,
                classes,
                weight,
                test,
                seed=int(rng.integers(2**32)),
                hidden_size=self.hidden_size,
                alpha=self.alpha,
                max_iterations=self.max_iterations,
            )
            return probabilities, () if converged else (f"not converged after {self.max_iterations} iterations",)

        return evaluate_probe(inputs, probe)
