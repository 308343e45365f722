"""SemDeDup: of rows in one cluster that mean nearly the same, keep one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

from curate.errors import PluginError
from curate.kernels.linalg.cosines import normalize_rows, similarity_threshold
from curate.kernels.neighbors.cells import MAX_CLUSTER_ROWS, Cells, KeepOrder
from curate.kernels.neighbors.nearest_predecessor import most_similar_in_prefix, most_similar_predecessors
from curate.kernels.neighbors.retention import RecallSample, Retention
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Flags, Matrix, Rows, Vector
from curate.plugins.batches import Pool, PublishedRows
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_BLOCK = 1024  # rows: a product with 4096 sketches is 16 MiB
_COLUMN = "embedding"


def semdedup(
    embeddings: Matrix, cells: Cells, *, min_similarity: float, published: PublishedRows | None = None
) -> tuple[Flags, Rows, Vector]:
    """Semantic deduplication: drop a row if an earlier row is similar to it, in its own cell or another it looks into.

    All rows have one order. A row is dropped if its similarity to any earlier row, kept or not, is at least
    ``min_similarity``. What was published comes before all; every row looks at all of it.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cells : the order, and the rows of n that each looks at; see ``Cells.from_clusters``
    min_similarity : cosine in [-1, 1] from which two rows count as duplicates
    published : of a pool of which the new rows are in cells: m sketches

    Returns
    -------
    kept : (n,) bool
    representative : (n,) the kept row that stands for a dropped one: the most similar earlier kept row if that is a
        duplicate; else that of the most similar earlier row, and so on along the chain; n + j for the published row of
        sketch j; -1 for kept rows
    nearest : (n,) float32, cosine similarity to the most similar earlier row; -1 where there is none

    Cost: O(sum of n_c² d) time over cells of n_c rows, nearly all of it in products, times the cells that a row looks
    into; and O(n m d) for what was published. Memory: O(n), and 4 n_c d bytes and 2 MiB a thread, or one part of the
    sketches and 16 MiB a thread: no n_c × n_c matrix is built. Guarantee: no two rows that are kept and were compared
    are duplicates; of rows joined by pairs of duplicates, the first is kept. A row dropped at the end of a chain may be
    less similar to its representative than ``min_similarity``. Duplicates of which the later does not look into the
    cell of the earlier are not seen: ``missed_pairs`` tells how many.

    References
    ----------
    Abbas et al. (2023), SemDeDup, arXiv:2303.09540, section 3 and appendix A. Looking into several cells: Jégou, Douze
    & Schmid (2011), doi:10.1109/TPAMI.2010.57, section IV.

    Deviations: "at least" instead of "more than", with 1e-6 for rounding, so that 1 drops exact duplicates and nothing
    else. The mean of the rows at hand takes the place of the k-means centroid. More than the own cell, and what was
    published.

    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> cells = Cells.from_clusters(x, np.zeros(3, np.int32), np.zeros(3, np.float32), first="nearest")
    >>> kept, representative, _ = semdedup(x, cells, min_similarity=0.95)
    >>> kept.tolist(), representative.tolist()
    ([True, False, True], [-1, 0, -1])
    """
    n, threshold = len(embeddings), similarity_threshold(min_similarity)
    first = _Nearest(np.full(n, -np.inf, np.float32), np.full(n, -1, np.intp), cells.rank)
    if published is not None:
        first.offer_published(embeddings, np.flatnonzero(cells.cell >= 0), published, threshold)
    every, of_kept = first.copy(), first
    for found in most_similar_predecessors(embeddings, cells.rank, cells.groups(), threshold):
        every.offer(*found)
    kept = every.similarity < threshold
    kept[cells.copy_of >= 0] = False
    stands = every.row
    undecided = ~kept & (cells.cell >= 0)
    undecided[undecided] = ~_settled(stands[undecided], kept)
    if undecided.any():
        for found in most_similar_predecessors(embeddings, cells.rank, cells.groups(undecided, kept), threshold):
            of_kept.offer(*found)
        stands = np.where(undecided & (of_kept.row >= 0), of_kept.row, stands)
    similarity = np.maximum(every.similarity, -1)
    copies = np.flatnonzero(cells.copy_of >= 0)
    stands[copies], similarity[copies] = cells.copy_of[copies], 1
    return kept, _ends(stands, kept), similarity


@dataclass(frozen=True, slots=True)
class _Nearest:
    """Of each row the most similar one that was offered, ties to the first in order; published ones come first."""

    similarity: Vector
    row: Rows
    """-1 for one below the threshold; n + j for a published one."""

    rank: Rows

    def copy(self) -> _Nearest:
        return _Nearest(self.similarity.copy(), self.row.copy(), self.rank)

    def offer(self, rows: Rows, similarity: Vector, found: Rows) -> None:
        """To each of ``rows``, which are not twice among them."""
        n, old, before = len(self.rank), self.similarity[rows], self.row[rows]
        tie = (similarity == old) & (found >= 0) & (before >= 0) & (before < n)
        tie[tie] = self.rank[found[tie]] < self.rank[before[tie]]
        better = (similarity > old) | tie
        self.similarity[rows[better]], self.row[rows[better]] = similarity[better], found[better]

    def offer_published(self, embeddings: Matrix, rows: Rows, published: PublishedRows, threshold: float) -> None:
        """All sketches to each of ``rows``; one part of them in memory."""
        start = len(self.rank)
        for sketches in _sketches(published, embeddings.shape[1]):

            def search(block: slice, others: Matrix = sketches, start: int = start) -> tuple[Rows, Vector, Rows]:
                some = rows[block]
                all_of_them = np.full(len(some), len(others))
                similarity, place = most_similar_in_prefix(embeddings[some], others, all_of_them, threshold)
                return some, similarity, np.where(place >= 0, start + place, -1)

            for found in map_blocks(search, block_slices(len(rows), _BLOCK)):
                self.offer(*found)
            start += len(sketches)


def _settled(stands: Rows, kept: Flags) -> Flags:
    """Whether a row is a kept or a published one."""
    answer: Flags = (stands >= len(kept)) | kept[np.minimum(stands, len(kept) - 1)]
    return answer


def _ends(stands: Rows, kept: Flags) -> Rows:
    """Where each dropped row's chain ends, when ``stands`` tells the next of it; -1 for kept rows."""
    ends = np.where(kept, -1, stands)
    open_ended = np.flatnonzero(~kept)
    while len(open_ended := open_ended[~_settled(ends[open_ended], kept)]):
        ends[open_ended] = ends[ends[open_ended]]
    return ends


