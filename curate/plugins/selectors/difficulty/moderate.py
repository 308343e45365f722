"""Moderate coreset: selection of rows at a median distance to the prototype of their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.clustering.lloyd import assign
from curate.kernels.linalg.centroids import exact_sums, group_rows, mean_directions, means_of_sums
from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, FittedState, Flags, Matrix, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import Scope, selector
from curate.plugins.results import Selection

Prototype = Literal["mean", "median"]

_ROWS = 65_536


def moderate(distance: Vector, budget: int) -> tuple[Rows, Flags]:
    """Return the ``budget`` rows whose distances are in the middle of all, by rank.

    Ranks start at ⌊(n − budget) / 2⌋, counted from 0 for the smallest distance.

    Parameters
    ----------
    distance : (n,) float32, finite
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    indices : (budget,) rows, from the middle outwards, the nearer to the prototype first
    is_far : (n,) bool, whether a row's distance ranks above the middle

    Notes
    -----
    Cost: O(n log n) time, O(n) memory. Ties in distance go to the lowest index.

    References
    ----------
    Xia, Liu, Yu, Shen, Han & Liu (2023), Moderate coreset, ICLR.

    Examples
    --------
    >>> moderate(np.array([5, 1, 4, 2, 3], np.float32), 3)[0].tolist()
    [4, 3, 2]
    """
    n = len(distance)
    by_distance = np.argsort(distance, kind="stable")
    by_middle_distance = np.argsort(np.abs(2 * np.arange(n) - (n - 1)), kind="stable")
    is_far = np.empty(n, np.bool_)
    is_far[by_distance] = 2 * np.arange(n) > n - 1
    return by_distance[by_middle_distance[:budget]], is_far


def distance_to_prototype(embeddings: Matrix, cluster: Codes, prototype: Prototype) -> Vector:
    """Compute the Euclidean distance of each row to the mean, or coordinate-wise median, of its cluster.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    cluster : (n,) int32; a row in no cluster (-1) is compared with the cluster of most similar mean direction, or with
        the prototype of all rows if there are no clusters
    prototype : "mean" or "median"

    Returns
    -------
    (n,) float32 in [0, 2]

    Notes
    -----
    Cost: O(n d) time, O(n log n d) for medians, and O(k d) for each row in no cluster of k; O(n) memory, and a copy of
    the largest cluster.

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> distance_to_prototype(x, np.zeros(3, np.int32), "median").tolist()
    [1.0, 1.0, 1.0]
    """
    if prototype == "mean":
        return distance_to_means(embeddings, cluster, _summarize(embeddings, cluster))
    groups = group_rows(cluster) or [np.arange(len(cluster))] * bool(len(cluster))
    group_of_row = np.empty(len(cluster), np.intp)
    for group, rows in enumerate(groups):
        group_of_row[rows] = group
    unassigned = np.flatnonzero(cluster < 0)
    if len(unassigned) < len(cluster):
        mean_vectors = mean_directions(embeddings, groups)
        for block in block_slices(len(unassigned), _ROWS):
            group_of_row[unassigned[block]] = assign(embeddings[unassigned[block]], mean_vectors)[0]
    prototypes = np.empty((len(groups), embeddings.shape[1]), np.float32)
    for group, rows in enumerate(groups):
        prototypes[group] = np.median(embeddings[rows], axis=0)
    return _distances(embeddings, group_of_row, prototypes)


def distance_to_means(embeddings: Matrix, cluster: Codes, summary: FittedState) -> Vector:
    """Compute the distance of each row to the mean of its cluster; see ``distance_to_prototype``.

    Parameters
    ----------
    embeddings, cluster : some rows of the pool
    summary : sums and counts of all rows by cluster, and of the rows in no cluster, as ``exact_sums`` returns them
    """
    if len(summary["counts"]):
        prototypes = means_of_sums(summary["sums"], summary["counts"])
    else:
        prototypes = means_of_sums(summary["other_sums"], summary["other_counts"])
    lengths = np.linalg.norm(prototypes, axis=1, keepdims=True)
    group_of_row = cluster.astype(np.intp)
    unassigned = np.flatnonzero(cluster < 0)
    if len(prototypes) == 1:
        group_of_row[:] = 0
    elif len(unassigned):
        directions = np.where(lengths > ROUNDING, prototypes / np.maximum(lengths, ROUNDING), 0).astype(np.float32)
        present = np.flatnonzero(summary["counts"])
        for block in block_slices(len(unassigned), _ROWS):
            group_of_row[unassigned[block]] = present[assign(embeddings[unassigned[block]], directions[present])[0]]
    return _distances(embeddings, group_of_row, prototypes.astype(np.float32))


def _summarize(embeddings: Matrix, cluster: Codes) -> FittedState:
    sums, counts = exact_sums(embeddings, cluster)
    other_sums, other_counts = exact_sums(embeddings, np.where(cluster < 0, 0, -1).astype(np.int32))
    return {"sums": sums, "counts": counts, "other_sums": other_sums, "other_counts": other_counts}


def _distances(embeddings: Matrix, group_of_row: Rows, prototypes: Matrix) -> Vector:
    distance = np.empty(len(embeddings), np.float32)
    for block in block_slices(len(embeddings), _ROWS):
        distance[block] = np.linalg.norm(embeddings[block] - prototypes[group_of_row[block]], axis=1)
    return distance


@selector(
    version=2,
    scope=("merge", "pool"),
    reads={"embedding", "cluster"},
    prefix=True,
    random=False,
    cost="O(n d)",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Moderate:
    """Keep the rows of medium distance to the prototype of their cluster: neither plain nor odd.

    Use it if both typical rows and outliers are undesirable, for example with noisy labels: cluster by the label's
    column to have the setting of the paper. To keep one end instead, use ``ssl_prototypes``.

    All clusters are ranked together. Gains are distances.

    References
    ----------
    Xia, Liu, Yu, Shen, Han & Liu (2023), "Moderate coreset: a universal method of data selection for real-world
    data-efficient deep learning", ICLR.
    """

    prototype: Prototype = "mean"
    """Prototype of a cluster: the mean of its rows, as in the paper, or the median of each coordinate, as in the
    authors' code."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        return self.choose(distance_to_prototype(pool.embeddings, pool.cluster, self.prototype), budget)

    def scope(self) -> Scope:
        """Return ``merge``, or ``pool`` for medians, which need all rows of a cluster."""
        return "merge" if self.prototype == "mean" else "pool"

    def summarize(self, pool: Pool) -> FittedState:
        """Return the sum and the number of the vectors of each cluster, and of those in none."""
        return _summarize(pool.embeddings, pool.cluster)

    def measure(self, pool: Pool, summary: FittedState) -> Vector:
        """Return the distance of each row to the mean of its cluster."""
        return distance_to_means(pool.embeddings, pool.cluster, summary)

    def choose(self, distance: Vector, budget: int) -> Selection:
        """Return the rows in the middle of the distances."""
        indices, is_far = moderate(distance, budget)
        reasons = ("closer to its prototype than the kept rows", "farther from its prototype than the kept rows")
        return Selection(indices, distance[indices], reasons=reasons, reason=is_far.astype(np.int16))
