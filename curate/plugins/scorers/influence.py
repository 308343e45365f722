"""By how much training on a row lowers the loss of the whole pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from curate.kernels.linalg.kronecker import kronecker_solve
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Vector
from curate.plugins.batches import Dynamics, ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_ROWS = 4096


def layer_influence(embeddings: Matrix, probabilities: Matrix, labels: Codes, damping: float) -> Numbers:
    """Influence of each row on the mean loss of all, ∇L(all)ᵀ (H + λI)⁻¹ ∇L(row), for a softmax layer on embeddings.

    The gradient of a row by the layer's weights is δxᵀ, where δ is its probabilities less its label, one-hot. The
    Hessian H is told by the Kronecker product of E[δδᵀ] and E[xxᵀ].

    Parameters
    ----------
    embeddings : (n, d) float32, n >= 1
    probabilities : (n, classes) float32, what the layer said
    labels : (n,) int32 in 0 … classes − 1
    damping : λ in units of the mean eigenvalue of the Kronecker product, above 0

    Returns
    -------
    (n,) float64; positive: a step on the row lowers the mean loss; 0 for all where nothing is wrong

    Cost: O(n d (d + classes) + d³ + classes³) time; O(n + d² + classes²) memory, and some blocks of 4,096 rows.

    References
    ----------
    Influence functions: Koh & Liang (2017), "Understanding black-box predictions via influence functions", ICML,
    equation 2. Kronecker factors: Grosse et al. (2023), arXiv:2308.03296.

    >>> x, p = np.array([[1, 0], [1, 0], [1, 0]], np.float32), np.full((3, 2), 0.5, np.float32)
    >>> layer_influence(x, p, np.array([0, 0, 1], np.int32), 1.0).round(3).tolist()
    [0.267, 0.267, -0.267]
    """
    n, d = embeddings.shape
    classes = probabilities.shape[1]

    def errors(rows: slice) -> Numbers:
        error = probabilities[rows].astype(np.float64)
        error[np.arange(len(error)), labels[rows]] -= 1
        return error

    def moments(rows: slice) -> tuple[Numbers, Numbers, Numbers]:
        error, x = errors(rows), embeddings[rows].astype(np.float64)
        return error.T @ error, x.T @ x, error.T @ x

    a, b, gradient = np.zeros((classes, classes)), np.zeros((d, d)), np.zeros((classes, d))
    for of_errors, of_inputs, of_both in map_blocks(moments, block_slices(n, _ROWS)):
        a += of_errors / n
        b += of_inputs / n
        gradient += of_both / n
    mean_eigenvalue = float(np.trace(a) * np.trace(b)) / (classes * d)
    if not mean_eigenvalue:
        return np.zeros(n)
    solved = kronecker_solve(a, b, gradient, damping * mean_eigenvalue)

    def influence(rows: slice) -> Numbers:
        found: Numbers = np.einsum("ij,ij->i", errors(rows), embeddings[rows].astype(np.float64) @ solved.T)
        return found

    return np.concatenate(list(map_blocks(influence, block_slices(n, _ROWS))))


def influence(embeddings: Matrix, dynamics: Dynamics, epoch: int, damping: float) -> Vector:
    """The mean of ``layer_influence`` after ``epoch`` of each run; (n,) float32, NaN for rows without a label."""
    known = np.flatnonzero(dynamics.labels >= 0)
    score = np.full(len(dynamics), np.nan, np.float32)
    if not len(known):
        return score
    x, labels = embeddings[known], dynamics.labels[known]
    total = np.zeros(len(known))
    for run in range(dynamics.runs):
        probabilities = dynamics.probabilities(run, min(epoch, dynamics.epochs) - 1)[known]
        total += layer_influence(x, probabilities, labels, damping)
    score[known] = total / dynamics.runs
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
    """Influence: by how much more weight on a row would lower the mean loss of all labelled rows, to first order.

    High for rows that are still wrong in the way that most rows are; below 0 for rows whose label pulls the other way.
    The proxy must be a softmax layer on the embeddings, such as logistic. It is asked early: a layer trained to the end
    has no gradient left on the rows it was trained on. NaN for a row without a label.

    References
    ----------
    Koh & Liang (2017), "Understanding black-box predictions via influence functions", ICML. Zhang et al. (2025), Quad,
    arXiv:2409.16986, for the Kronecker factors as a reward. Grosse et al. (2023), arXiv:2308.03296.

    Deviations: one softmax layer on fixed embeddings, where Quad takes the attention layers of a language model; the
    reference set is the pool itself; the layer's bias has no part in it.
    """

    epoch: Annotated[int, Ge(1)] = 1
    """After which of the proxy's epochs its errors are taken; the last, where it has fewer."""

    damping: Annotated[float, Gt(0)] = 0.1
    """λ, in units of the mean eigenvalue of the Hessian: the larger, the more the influence is that of a plain
    gradient step."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return influence(require(batch.embeddings), require(batch.dynamics), self.epoch, self.damping)
