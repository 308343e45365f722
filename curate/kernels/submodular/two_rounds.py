"""Selection in two rounds: from random partitions of the rows, then from the union of the answers.

The second round sees only the union. Each of its rows has a weight, the number of rows of its partition that it
represents, so that the coverage of the rows that are missing is estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.kernels.linalg.cosines import cosine_distances
from curate.kernels.parallel import block_slices
from curate.kernels.submodular import greedy
from curate.kernels.submodular.greedy import GreedyResult
from curate.kernels.submodular.objectives import Objective
from curate.kernels.submodular.similarities import Similarities, Worth
from curate.kernels.types import Indices, Matrix, Numbers, Rows, Vector

_RISES = 256  # rows of a graph processed at a time
_PAIRS = 8192  # pairs of rows whose cosines are computed at a time


def partition_rows(n: int, n_partitions: int, rng: np.random.Generator) -> tuple[Rows, ...]:
    """Split n rows at random into partitions of equal size, up to one row.

    Parameters
    ----------
    n : number of rows
    n_partitions : number of partitions, at least 1; with fewer rows, each row is a partition
    rng : random generator

    Returns
    -------
    ascending rows of each partition, none of them empty

    Examples
    --------
    >>> [rows.tolist() for rows in partition_rows(5, 2, np.random.default_rng(0))]
    [[2, 3, 4], [0, 1]]
    """
    parts = np.array_split(rng.permutation(n), min(n_partitions, n)) if n else []
    return tuple(np.sort(rows) for rows in parts)


class WeightedSimilarities:
    """Similarities of rows that count several times: ``weights`` (n,) float64, integers.

    A sum over rows i counts row i ``weights[i]`` times, so that facility location, saturated coverage and graph cut
    are those of a pool with that many copies of the row. Sums are exact, as those of integer multiples of 2^-24.
    """

    def __init__(self, similarities: Similarities, weights: Numbers) -> None:
        self.n = similarities.n
        self.similarities, self.weights = similarities, weights

    def row(self, row: int) -> tuple[Indices, Matrix]:
        return self.similarities.row(row)

    def sum_over_rows(self, rows: Indices, worth: Worth, *state: NDArray[np.floating]) -> Numbers:
        def weighted(s: Matrix, weights: Numbers, *rest: NDArray[np.floating]) -> NDArray[np.floating]:
            return weights * worth(s, *rest)

        return self.similarities.sum_over_rows(rows, weighted, self.weights, *state)

    def subtract_rises(self, gains: Numbers, rows: Indices, before: Matrix, after: Matrix) -> None:
        for block in block_slices(len(rows), _RISES):
            entries = [self.similarities.row(row) for row in rows[block].tolist()]
            lengths = [len(columns) for columns, _ in entries]
            columns = np.concatenate([columns for columns, _ in entries])
            values = np.concatenate([values for _, values in entries])
            rise = np.minimum(values, np.repeat(after[block], lengths)) - np.repeat(before[block], lengths)
            positive = np.flatnonzero(rise > 0)
            weights = np.repeat(self.weights[rows[block]], lengths)
            np.subtract.at(gains, columns[positive], weights[positive] * rise[positive])


def select_from_union(
    f: Objective, answers: Sequence[Rows], rows: Rows, budget: int, search: Callable[[Objective], GreedyResult]
) -> GreedyResult:
    """Search the union, and return its result or the best answer of the first round, whichever has the larger value.

    An answer with fewer rows than the budget is first completed from the union, by the lazy greedy.

    Parameters
    ----------
    f : objective with an empty set, on the rows of the union
    answers : rows of each answer of the first round, in the order taken
    rows : (m,) all rows of the union, ascending
    budget : number of rows to take
    search : function that maximizes an objective over sets of ``budget`` rows

    Returns
    -------
    indices : (budget,) rows in the order taken
    gains : (budget,) float64

    Notes
    -----
    Cost: that of the search, and budget gains for each answer.

    Guarantee: if the search has one for ``f``, so has the result. If, in addition, the value of a set does not depend
    on which other rows are in the union or in a partition, and each answer is that of the greedy on its partition, then
    for any partition into p parts the value is at least (1 − 1/e) / p of the optimum of all rows; in expectation over
    partitions that assign every row independently, at least (1 − 1/e) / 2.

    References
    ----------
    Mirzasoleiman et al. (2013), "Distributed submodular maximization", arXiv:1411.0541, Alg. 2; in expectation: Barbosa
    et al. (2015), "The power of randomization", arXiv:1502.02606, Alg. 1 and Theorem 1.
    """
    results = [search(f.fresh()), *(_complete(f.fresh(), answer, rows, budget) for answer in answers)]
    return max(results, key=lambda result: result[1].sum())


def _complete(f: Objective, answer: Rows, rows: Rows, budget: int) -> GreedyResult:
    gains = np.empty(len(answer))
    for step, row in enumerate(answer.tolist()):
        gains[step] = f.gains(answer[step : step + 1])[0]
        f.take(row)
    added, added_gains = greedy.lazy(f, np.setdiff1d(rows, answer), budget - len(answer))
    return np.concatenate((answer, added)), np.concatenate((gains, added_gains))


def compose_representatives(embeddings: Matrix, first: Rows, second: Rows, kept: Rows) -> tuple[Rows, Vector]:
    """Compute which kept row represents each row after both rounds, and how similar it is.

    It is the representative in the first round if that row was kept, otherwise the representative of that row in the
    second round. A row represents only rows whose cosine with it is above 0.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    first : (n,) row that represents each row in the first round: itself for rows of the union, -1 for none
    second : (n,) row that represents each row of the union in the second round, -1 for kept rows and for none
    kept : (k,) rows that were kept

    Returns
    -------
    representative : (n,) kept row, -1 for kept rows and for none
    similarity : (n,) float32, cosine similarity to that row, NaN if there is none

    Notes
    -----
    Cost: O(n d). A more similar kept row may exist.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    >>> first, second = np.array([1, 1, 2, 2]), np.array([-1, 2, -1, -1])
    >>> nearest, similarity = compose_representatives(x, first, second, np.array([2]))
    >>> nearest.tolist(), similarity.round(2).tolist()
    ([2, 2, -1, 2], [0.6000000238418579, 0.9599999785423279, nan, 0.800000011920929])
    """
    n = len(embeddings)
    to_kept = np.append(second, -1)  # -1 maps to -1
    to_kept[kept] = kept
    nearest: Rows = to_kept[first]
    nearest[kept] = -1
    similarity = np.full(n, np.nan, np.float32)
    represented = np.flatnonzero(nearest >= 0)
    for block in block_slices(len(represented), _PAIRS):
        rows = represented[block]
        cosines = np.einsum("ij,ij->i", embeddings[rows], embeddings[nearest[rows]])
        similarity[rows] = 1 - cosine_distances(cosines, embeddings, embeddings, rows, nearest[rows])
    unlike = similarity <= 0
    nearest[unlike], similarity[unlike] = -1, np.nan
    return nearest, similarity
