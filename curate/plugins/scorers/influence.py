"""Influence of a row on the mean loss of the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from curate.kernels.linalg.kronecker import kronecker_solve
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer

_ROWS = 4096


def layer_influence(embeddings: Matrix, probabilities: Matrix, labels: Codes, damping: float) -> Numbers:
    """Compute the influence ∇L(all)ᵀ (H + λI)⁻¹ ∇L(row) of each row on the mean loss of a softmax layer.

    The gradient of a row with respect to the weights of the layer is δxᵀ, where δ is its probabilities minus its
    one-hot label. The Hessian H is approximated by the Kronecker product of E[δδᵀ] and E[xxᵀ].

    Parameters
    ----------
    embeddings : (n, d) float32, n >= 1
    probabilities : (n, n_classes) float32, output of the layer
    labels : (n,) int32 in 0 … n_classes − 1
    damping : λ in units of the mean eigenvalue of the Kronecker product, above 0

    Returns
    -------
    (n,) float64; positive if a step on the row lowers the mean loss; all 0 if there are no errors

    Notes
    -----
    Cost: O(n d (d + n_classes) + d³ + n_classes³) time; O(n + d² + n_classes²) memory, and some blocks of 4,096 rows.

    References
    ----------
    Influence functions: Koh & Liang (2017), "Understanding black-box predictions via influence functions", ICML,
    equation 2. Kronecker factors: Grosse et al. (2023), arXiv:2308.03296.

    Examples
    --------
    >>> x, p = np.array([[1, 0], [1, 0], [1, 0]], np.float32), np.full((3, 2), 0.5, np.float32)
    >>> layer_influence(x, p, np.array([0, 0, 1], np.int32), 1.0).round(3).tolist()
    [0.267, 0.267, -0.267]
    """
    n, d = embeddings.shape
    n_classes = probabilities.shape[1]

    def errors(rows: slice) -> Numbers:
        error = probabilities[rows].astype(np.float64)
        error[np.arange(len(error)), labels[rows]] -= 1
        return error

    def moments(rows: slice) -> tuple[Numbers, Numbers, Numbers]:
        error, x = errors(rows), embeddings[rows].astype(np.float64)
        return error.T @ error, x.T @ x, error.T @ x

    a, b, gradient = np.zeros((n_classes, n_classes)), np.zeros((d, d)), np.zeros((n_classes, d))
    for error_moment, input_moment, cross_moment in map_blocks(moments, block_slices(n, _ROWS)):
        a += error_moment / n
        b += input_moment / n
        gradient += cross_moment / n
    mean_eigenvalue = float(np.trace(a) * np.trace(b)) / (n_classes * d)
    if not mean_eigenvalue:
        return np.zeros(n)
    solution = kronecker_solve(a, b, gradient, damping * mean_eigenvalue)

    def influence(rows: slice) -> Numbers:
        values: Numbers = np.einsum("ij,ij->i", errors(rows), embeddings[rows].astype(np.float64) @ solution.T)
        return values

    return np.concatenate(list(map_blocks(influence, block_slices(n, _ROWS))))


def influence(embeddings: Matrix, dynamics: Dynamics, epoch: int, damping: float) -> Vector:
    """Compute the mean of ``layer_influence`` over all runs, after ``epoch`` of each.

    Parameters
    ----------
    embeddings : (n, d) float32
    dynamics : training dynamics of n rows
    epoch : epoch of each run, counted from 1
    damping : see ``layer_influence``

    Returns
    -------
    (n,) float32, NaN for rows without a label
    """
    labeled = np.flatnonzero(dynamics.labels >= 0)
    score = np.full(len(dynamics), np.nan, np.float32)
    if not len(labeled):
        return score
    x, labels = embeddings[labeled], dynamics.labels[labeled]
    sums = np.zeros(len(labeled))
    for run in range(dynamics.runs):
        probabilities = dynamics.probabilities(run, min(epoch, dynamics.epochs) - 1)[labeled]
        sums += layer_influence(x, probabilities, labels, damping)
    score[labeled] = sums / dynamics.runs
    return score


@scorer(
    version=1,
    reads={"embedding", "dynamics"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True, unit="fall of the mean loss, per unit of weight", higher_means="teaches more"
        ),
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """Influence: decrease of the mean loss of all labeled rows per unit of weight on a row, to first order.

    Use it to find rows that teach the model what most rows require, and as a reward for ``quad``. The proxy must be a
    softmax layer on the embeddings, such as ``logistic``. To find mislabeled rows, ``aum`` is simpler.

    It is high for rows that are still wrong in the way most rows are, and negative for rows whose label pulls in the
    opposite direction. It is computed early: a layer trained to convergence has no gradient left on its training rows.
    NaN for a row without a label.

    Notes
    -----
    Deviations: one softmax layer on fixed embeddings, where Quad uses the attention layers of a language model; the
    reference set is the pool itself; the bias of the layer is ignored.

    References
    ----------
    Koh & Liang (2017), "Understanding black-box predictions via influence functions", ICML. Zhang et al. (2025), Quad,
    arXiv:2409.16986, for the Kronecker factors as a reward. Grosse et al. (2023), arXiv:2308.03296.
    """

    epoch: Annotated[int, Ge(1)] = 1
    """Epoch of the proxy after which its errors are measured; the last epoch, if it has fewer."""

    damping: Annotated[float, Gt(0)] = 0.1
    """λ, in units of the mean eigenvalue of the Hessian: the larger, the closer the influence is to that of a plain
    gradient step."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return influence(require(batch.embeddings), require(batch.dynamics), self.epoch, self.damping)