def _sketches(published: PublishedRows, dimensions: int) -> Iterator[Matrix]:
    """The vectors in each part, at unit length."""
    for part in published.sketches(_COLUMN):
        vectors = pc.list_flatten(part[_COLUMN]).to_numpy()
        if len(vectors) != len(part) * dimensions:
            raise PluginError(
                f"semdedup: vectors of what was published have {len(vectors) // len(part)} dimensions, those of the "
                f"pool {dimensions}",
                hint="embed what was published with the same model",
            )
        yield normalize_rows(vectors.reshape(-1, dimensions))  # sketches of earlier versions may be off


def missed_pairs(embeddings: Matrix, cells: Cells, min_similarity: float, rows: int) -> RecallSample | None:
    """How many pairs of duplicates are not compared, as a sample of rows tells that is held against all others.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cells : see ``Cells.from_clusters``; rows in none of them do not count
    min_similarity : cosine from which two rows are duplicates
    rows : size of the sample; the same rows for the same n

    Returns
    -------
    None if all rows in cells are compared with each other.

    Cost: O(n d) time for each row of the sample, memory of 1024 similarities for each, a thread.

    >>> x = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    >>> cells = Cells.from_clusters(x, np.array([0, 0, 1], np.int32), np.zeros(3, np.float32), first="nearest")
    >>> missed_pairs(x, cells, 0.95, 3)
    RecallSample(rows=3, pairs=2, missed=2)
    """
    inside = np.flatnonzero(cells.cell >= 0)
    sample = inside[np.sort(np.random.default_rng(0).permutation(len(inside))[:rows])]
    if cells.all_compared or not len(sample):
        return None
    queries = embeddings[sample]

    def count(block: slice) -> tuple[int, int]:
        others = inside[block]
        here, there = np.nonzero(embeddings[others] @ queries.T >= similarity_threshold(min_similarity))
        one, other = sample[there], others[here]
        pair = one != other
        return int(np.count_nonzero(pair)), int(np.count_nonzero(~cells.compared(one[pair], other[pair])))

    pairs, missed = np.sum(list(map_blocks(count, block_slices(len(inside), _BLOCK))), axis=0).tolist()
    return RecallSample(len(sample), pairs, missed)


