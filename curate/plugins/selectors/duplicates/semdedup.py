"""SemDeDup: of rows in one cluster with nearly the same embedding, one is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

from curate.errors import PluginError
from curate.kernels.linalg.cosines import normalize_rows, similarity_threshold
from curate.kernels.neighbors.cells import MAX_CLUSTER_ROWS, Cells, KeepOrder, SplitClusters
from curate.kernels.neighbors.nearest_predecessor import (
    Nearest,
    most_similar_in_prefix,
    most_similar_predecessors,
)
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
    """Run semantic deduplication: drop a row if an earlier row in a cell that it searches is similar.

    All rows have one order. A row is dropped if its similarity to any earlier row, kept or not, is at least
    ``min_similarity``. Published rows come before all others; every row is compared with all of them.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cells : defines the order, and the rows that each row is compared with; see ``Cells.from_clusters``
    min_similarity : cosine in [-1, 1] from which two rows count as duplicates
    published : m sketches of published rows, for a pool whose new rows are in cells

    Returns
    -------
    kept : (n,) bool
    representative : (n,) the kept row that represents a dropped one: the most similar earlier kept row if it is a
        duplicate; otherwise that of the most similar earlier row, and so on along the chain; n + j for the published
        row of sketch j; -1 for kept rows
    nearest : (n,) float32, cosine similarity to the most similar earlier row; -1 if there is none

    Notes
    -----
    Cost: O(sum of n_c² d) time over cells of n_c rows, nearly all of it in products, times the number of cells that a
    row searches; and O(n m d) for published rows. Memory: O(n), and 4 n_c d bytes and 3 MiB a thread, or one part of
    the sketches and 16 MiB a thread: no n_c × n_c matrix is built.

    Guarantee: no two kept rows that were compared are duplicates; of rows connected by pairs of duplicates, the first
    is kept. A row dropped at the end of a chain may be less similar to its representative than ``min_similarity``.
    Duplicates are missed if the later row does not search the cell of the earlier one: ``missed_pairs`` measures how
    many.

    Deviations: "at least" instead of "more than", with 1e-6 for rounding, so that 1 drops exact duplicates only. The
    mean of the current rows replaces the k-means centroid. Several cells are searched, and published rows.

    References
    ----------
    Abbas et al. (2023), SemDeDup, arXiv:2303.09540, section 3 and appendix A. Search in several cells: Jégou, Douze &
    Schmid (2011), doi:10.1109/TPAMI.2010.57, section IV.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> cells = Cells.from_clusters(x, np.zeros(3, np.int32), np.zeros(3, np.float32), first="nearest")
    >>> kept, representative, _ = semdedup(x, cells, min_similarity=0.95)
    >>> kept.tolist(), representative.tolist()
    ([True, False, True], [-1, 0, -1])
    """
    threshold = similarity_threshold(min_similarity)
    nearest_published = Nearest.empty(cells.rank)
    if published is not None:
        _offer_published(nearest_published, embeddings, np.flatnonzero(cells.cell >= 0), published, threshold)

    def search_kept(queries: Flags, members: Flags) -> Nearest:
        return search(embeddings, cells, threshold, nearest_published, queries, members)

    return decide(cells, search(embeddings, cells, threshold, nearest_published.copy()), search_kept, threshold)


def search(
    embeddings: Matrix,
    cells: Cells,
    threshold: float,
    nearest: Nearest,
    queries: Flags | None = None,
    members: Flags | None = None,
) -> Nearest:
    """Update the most similar earlier row of each row, and return ``nearest``; see ``Cells.iter_groups`` for masks."""
    groups = cells.iter_groups(queries, members)
    for matches in most_similar_predecessors(embeddings, cells.rank, groups, threshold):
        nearest.offer(*matches)
    return nearest


def decide(
    cells: Cells, nearest: Nearest, search_kept: Callable[[Flags, Flags], Nearest], threshold: float
) -> tuple[Flags, Rows, Vector]:
    """Decide which rows are kept, from the most similar earlier row of each; see ``semdedup``.

    Parameters
    ----------
    cells : cells of the n rows
    nearest : most similar earlier or published row of each row
    search_kept : function of two masks (n,) that searches for some rows, among some rows only
    threshold : similarity from which two rows are duplicates
    """
    kept = nearest.similarity < threshold
    kept[cells.copy_of >= 0] = False
    representative = nearest.row
    is_undecided = ~kept & (cells.cell >= 0)
    is_undecided[is_undecided] = ~_is_final(representative[is_undecided], kept)
    if is_undecided.any():
        nearest_kept = search_kept(is_undecided, kept)
        representative = np.where(is_undecided & (nearest_kept.row >= 0), nearest_kept.row, representative)
    similarity = np.maximum(nearest.similarity, -1)
    copies = np.flatnonzero(cells.copy_of >= 0)
    representative[copies], similarity[copies] = cells.copy_of[copies], 1
    return kept, _chain_ends(representative, kept), similarity


def _offer_published(
    nearest: Nearest, embeddings: Matrix, rows: Rows, published: PublishedRows, threshold: float
) -> None:
    """Offer all sketches to each of ``rows``, with one part of them in memory."""
    start = len(nearest.rank)
    for sketches in _sketches(published, embeddings.shape[1]):

        def search_block(
            block: slice, sketch_block: Matrix = sketches, start: int = start
        ) -> tuple[Rows, Vector, Rows]:
            block_rows = rows[block]
            prefix_lengths = np.full(len(block_rows), len(sketch_block))
            similarity, positions = most_similar_in_prefix(
                embeddings[block_rows], sketch_block, prefix_lengths, threshold
            )
            return block_rows, similarity, np.where(positions >= 0, start + positions, -1)

        for matches in map_blocks(search_block, block_slices(len(rows), _BLOCK)):
            nearest.offer(*matches)
        start += len(sketches)


def _is_final(representative: Rows, kept: Flags) -> Flags:
    """Return which representatives are kept or published rows."""
    result: Flags = (representative >= len(kept)) | kept[np.minimum(representative, len(kept) - 1)]
    return result


def _chain_ends(representative: Rows, kept: Flags) -> Rows:
    """Follow each dropped row's chain of representatives to its end; -1 for kept rows."""
    ends = np.where(kept, -1, representative)
    open_rows = np.flatnonzero(~kept)
    while len(open_rows := open_rows[~_is_final(ends[open_rows], kept)]):
        ends[open_rows] = ends[ends[open_rows]]
    return ends


