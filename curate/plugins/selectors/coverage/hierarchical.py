"""Hierarchical sampling: even shares of the budget at each level of a tree of clusters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.clustering.kmeans_levels import hierarchical_kmeans
from curate.kernels.clustering.lloyd import assign
from curate.kernels.clustering.spherical_kmeans import default_n_clusters
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.types import Codes, Counts, Matrix, Rows, Vector, Vectors
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

RowChoice = Literal["random", "closest"]


def hierarchical(
    similarity: Vector, parents: list[Codes], budget: int, rng: np.random.Generator, *, draw: RowChoice
) -> Rows:
    """Sample from a tree of clusters with balanced shares.

    The budget is shared among the clusters of the highest level as evenly as their sizes allow; the share of each is
    shared among its clusters of the level below, and so on. The share of a cluster of the lowest level is taken from
    its rows.

    Parameters
    ----------
    similarity : (n,) float32, cosine of each row to the centroid of its cluster; read if ``draw`` is "closest"
    parents : for each level, the cluster of each of its members: rows in the first level, clusters of the level below
        in the others
    budget : number of rows to keep, 0 <= budget <= n
    rng : random generator
    draw : rows of a cluster to take: at "random", or the "closest" to its centroid, ties to the lowest index

    Returns
    -------
    (budget,) rows in random order, so that every prefix is a sample of all clusters

    Notes
    -----
    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Vo et al. (2024), arXiv:2405.15613.

    Examples
    --------
    >>> parents = [np.array([0, 0, 0, 0, 1, 2], np.int32), np.array([0, 1, 1], np.int32)]
    >>> rows = hierarchical(np.zeros(6, np.float32), parents, 4, np.random.default_rng(0), draw="closest")
    >>> sorted(rows.tolist())
    [0, 1, 4, 5]
    """
    sizes = [np.ones(len(similarity), np.int64)]  # number of rows under each member of each level
    n_clusters = [*map(len, parents[1:]), int(parents[-1].max(initial=-1)) + 1]
    for parent, count in zip(parents, n_clusters, strict=True):
        sizes.append(np.bincount(parent, sizes[-1], minlength=count).astype(np.int64))
    shares = balanced_shares(sizes[-1], budget, rng)
    for parent, sizes_of_members in zip(parents[:0:-1], sizes[-2:0:-1], strict=True):
        shares_below = np.zeros(len(sizes_of_members), np.int64)
        for cluster in np.flatnonzero(shares):
            members = np.flatnonzero(parent == cluster)
            shares_below[members] = balanced_shares(sizes_of_members[members], int(shares[cluster]), rng)
        shares = shares_below
    sort_keys = -similarity if draw == "closest" else rng.random(len(similarity))
    cluster_of = parents[0]
    order = np.lexsort((sort_keys, cluster_of))
    sizes_of_members = np.bincount(cluster_of, minlength=len(shares))
    positions = concatenate_ranges(np.zeros_like(sizes_of_members), sizes_of_members)
    return rng.permutation(order[positions < np.repeat(shares, sizes_of_members)])


def balanced_shares(sizes: Counts, target: int, rng: np.random.Generator) -> Counts:
    """Compute min(c, size) for the largest integer c that spends at most ``target``, plus one for random other groups.

    Parameters
    ----------
    sizes : (g,) int64
    target : sum of the shares
    rng : random generator

    Returns
    -------
    (g,) int64

    Examples
    --------
    >>> balanced_shares(np.array([1, 5, 10, 2]), 9, np.random.default_rng(0)).tolist()
    [1, 3, 3, 2]
    """
    ascending = np.sort(sizes)
    cumulative = np.concatenate(([0], np.cumsum(ascending)))
    n_open = len(sizes) - np.arange(len(sizes))
    n_full = np.flatnonzero(cumulative[:-1] + ascending * n_open > target)  # groups up to here are full
    if not len(n_full):
        return sizes.copy()
    level = (target - cumulative[n_full[0]]) // n_open[n_full[0]]
    shares: Counts = np.minimum(sizes, level)
    shares[rng.permutation(np.flatnonzero(sizes > level))[: target - shares.sum()]] += 1
    return shares


def assign_levels(levels: list[Matrix], embeddings: Matrix) -> tuple[list[Codes], Vector]:
    """Assign rows to the centroids of the first level, and centroids to those of the next level.

    Parameters
    ----------
    levels : centroids of each level, (k, d) float32, first level first
    embeddings : (n, d) float32, rows of unit length

    Returns
    -------
    parents : (n,) int32 of rows, then (k,) int32 of the centroids of each level but the last
    similarity : (n,) float32, cosine of each row to its centroid
    """
    cluster, similarity = assign(embeddings, levels[0])
    return [cluster, *(assign(below, above)[0] for below, above in pairwise(levels))], similarity


@selector(
    version=1,
    scope="pool",
    reads={"embedding"},
    cost="O(n log n), and a tree of k-means",
    guarantee="even shares at every level",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchical:
    """Keep an even sample of all kinds of rows, whatever their numbers.

    Use it for raw, unbalanced pools, such as web crawls, to give rare topics their share. Balancing ``within`` plain
    clusters does less, because k-means spends most of its clusters on crowded regions; a tree of clusters corrects
    that. To follow the pool's distribution instead, use ``uniform`` or ``facility_location``.

    Gains are cosines to the centroid of the lowest level.

    Notes
    -----
    Deviations: spherical k-means; the number of clusters depends on the number of rows; no row is repeated.

    References
    ----------
    Vo et al. (2024), Automatic data curation for self-supervised learning: a clustering-based approach,
    arXiv:2405.15613.
    """

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of clusters of the lowest level; auto: the integer part of the square root of the number of rows, at most
    10,000."""

    n_levels: Annotated[int, Ge(1), Le(20)] = 3
    """Maximum number of levels; levels of fewer than two clusters are omitted."""

    branching: Annotated[int, Ge(2), Le(10_000)] = 10
    """Number of clusters of a level for each cluster of the next."""

    resamplings: Annotated[int, Ge(0), Le(1_000)] = 10
    """Number of times that k-means is repeated at each level, on the members nearest to the centroids."""

    draw: RowChoice = "random"
    """Rows taken from a cluster of the lowest level: random ones, or those closest to its centroid."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        if not budget:
            return Selection(np.empty(0, np.intp), np.empty(0, np.float32))
        levels = hierarchical_kmeans(
            Vectors.from_array(pool.embeddings),
            rng,
            n_clusters=default_n_clusters(len(pool)) if self.n_clusters == "auto" else self.n_clusters,
            n_levels=self.n_levels,
            branching=self.branching,
            resamplings=self.resamplings,
        )
        parents, similarity = assign_levels(levels, pool.embeddings)
        indices = hierarchical(similarity, parents, budget, rng, draw=self.draw)
        return Selection(indices, similarity[indices], reasons=("beyond the share of its cluster",))