def _similarities(embeddings: Matrix, representative: Rows, published: PublishedRows) -> Vector:
    """(n,) the cosine of each row to its representative, NaN where there is none."""
    n = len(embeddings)
    similarity = np.full(n, np.nan, np.float32)
    dropped = np.flatnonzero((representative >= 0) & (representative < n))
    for block in block_slices(len(dropped), _BLOCK):
        rows = dropped[block]
        similarity[rows] = np.einsum("ij,ij->i", embeddings[rows], embeddings[representative[rows]])
    start = n
    for sketches in _sketches(published, embeddings.shape[1]) if (representative >= n).any() else ():
        rows = np.flatnonzero((representative >= start) & (representative < start + len(sketches)))
        similarity[rows] = np.einsum("ij,ij->i", embeddings[rows], sketches[representative[rows] - start])
        start += len(sketches)
    return similarity


@selector(
    version=3,
    reads={"embedding", "cluster", "quality"},
    budgeted=False,
    random=False,
    sketch=(),
    cost="O(n s p d) for clusters of s rows, of which each row looks into p",
    guarantee="no two rows kept that were compared are duplicates, how many pairs are missed is measured",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SemDeDup:
    """Drop near-duplicates: rows whose embeddings are similar to one that comes before them.

    A row is compared with rows of its own cluster, and of those beside it. Each dropped row names the row that stands
    for it. The gain of a kept row is its cosine distance to the most similar earlier row, 2 if there is none.

    What is missed: duplicates of which the later row does not look into the cluster of the earlier. The more clusters
    it looks into and the higher the threshold, the fewer: of pairs of cosine 0.95 some 2 % lie across borders, and next
    to none are missed with 2 probes; at 0.8, where clusters overlap, a quarter can be with 2, one in twenty with 4 and
    one in a thousand with 8. Each run measures it on a sample of rows; the report tells. Rows without a cluster are one
    cluster. A cluster that is too large is cut into parts, and they are clusters to each other.

    Two rows that make up a cluster are equally far from its centre: the first in the pool is kept.

    References
    ----------
    Abbas et al. (2023), SemDeDup, arXiv:2303.09540; it has 1 probe.
    """

    min_similarity: Annotated[float, Ge(-1), Le(1)] = 0.95
    """Cosine similarity from which two rows count as duplicates; 1 drops exact duplicates only."""

    keep: KeepOrder = "farthest"
    """The row that comes first: farthest from its cluster's centre (as in the paper), nearest to it, or best."""

    n_probe: Annotated[int, Ge(1)] = 2
    """Clusters that a row looks into for duplicates: its own (as in the paper), and those whose centres are nearest to
    it. The time grows with it."""

    max_cluster_rows: Annotated[int, Ge(2)] | None = MAX_CLUSTER_ROWS
    """Clusters of more rows are split by k-means, so that their cost does not grow with the square of their rows; null:
    never."""

    sample_rows: Annotated[int, Ge(0)] = 1000
    """Rows that are compared with all others, to measure how many duplicates are missed; 0 does not measure."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        known = pool.published or PublishedRows.empty(len(pool))
        cells = Cells.from_clusters(
            pool.embeddings,
            pool.cluster,
            pool.quality,
            first=self.keep,
            n_probe=self.n_probe,
            max_cluster_rows=self.max_cluster_rows,
            rows=known.new_rows,
        )
        _, representative, nearest = semdedup(
            pool.embeddings, cells, min_similarity=self.min_similarity, published=known
        )
        similarity = _similarities(pool.embeddings, representative, known)
        sample = missed_pairs(pool.embeddings, cells, self.min_similarity, self.sample_rows)
        retention = Retention("cosine similarity", self.min_similarity, nearest, sample=sample)
        reason = f"near-duplicate (similarity at least {self.min_similarity:g})"
        return Selection.from_representatives(representative, similarity, 1 - nearest, reason, retention)

    def sketch(self, pool: Pool) -> pa.Table:
        """The vector of each row."""
        values = pa.array(pool.embeddings.ravel())
        return pa.table({_COLUMN: pa.FixedSizeListArray.from_arrays(values, pool.embeddings.shape[1])})