def _sketches(published: PublishedRows, dimensions: int) -> Iterator[Matrix]:
    """Yield the vectors of each part, at unit length."""
    for part in published.sketches(_COLUMN):
        vectors = pc.list_flatten(part[_COLUMN]).to_numpy()
        if len(vectors) != len(part) * dimensions:
            raise PluginError(
                f"semdedup: published vectors have {len(vectors) // len(part)} dimensions, those of the "
                f"pool {dimensions}",
                hint="embed the pool with the model of the published rows",
            )
        yield normalize_rows(vectors.reshape(-1, dimensions))  # sketches of earlier versions may not have unit length


def missed_pairs(embeddings: Matrix, cells: Cells, min_similarity: float, rows: int) -> RecallSample | None:
    """Estimate the number of duplicate pairs that are not compared, from a sample of rows compared with all others.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cells : see ``Cells.from_clusters``; rows in no cell do not count
    min_similarity : cosine from which two rows are duplicates
    rows : size of the sample; the same rows for the same n

    Returns
    -------
    RecallSample, or None if all rows in cells are compared with each other

    Notes
    -----
    Cost: O(n d) time for each row of the sample, memory of 1024 similarities for each, a thread.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    >>> cells = Cells.from_clusters(x, np.array([0, 0, 1], np.int32), np.zeros(3, np.float32), first="nearest")
    >>> missed_pairs(x, cells, 0.95, 3)
    RecallSample(rows=3, pairs=2, missed=2)
    """
    sample = draw_sample(cells, rows)
    if not len(sample):
        return None
    in_cells, threshold = np.flatnonzero(cells.cell >= 0), similarity_threshold(min_similarity)
    blocks = (in_cells[block] for block in block_slices(len(in_cells), _BLOCK))
    queries = embeddings[sample]

    def find(others: Rows) -> tuple[Rows, Rows]:
        other, position = similar_pairs(embeddings[others], queries, threshold)
        return others[other], sample[position]

    found = list(map_blocks(find, blocks))
    return count_missed(cells, sample, *(np.concatenate(part) for part in zip(*found, strict=True)))


