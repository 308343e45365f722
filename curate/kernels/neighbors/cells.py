"""Search cells for near-duplicates: which rows are compared, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from curate.kernels.clustering.lloyd import assign
from curate.kernels.clustering.spherical_kmeans import default_n_clusters, spherical_kmeans
from curate.kernels.neighbors.equal_rows import first_equal_rows
from curate.kernels.neighbors.knn import EXACT_ROWS, knn
from curate.kernels.neighbors.nearest_predecessor import most_similar_predecessors
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Flags, Matrix, Numbers, Rows, Vector, Vectors

KeepOrder = Literal["farthest", "nearest", "best_quality"]

MAX_CLUSTER_ROWS = 20_000
"""Default maximum number of rows in a cell; comparing this many rows with each other takes two seconds."""

_NEARBY = 32  # cells of similar mean, among which the probed cells of a row are chosen
_ITERATIONS = 10  # of k-means; the exact split of a large cluster matters little
_ROWS = 65_536
_BLOCK_ROWS = 4_096  # rows of the cells that a thread processes at a time


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of n rows, and the cells that each row searches.

    A row of cell -1 is in no cell and is not compared.
    """

    cell: Codes
    """Cell of each row, (n,) int32; -1 for none."""

    probed_cells: Codes
    """Cells that each row searches, (n, n_probe) int32, its own first; -1 for unused entries."""

    rank: Rows
    """Position of each row in the order of comparison, (n,); a row is compared with rows of lower rank."""

    copy_of: Rows
    """Row with the same vector that represents this one in comparisons, (n,); -1 for none."""

    @classmethod
    def from_clusters(
        cls,
        embeddings: Matrix,
        cluster: Codes,
        quality: Vector,
        *,
        first: KeepOrder,
        n_probe: int = 1,
        max_cluster_rows: int | None = MAX_CLUSTER_ROWS,
        rows: Rows | None = None,
    ) -> Cells:
        """Convert clusters to cells, and split large ones.

        In a cluster of more than ``max_cluster_rows`` rows, copies of one vector are reduced to one row. If it is still
        too large, k-means splits it into parts of about half the maximum, and splits parts that are still too large
        again. Rows so similar that k-means leaves most of them in one part are split in pool order.

        Parameters
        ----------
        embeddings : (n, d) float32, rows of unit length
        cluster : (n,) int32; rows of cluster -1 form a cluster
        quality : (n,) float32, higher = keep; read if ``first`` is "best_quality"
        first : comparison order, ties to the lowest index: "farthest" from or "nearest" to the mean direction of the
            row's cell, or "best_quality". The two rows of a cell of two are equally far.
        n_probe : number of cells that a row searches: its own, and those whose mean directions are most similar to it.
            They are chosen from the 32 (or ``n_probe`` - 1) cells whose means are similar to that of the row's cell.
        max_cluster_rows : maximum number of rows in a cell; None for no limit
        rows : (m,) ascending, the rows to put into cells; None = all

        Returns
        -------
        Cells

        Notes
        -----
        Cost: O(m d) time, and O(k² d + 32 m d) for k cells if ``n_probe`` is above 1; k-means on large clusters.
        Memory: O(m n_probe + k d) and one cell, or 65,536 rows of a large cluster.

        Examples
        --------
        >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
        >>> arguments = {"cluster": np.array([0, 0, 1, 1], np.int32), "quality": np.arange(4, dtype=np.float32)}
        >>> cells = Cells.from_clusters(x, **arguments, first="best_quality", n_probe=2)
        >>> cells.rank.tolist(), cells.probed_cells.tolist()
        ([3, 2, 1, 0], [[0, 1], [0, 1], [1, 0], [1, 0]])
        """
        rows = np.arange(len(embeddings)) if rows is None else rows
        split = SplitClusters.from_clusters(embeddings, cluster, quality, first, max_cluster_rows, rows)
        nearby = split.nearby(n_probe)
        probed_cells = split.probe(embeddings, np.arange(split.n_cells), split.means, nearby, n_probe)
        return cls(split.cell, probed_cells, rank_rows(split.sort_keys(quality, first), split.cell), split.copy_of)

    @property
    def all_compared(self) -> bool:
        """Whether every two rows that are in cells are compared."""
        return len(self.cell) == 0 or bool(self.cell.max() < self.probed_cells.shape[1])

    def iter_groups(
        self, query_mask: Flags | None = None, member_mask: Flags | None = None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Yield the members of each cell and the rows that search it, both by rank.

        Parameters
        ----------
        query_mask : (n,) restricts the rows that search; None = all
        member_mask : (n,) restricts the members; None = all

        Yields
        ------
        members, queries : row indices; the same array twice if each row searches only its own cell and there are no
            masks

        Notes
        -----
        Cells without members or without queries are skipped.
        """
        member_groups = _iter_groups(*self._sorted_by_cell(self.probed_cells[:, 0], member_mask))
        if self.probed_cells.shape[1] == 1 and member_mask is None and query_mask is None:
            yield from ((rows, rows) for _, rows in member_groups if len(rows) > 1)
            return
        query_groups = dict(_iter_groups(*self._sorted_by_cell(self.probed_cells, query_mask)))
        yield from ((rows, query_groups[code]) for code, rows in member_groups if code in query_groups)

    def _sorted_by_cell(self, codes: Codes, mask: Flags | None) -> tuple[Rows, Codes]:
        """Return rows, once for each code they have, sorted by code and then by rank, and the codes."""
        selected = codes >= 0 if mask is None else (codes >= 0) & (mask if codes.ndim == 1 else mask[:, None])
        in_cells = np.flatnonzero(self.rank >= 0)
        by_rank = np.empty(len(in_cells), np.intp)
        by_rank[self.rank[in_cells]] = in_cells
        selected, codes = selected[by_rank], codes[by_rank]
        rows, codes = by_rank[np.nonzero(selected)[0]], codes[selected]
        order = _stable_order(codes)
        return rows[order], codes[order]

    def are_compared(self, a: Rows, b: Rows) -> Flags:
        """Return which pairs of rows are compared: the later row must search the cell of the earlier one."""
        a_first = self.rank[a] < self.rank[b]
        later, earlier = np.where(a_first, b, a), np.where(a_first, a, b)
        result: Flags = (self.probed_cells[later] == self.cell[earlier][:, None]).any(axis=1)
        return result


@dataclass(frozen=True, slots=True)
class SplitClusters:
    """Cells that result from complete clusters of a pool of n rows, numbered by cluster and by their first rows."""

    cell: Codes
    """Cell of each row, (n,) int32; -1 for none."""

    copy_of: Rows
    """Row with the same vector that represents this one, (n,); -1 for none."""

    similarity: Numbers
    """Cosine of each row to the mean direction of its cell, (n,) float64; 0 for rows in no cell."""

    means: Matrix
    """Mean directions of the cells, (k, d) float32."""

    @classmethod
    def from_clusters(
        cls,
        embeddings: Matrix,
        cluster: Codes,
        quality: Vector,
        first: KeepOrder,
        max_cluster_rows: int | None,
        rows: Rows,
    ) -> SplitClusters:
        """Split clusters; see ``Cells.from_clusters``. The cells of one cluster do not depend on other clusters."""
        n = len(embeddings)
        codes = np.unique(cluster[rows], return_inverse=True)[1].astype(np.int32)
        copy_of = np.full(n, -1, np.intp)
        if max_cluster_rows is not None:
            key = -quality if first == "best_quality" else np.zeros_like(quality)
            for code in np.flatnonzero(np.bincount(codes) > max_cluster_rows):
                members = rows[codes == code]
                representatives = first_equal_rows(embeddings, members, key[members])
                copy_of[members] = np.where(representatives == members, -1, representatives)
            remaining = copy_of[rows] < 0
            rows = rows[remaining]
            codes = _split_large(embeddings, rows, codes[remaining], max_cluster_rows)
        cell = np.full(n, -1, np.int32)
        first_of_cell = rows[np.unique(codes, return_index=True)[1]]
        cell[rows] = np.argsort(number_cells(first_of_cell, cluster[first_of_cell]))[codes]
        return cls(cell, copy_of, *_mean_similarities(embeddings, _group_by_cell(rows, cell[rows])))

    @property
    def n_cells(self) -> int:
        """Number of cells, k."""
        return len(self.means)

    def sort_keys(self, quality: Vector, first: KeepOrder) -> Numbers:
        """Return the keys by which rows are compared, the lowest first, (n,) float64."""
        if first == "best_quality":
            return -quality.astype(np.float64)
        return self.similarity if first == "farthest" else -self.similarity

    def nearby(self, n_probe: int) -> Codes:
        """Return the cells of similar means among which a row of each cell finds those that it searches, (k, m)."""
        return nearby_cells(self.means, n_probe)

    def probe(self, embeddings: Matrix, numbers: Rows, means: Matrix, nearby: Codes, n_probe: int) -> Codes:
        """Find the cells that each row searches, its own first; (n, n_probe) or, with fewer cells, fewer columns.

        Parameters
        ----------
        embeddings : (n, d) float32, rows of unit length
        numbers : (k,) numbers of these cells among all cells
        means : mean directions of all cells
        nearby : cells near each cell, as ``nearby_cells`` returns them for all cells
        n_probe : number of cells to search
        """
        rows = np.flatnonzero(self.cell >= 0)
        probed = np.full((len(self.cell), max(1, min(n_probe, len(means)))), -1, np.int32)
        probed[rows, 0] = numbers[self.cell[rows]]
        n_others = probed.shape[1] - 1
        if n_others < 1:
            return probed
        rows_by_cell = _group_by_cell(rows, self.cell[rows])

        def process(codes: range) -> None:
            for code in codes:
                members, candidates = rows_by_cell[code], nearby[numbers[code]]
                similarity = embeddings[members] @ means[candidates].T
                if n_others == 1:  # four times faster
                    best = similarity.argmax(axis=1)[:, None]
                else:
                    best = np.argpartition(-similarity, n_others - 1, axis=1)[:, :n_others]
                probed[members, 1:] = candidates[best]

        for _ in map_blocks(process, _cell_blocks(rows_by_cell)):
            pass
        return probed


def number_cells(first_rows: Rows, cluster: Codes) -> Rows:
    """Return the cells in the order of their numbers: by cluster, and by first row in a cluster.

    Parameters
    ----------
    first_rows : (k,) lowest row of each cell
    cluster : (k,) cluster of each cell
    """
    return np.lexsort((first_rows, cluster))


def nearby_cells(means: Matrix, n_probe: int) -> Codes:
    """Return the cells whose means are most similar to that of each cell, (k, m): 32, or ``n_probe`` - 1 if more."""
    n_nearby = min(len(means) - 1, max(_NEARBY, n_probe - 1))
    if n_nearby < 1 or n_probe == 1:
        return np.zeros((len(means), 0), np.int32)
    return _nearest_means(means, n_nearby)


def rank_rows(keys: Numbers, cell: Codes) -> Rows:
    """Return the position of each row in a cell in the order of ``keys``, ties to the lowest row; -1 for others."""
    rows = np.flatnonzero(cell >= 0)
    rank = np.full(len(cell), -1, np.intp)
    rank[rows[np.argsort(keys[rows], kind="stable")]] = np.arange(len(rows))
    return rank


def similarity_to_earlier(embeddings: Matrix, cells: Cells) -> Vector:
    """Compute the similarity of each row to the most similar earlier row that it is compared with.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cells : defines the order and the comparisons

    Returns
    -------
    (n,) float32 cosine; 1 for a copy of an earlier row, -1 for rows without an earlier row

    Notes
    -----
    Cost: O(sum of n_c² d) time over cells of n_c rows, times the number of cells that a row searches; O(n) memory, and
    4 n_c d bytes and 3 MiB a thread.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> cells = Cells.from_clusters(x, np.zeros(3, np.int32), np.zeros(3, np.float32), first="nearest")
    >>> similarity_to_earlier(x, cells).tolist()
    [-1.0, 1.0, 0.0]
    """
    nearest = np.full(len(embeddings), -1, np.float32)
    for rows, similarity, _ in most_similar_predecessors(embeddings, cells.rank, cells.iter_groups(), np.inf):
        nearest[rows] = np.maximum(nearest[rows], similarity)
    nearest[cells.copy_of >= 0] = 1
    return nearest


def _iter_groups(rows: Rows, sorted_codes: Codes) -> Iterator[tuple[int, Rows]]:
    """Return pairs of a code and its rows; codes are sorted."""
    starts = np.flatnonzero(np.diff(sorted_codes, prepend=-1)).tolist()
    return ((int(sorted_codes[start]), rows[start:stop]) for start, stop in pairwise([*starts, len(rows)]))


def _stable_order(codes: Codes) -> Rows:
    """Return the order of ascending codes, all at least 0; sorting 16 bits takes a sixth of the time."""
    order: Rows = np.argsort(codes.astype(np.uint16) if codes.max(initial=0) < 1 << 16 else codes, kind="stable")
    return order


def _group_by_cell(rows: Rows, codes: Codes) -> list[Rows]:
    """Return the rows of each code; every code up to the highest has rows."""
    order = _stable_order(codes)
    return [members for _, members in _iter_groups(rows[order], codes[order])]


def _split_large(embeddings: Matrix, rows: Rows, codes: Codes, max_rows: int) -> Codes:
    """Split cells of more than ``max_rows`` rows; return new codes, numbered from 0 without gaps."""
    codes = codes.copy()
    large = np.flatnonzero(np.bincount(codes) > max_rows).tolist()
    while large:
        positions = np.flatnonzero(codes == large.pop())
        part = _kmeans_parts(embeddings, rows[positions], -(-2 * len(positions) // max_rows))
        sizes = np.bincount(part)
        if sizes.max() > max(max_rows, len(part) // 2):  # nearly identical rows
            largest = np.flatnonzero(part == sizes.argmax())
            part[largest] = len(sizes) + np.arange(len(largest)) // max_rows
            part = np.unique(part, return_inverse=True)[1].astype(np.int32)
        next_code = int(codes.max()) + 1
        codes[positions] = np.where(part > 0, next_code + part - 1, codes[positions])
        sizes = np.bincount(codes[positions])
        large += np.flatnonzero(sizes > max_rows).tolist()
    return codes


def _kmeans_parts(embeddings: Matrix, rows: Rows, k: int) -> Codes:
    """Split rows into k parts by k-means; (m,) part of each row."""

    def blocks() -> Iterator[Matrix]:
        return (embeddings[rows[block]] for block in block_slices(len(rows), _ROWS))

    vectors = Vectors(len(rows), embeddings.shape[1], blocks)
    rng = np.random.default_rng(0)  # fixed seed: the same rows are always split the same way
    centroids = spherical_kmeans(vectors, k, rng, max_iterations=_ITERATIONS).centroids
    part = np.concatenate([assign(block, centroids)[0] for block in blocks()])
    return np.unique(part, return_inverse=True)[1].astype(np.int32)


def _cell_blocks(rows_by_cell: list[Rows]) -> Iterator[range]:
    """Return ranges of cells with about ``_BLOCK_ROWS`` rows together."""
    ends = np.cumsum([len(rows) for rows in rows_by_cell])
    cuts = np.flatnonzero(np.diff(ends // _BLOCK_ROWS)) + 1
    bounds = [0, *cuts.tolist(), len(rows_by_cell)] if rows_by_cell else []
    return (range(start, stop) for start, stop in pairwise(bounds))


def _mean_similarities(embeddings: Matrix, rows_by_cell: list[Rows]) -> tuple[Numbers, Matrix]:
    """Compute the cosine of each row to the mean direction of its cell, (n,), and the means of all cells, (k, d)."""
    similarity_to_mean = np.zeros(len(embeddings))

    means = np.empty((len(rows_by_cell), embeddings.shape[1]), np.float32)

    def process(codes: range) -> None:
        buffer = np.empty((max(len(rows_by_cell[code]) for code in codes), embeddings.shape[1]), np.float32)
        for code in codes:
            members = rows_by_cell[code]
            x = np.take(embeddings, members, axis=0, out=buffer[: len(members)], mode="clip")
            mean: Vector = x.mean(axis=0)
            length = float(np.linalg.norm(mean)) or 1.0
            similarity = np.einsum("ij,j->i", x, mean).astype(np.float64)
            if len(x) == 2:  # both are equally far, except for rounding
                similarity[:] = similarity.mean()
            similarity_to_mean[members] = similarity / length
            means[code] = mean / np.float32(length)

    for _ in map_blocks(process, _cell_blocks(rows_by_cell)):
        pass
    return similarity_to_mean, means


def _nearest_means(means: Matrix, k: int) -> Codes:
    """Find the cells with the most similar mean directions, (c, k); approximately if there are very many cells."""
    if len(means) <= EXACT_ROWS:
        return knn(means, k)[0]
    centroids = spherical_kmeans(
        Vectors.from_array(means), default_n_clusters(len(means)), np.random.default_rng(0)
    ).centroids
    return knn(means, k, centroids=centroids, cluster=assign(means, centroids)[0])[0]
