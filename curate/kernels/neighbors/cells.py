"""Where near-duplicates are looked for: which rows are compared with which, and which of two comes first."""

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
"""Comparing so many rows with each other takes two seconds."""

_AROUND = 32  # cells whose mean is like that of a row's own: the others that it looks into are among them
_ITERATIONS = 10  # of k-means: where exactly a large cluster is cut matters little
_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells that n rows are in, and those that each looks into. A row of cell -1 is in none, and not compared."""

    cell: Codes
    """(n,) int32"""

    probed_cells: Codes
    """(n, probes) int32, the cells that each row looks into, its own first; -1 where there are no more."""

    rank: Rows
    """(n,) place in the order of all rows: a row is compared with those that come before it."""

    copy_of: Rows
    """(n,) the row with the same vector that stands for one in the comparisons; -1 for none."""

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
        """Clusters as cells, large ones in parts.

        Of a cluster of more than ``max_cluster_rows`` rows, copies of one vector are one row. If there are still more,
        k-means cuts it into parts of about half as many, and those that are too large again. Rows so alike that k-means
        leaves most in one part are cut in the order of the pool.

        Parameters
        ----------
        embeddings : (n, d) float32, rows of unit length
        cluster : (n,) int32; the rows of cluster -1 are one, too
        quality : (n,) float32, higher = first; read if ``first`` is "best_quality"
        first : the order, ties to the lowest index: "farthest" from the mean direction of its own cell, "nearest" to
            it, or "best_quality". The two rows of a cell of two are equally far.
        n_probe : cells that a row looks into: its own, and those whose mean directions are most similar to it, of the
            32 (or ``n_probe`` - 1) others whose mean directions are most similar to that of its own
        rows : (m,) ascending, those that are in a cell; None = all

        Cost: O(m d) time, and O(k² d + 32 m d) for k cells if ``n_probe`` is above 1; of large clusters, k-means.
        Memory: O(m n_probe + k d) and one cell, or 65,536 rows of a large cluster.

        >>> x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
        >>> arguments = {"cluster": np.array([0, 0, 1, 1], np.int32), "quality": np.arange(4, dtype=np.float32)}
        >>> cells = Cells.from_clusters(x, **arguments, first="best_quality", n_probe=2)
        >>> cells.rank.tolist(), cells.probed_cells.tolist()
        ([3, 2, 1, 0], [[0, 1], [0, 1], [1, 0], [1, 0]])
        """
        n = len(embeddings)
        rows = np.arange(n) if rows is None else rows
        codes = np.unique(cluster[rows], return_inverse=True)[1].astype(np.int32)
        copy_of = np.full(n, -1, np.intp)
        if max_cluster_rows is not None:
            key = -quality if first == "best_quality" else np.zeros_like(quality)
            for code in np.flatnonzero(np.bincount(codes) > max_cluster_rows):
                some = rows[codes == code]
                same = first_equal_rows(embeddings, some, key[some])
                copy_of[some] = np.where(same == some, -1, same)
            apart = copy_of[rows] < 0
            rows = rows[apart]
            codes = _parts(embeddings, rows, codes[apart], max_cluster_rows)
        by_cell = _grouped(rows, codes)
        cell = np.full(n, -1, np.int32)
        cell[rows] = codes
        to_mean, means = np.zeros(n), np.zeros((len(by_cell), embeddings.shape[1]), np.float32)
        if n_probe > 1 or first != "best_quality":
            to_mean, means = _means(embeddings, by_cell)
        keys = -quality if first == "best_quality" else to_mean if first == "farthest" else -to_mean
        rank = np.full(n, -1, np.intp)
        rank[rows[np.argsort(keys[rows], kind="stable")]] = np.arange(len(rows))
        return cls(cell, _looks(embeddings, cell, by_cell, means, n_probe), rank, copy_of)

    @property
    def all_compared(self) -> bool:
        """Whether every two rows that are in cells are compared."""
        return len(self.cell) == 0 or bool(self.cell.max() < self.probed_cells.shape[1])

    def groups(self, asking: Flags | None = None, members: Flags | None = None) -> Iterator[tuple[Rows, Rows]]:
        """Of each cell the rows that are in it and the rows that look into it, both in order.

        With ``members`` (n,) and ``asking`` (n,) only those of them; cells without one of both are left out. The same
        array twice if each row looks into its own cell only, and there is no other condition.
        """
        inside = _split(*self._in_order(self.probed_cells[:, 0], members))
        if self.probed_cells.shape[1] == 1 and members is None and asking is None:
            yield from ((rows, rows) for _, rows in inside if len(rows) > 1)
            return
        ask = dict(_split(*self._in_order(self.probed_cells, asking)))
        yield from ((rows, ask[code]) for code, rows in inside if code in ask)

    def _in_order(self, codes: Codes, among: Flags | None) -> tuple[Rows, Codes]:
        """Rows, each as often as it has codes, by code and then by rank; and the codes."""
        wanted = codes >= 0 if among is None else (codes >= 0) & (among if codes.ndim == 1 else among[:, None])
        rows, codes = np.nonzero(wanted)[0], codes[wanted]
        order = np.lexsort((self.rank[rows], codes))
        return rows[order], codes[order]

    def compared(self, one: Rows, other: Rows) -> Flags:
        """Which pairs of rows are compared: those of which the later looks into the cell of the earlier."""
        swap = self.rank[one] < self.rank[other]
        later, earlier = np.where(swap, other, one), np.where(swap, one, other)
        answer: Flags = (self.probed_cells[later] == self.cell[earlier][:, None]).any(axis=1)
        return answer


def similarity_to_earlier(embeddings: Matrix, cells: Cells) -> Vector:
    """Compute the similarity of each row to the most similar earlier row that it is compared with.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cells : the order, and the rows that each row is compared with

    Returns
    -------
    (n,) float32 cosine, 1 for a copy of an earlier row, -1 where there is no earlier row

    Notes
    -----
    Cost: O(sum of n_c² d) time over cells of n_c rows, times the cells that a row looks into; O(n) memory, and 4 n_c d
    bytes and 2 MiB a thread.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> cells = Cells.from_clusters(x, np.zeros(3, np.int32), np.zeros(3, np.float32), first="nearest")
    >>> similarity_to_earlier(x, cells).tolist()
    [-1.0, 1.0, 0.0]
    """
    nearest = np.full(len(embeddings), -1, np.float32)
    for rows, similarity, _ in most_similar_predecessors(embeddings, cells.rank, cells.groups(), np.inf):
        nearest[rows] = np.maximum(nearest[rows], similarity)
    nearest[cells.copy_of >= 0] = 1
    return nearest


def _split(rows: Rows, codes: Codes) -> Iterator[tuple[int, Rows]]:
    """Each code, which ascend, and its rows."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    return ((int(codes[start]), rows[start:stop]) for start, stop in pairwise([*starts, len(rows)]))


