"""Maximal marginal relevance: selection of good rows that are unlike those already selected."""

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
_PICKED = 2048  # number of picks per product


def mmr(embeddings: Matrix, quality: Vector, budget: int, *, diversity_weight: float) -> tuple[Rows, Vector]:
    """Pick the row of largest (1 − w) · relevance − w · similarity to the most similar pick, again and again.

    Relevance is quality, scaled to 0 for the worst row of the pool and 1 for the best; 0 if all are equal. Similarity
    is cosine, and 0 before the first pick.

    Only rows that may be next are compared with the last pick. The similarity to the most similar pick never falls, so
    a row's score only falls (after the first pick), and an earlier score is a bound of the current one. The rows of
    highest bound have their scores kept up to date; while the best of these is at least every bound of the others, it
    is the best of all.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    quality : (n,) float32, finite, higher = keep
    budget : number of rows to keep, 0 <= budget <= n
    diversity_weight : w in [0, 1]; 1 − λ in the paper

    Returns
    -------
    indices : (budget,) rows in the order they were picked; ties to higher quality, then to the lowest index
    gains : (budget,) float32, score of each row when it was picked, in [−1, 1]

    Notes
    -----
    Cost: O(budget n d) time at worst, if every row is compared with every pick; less if quality varies strongly. O(n)
    memory.

    Guarantee: exactly the greedy sequence, up to the rounding of float32 products.

    References
    ----------
    Carbonell & Goldstein (1998), doi:10.1145/290941.291025. Bounds from earlier steps: Minoux (1978),
    doi:10.1007/BFb0006528.

    Examples
    --------
    >>> x = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> mmr(x, np.array([3, 2, 1], np.float32), 2, diversity_weight=0.6)[0].tolist()
    [0, 2]
    """
    n = len(embeddings)
    indices, gains = np.empty(budget, np.intp), np.empty(budget, np.float32)
    if not budget:
        return indices, gains
    by_quality = np.argsort(-quality, kind="stable")  # below, rows are identified by their position in it
    relevance = (1 - diversity_weight) * min_max_scale(quality[by_quality])
    similarity = np.full(n, -1, np.float32)  # to the most similar of the first n_compared picks
    n_compared = np.zeros(n, np.intp)
    is_free = np.ones(n, np.bool_)
    indices[0], gains[0], is_free[0] = by_quality[0], relevance[0], False
    with one_blas_thread():
        active_rows, bound_of_others = np.empty(0, np.intp), (np.inf, 0)
        scores, x = np.empty(0), embeddings[:0]
        for step in range(1, budget):
            if len(active_rows):  # compare with the last pick
                with np.errstate(invalid="ignore"):  # BLAS sometimes sets the flag on finite rows
                    updated = np.maximum(similarity[active_rows], x @ embeddings[indices[step - 1]])
                similarity[active_rows], n_compared[active_rows] = updated, step
                scores = _compute_scores(relevance, similarity, is_free, diversity_weight, active_rows)
            while not len(active_rows) or (-scores.max(), active_rows[scores.argmax()]) > bound_of_others:
                active_rows, bound_of_others = _highest_bounds(
                    _compute_scores(relevance, similarity, is_free, diversity_weight, slice(None))
                )
                rows = by_quality[active_rows]
                for earlier in np.unique(n_compared[active_rows]):
                    outdated = active_rows[n_compared[active_rows] == earlier]
                    largest = _most_similar(embeddings, by_quality[outdated], indices[earlier:step])
                    similarity[outdated] = np.maximum(similarity[outdated], largest)
                n_compared[active_rows] = step
                x = embeddings[rows]
                scores = _compute_scores(relevance, similarity, is_free, diversity_weight, active_rows)
            best = int(scores.argmax())
            pick = active_rows[best]
            indices[step], gains[step], is_free[pick] = by_quality[pick], scores[best], False
    return indices, gains


def _compute_scores(
    relevance: Numbers,
    similarity: Vector,
    is_free: Flags,
    diversity_weight: float,
    rows: Rows | slice,
) -> Numbers:
    return np.where(is_free[rows], relevance[rows] - diversity_weight * similarity[rows], -np.inf)


def _highest_bounds(bounds: Numbers) -> tuple[Rows, tuple[float, int]]:
    """Return the rows of highest bound, ascending, and the best of the others: its negative bound, and its position.

    Ties go to the lowest index, so that no other row precedes these; otherwise the search would not terminate.
    """
    if len(bounds) <= _ACTIVE:
        return np.arange(len(bounds)), (np.inf, 0)
    threshold = np.partition(bounds, -_ACTIVE)[-_ACTIVE]
    is_active = bounds > threshold
    is_active[np.flatnonzero(bounds == threshold)[: _ACTIVE - np.count_nonzero(is_active)]] = True
    others = np.where(is_active, -np.inf, bounds)
    best = int(others.argmax())
    return np.flatnonzero(is_active), (-others[best], best)


def _most_similar(embeddings: Matrix, rows: Rows, picks: Rows) -> Vector:
    """Compute the largest similarity of each of ``rows`` to one of ``picks``, at least −1."""
    x, result = embeddings[rows], np.full(len(rows), -1, np.float32)

    def compare(block: slice) -> Vector:
        largest: Vector = (x @ embeddings[picks[block]].T).max(axis=1)
        return largest

    for largest in map_blocks(compare, block_slices(len(picks), _PICKED)):
        np.maximum(result, largest, out=result)
    return result


@selector(
    version=1,
    scope="pool",
    needs_quality=True,
    prefix=True,
    equivariant=True,
    random=False,
    quadratic=True,
    cost="O(n k d) at worst",
    guarantee="the greedy sequence, without a guaranteed share of the optimum",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMR:
    """Keep rows of high quality that are unlike those already kept.

    Use it to balance quality and diversity with one weight. ``deita`` uses a similarity threshold instead, and is
    faster; ``submodular`` combines quality with coverage of the pool.

    Quality is scaled from 0, the worst row of the pool, to 1, the best; so its weight relative to similarity depends on
    the worst and the best row. Gains are the scores when rows were picked.

    Notes
    -----
    Deviations: relevance is the row's quality instead of similarity to a query.

    References
    ----------
    Carbonell & Goldstein (1998), "The use of MMR, diversity-based reranking", doi:10.1145/290941.291025.
    """

    diversity_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """0: only quality counts; 1: only dissimilarity (after the first row, which is the best)."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices, gains = mmr(pool.embeddings, pool.quality, budget, diversity_weight=self.diversity_weight)
        return Selection(indices, gains, reasons=("lower quality, or more similar to the kept rows",))
