"""Label prediction by logistic regression on the embeddings of the selected rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import metric
from curate.plugins.label_probes import PROBE_COLUMNS, evaluate_probe
from curate.plugins.results import MetricResult

_TOLERANCE = 1e-5


def logistic_regression(
    x: Matrix,
    classes: Codes,
    weight: Vector,
    test: Matrix,
    *,
    inverse_penalty: float = 10.0,
    max_iterations: int = 1_000,
) -> tuple[Matrix, bool]:
    """Compute class probabilities of ``test`` rows by multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    x : (k, d) float32
    classes : (k,) codes 0 … c − 1, all of which occur, c at least 2
    weight : (k,) float32, above 0
    test : (m, d) float32
    inverse_penalty : C, factor of the sum of the rows' losses, to which half the squared coefficients are added
    max_iterations : maximum number of L-BFGS iterations

    Returns
    -------
    probabilities : (m, c) float32
    converged : whether the gradient fell below 1e-5

    Notes
    -----
    Cost: O(k d c) time an iteration, of some 30; O(k (d + c)) memory.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 4.4. Byrd, Lu, Nocedal & Zhu
    (1995), doi:10.1137/0916069 (L-BFGS).

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1]], np.float32)
    >>> p, converged = logistic_regression(x, np.array([0, 1], np.int32), np.ones(2, np.float32), x)
    >>> p.argmax(axis=1).tolist(), converged
    ([0, 1], True)
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, tol=_TOLERANCE, max_iter=max_iterations)
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result reports it
        model.fit(x, classes, sample_weight=weight)
        probabilities = model.predict_proba(test).astype(np.float32)
    return probabilities, bool(model.n_iter_.max() < max_iterations)


@metric(version=1, reads={"embedding", "label", "test"}, learns=True, measures=PROBE_COLUMNS, random=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticProbe:
    """Accuracy, macro-F1 and cross-entropy on test rows of a logistic regression on the selected rows.

    Use it as the default measure of usefulness for labeled data: it is fast and stable. ``knn_probe`` is faster,
    ``mlp_probe`` can use nonlinear structure.

    Training weights of the selected rows count. A label without a selected row is never predicted; probabilities are
    smoothed towards uniform ones as if by one additional row, so that such a label does not make the cross-entropy
    infinite.

    References
    ----------
    Linear probes: Alain & Bengio (2016), arXiv:1610.01644. Hastie, Tibshirani & Friedman (2009), The Elements of
    Statistical Learning, section 4.4.
    """

    C: Annotated[float, Gt(0)] = 10.0
    """Inverse regularization strength: weight of the loss on the rows relative to the penalty."""

    max_iterations: Annotated[int, Ge(1), Le(100_000)] = 1_000
    """Maximum number of iterations, after which the fit is used with a note."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        def probe(x: Matrix, classes: Codes, weight: Vector, test: Matrix) -> tuple[Matrix, tuple[str, ...]]:
            probabilities, converged = logistic_regression(
                x, classes, weight, test, inverse_penalty=self.C, max_iterations=self.max_iterations
            )
            return probabilities, () if converged else (f"not converged after {self.max_iterations} iterations",)

        return evaluate_probe(inputs, probe)
