"""Label prediction by a vote of the nearest selected rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import metric
from curate.plugins.label_probes import PROBE_COLUMNS, evaluate_probe
from curate.plugins.results import MetricResult

_ROWS = 512  # test rows compared with all selected rows at a time


def nearest_vote(
    x: Matrix, classes: Codes, weight: Vector, test: Matrix, *, n_neighbors: int = 20, temperature: float = 0.07
) -> Matrix:
    """Compute class probabilities of ``test`` rows by a weighted vote of their nearest rows.

    A row votes for its class with its weight times exp(cosine / temperature); rows that tie with the last neighbor vote
    too.

    Parameters
    ----------
    x : (k, d) float32, rows of unit length
    classes : (k,) codes 0 … c − 1, all of which occur
    weight : (k,) float32, above 0
    test : (m, d) float32, rows of unit length
    n_neighbors : number of rows that vote; all, if there are fewer
    temperature : above 0; the lower, the more the nearest rows dominate

    Returns
    -------
    (m, c) float32

    Notes
    -----
    Cost: O(m k d) time; O(m c) memory, and 512 k similarities a thread.

    Deviations: rows that tie with the last neighbor vote too, so that the order of the rows does not matter.

    References
    ----------
    Cover & Hart (1967), doi:10.1109/TIT.1967.1053964. Votes: Wu et al. (2018), arXiv:1805.01978, section 3.4.

    Examples
    --------
    >>> x, classes = np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([0, 1, 1], np.int32)
    >>> nearest_vote(x, classes, np.ones(3, np.float32), x, n_neighbors=1).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    n_classes, kth = int(classes.max()) + 1, len(x) - min(n_neighbors, len(x))
    shares = np.empty((len(test), n_classes), np.float32)

    def block(rows: slice) -> None:
        similarities = test[rows] @ x.T
        kth_similarity = np.partition(similarities, kth, axis=1)[:, kth, None]
        test_index, row_index = np.nonzero(similarities >= kth_similarity)
        largest = similarities.max(axis=1)[test_index]
        votes = weight[row_index] * np.exp((similarities[test_index, row_index] - largest) / np.float32(temperature))
        votes_by_class = np.bincount(
            test_index * n_classes + classes[row_index], votes, len(similarities) * n_classes
        ).reshape(-1, n_classes)
        shares[rows] = votes_by_class / votes_by_class.sum(axis=1, keepdims=True)

    for _ in map_blocks(block, block_slices(len(test), _ROWS)):
        pass
    return shares


@metric(version=1, reads={"embedding", "label", "test"}, learns=True, measures=PROBE_COLUMNS, random=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class KNNProbe:
    """Accuracy, macro-F1 and cross-entropy on test rows of a vote of the nearest selected rows.

    Use it for a quick check, without a fit, that the rows needed to predict labels were selected. ``logistic_probe`` is
    closer to training a model, ``mlp_probe`` closer still.

    Training weights of the selected rows count. A label without a selected row is never predicted; probabilities are
    smoothed towards uniform ones as if by one additional row, so that such a label does not make the cross-entropy
    infinite.

    Notes
    -----
    Deviations: rows that tie with the last neighbor vote too.

    References
    ----------
    Cover & Hart (1967), doi:10.1109/TIT.1967.1053964. Wu et al. (2018), arXiv:1805.01978.
    """

    n_neighbors: Annotated[int, Ge(1)] = 20
    """Number of nearest selected rows that vote."""

    temperature: Annotated[float, Gt(0)] = 0.07
    """Temperature of votes, which weigh exp(cosine / temperature): the lower, the more the nearest rows dominate."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        def probe(x: Matrix, classes: Codes, weight: Vector, test: Matrix) -> tuple[Matrix, tuple[str, ...]]:
            return nearest_vote(
                x, classes, weight, test, n_neighbors=self.n_neighbors, temperature=self.temperature
            ), ()

        return evaluate_probe(inputs, probe)
