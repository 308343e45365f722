"""Hierarchical sampling: share the budget evenly among clusters, from the coarsest level of a tree down to its rows."""

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

Draw = Literal["random", "closest"]


def hierarchical(
    similarity: Vector, parents: list[Codes], budget: int, rng: np.random.Generator, *, draw: Draw
) -> Rows:
    """Balanced sampling from a tree of clusters.

    The budget is shared among the clusters of the highest level as evenly as their sizes allow; the share of each,
    among its clusters of the level below, and so on. The share of a cluster of the lowest level is drawn from its rows.

    Parameters
    ----------
    similarity : (n,) float32, cosine of each row to the centroid of its cluster; read if ``draw`` is "closest"
    parents : for each level the cluster of each of its members: rows in the first, clusters of the level below in the
        others
    budget : number of rows to keep, 0 <= budget <= n
    draw : which rows of a cluster: at "random", or those "closest" to its centroid, ties to the lowest index

    Returns
    -------
    (budget,) rows in random order, so that the first of them are a sample of all clusters too

    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Vo et al. (2024), arXiv:2405.15613.

    >>> parents = [np.array([0, 0, 0, 0, 1, 2], np.int32), np.array([0, 1, 1], np.int32)]
    >>> rows = hierarchical(np.zeros(6, np.float32), parents, 4, np.random.default_rng(0), draw="closest")
    >>> sorted(rows.tolist())
    [0, 1, 4, 5]
    """
    sizes = [np.ones(len(similarity), np.int64)]  # rows under each member of each level
    clusters = [*map(len, parents[1:]), int(parents[-1].max(initial=-1)) + 1]
    for parent, count in zip(parents, clusters, strict=True):
        sizes.append(np.bincount(parent, sizes[-1], minlength=count).astype(np.int64))
    share = water_fill(sizes[-1], budget, rng)
    for parent, size in zip(parents[:0:-1], sizes[-2:0:-1], strict=True):
        below = np.zeros(len(size), np.int64)
        for cluster in np.flatnonzero(share):
            members = np.flatnonzero(parent == cluster)
            below[members] = water_fill(size[members], int(share[cluster]), rng)
        share = below
    key = -similarity if draw == "closest" else rng.random(len(similarity))
    cluster_of = parents[0]
    order = np.lexsort((key, cluster_of))
    size = np.bincount(cluster_of, minlength=len(share))
    place = concatenate_ranges(np.zeros_like(size), size)
    return rng.permutation(order[place < np.repeat(share, size)])


def water_fill(sizes: Counts, target: int, rng: np.random.Generator) -> Counts:
    """min(c, size) of each, for the largest whole c that spends no more than ``target``; one more for random others.

    >>> water_fill(np.array([1, 5, 10, 2]), 9, np.random.default_rng(0)).tolist()
    [1, 3, 3, 2]
    """
    ascending = np.sort(sizes)
    spent = np.concatenate(([0], np.cumsum(ascending)))
    open_clusters = len(sizes) - np.arange(len(sizes))
    full = np.flatnonzero(spent[:-1] + ascending * open_clusters > target)  # the level would rise above the smallest
    if not len(full):
        return sizes.copy()
    level = (target - spent[full[0]]) // open_clusters[full[0]]
    given: Counts = np.minimum(sizes, level)
    given[rng.permutation(np.flatnonzero(sizes > level))[: target - given.sum()]] += 1
    return given


def tree(levels: list[Matrix], embeddings: Matrix) -> tuple[list[Codes], Vector]:
    """The nearest centroid of the first level for each row, of each next level for each centroid; rows' cosines."""
    cluster, similarity = assign(embeddings, levels[0])
    return [cluster, *(assign(below, above)[0] for below, above in pairwise(levels))], similarity


@selector(
    version=1,
    reads={"embedding"},
    cost="O(n log n), and a tree of k-means",
    guarantee="shares even at every level",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchical:
    """Keep an even sample of the kinds of rows there are, whatever the number of rows of each kind.

    Balancing plain clusters does less: k-means spends most of its clusters on crowded regions. A tree of clusters of
    clusters, each level spread more evenly, undoes that. Gains are cosines to the centroid of the lowest level.

    References
    ----------
    Vo et al. (2024), Automatic data curation for self-supervised learning: a clustering-based approach,
    arXiv:2405.15613.

    Deviations: spherical k-means; the number of clusters follows from that of the rows; no row is repeated.
    """

    n_clusters: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Clusters of the lowest level; auto: the whole part of the square root of the number of rows, at most 10,000."""

    n_levels: Annotated[int, Ge(1), Le(20)] = 3
    """Levels of the tree at most; a level of fewer than two clusters is left out."""

    branching: Annotated[int, Ge(2), Le(10_000)] = 10
    """How many clusters of a level there are for each cluster of the next."""

    resamplings: Annotated[int, Ge(0), Le(1_000)] = 10
    """How many times k-means is run again at each level, on the members nearest to the centroids."""

    draw: Draw = "random"
    """Which rows of a cluster of the lowest level: random ones, or those closest to its centroid."""

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
        parents, similarity = tree(levels, pool.embeddings)
        order = hierarchical(similarity, parents, budget, rng, draw=self.draw)
        return Selection(order, similarity[order], reasons=("beyond the share of its cluster",))