def draw_sample(cells: Cells, rows: int) -> Rows:
    """Draw at most ``rows`` rows that are in cells; none if all rows in cells are compared with each other."""
    in_cells = np.flatnonzero(cells.cell >= 0)
    if cells.all_compared:
        return in_cells[:0]
    sample: Rows = in_cells[np.sort(np.random.default_rng(0).permutation(len(in_cells))[:rows])]
    return sample


def similar_pairs(x: Matrix, queries: Matrix, threshold: float) -> tuple[Rows, Rows]:
    """Return the rows of ``x`` and of ``queries`` whose similarity is at least ``threshold``, pair by pair."""
    row, query = np.nonzero(x @ queries.T >= threshold)
    return row, query


def count_missed(cells: Cells, sample: Rows, a: Rows, b: Rows) -> RecallSample:
    """Count the pairs of similar rows that are not compared; a row paired with itself does not count."""
    is_pair = a != b
    missed = ~cells.are_compared(a[is_pair], b[is_pair])
    return RecallSample(len(sample), int(np.count_nonzero(is_pair)), int(np.count_nonzero(missed)))


def _similarities(embeddings: Matrix, representative: Rows, published: PublishedRows) -> Vector:
    """Compute the cosine of each row to its representative (n,), NaN if there is none."""
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
    version=4,
    scope="group",
    reads={"embedding", "cluster", "quality"},
    budgeted=False,
    random=False,
    sketch=(),
    cost="O(n s p d) for p searched clusters of s rows",
    guarantee="no two kept rows that were compared are duplicates; the rate of missed pairs is measured",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SemDeDup:
    """Drop near-duplicates: rows whose embeddings are similar to an earlier row.

    Use it after ``exact_duplicates`` and ``minhash`` for paraphrases and other near-duplicates in meaning, with a good
    embedder. Check dropped pairs in the report before you lower the threshold: topics are similar too.

    A row is compared with rows of the same cluster, and of nearby clusters. Each dropped row names its representative.
    The gain of a kept row is its cosine distance to the most similar earlier row, 2 if there is none.

    Duplicates are missed if the later row does not search the cluster of the earlier one. The more clusters it searches
    and the higher the threshold, the fewer: of pairs of cosine 0.95 some 2 % cross cluster borders, and almost none are
    missed with ``n_probe: 2``; at 0.8, where clusters overlap, a quarter can be missed with 2, one in twenty with 4 and
    one in a thousand with 8. Each run measures this on a sample of rows, and the report shows it. Rows without a
    cluster form one cluster. A cluster that is too large is split into parts, which are treated as clusters.

    In a cluster of two, both rows are equally far from its center: the first in the pool is kept.

    References
    ----------
    Abbas et al. (2023), SemDeDup, arXiv:2303.09540, which searches a single cluster.
    """

    min_similarity: Annotated[float, Ge(-1), Le(1)] = 0.95
    """Cosine similarity from which two rows count as duplicates; 1 drops exact duplicates only."""

    keep: KeepOrder = "farthest"
    """Row to keep: farthest from its cluster's center (as in the paper), nearest to it, or of best quality."""

    n_probe: Annotated[int, Ge(1)] = 2
    """Number of clusters searched for duplicates of a row: its own (as in the paper), and those whose centers are
    nearest to it. The time is proportional to it."""

    max_cluster_rows: Annotated[int, Ge(2)] | None = MAX_CLUSTER_ROWS
    """Maximum number of rows of a cluster; larger ones are split by k-means, so that the cost is not quadratic in their
    size; null: never."""

    sample_rows: Annotated[int, Ge(0)] = 1000
    """Number of rows compared with all others, to measure how many duplicates are missed; 0 disables it."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        published = pool.published or PublishedRows.empty(len(pool))
        cells = Cells.from_clusters(
            pool.embeddings,
            pool.cluster,
            pool.quality,
            first=self.keep,
            n_probe=self.n_probe,
            max_cluster_rows=self.max_cluster_rows,
            rows=published.new_rows,
        )
        _, representative, nearest = semdedup(
            pool.embeddings, cells, min_similarity=self.min_similarity, published=published
        )
        similarity = _similarities(pool.embeddings, representative, published)
        sample = missed_pairs(pool.embeddings, cells, self.min_similarity, self.sample_rows)
        return self.conclude(representative, similarity, nearest, sample)

    def split(self, pool: Pool) -> SplitClusters:
        """Split complete clusters into cells."""
        rows = np.arange(len(pool))
        return SplitClusters.from_clusters(
            pool.embeddings, pool.cluster, pool.quality, self.keep, self.max_cluster_rows, rows
        )

    def search(
        self, embeddings: Matrix, cells: Cells, queries: Flags | None = None, members: Flags | None = None
    ) -> Nearest:
        """Find the most similar earlier row of each row in complete cells, restricted to some rows by masks."""
        threshold = similarity_threshold(self.min_similarity)
        return search(embeddings, cells, threshold, Nearest.empty(cells.rank), queries, members)

    def draw_sample(self, cells: Cells) -> Rows:
        """Draw rows to compare with all others; none if all rows are compared anyway."""
        return draw_sample(cells, self.sample_rows)

    def count_missed(self, cells: Cells, sample: Rows, a: Rows, b: Rows) -> RecallSample:
        """Count the pairs of similar rows a and b (in the sample) that are not compared."""
        return count_missed(cells, sample, a, b)

    def find_pairs(self, embeddings: Matrix, sample: Matrix) -> tuple[Rows, Rows]:
        """Return the rows of both that are duplicates, pair by pair."""
        threshold = similarity_threshold(self.min_similarity)
        parts = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
        for block in block_slices(len(embeddings), _BLOCK):
            row, query = similar_pairs(embeddings[block], sample, threshold)
            parts.append((block.start + row, query))
        rows, queries = (np.concatenate(part) for part in zip(*parts, strict=True))
        return rows, queries

    def decide(
        self, cells: Cells, nearest: Nearest, search_kept: Callable[[Flags, Flags], Nearest]
    ) -> tuple[Flags, Rows, Vector]:
        """Return which rows are kept, their representatives, and the similarity to the most similar earlier row."""
        return decide(cells, nearest, search_kept, similarity_threshold(self.min_similarity))

    def conclude(
        self, representative: Rows, similarity: Vector, nearest: Vector, sample: RecallSample | None
    ) -> Selection:
        """Return the selection of the rows without a representative."""
        retention = Retention("cosine similarity", self.min_similarity, nearest, sample=sample)
        reason = f"near-duplicate (similarity at least {self.min_similarity:g})"
        return Selection.from_representatives(representative, similarity, 1 - nearest, reason, retention)

    def sketch(self, pool: Pool) -> pa.Table:
        """Return the vector of each row."""
        values = pa.array(pool.embeddings.ravel())
        return pa.table({_COLUMN: pa.FixedSizeListArray.from_arrays(values, pool.embeddings.shape[1])})
