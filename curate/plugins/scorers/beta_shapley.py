"""Beta-Shapley: mean gain of accuracy by a row over random sets of other rows, with weights for their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from curate.kernels.valuation.semivalues import beta_weights
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ConfigReference, OutputColumn, scorer
from curate.plugins.results import Scores
from curate.plugins.subset_trainings import Measure, score_by_semivalues


@scorer(
    version=1,
    reads={"learner", "group"},
    within="corpus",
    columns=(
        OutputColumn(higher_is_better=True, unit="gain of accuracy", higher_means="helps a model"),
        OutputColumn(
            name="error",
            higher_is_better=False,
            unit="standard error",
            range=(0, float("inf")),
            higher_means="less certain",
        ),
    ),
    cost="one training for each random set of rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BetaShapley:
    """Beta-Shapley: mean gain of held-out accuracy when a row, or a group of rows, joins a random set of others.

    Use it to value groups, such as sources, by what they add to a trained model, or the rows of a small pool. With
    ``group``, every row has the value of its group. Values of single rows are small, and need many trainings:
    ``beta_shapley_error`` is the standard error, and the run warns if most values are smaller than it. To value many
    rows, use ``knn_shapley`` or ``data_oob``.

    ``alpha`` and ``beta`` weigh the sizes of the sets. (1, 1) is the Shapley value: all sizes weigh the same, and the
    values sum to the accuracy with all rows, above guessing. Larger ``alpha`` prefers small sets, in which a single row
    makes a difference, as (16, 1) in the paper.

    The labeled rows are divided into two halves by their content, each valued by test rows of the other; copies share a
    half. Copies of a row with the same label share the mean of their values. NaN for a row without a label or group,
    and if all labeled rows have the same vector.

    Notes
    -----
    Cost: ``trainings`` trainings of the proxy, each on up to half of the rows, and O(n d) memory for a copy of the
    embeddings.

    The estimates are unbiased. A training counts for all rows: those in its set, and those that are not.

    Deviations: sets of drawn sizes in place of permutations, which take one training for each row and permutation. A
    model without training rows guesses.

    References
    ----------
    Kwon & Zou (2022), Beta Shapley: a Unified and Noise-reduced Data Valuation Framework for Machine Learning,
    arXiv:2110.14049. Shapley values of data: Ghorbani & Zou (2019), Data Shapley, arXiv:1904.02868.
    """

    alpha: Annotated[float, Gt(0), Le(1_000)] = 16.0
    """Parameter α: larger values prefer small sets."""

    beta: Annotated[float, Gt(0), Le(1_000)] = 1.0
    """Parameter β: larger values prefer large sets."""

    group: Annotated[str, MinLen(1), ConfigReference("group")] | None = None
    """Column whose values are valued as groups: a column of the input, cluster, label or source. By default, every row
    is valued."""

    trainings: Annotated[int, Ge(2), Le(10_000_000)] = 1_000
    """Number of random sets that the proxy is trained on; the time is proportional to it."""

    test_rows: Annotated[int, Ge(1), Le(1_000_000)] = 1_000
    """Maximum number of rows of each half that the accuracy is measured on."""

    measure: Measure = "correct"
    """Accuracy of a prediction: 1 if the label is the most probable class and 0 if not ("correct", as published), or
    the probability of the label ("probability"), which is less noisy."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        return score_by_semivalues(
            require(batch.learner),
            batch.groups if self.group is not None else None,
            lambda players: beta_weights(players, self.alpha, self.beta),
            trainings=self.trainings,
            test_rows=self.test_rows,
            measure=self.measure,
            rng=rng,
            advance=batch.advance,
        )
