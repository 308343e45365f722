"""PDS: effect of a row on the target losses along a training, by optimal control, and a regression of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.errors import PluginError
from curate.kernels.influence.optimal_control import control_scores
from curate.kernels.stats.hash_folds import assign_folds
from curate.kernels.stats.hash_sampling import content_order, hash_vectors
from curate.kernels.stats.surrogate import Surrogate, fit_ridge, measure_quality
from curate.kernels.types import Matrix, Numbers, Rows
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.results import Scores
from curate.plugins.trained_layers import Reference, TrainedLayers, mean_over_trainings

_LIMIT = 3.0
_FOLDS = 5
_DIVERGED = 1e30  # within the range of float32


def standardize(values: Numbers) -> Numbers:
    """Return values with mean 0 and standard deviation 1, limited to ±3; all 0 if they are equal.

    Examples
    --------
    >>> standardize(np.array([1.0, 3.0])).tolist(), standardize(np.ones(2)).tolist()
    ([-1.0, 1.0], [0.0, 0.0])
    """
    spread = values.std()
    if not spread > 0:
        return np.zeros(len(values))
    return np.asarray(np.clip((values - values.mean()) / spread, -_LIMIT, _LIMIT))


@scorer(
    version=1,
    reads={"dynamics", "features", "embedding"},
    optional={"target", "learner"},
    statistics=("error",),  # logs of probabilities have it
    within="corpus",
    columns=(
        OutputColumn(higher_is_better=True, unit="standard deviations", higher_means="lowers the target loss more"),
    ),
    cost="O(steps s f c) for a sample of s rows, f features and c classes",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PDS:
    """PDS: how much a larger weight of a row lowers the target loss along a training, summed over all of its steps.

    Unlike ``tracin`` and ``influence``, which look at separate points of a training, it counts how a step on a row
    changes all later steps (optimal control). Draw rows with ``{use: gumbel_top_k, quality: pds, temperature: 0.1}``,
    as published. It needs a proxy, whose features are used, and labels; and a section ``target`` with labels, unless
    ``reference`` is set.

    The training is gradient descent of a softmax layer on the features of the last epoch of the proxy, from weights of
    0, on a sample of the labeled rows with equal weights. The scores of the sample are standardized and limited to ±3,
    and a ridge regression on the embeddings gives every row its score, also rows without a label. The log and the
    report have the rank correlation of the regression with the scores on held-out rows: if it is low, use ``regression:
    false``, which gives rows outside the sample no score.

    Notes
    -----
    Deviations: a layer on fixed features, trained on all rows of the sample in each step, where the paper trains a
    language model with batches, and a second one to predict the scores. As published, it is the first step of the
    optimization of the weights, from equal ones. For language models, ``less`` with the embedder ``gradients`` is the
    first-order method.

    References
    ----------
    Gu et al. (2025), "Data Selection via Optimal Control for Language Models", ICLR, arXiv:2410.07064.
    """

    reference: Reference | None = None
    """Rows whose mean loss should fall: "target" (the section ``target``), "held_out" (each fifth of the pool, in turn,
    for a proxy that is trained on the rest, so that five proxies are trained), or "pool" (all labeled rows). null:
    "target" with a section ``target``, else "held_out", or "pool" for a log."""

    steps: Annotated[int, Ge(1), Le(5_000)] = 100
    """Number of steps of gradient descent."""

    learning_rate: Annotated[float, Gt(0), Le(1_000)] = 1.0
    """Learning rate of the descent."""

    sample_size: Annotated[int, Ge(2)] = 10_000
    """Maximum number of labeled rows in the training, sampled by their content."""

    regression: bool = True
    """Whether a regression on the embeddings gives every row its score; otherwise rows of the sample get their own, and
    other rows none."""

    l2_penalty: Annotated[float, Gt(0)] = 1.0
    """L2 penalty of the regression, times the squared weights."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        values = mean_over_trainings(batch, self.reference, rng, self._measure).astype(np.float64)
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            return Scores(values.astype(np.float32))
        values[known] = standardize(values[known])
        if not self.regression:
            return Scores(values.astype(np.float32))
        return self._regress(require(batch.embeddings), values, known)

    def _measure(self, layers: TrainedLayers) -> Numbers:
        """Return the mean score of each training row over the runs, NaN outside the sample."""
        result = np.full(len(layers.rows), np.nan)
        sample: Rows | None = None
        for run in range(layers.runs):
            layer, reference = layers.read(run, layers.epochs - 1)
            if sample is None:
                sample = np.sort(content_order(layer.features, 0, layer.labels)[: self.sample_size])
                result[sample] = 0
            result[sample] += control_scores(
                layer.features[sample],
                layer.labels[sample],
                reference.features,
                reference.labels,
                layer.shape[0],
                steps=self.steps,
                learning_rate=self.learning_rate,
            )
        if not (np.abs(result[require(sample)]) < _DIVERGED).all():
            raise PluginError(
                f"pds: the descent diverges with learning_rate {self.learning_rate:g}", hint="lower learning_rate"
            )
        return result / layers.runs

    def _regress(self, x: Matrix, values: Numbers, known: Rows) -> Scores:
        """Return the predictions for all rows, and their quality on held-out rows."""
        folds = assign_folds(hash_vectors(x[known], np.random.default_rng(0)), _FOLDS)
        held_out = np.zeros(len(known))
        for fold in range(_FOLDS):
            others = known[folds != fold]
            if len(others):
                held_out[folds == fold] = self._fit(x, values, others).predict(x[known[folds == fold]])
        quality = measure_quality(values[known], held_out)
        facts = {"sample": float(len(known)), "rank_correlation": quality.rank_correlation, "r2": quality.r2}
        facts = {name: value for name, value in facts.items() if np.isfinite(value)}
        return Scores(self._fit(x, values, known).predict(x), facts=facts)

    def _fit(self, x: Matrix, values: Numbers, rows: Rows) -> Surrogate:
        return fit_ridge(x[rows], values[rows], self.l2_penalty)
