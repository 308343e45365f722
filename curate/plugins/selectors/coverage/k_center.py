"""Greedy k-center: selection of the row farthest from all selected rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.linalg.cosines import ROUNDING, cosine_distances, euclidean_distances
from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.submodular.two_rounds import partition_rows
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection
from curate.plugins.two_rounds import PartSelection, select_in_two_rounds

_BLOCK = 8192  # rows of one product
_LOOKAHEAD = 32  # likely next picks in one product: a pass over the rows costs the same for 32 as for 3


def k_center(embeddings: Matrix, budget: int, *, first: int = 0) -> tuple[Rows, Vector, Rows, Vector]:
    """Run the greedy 2-approximation of the k-center problem (farthest-first traversal).

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    budget : number of rows to keep, 0 <= budget <= n
    first : first pick

    Returns
    -------
    indices : (budget,) rows in the order they were picked
    gains : (budget,) float32, Euclidean distance to the nearest earlier pick, in [0, 2], never growing; within 0.1 %,
        and exactly 0 for equal rows; gains[0] is 2, the largest possible distance
    nearest : (n,) the pick most similar to each row, ties to the earliest; -1 for picks, and for all if budget is 0
    similarity : (n,) float32, cosine similarity to that pick; NaN if there is none

    Notes
    -----
    Cost: O(budget n d) time in practice, at worst 32 times that: the similarities to the 32 farthest rows are computed
    together, and most of these are picked soon after, so that one pass over the rows serves some 20 picks. Rows within
    .014 of a pick are compared with it again in double precision: if all are, that is 4 times slower. Memory: about 160
    n bytes.

    Guarantee: no row is farther from its nearest pick than twice the optimum for the same number of picks.

    References
    ----------
    Gonzalez (1985), doi:10.1016/0304-3975(85)90224-5; Sener & Savarese (2018), arXiv:1708.00489, Alg. 1.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    >>> indices, gains, nearest, _ = k_center(x, 2)
    >>> indices.tolist(), nearest.tolist()
    ([0, 2], [-1, 0, -1])
    """
    n = len(embeddings)
    indices, gains = np.empty(budget, np.intp), np.empty(budget)
    nearest, distances_to_nearest = np.full(n, -1, np.intp), np.full(n, np.inf)  # 1 - cosine
    ahead = np.empty((min(_LOOKAHEAD, n), n), np.float32)
    line_of_row: dict[int, int] = {}
    pick = first
    with one_blas_thread():
        for step in range(budget):
            if pick not in line_of_row:
                line_of_row = _look_ahead(embeddings, distances_to_nearest, pick, ahead)
            indices[step], gains[step] = pick, distances_to_nearest[pick]
            candidates = np.flatnonzero(1 - ahead[line_of_row[pick]] < distances_to_nearest + ROUNDING)
            pick_distances = cosine_distances(
                ahead[line_of_row[pick], candidates], embeddings, embeddings, candidates, np.full(len(candidates), pick)
            )
            is_nearer = pick_distances < distances_to_nearest[candidates]
            candidates = candidates[is_nearer]
            distances_to_nearest[candidates], nearest[candidates] = pick_distances[is_nearer], pick
            distances_to_nearest[pick] = -1
            pick = int(distances_to_nearest.argmax())
    nearest[indices] = -1
    similarity = np.where(nearest < 0, np.nan, 1 - distances_to_nearest).astype(np.float32)
    return indices, euclidean_distances(gains), nearest, similarity


def _look_ahead(embeddings: Matrix, distances_to_nearest: Numbers, pick: int, ahead: Matrix) -> dict[int, int]:
    """Fill ``ahead`` with the similarities of ``pick`` and of the farthest rows; return the line of each row."""
    rows = np.argpartition(-distances_to_nearest, len(ahead) - 1)[: len(ahead)]
    rows[0] = pick if pick not in rows else rows[0]
    candidates = embeddings[rows]

    def multiply(block: slice) -> None:
        np.matmul(candidates, embeddings[block].T, out=ahead[:, block])

    for _ in map_blocks(multiply, block_slices(len(embeddings), _BLOCK)):
        pass
    return {row: line for line, row in enumerate(rows.tolist())}


@selector(
    version=2,
    scope="pool",
    two_rounds=True,
    prefix=True,
    equivariant=True,
    quadratic=True,
    cost="O(n k d)",
    guarantee="at most twice the optimal radius; in two rounds, four times",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KCenter:
    """Keep rows that cover the space evenly; every dropped row names the nearest kept row.

    Use it to cover every region, also sparsely populated ones, and to bound the distance of every row to a kept one. It
    picks outliers first: drop junk before. ``facility_location`` prefers typical rows, and scales better.

    Gains are distances to the nearest earlier pick. With ``first: random`` the first row depends on the order of the
    pool, through the random generator.

    With ``n_partitions``, it selects in two rounds: the budget's number of rows from each of as many random partitions,
    then from the union of these. Gains are distances within the union. A dropped row names a kept row through the row
    that represents it in its partition, if their cosine is above 0. For 5 % of 20,000 rows, the radius was 0.98 at
    once, 1.04 in 4 partitions, 0.99 in 16, and 1.15 at random.

    Notes
    -----
    Guarantee in two rounds: no row is farther from a kept row than four times the optimum, for any partition: twice the
    optimum to the nearest row of the union, and twice from there. Deviations: none.

    References
    ----------
    Gonzalez (1985), doi:10.1016/0304-3975(85)90224-5. Sener & Savarese (2018), arXiv:1708.00489, Alg. 1. In two rounds:
    Malkomes, Kusner, Chen, Weinberger & Moseley (2015), "Fast distributed k-center clustering with outliers on massive
    data", NIPS 28, without its outliers.
    """

    first: Literal["best_quality", "random"] = "best_quality"
    """First pick: the row of best quality, or a random row."""

    n_partitions: Annotated[int, Ge(2), Le(1_000)] | None = None
    """Number of random partitions to select from in a first round, each as its own task; null selects at once. The
    second round processes n_partitions times the budget, at most all rows: use it for pools too large for one machine
    and budgets far below rows / n_partitions; the square root of rows / budget makes both rounds equally large."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        partitions = self.partition(len(pool), rng)
        if partitions is None:
            return self.select_part(pool, budget, rng)
        return select_in_two_rounds(self, pool, partitions, budget, rng)

    def partition(self, pool_size: int, rng: np.random.Generator) -> tuple[Rows, ...] | None:
        """Return the rows of each partition; None to select at once."""
        return None if self.n_partitions is None else partition_rows(pool_size, self.n_partitions, rng)

    def select_part(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Select from one partition, or from a pool that is not partitioned."""
        return self._traverse(pool, budget, rng, "closer to the kept rows than the last kept row was")

    def merge(
        self,
        pool: Pool,
        parts: Sequence[PartSelection],  # noqa: ARG002
        budget: int,
        rng: np.random.Generator,
    ) -> Selection:
        """Select from the union of the partitions' answers."""
        return self._traverse(pool, budget, rng, "closer to the rows kept in a round than the last of them was")

    def _traverse(self, pool: Pool, budget: int, rng: np.random.Generator, reason: str) -> Selection:
        first = 0
        if budget:
            first = int(pool.quality.argmax()) if self.first == "best_quality" else int(rng.integers(len(pool)))
        indices, gains, nearest, similarity = k_center(pool.embeddings, budget, first=first)
        return Selection(indices, gains, reasons=(reason,), representative=nearest, similarity=similarity)
