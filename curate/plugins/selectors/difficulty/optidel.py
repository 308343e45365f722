"""OptiDEL: selection of the hardest rows of each cluster, to maximize V-information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.stats.quotas import allocate
from curate.kernels.types import Codes, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def optidel(quality: Vector, cluster: Codes, budget: int) -> Rows:
    """Return the rows of highest quality of each cluster, in proportion to the sizes of the clusters.

    Parameters
    ----------
    quality : (n,) float32 hardness, finite, higher = keep
    cluster : (n,) int32; rows in no cluster (-1) form a group
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    (budget,) rows, highest quality first, ties to the lowest index

    Notes
    -----
    Cost: O(n log n) time, O(n) memory. Shares are rounded by largest remainders.

    Examples
    --------
    >>> quality, cluster = np.array([5, 4, 3, 2, 1, 0], np.float32), np.array([0, 0, 0, 0, 1, 1], np.int32)
    >>> optidel(quality, cluster, 3).tolist()
    [0, 1, 4]
    """
    group, sizes = np.unique(cluster, return_inverse=True, return_counts=True)[1:]
    quotas = allocate(sizes, budget, sizes)
    order = np.argsort(-quality, kind="stable")
    by_group = order[np.argsort(group[order], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(quality)) - np.repeat(starts, sizes)
    kept = by_group[rank < np.repeat(quotas, sizes)]
    by_quality: Rows = kept[np.argsort(-quality[kept], kind="stable")]
    return by_quality


@selector(
    version=1,
    scope="merge",
    reads={"cluster", "quality"},
    needs_quality=True,
    random=False,
    cost="O(n log n)",
    guarantee="each cluster has its share to one row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class OptiDEL:
    """Keep the hardest rows of each cluster, with a quota in proportion to its size.

    Use it on large, clean, labeled pools where a model still learns from hard rows, with a measure of hardness as
    quality: ``"-pvi"`` (rows that tell a model least about their labels), ``el2n``, or a loss. Hard rows of noisy pools
    are wrong ones, and a model that sees few rows needs easy ones: then use ``ccs``, and compare with ``uniform``.

    V-information is the entropy of the labels minus the entropy that remains when a model sees the rows. Hard rows
    leave more to learn; the quotas keep the variety of the pool. The gain of a row is its quality.

    Notes
    -----
    Deviations: the published pipeline cuts patches from images, composes new images of hard ones, and trains on these
    without labels. Its selection is described by the two goals only; the quotas by cluster are our reading of variety,
    and a score is the measure of hardness.

    References
    ----------
    Maximizing V-information for pre-training superior foundation models (2024), arXiv:2408.07107.
    """

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices = optidel(pool.quality, pool.cluster, budget)
        return Selection(indices, pool.quality[indices], reasons=("easier than the kept rows of its cluster",))
