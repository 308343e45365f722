"""Memorization: how much better models predict a row that they were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.types import Flags, Rows
from curate.kernels.valuation.memorization import memorization
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Learner
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.results import Scores
from curate.plugins.subset_trainings import (
    Measure,
    describe_missing,
    evaluator,
    order_by_content,
    to_pool,
)

_FOLDS = 5


def removal_cost(learner: Learner, memorized: Flags, rng: np.random.Generator) -> dict[str, float]:
    """Measure the accuracy on held-out rows of models trained with all rows, and without some of them.

    Parameters
    ----------
    learner : learner of n labeled rows
    memorized : (n,) rows to leave out
    rng : random generator

    Returns
    -------
    Accuracy in five folds by content of models trained on all rows of the other folds (``accuracy``), on those that are
    not memorized (``accuracy_without_memorized``), and on a random set of the same size (``accuracy_without_random``),
    and the difference of the last two with its standard error over the n rows (``removal_cost``,
    ``removal_cost_error``). Without memorized rows, without others, or if all labeled vectors are the same, only the
    numbers of rows.
    """
    found = {"memorized": float(memorized.sum()), "labeled": float(len(memorized))}
    fold, evaluate = assign_vector_folds(learner.embeddings, _FOLDS, rng), evaluator(learner, "correct")
    if not memorized.any() or memorized.all() or not fold.any():
        return found
    tasks: list[tuple[int, Rows, Rows, np.random.Generator]] = []
    for number in range(int(fold.max()) + 1):
        others, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        rest = others[~memorized[others]]
        if not len(rest):
            return found
        as_many = np.sort(rng.permutation(others)[: len(rest)])
        tasks += [(kind, rows, test, rng.spawn(1)[0]) for kind, rows in enumerate((others, rest, as_many))]
    correct = np.zeros((3, len(learner)))
    for task, values in zip(tasks, map_blocks(lambda task: evaluate(*task[1:]), tasks), strict=True):
        correct[task[0], task[2]] = values
    difference = correct[2] - correct[1]
    return found | {
        "accuracy": float(correct[0].mean()),
        "accuracy_without_memorized": float(correct[1].mean()),
        "accuracy_without_random": float(correct[2].mean()),
        "removal_cost": float(difference.mean()),
        "removal_cost_error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
    }


@scorer(
    version=1,
    reads={"learner"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=False, unit="difference of accuracy", range=(-1, 1), higher_means="memorized more"
        ),
        OutputColumn(
            name="error",
            higher_is_better=False,
            unit="standard error",
            range=(0, float("inf")),
            higher_means="less certain",
        ),
    ),
    cost="one training for each subset",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Memorization:
    """Memorization: how much better a model predicts the label of a row if it was trained on the row.

    Use it to find the rows that a model cannot infer from others: rare but correct rows of the long tail, and wrong
    labels. It does not tell them apart. The report lists the rows that are memorized, shows where they are, and
    compares models trained without them with models trained without as many random rows: if the former are worse, the
    rows are worth keeping.

    Lower counts as better. Keep the tail with ``quality: "-memorization"``. ``memorization_error`` is the standard
    error. Copies of a row with the same label share the mean of their values; a row with a copy is hardly memorized, as
    the copy is in most subsets. NaN for a row without a label, and for a row that no subset contains or leaves out.

    Notes
    -----
    Cost: one training of the proxy on ``share`` of the rows for each subset, 15 more for the comparison, and O(n d)
    memory for a copy of the embeddings.

    A linear proxy can memorize little: use ``proxy: {use: mlp}``, or ``logistic`` with many dimensions and epochs.

    Deviations: rows are left out in consecutive parts of random permutations, so that all are left out about equally
    often. The proxy on fixed embeddings in place of a deep network, which memorizes more.

    References
    ----------
    Feldman & Zhang (2020), What Neural Networks Memorize and Why, arXiv:2008.03703, section 2 and algorithm 1.
    Feldman (2020), Does Learning Require Memorization?, arXiv:1906.05271.
    """

    subsets: Annotated[int, Ge(2), Le(1_000_000)] = 200
    """Number of random subsets that the proxy is trained on; the time is proportional to it. The paper uses 2,000."""

    share: Annotated[float, Gt(0), Lt(1)] = 0.7
    """Share of the rows in each subset."""

    measure: Measure = "correct"
    """Measure of a prediction: 1 if the label is the most probable class and 0 if not ("correct", as published), or the
    probability of the label ("probability"), which is finer with few subsets."""

    threshold: Annotated[float, Gt(0), Le(1)] = 0.25
    """Value above which a row counts as memorized, in the report only."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        learner = require(batch.learner)
        own, rows = order_by_content(learner, rng)
        if not len(own):
            return Scores(np.full((len(learner), 2), np.nan, np.float32))
        values = memorization(
            len(own),
            evaluator(own, self.measure),
            share=self.share,
            subsets=self.subsets,
            rng=rng.spawn(1)[0],
            advance=batch.advance,
        )
        result = to_pool(own, rows, len(learner), values)
        values_of_labeled = result[rows, 0]
        return Scores(
            result,
            warnings=describe_missing(values_of_labeled, "subsets"),
            facts=removal_cost(own, values_of_labeled > self.threshold, rng),
        )