def _grouped(rows: Rows, codes: Codes) -> list[Rows]:
    """The rows of each code; all codes up to the highest have some."""
    order = np.argsort(codes, kind="stable")
    return [some for _, some in _split(rows[order], codes[order])]


def _parts(embeddings: Matrix, rows: Rows, codes: Codes, most: int) -> Codes:
    """The cells of ``rows`` when those of more than ``most`` are split; numbered from 0 without gaps."""
    codes = codes.copy()
    large = np.flatnonzero(np.bincount(codes) > most).tolist()
    while large:
        places = np.flatnonzero(codes == large.pop())
        part = _by_k_means(embeddings, rows[places], -(-2 * len(places) // most))
        sizes = np.bincount(part)
        if sizes.max() > max(most, len(part) // 2):  # they are as good as the same
            alike = np.flatnonzero(part == sizes.argmax())
            part[alike] = len(sizes) + np.arange(len(alike)) // most
            part = np.unique(part, return_inverse=True)[1].astype(np.int32)
        free = int(codes.max()) + 1
        codes[places] = np.where(part > 0, free + part - 1, codes[places])
        sizes = np.bincount(codes[places])
        large += np.flatnonzero(sizes > most).tolist()
    return codes


def _by_k_means(embeddings: Matrix, rows: Rows, k: int) -> Codes:
    """(m,) the part of each row."""

    def blocks() -> Iterator[Matrix]:
        return (embeddings[rows[block]] for block in block_slices(len(rows), _ROWS))

    vectors = Vectors(len(rows), embeddings.shape[1], blocks)
    fixed = np.random.default_rng(0)  # the same rows are always cut alike
    centroids = spherical_kmeans(vectors, k, fixed, max_iterations=_ITERATIONS).centroids
    part = np.concatenate([assign(block, centroids)[0] for block in blocks()])
    return np.unique(part, return_inverse=True)[1].astype(np.int32)


def _means(embeddings: Matrix, by_cell: list[Rows]) -> tuple[Numbers, Matrix]:
    """(n,) cosine of each row to the mean direction of its cell; and those of all cells, (k, d)."""
    to_mean = np.zeros(len(embeddings))

    def one(members: Rows) -> Vector:
        x = embeddings[members]
        mean: Vector = x.mean(axis=0)
        length = float(np.linalg.norm(mean))
        similarity = np.einsum("ij,j->i", x, mean).astype(np.float64)
        if len(x) == 2:  # they are equally far, but for rounding
            similarity[:] = similarity.mean()
        to_mean[members] = similarity / (length or 1)
        return mean / np.float32(length or 1)

    means = np.empty((len(by_cell), embeddings.shape[1]), np.float32)
    for code, mean in enumerate(map_blocks(one, by_cell)):
        means[code] = mean
    return to_mean, means


def _looks(embeddings: Matrix, cell: Codes, by_cell: list[Rows], means: Matrix, n_probe: int) -> Codes:
    """(n, n_probe or the number of cells, if that is less) the cells that each row looks into."""
    looks = np.full((len(cell), max(1, min(n_probe, len(means)))), -1, np.int32)
    looks[:, 0] = cell
    near = min(len(means) - 1, max(_AROUND, n_probe - 1))
    others = min(near, n_probe - 1)
    if others < 1:
        return looks
    around = _nearest_means(means, near)

    def one(code: int) -> None:
        members = by_cell[code]
        similarity = embeddings[members] @ means[around[code]].T
        best = np.argpartition(-similarity, others - 1, axis=1)[:, :others]
        looks[members, 1 : others + 1] = around[code][best]

    for _ in map_blocks(one, range(len(by_cell))):
        pass
    return looks


def _nearest_means(means: Matrix, k: int) -> Codes:
    """(c, k) the cells with the most similar mean directions; of very many, nearly those."""
    if len(means) <= EXACT_ROWS:
        return knn(means, k)[0]
    centroids = spherical_kmeans(
        Vectors.from_array(means), default_n_clusters(len(means)), np.random.default_rng(0)
    ).centroids
    return knn(means, k, centroids=centroids, cluster=assign(means, centroids)[0])[0]
