"""Data Banzhaf: mean gain of accuracy by a row over all sets of other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, MinLen

from curate.kernels.valuation.semivalues import banzhaf_weights
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
class DataBanzhaf:
    """Data Banzhaf: mean gain of held-out accuracy when a row, or a group of rows, joins a random half of the others.

    Use it in place of ``beta_shapley`` for a ranking that changes least when trainings are noisy. With ``group``, every
    row has the value of its group. Values of single rows are small, and need many trainings:
    ``data_banzhaf_error`` is the standard error, and the run warns if most values are smaller than it. To value many
    rows, use ``knn_shapley`` or ``data_oob``.

    All sets of other rows weigh the same, so that most have about half of the rows. The values do not sum to the
    accuracy.

    The labeled rows are divided into two halves by their content, each valued by test rows of the other; copies share a
    half. Copies of a row with the same label share the mean of their values. NaN for a row without a label or group,
    and if all labeled rows have the same vector.

    Notes
    -----
    Cost: ``trainings`` trainings of the proxy, each on a quarter of the rows on average, and O(n d) memory for a copy
    of the embeddings.

    The estimates are unbiased, by maximum sample reuse: a training counts for all rows, those in its set, and those
    that are not.

    Deviations: a baseline for the size of the set is subtracted from its utility, which lowers the standard error. A
    model without training rows guesses.

    References
    ----------
    Wang & Jia (2023), Data Banzhaf: A Robust Data Valuation Framework for Machine Learning, arXiv:2205.15466.
    """

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
            banzhaf_weights,
            trainings=self.trainings,
            test_rows=self.test_rows,
            measure=self.measure,
            rng=rng,
            advance=batch.advance,
        )
