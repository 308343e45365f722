"""k-center greedy: pick the row farthest from everything picked so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING, cosine_distances, euclidean_distances
from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

_BLOCK = 8192  # rows of one product
_AHEAD = 32  # likely next picks in one product: a pass over the rows costs the same for 32 as for 3


def k_center(embeddings: Matrix, budget: int, *, first: int = 0) -> tuple[Rows, Vector, Rows, Vector]:
    """Greedy 2-approximation to the k-center problem (farthest-first traversal).

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    budget : number of rows to keep, 0 <= budget <= n
    first : the row to start from

    Returns
    -------
    order : (budget,) rows in the order they were picked
    gains : (budget,) float32, Euclidean distance to the nearest earlier pick, in [0, 2], never growing; within 0.1 %,
        and exactly 0 for equal rows; gains[0] is 2, the largest distance there is
    nearest : (n,) the pick most similar to each row, the earliest of equals; -1 for picks, and for all if budget is 0
    similarity : (n,) float32, cosine similarity to that pick; NaN where there is none

    Cost: O(budget n d) time in practice, and 32 times that at worst: the similarities to the 32 farthest rows are
    computed together, and most of these are picked soon after, so that one pass over the rows serves some 20 picks.
    Rows within .014 of a pick are compared with it once more, in double precision: where all are, that is 4 times
    slower. Memory: about 160 n bytes. Guarantee: no row is farther from its nearest pick than twice the optimum for as
    many picks.

    References
    ----------
    Gonzalez (1985), doi:10.1016/0304-3975(85)90224-5; Sener & Savarese (2018), arXiv:1708.00489, Alg. 1.

    >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    >>> order, gains, nearest, _ = k_center(x, 2)
    >>> order.tolist(), nearest.tolist()
    ([0, 2], [-1, 0, -1])
    """
    n = len(embeddings)
    order, gains = np.empty(budget, np.intp), np.empty(budget)
    nearest, gap = np.full(n, -1, np.intp), np.full(n, np.inf)  # 1 - cosine
    ahead = np.empty((min(_AHEAD, n), n), np.float32)
    lines: dict[int, int] = {}
    pick = first
    with one_blas_thread():
        for step in range(budget):
            if pick not in lines:
                lines = _look_ahead(embeddings, gap, pick, ahead)
            order[step], gains[step] = pick, gap[pick]
            closer = np.flatnonzero(1 - ahead[lines[pick]] < gap + ROUNDING)
            found = cosine_distances(
                ahead[lines[pick], closer], embeddings, embeddings, closer, np.full(len(closer), pick)
            )
            nearer = found < gap[closer]
            closer = closer[nearer]
            gap[closer], nearest[closer] = found[nearer], pick
            gap[pick] = -1
            pick = int(gap.argmax())
    nearest[order] = -1
    similarity = np.where(nearest < 0, np.nan, 1 - gap).astype(np.float32)
    return order, euclidean_distances(gains), nearest, similarity


def _look_ahead(embeddings: Matrix, gap: Numbers, pick: int, ahead: Matrix) -> dict[int, int]:
    """Fill the lines of ``ahead`` for ``pick`` and the rows farthest from all picks; return the line of each row."""
    rows = np.argpartition(-gap, len(ahead) - 1)[: len(ahead)]
    rows[0] = pick if pick not in rows else rows[0]
    candidates = embeddings[rows]

    def multiply(block: slice) -> None:
        np.matmul(candidates, embeddings[block].T, out=ahead[:, block])

    for _ in map_blocks(multiply, block_slices(len(embeddings), _BLOCK)):
        pass
    return {row: line for line, row in enumerate(rows.tolist())}


@selector(
    version=2,
    prefix=True,
    equivariant=True,
    quadratic=True,
    cost="O(n k d)",
    guarantee="at most twice the smallest radius",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KCenter:
    """Keep rows that cover the space evenly; every dropped row names the nearest kept one.

    Gains are distances to the nearest row picked earlier. Outliers are picked first: drop junk before. With
    ``first: random`` the first row depends on the order of the pool, by way of the random generator.

    References
    ----------
    Gonzalez (1985), doi:10.1016/0304-3975(85)90224-5. Sener & Savarese (2018), arXiv:1708.00489, Alg. 1.
    """

    first: Literal["best_quality", "random"] = "best_quality"
    """How the first row is picked."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        first = 0
        if budget:
            first = int(pool.quality.argmax()) if self.first == "best_quality" else int(rng.integers(len(pool)))
        order, gains, nearest, similarity = k_center(pool.embeddings, budget, first=first)
        reasons = ("nearer to the rows kept than the last of them was",)
        return Selection(order, gains, reasons=reasons, representative=nearest, similarity=similarity)
