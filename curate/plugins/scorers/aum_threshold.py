"""AUM with threshold samples: margin of a label over that of rows whose label is known to be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.stats.hash_sampling import hash_vectors
from curate.kernels.types import Codes, FittedState, Flags, Numbers, Rows, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Learner
from curate.plugins.interfaces import OutputColumn, scorer

_ROWS = 16_384


def draw_threshold_samples(learner: Learner, labeled: Rows, rng: np.random.Generator) -> tuple[Flags, Flags]:
    """Draw two disjoint sets of threshold samples, each a share 1 / (classes + 1) of the distinct labeled vectors.

    Parameters
    ----------
    learner : proxy and n rows
    labeled : (m,) labeled rows
    rng : random generator

    Returns
    -------
    first, second : (m,) bool each; copies of a vector are in the same set; empty if there is only one vector
    """
    rounded = learner.embeddings[labeled].astype(np.float16).astype(np.float32)  # the same for storage in float16
    distinct, number = np.unique(hash_vectors(rounded, rng), return_inverse=True)
    size = min(max(1, round(len(distinct) / (learner.classes + 1))), len(distinct) // 2)
    return number < size, (number >= size) & (number < 2 * size)


def mean_margins(learner: Learner, state: FittedState, rows: Rows, labels: Codes) -> Numbers:
    """Compute the mean over epochs and runs of the logit of each row's label minus the largest other logit.

    Parameters
    ----------
    learner : proxy and n rows
    state : fitted state of the proxy
    rows : (m,) rows
    labels : (m,) int32 label of each row

    Returns
    -------
    (m,) float64

    Notes
    -----
    Cost: that of runs × epochs predictions; O(m) memory, and the logits of 16,384 rows a thread.
    """

    def margins(block: slice) -> Numbers:
        total = np.zeros(len(rows[block]))
        positions = np.arange(len(total)), labels[block]
        for run in range(learner.runs):
            for epoch in range(learner.epochs):
                logits = learner.logits(state, rows[block], run, epoch)
                own = logits[positions].astype(np.float64)
                logits[positions] = -np.inf
                total += own - logits.max(axis=1)
        return total / (learner.runs * learner.epochs)

    return np.concatenate(list(map_blocks(margins, block_slices(len(rows), _ROWS))))


def aum_threshold(learner: Learner, percentile: float, rng: np.random.Generator) -> Vector:
    """Compute the area under the margin of each row minus a percentile of that of threshold samples.

    Parameters
    ----------
    learner : proxy and n rows
    percentile : percentile of the threshold samples, in [0, 100]
    rng : random generator

    Returns
    -------
    (n,) float32; NaN for rows without a label, and for all rows if there is only one vector with labels

    Notes
    -----
    Cost: two trainings of the proxy with one more class, and the predictions of all rows after each epoch; O(n) memory.

    References
    ----------
    Pleiss, Zhang, Elenberg & Weinberger (2020), arXiv:2001.10528, section 4.2.
    """
    labeled = np.flatnonzero(learner.labels >= 0)
    score = np.full(len(learner), np.nan, np.float32)
    samples = draw_threshold_samples(learner, labeled, rng)
    if not samples[0].any():
        return score
    sums, counts = np.zeros(len(labeled)), np.zeros(len(labeled))
    for is_sample in samples:
        labels = learner.labels.copy()
        labels[labeled[is_sample]] = learner.classes
        state = learner.train(labeled, rng.spawn(1)[0], labels=labels, classes=learner.classes + 1)
        areas = mean_margins(learner, state, labeled, labels[labeled])
        sums[~is_sample] += areas[~is_sample] - np.percentile(areas[is_sample], percentile)
        counts += ~is_sample
    score[labeled] = sums / counts
    return score


@scorer(
    version=1,
    reads={"learner"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="margin of the label above the threshold",
            higher_means="the label fits better",
            label_errors="low",
        ),
    ),
    cost="two trainings on all rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AUMThreshold:
    """AUM above the threshold of rows with a wrong label: negative values are label errors.

    Use it where ``aum`` ranks rows but does not say how many of them are wrong: drop them with
    ``{use: where, drop: "score_aum_threshold <= 0"}``.

    A share 1 / (classes + 1) of the rows, the threshold samples, gets the label of an additional class, which is wrong
    for each of them. The proxy is trained with these labels; 99 % of the threshold samples have an area under the
    margin below the threshold, so a row below it looks like them. It is trained again with other threshold samples, as
    nothing can be said of the samples themselves. NaN for a row without a label.

    Notes
    -----
    Deviations: a row that is no threshold sample in either training gets the mean of both differences; the paper leaves
    open which one counts. All epochs of the proxy, and the mean over its runs; the paper stops before the learning rate
    drops, and this proxy has a constant rate. Copies of a vector are threshold samples together.

    References
    ----------
    Pleiss, Zhang, Elenberg & Weinberger (2020), Identifying Mislabeled Data using the Area Under the Margin Ranking,
    arXiv:2001.10528, section 4.2.
    """

    percentile: Annotated[float, Ge(0), Le(100)] = 99.0
    """Percentile of the areas of the threshold samples that is the threshold."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:
        return aum_threshold(require(batch.learner), self.percentile, rng)
