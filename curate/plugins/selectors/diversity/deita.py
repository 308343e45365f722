"""DEITA: take rows by falling quality, passing over those too similar to a row already taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.types import Matrix, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_ROWS, _TAKEN = 1024, 2048  # rows looked at together, and taken rows that one product compares them with


def deita(embeddings: Matrix, quality: Vector, budget: int, *, max_similarity: float) -> tuple[Rows, int, Rows, Vector]:
    """Score-first, diversity-aware selection, one row at a time.

    Rows are looked at by falling quality. A row is taken if its similarity to every row taken so far is at most
    ``max_similarity``, until the budget is met. If it is not when all have been looked at, the rows passed over follow,
    by falling quality.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    quality : (n,) float32, higher = keep
    budget : number of rows to keep, 0 <= budget <= n
    max_similarity : cosine in [-1, 1]

    Returns
    -------
    order : (budget,) rows in the order they were taken, ties in quality to the lowest index
    diverse : how many of them the rule took; what follows are rows that were passed over
    representative : (n,) for a row that was passed over and not kept, the most similar row taken before it; -1 else
    similarity : (n,) float32, cosine similarity to that row; NaN where there is none

    Cost: O(m k d) time for m rows looked at and k taken, in matrix products, nothing for the rows after the last one
    needed; O(n) memory, and 8 MiB a thread. Guarantee: no two of the first ``diverse`` rows are more similar than
    ``max_similarity``, and every row passed over is so to a better row that was taken.

    References
    ----------
    Liu, Zeng, He, Jiang & He (2023), DEITA, arXiv:2312.15685.

    Deviations: a smaller number of rows than the budget is filled up. The authors' code, run with batches of more than
    one row, also passes over rows that are similar to one that was itself passed over: this is its rule at a batch of
    one, as in the paper. 1e-6 for rounding, and 1 passes over nothing, whatever the rounding of stored embeddings.

    >>> x = np.array([[1, 0], [0.96, 0.28], [0, 1]], np.float32)
    >>> order, diverse, representative, _ = deita(x, np.array([2, 3, 1], np.float32), 2, max_similarity=0.9)
    >>> order.tolist(), diverse, representative.tolist()
    ([1, 2], 2, [1, -1, -1])
    """
    n = len(embeddings)
    limit = max_similarity + ROUNDING if max_similarity < 1 else np.inf
    by_quality = np.argsort(-quality, kind="stable")
    taken, count = np.empty(budget, np.intp), 0
    passed: list[Rows] = []
    representative, similarity = np.full(n, -1, np.intp), np.full(n, np.nan, np.float32)
    with one_blas_thread():
        for block in block_slices(n, _ROWS):
            if count == budget:
                break
            rows = by_quality[block]
            x = embeddings[rows]
            best, nearest = _most_similar(x, embeddings, taken[:count])
            among = x @ x.T
            accepted = np.zeros(len(rows), np.bool_)
            looked_at = 0
            for looked_at, row in enumerate(rows.tolist(), start=1):
                i = looked_at - 1
                if best[i] > limit:
                    continue
                accepted[i] = True
                taken[count] = row
                later = among[i, looked_at:]
                closer = np.flatnonzero(later > best[looked_at:])
                best[looked_at + closer], nearest[looked_at + closer] = later[closer], count
                count += 1
                if count == budget:
                    break
            over = np.flatnonzero(~accepted[:looked_at])
            passed.append(rows[over])
            representative[rows[over]], similarity[rows[over]] = taken[nearest[over]], best[over]
    filled = np.concatenate([np.empty(0, np.intp), *passed])[: budget - count]
    representative[filled], similarity[filled] = -1, np.nan
    return np.concatenate((taken[:count], filled)), count, representative, similarity


def _most_similar(x: Matrix, embeddings: Matrix, taken: Rows) -> tuple[Vector, Rows]:
    """The largest similarity of each row to a row taken, -inf for none, and which that is, the first of equals."""
    best, nearest = np.full(len(x), -np.inf, np.float32), np.zeros(len(x), np.intp)

    def compare(block: slice) -> tuple[int, Vector, Rows]:
        product = x @ embeddings[taken[block]].T
        column = product.argmax(axis=1)
        return block.start, product[np.arange(len(x)), column], column

    for start, largest, column in map_blocks(compare, block_slices(len(taken), _TAKEN)):
        closer = largest > best
        best[closer], nearest[closer] = largest[closer], start + column[closer]
    return best, nearest


@selector(
    version=1,
    needs_quality=True,
    prefix=True,
    random=False,
    cost="O(k² d)",
    guarantee="no two rows more similar than the threshold, while there are others",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Deita:
    """Keep the best rows of which no two are too similar.

    Each row passed over names the kept row that it is too similar to. If fewer rows than the budget pass, the best of
    those passed over fill it up, after the others. Gains are qualities: the paper's is complexity times quality, each
    from a language model's judgement, summed over turns.

    References
    ----------
    Liu, Zeng, He, Jiang & He (2023), DEITA, arXiv:2312.15685.

    Deviations: a budget that is not met is filled up.
    """

    max_similarity: Annotated[float, Ge(-1), Le(1)] = 0.9
    """Cosine similarity to a row taken above which a row is passed over; 1 passes over nothing."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, _, representative, similarity = deita(
            pool.embeddings, pool.quality, budget, max_similarity=self.max_similarity
        )
        return Selection(
            order,
            pool.quality[order],
            reasons=(
                "quality below that of the rows kept",
                f"too similar to a better row (similarity above {self.max_similarity:g})",
            ),
            reason=(representative >= 0).astype(np.int16),
            representative=representative,
            similarity=similarity,
        )
