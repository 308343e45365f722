"""Data-OOB: predictions of a row by models of a bagging ensemble that did not see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.valuation.memorization import out_of_bag
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.results import Scores
from curate.plugins.subset_trainings import Measure, describe_missing, evaluator, order_by_content, to_pool


@scorer(
    version=1,
    reads={"learner"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="share of models that are right",
            range=(0, 1),
            higher_means="predictable",
            label_errors="low",
        ),
        OutputColumn(
            name="error",
            higher_is_better=False,
            unit="standard error",
            range=(0, float("inf")),
            higher_means="less certain",
        ),
    ),
    cost="one training for each model",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DataOob:
    """Data-OOB: share of the models of a bagging ensemble that predict the label of a row without having seen it.

    Use it to find wrong labels and rows that do not follow the pattern of their class: their values are near 0. It
    needs fewer trainings than ``beta_shapley`` and ``data_banzhaf``, because each model values a third of the rows.

    Each model is the proxy, trained on as many rows as the pool has, drawn with replacement: about 37 % of the rows are
    left out. ``data_oob_error`` is the standard error. Copies of a row with the same label share the mean of their
    values; a copy in the training rows makes a row predictable. NaN for a row without a label, and for a row that no
    model left out.

    Notes
    -----
    Cost: one training of the proxy on n rows for each model, and O(n d) memory for a copy of the embeddings.

    Deviations: the proxy in place of decision trees.

    References
    ----------
    Kwon & Zou (2023), Data-OOB: Out-of-bag Estimate as a Simple and Efficient Data Value, arXiv:2304.07718.
    """

    models: Annotated[int, Ge(1), Le(100_000)] = 100
    """Number of models; the time is proportional to it."""

    measure: Measure = "correct"
    """Value of a prediction: 1 if the label is the most probable class and 0 if not ("correct", as published), or the
    probability of the label ("probability"), which is finer with few models."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        learner = require(batch.learner)
        own, rows = order_by_content(learner, rng)
        if not len(own):
            return Scores(np.full((len(learner), 2), np.nan, np.float32))
        values = out_of_bag(len(own), evaluator(own, self.measure), bags=self.models, rng=rng, advance=batch.advance)
        result = to_pool(own, rows, len(learner), values)
        return Scores(result, warnings=describe_missing(result[rows, 0], "models"))
