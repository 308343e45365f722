"""Consistency: predictions of a row by models that were not trained on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import HeldOut
from curate.plugins.interfaces import OutputColumn, scorer

_LEAST = np.finfo(np.float32).tiny


def consistency(held_out: HeldOut) -> Matrix:
    """Compute how well held-out models predict the label of each row; NaN for rows without a label.

    Parameters
    ----------
    held_out : held-out predictions of n rows

    Returns
    -------
    (n, 2) float32: share of the runs that predict the label, and mean loss in nats

    Notes
    -----
    Cost: O(runs n classes) time; O(n classes) memory.
    """
    labeled = held_out.labels >= 0
    codes, rows = np.maximum(held_out.labels, 0), np.arange(len(held_out))
    sums = np.zeros((len(held_out), 2))
    for run in range(held_out.runs):
        probabilities = held_out.probabilities(run)
        sums[:, 0] += probabilities.argmax(axis=1) == codes
        sums[:, 1] -= np.log(np.maximum(probabilities[rows, codes], _LEAST))
    sums[~labeled] = np.nan
    return (sums / held_out.runs).astype(np.float32)


@scorer(
    version=1,
    reads={"held_out"},
    columns=(
        OutputColumn(higher_is_better=True, unit="share of runs", range=(0, 1), higher_means="more regular"),
        OutputColumn(
            name="loss",
            higher_is_better=False,
            unit="nats",
            range=(0, float("inf")),
            higher_means="less predictable from other rows",
            label_errors="high",
        ),
    ),
    cost="O(n c) for c classes and each run, after five trainings on four fifths of the rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """C-score: share of the proxies that predict the label of a row without having seen it.

    Use it to separate rows that follow the pattern of their class from exceptions and wrong labels, of which a model
    has to memorize each. Increase ``proxy.runs`` to resolve more than right and wrong: each run adds one prediction.

    The pool is divided into five folds in each run, and a row is predicted by a model that was trained on the other
    four; copies share a fold. ``consistency_loss`` is the mean loss of these predictions, which is finer with few runs.
    NaN for a row without a label.

    Notes
    -----
    Deviations: the paper averages over training sets of 10 to 90 % of the rows; here all have 80 %. A linear or small
    proxy on fixed embeddings in place of a deep network.

    References
    ----------
    Jiang, Zhang, Talwar & Mozer (2021), Characterizing Structural Regularities of Labeled Data in Overparameterized
    Models, arXiv:2002.03206, equations 1 and 2.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        return consistency(require(batch.held_out))
