"""How well the nearest chosen rows predict the labels of test rows."""

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

_ROWS = 512  # test rows compared with all chosen ones at a time


def nearest_vote(
    x: Matrix, classes: Codes, weight: Vector, test: Matrix, *, n_neighbors: int = 20, temperature: float = 0.07
) -> Matrix:
    """Class probabilities of ``test``: the share of the votes of the nearest rows.

    A row votes for its class with its weight times exp(cosine / temperature); so do rows as near as the last neighbour.

    Parameters
    ----------
    x : (k, d) float32, rows of unit length
    classes : (k,) codes 0 … c − 1, all of which occur
    weight : (k,) float32, above 0
    test : (m, d) float32, rows of unit length
    n_neighbors : how many rows vote; all, where there are fewer
    temperature : above 0; the lower, the more the nearest decide

    Returns
    -------
    (m, c) float32

    Cost: O(m k d) time; O(m c) memory, and 512 k similarities a thread.

    References
    ----------
    Cover & Hart (1967), doi:10.1109/TIT.1967.1053964. Votes: Wu et al. (2018), arXiv:1805.01978, section 3.4.

    Deviations: rows that tie with the last neighbour vote too, so that the order of the rows does not matter.

    >>> x, classes = np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([0, 1, 1], np.int32)
    >>> nearest_vote(x, classes, np.ones(3, np.float32), x, n_neighbors=1).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    many, last = int(classes.max()) + 1, len(x) - min(n_neighbors, len(x))
    shares = np.empty((len(test), many), np.float32)

    def block(rows: slice) -> None:
        similarities = test[rows] @ x.T
        bar = np.partition(similarities, last, axis=1)[:, last, None]
        voter, voted = np.nonzero(similarities >= bar)
        best = similarities.max(axis=1)[voter]
        votes = weight[voted] * np.exp((similarities[voter, voted] - best) / np.float32(temperature))
        counted = np.bincount(voter * many + classes[voted], votes, len(similarities) * many).reshape(-1, many)
        shares[rows] = counted / counted.sum(axis=1, keepdims=True)

    for _ in map_blocks(block, block_slices(len(test), _ROWS)):
        pass
    return shares


@metric(version=1, reads={"embedding", "label", "test"}, learns=True, measures=PROBE_COLUMNS, random=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class KNNProbe:
    """Accuracy, macro-F1 and cross-entropy, on test rows, of a vote of the nearest chosen rows.

    Nothing is fitted, so it is quick and asks only whether the right rows are there. Training weights of the chosen
    rows count. A label without a chosen row is never predicted; probabilities are moved towards even ones as if by one
    row more, so that such a label does not make the cross-entropy infinite.

    References
    ----------
    Cover & Hart (1967), doi:10.1109/TIT.1967.1053964. Wu et al. (2018), arXiv:1805.01978.

    Deviations: rows that tie with the last neighbour vote too.
    """

    n_neighbors: Annotated[int, Ge(1)] = 20
    """How many of the nearest chosen rows vote."""

    temperature: Annotated[float, Gt(0)] = 0.07
    """A vote weighs exp(cosine / temperature): the lower, the more the nearest decide."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        def probe(x: Matrix, classes: Codes, weight: Vector, test: Matrix) -> tuple[Matrix, tuple[str, ...]]:
            return nearest_vote(
                x, classes, weight, test, n_neighbors=self.n_neighbors, temperature=self.temperature
            ), ()

        return evaluate_probe(trial, probe)
