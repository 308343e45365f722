"""Influence of a row on the mean loss of target rows, of held-out rows, or of the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen

from curate.errors import PluginError
from curate.kernels.influence import inverse_hessian
from curate.kernels.influence.inverse_hessian import Solution
from curate.kernels.influence.softmax_layer import (
    SoftmaxLayer,
    error_moments,
    gradient_products,
    mean_gradient,
    mean_hessian_eigenvalue,
    mean_squared_error,
    mean_squared_input,
    squared_gradient_norms,
)
from curate.kernels.linalg.kronecker import kronecker_solve
from curate.kernels.types import Numbers
from curate.plugins.batches import ScoreBatch
from curate.plugins.interfaces import ConfigReference, OutputColumn, scorer
from curate.plugins.results import Scores
from curate.plugins.trained_layers import Reference, TrainedLayers, mean_over_trainings, sum_over_groups

Method = Literal["kronecker", "exact", "conjugate_gradient", "lissa", "datainf"]

CG_TOLERANCE, LISSA_TOLERANCE = 1e-3, 0.2
"""Maximum residuals by default, relative to the gradient."""


def mean_eigenvalue(layer: SoftmaxLayer, method: Method) -> float:
    """Compute the mean eigenvalue of the Hessian, or of the matrix that a method uses in its place.

    Parameters
    ----------
    layer : layer and n rows
    method : method of the inverse

    Returns
    -------
    number >= 0
    """
    n_weights = layer.shape[0] * layer.shape[1]
    if method == "kronecker":
        return mean_squared_error(layer) * mean_squared_input(layer) / n_weights
    if method == "datainf":
        return float(squared_gradient_norms(layer).mean()) / n_weights
    return mean_hessian_eigenvalue(layer)


@scorer(
    version=2,
    reads={"dynamics", "features", "group"},
    optional={"target", "learner"},
    statistics=("error",),  # logs of probabilities have it
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True, unit="fall of the mean loss, per unit of weight", higher_means="teaches more"
        ),
    ),
    cost="O(n f (f + c)) for f features, c classes and each run, and five trainings unless `reference` is set",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """Influence: decrease of a mean loss per unit of weight on a row, to first order; or per group of rows.

    Use it to find rows that teach a model what a task requires (with a section ``target``), or what most rows require,
    and as a reward for ``quad``. The model is the last layer of the proxy. To find mislabeled rows, ``aum`` is simpler.

    It is high for rows that the model gets wrong in the way it gets the reference rows wrong, and negative for rows
    whose label pulls in the opposite direction. It is ∇L(reference)ᵀ (H + λI)⁻¹ ∇L(row), where H is the Hessian of the
    mean loss of the training rows. By default it is computed early: a layer trained to convergence has no gradient left
    on its training rows. NaN for a row without a label.

    Notes
    -----
    Cost, for n rows, f features and C classes: O(n f (f + C) + f³ + C³) time for ``kronecker``; O(n (C f)² + (C f)³)
    for ``exact``; O(n f C) for ``datainf``, and for each iteration of ``conjugate_gradient``; O(batch_size f C) for
    each iteration of ``lissa``. Memory: the features and probabilities of all rows.

    Deviations: only the last layer, with its bias, of a proxy on fixed embeddings, where Quad uses the attention layers
    of a language model. With the pool as reference, the proxy was trained on the rows whose loss is measured, each of
    which counts in its own influence; ``held_out`` avoids both.

    References
    ----------
    Koh & Liang (2017), "Understanding black-box predictions via influence functions", ICML, equation 2. Koh, Ang, Teo &
    Liang (2019), "On the accuracy of influence functions for measuring group effects", NeurIPS, for groups. Zhang et
    al. (2025), Quad, arXiv:2409.16986, and Grosse et al. (2023), arXiv:2308.03296, for the Kronecker factors. Agarwal,
    Bullins & Hazan (2017), "Second-order stochastic optimization for machine learning in linear time", JMLR 18(116),
    for LiSSA. Kwon et al. (2024), DataInf, arXiv:2310.00902.
    """

    method: Method = "kronecker"
    """Inverse of the Hessian: "exact" is a dense solve for at most 10,000 weights; "conjugate_gradient" gives the same
    for any number; "lissa" is a random approximation; "kronecker" and "datainf" are closed forms that replace the
    Hessian by the second moment of the gradients, approximated by Kronecker factors or row by row."""

    reference: Reference | None = None
    """Rows whose mean loss should fall: "target" (the section ``target``), "held_out" (each fifth of the pool, in turn,
    for a proxy that is trained on the rest, so that five proxies are trained), or "pool" (all labeled rows). null:
    "target" with a section ``target``, else "held_out", or "pool" for a log."""

    group: Annotated[str, MinLen(1), ConfigReference("group")] | None = None
    """Groups whose influence is measured: "cluster", "label", "source", or an input column. Each row gets the sum over
    its group, to first order; NaN for rows in no group. null: each row by itself."""

    epoch: Annotated[int, Ge(1)] = 1
    """Epoch of the proxy after which its errors are measured; the last epoch, if it has fewer."""

    damping: Annotated[float, Gt(0)] = 0.1
    """λ, in units of the mean eigenvalue of the Hessian, or of the matrix in its place: the larger, the closer the
    influence is to that of a plain gradient step."""

    tolerance: Annotated[float, Gt(0), Lt(1)] | None = None
    """Maximum residual of "conjugate_gradient" and "lissa", relative to the gradient; a larger residual after all
    iterations is an error. null: 0.001 and 0.2."""

    max_iterations: Annotated[int, Ge(1), Le(10_000_000)] = 10_000
    """Maximum number of iterations of "conjugate_gradient", and number of iterations of "lissa"."""

    batch_size: Annotated[int, Ge(1), Le(1_000_000)] = 256
    """Number of rows of an iteration of "lissa"."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        solutions: list[Solution] = []

        def measure(layers: TrainedLayers) -> Numbers:
            epoch, total = min(self.epoch, layers.epochs) - 1, np.zeros(len(layers.rows))
            for run in range(layers.runs):
                layer, reference = layers.read(run, epoch)
                solutions.append(self._solve(layer, mean_gradient(reference), rng))
                total += gradient_products(layer, solutions[-1].values)
            return total / layers.runs

        values = mean_over_trainings(batch, self.reference, rng, measure)
        facts = {}
        if self.method in ("conjugate_gradient", "lissa") and solutions:
            facts["residual"] = max(one.residual for one in solutions)
            facts["iterations"] = float(max(one.iterations for one in solutions))
        return Scores(sum_over_groups(values, batch.groups if self.group else None), facts=facts)

    def _solve(self, layer: SoftmaxLayer, gradient: Numbers, rng: np.random.Generator) -> Solution:
        """Return the product of the damped inverse Hessian and a gradient; closed forms have no residual."""
        damping = self.damping * mean_eigenvalue(layer, self.method)
        if not gradient.any() or not squared_gradient_norms(layer).any():
            return Solution(np.zeros_like(gradient), 0.0, 0)
        if not damping:
            raise PluginError(
                "influence: the Hessian is zero, because the proxy predicts every row with certainty",
                hint="use an earlier epoch, or method: kronecker",
            )
        if self.method == "conjugate_gradient":
            tolerance = self.tolerance or CG_TOLERANCE
            return inverse_hessian.solve_by_conjugate_gradient(
                layer, gradient, damping, tolerance=tolerance, max_iterations=self.max_iterations
            )
        if self.method == "lissa":
            return inverse_hessian.solve_by_lissa(
                layer,
                gradient,
                damping,
                rng,
                tolerance=self.tolerance or LISSA_TOLERANCE,
                max_iterations=self.max_iterations,
                batch_size=self.batch_size,
            )
        if self.method == "kronecker":
            return Solution(kronecker_solve(*error_moments(layer), gradient, damping), 0.0, 0)
        solve = inverse_hessian.solve_exactly if self.method == "exact" else inverse_hessian.solve_by_datainf
        return Solution(solve(layer, gradient, damping), 0.0, 0)
