"""SemDeDup: of rows in one cluster that mean nearly the same, keep one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from curate.kernels.parallel import map_blocks, ranges
from curate.plugins.kinds import selector
from curate.plugins.pool import Codes, Matrix, Pool, Rows, Selection, Vector
from curate.plugins.retention import Retention

First = Literal["farthest", "nearest", "best_quality"]

_BLOCK = 1024  # rows: a product of two blocks is 4 MiB
_ROUNDING = 1e-6  # the float32 similarity of two equal rows may be this much less than 1


def semdedup(
    embeddings: Matrix, cluster: Codes, quality: Vector, *, min_similarity: float, first: First
) -> tuple[NDArray[np.bool_], Rows, Vector]:
    """Semantic deduplication: drop a row if an earlier row of its cluster is similar to it.

    The rows of a cluster are put in order. A row is dropped if its similarity to any earlier row, kept or not, is at
    least ``min_similarity``.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; rows of cluster -1 are compared with nothing and kept
    quality : (n,) float32, higher = keep; read if ``first`` is "best_quality"
    min_similarity : cosine in [-1, 1] from which two rows count as duplicates
    first : the order in a cluster, ties to the lowest index: "farthest" from the cluster's mean direction (the paper's
        choice, which keeps hard rows), "nearest" to it, or "best_quality"

    Returns
    -------
    kept : (n,) bool
    representative : (n,) the kept row that stands for a dropped one: the most similar earlier kept row if that is a
        duplicate; else that of the most similar earlier row, and so on along the chain; -1 for kept rows
    nearest : (n,) float32, cosine similarity to the most similar earlier row; -1 where there is none

    Cost: O(sum of n_c² d) time over clusters of n_c rows; memory O(n), and 16 MB + 8 n_c d bytes a thread: no n_c × n_c
    matrix is built. Guarantee: no two rows of a cluster that are both kept are duplicates. A row dropped at the end of
    a chain may be less similar to its representative than ``min_similarity``. Duplicates in different clusters are not
    seen: with clusters of some 200 rows these are about 3 % of all pairs.

    References
    ----------
    Abbas et al. (2023), SemDeDup, arXiv:2303.09540, section 3 and appendix A.

    Deviations: "at least" instead of "more than", with 1e-6 for rounding, so that 1 drops exact duplicates and nothing
    else. The mean of the rows at hand takes the place of the k-means centroid. Rows are scaled to unit length again,
    because storage in float16 rounds them.

    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> one, zero = np.zeros(3, np.int32), np.zeros(3, np.float32)
    >>> kept, representative, _ = semdedup(x, one, zero, min_similarity=0.95, first="nearest")
    >>> kept.tolist(), representative.tolist()
    ([True, False, True], [-1, 0, -1])
    """
    n = len(embeddings)
    kept = np.ones(n, np.bool_)
    representative = np.full(n, -1, np.intp)
    nearest = np.full(n, -1, np.float32)
    rows = np.argsort(cluster, kind="stable")
    rows = rows[np.searchsorted(cluster[rows], 0) :]
    borders = np.flatnonzero(np.diff(cluster[rows])) + 1

    def search(members: Rows) -> None:
        x = embeddings[members]
        x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
        ordered = _ordered(x, quality[members], first)
        members = members[ordered]
        kept[members], stands, nearest[members] = _deduplicate(x[ordered], min_similarity - _ROUNDING)
        representative[members] = np.where(stands >= 0, members[stands], -1)

    for _ in map_blocks(search, (members for members in np.split(rows, borders) if len(members) > 1)):
        pass
    return kept, representative, nearest


def _ordered(x: Matrix, quality: Vector, first: First) -> Rows:
    """The order in which the rows of one cluster are looked at."""
    if first == "best_quality":
        return np.argsort(-quality, kind="stable")
    if len(x) == 2:  # equally far from their mean, but for rounding
        return np.arange(2)
    to_mean = np.einsum("ij,j->i", x, x.mean(axis=0))  # the mean's length changes no order
    return np.argsort(to_mean if first == "farthest" else -to_mean, kind="stable")


def _deduplicate(x: Matrix, threshold: float) -> tuple[NDArray[np.bool_], Rows, Vector]:
    """Kept, representative and nearest, as in ``semdedup``, for the ordered rows of one cluster."""
    n = len(x)
    kept = np.zeros(n, np.bool_)
    stands, nearest = np.full(n, -1, np.intp), np.empty(n, np.float32)
    for block in ranges(n, _BLOCK):
        rows = np.arange(block.start, block.stop)
        earlier, nearest[block] = _most_similar(x, rows, np.ones(n, np.bool_))
        kept[block] = nearest[block] < threshold
        dropped = rows[~kept[block]]
        if len(dropped):
            of_kept, similarity = _most_similar(x, dropped, kept)
            stands[dropped] = np.where(similarity >= threshold, of_kept, earlier[dropped - block.start])
    for row in np.flatnonzero(~kept):
        stands[row] = stands[row] if kept[stands[row]] else stands[stands[row]]
    return kept, stands, np.maximum(nearest, -1)


def _most_similar(x: Matrix, rows: Rows, among: NDArray[np.bool_]) -> tuple[Rows, Vector]:
    """The earlier row, of those in ``among``, that is most similar to each of ``rows``, which ascend;
    -1 and -inf for none.
    """
    found, best = np.full(len(rows), -1, np.intp), np.full(len(rows), -np.inf, np.float32)
    for others in ranges(int(rows[-1]) + 1, _BLOCK):
        similarity = x[rows] @ x[others].T
        columns = np.arange(others.start, others.stop)
        if others.stop > rows[0] or not among[others].all():
            np.copyto(similarity, -np.inf, where=(columns >= rows[:, None]) | ~among[others])
        column = similarity.argmax(axis=1)
        largest = similarity[np.arange(len(rows)), column]
        better = largest > best
        best[better], found[better] = largest[better], column[better] + others.start
    return found, best


@selector(
    version=1,
    reads={"embedding", "cluster", "quality"},
    budgeted=False,
    random=False,
    cost="O(n s d) for clusters of s rows",
    guarantee="no two rows kept of a cluster are duplicates",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SemDeDup:
    """Drop near-duplicates: rows of a cluster whose embeddings are similar to one that comes before them.

    Each dropped row names the row that stands for it. The gain of a kept row is its cosine distance to the most similar
    earlier row of its cluster, 2 if there is none. Duplicates on two sides of a cluster's border are missed. Two rows
    that make up a cluster are equally far from its centre: the first in the pool is kept.

    References
    ----------
    Abbas et al. (2023), SemDeDup, arXiv:2303.09540.
    """

    min_similarity: Annotated[float, Ge(-1), Le(1)] = 0.95
    """Cosine similarity from which two rows count as duplicates; 1 drops exact duplicates only."""

    first: First = "farthest"
    """The row that comes first: farthest from its cluster's centre (as in the paper), nearest to it, or best."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        kept, representative, nearest = semdedup(
            pool.embeddings, pool.cluster, pool.quality, min_similarity=self.min_similarity, first=self.first
        )
        order, dropped = np.flatnonzero(kept), np.flatnonzero(~kept)
        similarity = np.full(len(pool), np.nan, np.float32)
        for block in ranges(len(dropped), _BLOCK):
            rows = dropped[block]
            pairs = pool.embeddings[rows], pool.embeddings[representative[rows]]
            similarity[rows] = np.einsum("ij,ij->i", *pairs)
        return Selection(
            order,
            1 - nearest[order],
            reasons=(f"near-duplicate (similarity at least {self.min_similarity:g})",),
            representative=representative,
            similarity=similarity,
            retention=Retention("cosine similarity", self.min_similarity, nearest),
        )
