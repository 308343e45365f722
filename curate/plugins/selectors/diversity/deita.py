"""DEITA: selection by descending quality, without rows too similar to selected ones."""

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

_ROWS, _TAKEN = 1024, 2048  # rows processed together, and number of taken rows per product


def deita(embeddings: Matrix, quality: Vector, budget: int, *, max_similarity: float) -> tuple[Rows, int, Rows, Vector]:
    """Select rows score first with a diversity constraint, one row at a time.

    Rows are processed by descending quality. A row is taken if its similarity to every taken row is at most
    ``max_similarity``, until the budget is met. If all rows have been processed before that, the skipped rows follow,
    by descending quality.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    quality : (n,) float32, higher = keep
    budget : number of rows to keep, 0 <= budget <= n
    max_similarity : cosine in [-1, 1]

    Returns
    -------
    indices : (budget,) rows in the order they were taken, ties in quality to the lowest index
    n_diverse : number of rows taken by the rule; the following rows had been skipped
    representative : (n,) for a skipped row that is not kept, the most similar row taken before it; otherwise -1
    similarity : (n,) float32, cosine similarity to that row; NaN if there is none

    Notes
    -----
    Cost: O(m k d) time for m processed and k taken rows, in matrix products, nothing for the rows after the last one
    needed; O(n) memory, and 8 MiB a thread.

    Guarantee: no two of the first ``n_diverse`` rows are more similar than ``max_similarity``, and every skipped row is
    more similar than that to a better row that was taken.

    Deviations: if fewer rows than the budget pass, skipped rows fill it. The authors' code, run with batches of more
    than one row, also skips rows that are similar to a skipped row: this is its rule at a batch of one, as in the
    paper. There is an allowance of 1e-6 for rounding, and 1 skips nothing, whatever the rounding of stored embeddings.

    References
    ----------
    Liu, Zeng, He, Jiang & He (2023), DEITA, arXiv:2312.15685.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.96, 0.28], [0, 1]], np.float32)
    >>> indices, n_diverse, representative, _ = deita(x, np.array([2, 3, 1], np.float32), 2, max_similarity=0.9)
    >>> indices.tolist(), n_diverse, representative.tolist()
    ([1, 2], 2, [1, -1, -1])
    """
    n = len(embeddings)
    limit = max_similarity + ROUNDING if max_similarity < 1 else np.inf
    by_quality = np.argsort(-quality, kind="stable")
    taken_rows, count = np.empty(budget, np.intp), 0
    skipped: list[Rows] = []
    representative, similarity = np.full(n, -1, np.intp), np.full(n, np.nan, np.float32)
    with one_blas_thread():
        for block in block_slices(n, _ROWS):
            if count == budget:
                break
            rows = by_quality[block]
            x = embeddings[rows]
            best, nearest = _most_similar(x, embeddings, taken_rows[:count])
            block_similarities = x @ x.T
            is_taken = np.zeros(len(rows), np.bool_)
            n_processed = 0
            for n_processed, row in enumerate(rows.tolist(), start=1):
                i = n_processed - 1
                if best[i] > limit:
                    continue
                is_taken[i] = True
                taken_rows[count] = row
                later_similarities = block_similarities[i, n_processed:]
                improved = np.flatnonzero(later_similarities > best[n_processed:])
                best[n_processed + improved], nearest[n_processed + improved] = later_similarities[improved], count
                count += 1
                if count == budget:
                    break
            skipped_in_block = np.flatnonzero(~is_taken[:n_processed])
            skipped.append(rows[skipped_in_block])
            representative[rows[skipped_in_block]], similarity[rows[skipped_in_block]] = (
                taken_rows[nearest[skipped_in_block]],
                best[skipped_in_block],
            )
    filler = np.concatenate([np.empty(0, np.intp), *skipped])[: budget - count]
    representative[filler], similarity[filler] = -1, np.nan
    return np.concatenate((taken_rows[:count], filler)), count, representative, similarity


def _most_similar(x: Matrix, embeddings: Matrix, taken_rows: Rows) -> tuple[Vector, Rows]:
    """Return the largest similarity of each row to a taken row, -inf for none, and its position, ties to the first."""
    best, nearest = np.full(len(x), -np.inf, np.float32), np.zeros(len(x), np.intp)

    def compare(block: slice) -> tuple[int, Vector, Rows]:
        product = x @ embeddings[taken_rows[block]].T
        columns = product.argmax(axis=1)
        return block.start, product[np.arange(len(x)), columns], columns

    for start, largest, columns in map_blocks(compare, block_slices(len(taken_rows), _TAKEN)):
        improved = largest > best
        best[improved], nearest[improved] = largest[improved], start + columns[improved]
    return best, nearest


@selector(
    version=1,
    scope="pool",
    needs_quality=True,
    prefix=True,
    random=False,
    cost="O(k² d)",
    guarantee="no two kept rows above the threshold, as long as others remain",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Deita:
    """Keep the best rows such that no two of them are too similar.

    Use it for instruction data with a good quality score, for example complexity times quality as in the paper: it is
    simple and fast. ``mmr`` trades quality for diversity gradually, without a threshold.

    Each skipped row names the kept row that it is too similar to. If fewer rows than the budget pass, the best skipped
    rows fill it, after the others. Gains are qualities: in the paper complexity times quality, each judged by a
    language model, summed over turns.

    Notes
    -----
    Deviations: a budget that is not met is filled.

    References
    ----------
    Liu, Zeng, He, Jiang & He (2023), DEITA, arXiv:2312.15685.
    """

    max_similarity: Annotated[float, Ge(-1), Le(1)] = 0.9
    """Cosine similarity to a taken row above which a row is skipped; 1 skips nothing."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices, _, representative, similarity = deita(
            pool.embeddings, pool.quality, budget, max_similarity=self.max_similarity
        )
        return Selection(
            indices,
            pool.quality[indices],
            reasons=(
                "lower quality than the kept rows",
                f"too similar to a better row (similarity above {self.max_similarity:g})",
            ),
            reason=(representative >= 0).astype(np.int16),
            representative=representative,
            similarity=similarity,
        )
