"""Maximal marginal relevance: pick rows that are good and unlike those already picked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.stats.distributions import min_max_scale
from curate.kernels.types import Flags, Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_ACTIVE = 2048  # rows whose scores are kept up to date
_PICKED = 2048  # picks that one product compares rows with


def mmr(embeddings: Matrix, quality: Vector, budget: int, *, diversity_weight: float) -> tuple[Rows, Vector]:
    """Pick, each time, the row of largest (1 − w) · relevance − w · similarity to the most similar row picked.

    Relevance is quality, scaled so that the worst row of the pool has 0 and the best 1; if all are alike, 0. Similarity
    is cosine, and 0 to nothing.

    Only the rows that may be next are compared with the last pick. The similarity to the most similar pick never falls,
    so a row's score only falls (after the first pick), and a score computed when there were fewer picks is a bound of
    today's. The rows of highest bound have their scores kept up to date; while the best of these is at least every
    bound of the others, it is the best of all.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    quality : (n,) float32, finite, higher = keep
    budget : number of rows to keep, 0 <= budget <= n
    diversity_weight : w in [0, 1]; 1 − λ in the paper

    Returns
    -------
    order : (budget,) rows in the order they were picked; of equal scores that of higher quality, then of lowest index
    gains : (budget,) float32, the score of each when it was picked, in [−1, 1]

    Cost: O(budget n d) time at worst, where every row is compared with every pick; less the more quality tells rows
    apart. O(n) memory. Guarantee: exactly the greedy sequence, up to the rounding of float32 products.

    References
    ----------
    Carbonell & Goldstein (1998), doi:10.1145/290941.291025. Bounds from earlier steps: Minoux (1978),
    doi:10.1007/BFb0006528.

    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> mmr(x, np.array([3, 2, 1], np.float32), 2, diversity_weight=0.6)[0].tolist()
    [0, 2]
    """
    n = len(embeddings)
    order, gains = np.empty(budget, np.intp), np.empty(budget, np.float32)
    if not budget:
        return order, gains
    by_quality = np.argsort(-quality, kind="stable")  # from here on a row is told by its place in it
    worth = (1 - diversity_weight) * min_max_scale(quality[by_quality])
    similarity = np.full(n, -1, np.float32)  # to the most similar of the first seen picks
    seen = np.zeros(n, np.intp)
    free = np.ones(n, np.bool_)
    order[0], gains[0], free[0] = by_quality[0], worth[0], False
    with one_blas_thread():
        active, limit = np.empty(0, np.intp), (np.inf, 0)
        scores, x = np.empty(0), embeddings[:0]
        for step in range(1, budget):
            if len(active):  # compare with the last pick
                with np.errstate(invalid="ignore"):  # BLAS sets the flag now and then on a few finite rows
                    closer = np.maximum(similarity[active], x @ embeddings[order[step - 1]])
                similarity[active], seen[active] = closer, step
                scores = _scores(worth, similarity, free, diversity_weight, active)
            while not len(active) or (-scores.max(), active[scores.argmax()]) > limit:
                active, limit = _highest(_scores(worth, similarity, free, diversity_weight, slice(None)))
                rows = by_quality[active]
                for earlier in np.unique(seen[active]):
                    late = active[seen[active] == earlier]
                    closest = _most_similar(embeddings, by_quality[late], order[earlier:step])
                    similarity[late] = np.maximum(similarity[late], closest)
                seen[active] = step
                x = embeddings[rows]
                scores = _scores(worth, similarity, free, diversity_weight, active)
            best = int(scores.argmax())
            pick = active[best]
            order[step], gains[step], free[pick] = by_quality[pick], scores[best], False
    return order, gains


def _scores(
    worth: Numbers,
    similarity: Vector,
    free: Flags,
    diversity_weight: float,
    rows: Rows | slice,
) -> Numbers:
    return np.where(free[rows], worth[rows] - diversity_weight * similarity[rows], -np.inf)


def _highest(bounds: Numbers) -> tuple[Rows, tuple[float, int]]:
    """Return the rows of highest bound, ascending, and the best of the others: its negative bound, and its place.

    Ties go to the lowest index, so that no other row comes before these: else the search would not end.
    """
    if len(bounds) <= _ACTIVE:
        return np.arange(len(bounds)), (np.inf, 0)
    lowest = np.partition(bounds, -_ACTIVE)[-_ACTIVE]
    chosen = bounds > lowest
    chosen[np.flatnonzero(bounds == lowest)[: _ACTIVE - np.count_nonzero(chosen)]] = True
    others = np.where(chosen, -np.inf, bounds)
    best = int(others.argmax())
    return np.flatnonzero(chosen), (-others[best], best)


def _most_similar(embeddings: Matrix, rows: Rows, picks: Rows) -> Vector:
    """The largest similarity of each of ``rows`` to one of ``picks``, at least −1."""
    x, closest = embeddings[rows], np.full(len(rows), -1, np.float32)

    def compare(block: slice) -> Vector:
        largest: Vector = (x @ embeddings[picks[block]].T).max(axis=1)
        return largest

    for largest in map_blocks(compare, block_slices(len(picks), _PICKED)):
        np.maximum(closest, largest, out=closest)
    return closest


@selector(
    version=1,
    needs_quality=True,
    prefix=True,
    equivariant=True,
    random=False,
    quadratic=True,
    cost="O(n k d) at worst",
    guarantee="the greedy sequence; no share of the optimum",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMR:
    """Keep rows of high quality that are unlike those already kept.

    Quality is scaled from 0, the worst row of the pool, to 1, the best; what it is worth beside similarity depends on
    the worst and the best row. Gains are the scores when rows were picked.

    References
    ----------
    Carbonell & Goldstein (1998), "The use of MMR, diversity-based reranking", doi:10.1145/290941.291025.

    Deviations: relevance is the row's quality instead of similarity to a query.
    """

    diversity_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """0: only quality counts; 1: only how unlike the rows are (after the first, which is the best)."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, gains = mmr(pool.embeddings, pool.quality, budget, diversity_weight=self.diversity_weight)
        return Selection(order, gains, reasons=("not as good, or more like the rows kept",))
