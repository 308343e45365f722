"""Greedy k-means++ seeding in matrix products."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Rows

_ROWS = 2048
_DRAWS = 128  # rows drawn at a time


def choose_seeds(sample: Matrix, k: int, rng: np.random.Generator) -> Rows:
    """Choose starting rows for k-means that are far apart, by greedy k-means++.

    The first row is drawn uniformly. For each further one, 2 + ⌊ln k⌋ rows are drawn with probability proportional to
    their distance (1 - cosine) to the nearest chosen row. The one that lowers the sum of all these distances most is
    chosen.

    Parameters
    ----------
    sample : (m, d) float32, rows of unit length
    k : number of rows to choose, at least 1
    rng : random generator

    Returns
    -------
    (at most k,) row indices in the order chosen; fewer if the sample has fewer distinct rows

    Notes
    -----
    Rows are drawn 128 at a time, by the distances at that time, and their distances to all rows come from one matrix
    product. If chosen rows have come nearer to a drawn row since, the draw is accepted only with probability new / old
    distance, so that draws follow the current distances exactly.

    Cost: O(m k d ln k) time in matrix products, and O(m k ln k) for the rest; memory of 128 m distances.

    Guarantee: expected inertia on the sample within O(ln⁶ k) of the optimum. In practice it is lower than that of plain
    k-means++, whose bound is 8 (ln k + 2).

    Deviations: distance is 1 - cosine, on unit rows half the squared distance of the paper; probabilities are the same.

    References
    ----------
    Arthur & Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA, section 2.2, and section 7 for
    the greedy form. Its bound: Grunau, Özüdoğru, Rozhoň & Tětek (2023), "A nearly tight analysis of greedy k-means++",
    SODA, arXiv:2207.07949.

    Examples
    --------
    >>> choose_seeds(np.array([[1, 0], [0, 1], [1, 0]], np.float32), 3, np.random.default_rng(0)).size
    2
    """
    n_trials = 2 + int(np.log(k))
    indices = [int(rng.integers(len(sample)))]
    distances = _distances(sample, indices)[0]
    while len(indices) < k and distances.any():
        cumulative = np.cumsum(distances, dtype=np.float64)
        draws = np.searchsorted(cumulative[:-1], rng.random(_DRAWS) * cumulative[-1], side="right")
        acceptance = rng.random(_DRAWS, np.float32) * distances[draws]
        draw_distances = _distances(sample, draws)
        remaining = np.arange(_DRAWS)
        while len(indices) < k:
            remaining = remaining[
                acceptance[remaining] < distances[draws[remaining]]
            ]  # distances only fall: rejected draws stay rejected
            if len(remaining) < n_trials:
                break
            lowered_distances = np.minimum(draw_distances[remaining[:n_trials]], distances)
            best = int(lowered_distances.sum(axis=1).argmin())
            indices.append(int(draws[remaining[best]]))
            distances = lowered_distances[best]
            remaining = remaining[n_trials:]
    return np.array(indices, np.intp)


def _distances(sample: Matrix, rows: Rows | list[int]) -> Matrix:
    """Compute 1 - cosine of every row to each of ``rows``; (len(rows), m), 0 where they are equal within rounding.

    Raises
    ------
    FloatingPointError : if a distance is not finite
    """
    distances = np.empty((len(rows), len(sample)), np.float32)
    candidates = sample[rows]

    def block(columns: slice) -> None:
        with np.errstate(invalid="ignore"):  # BLAS sometimes sets the flag on finite rows
            block_distances = 1 - candidates @ sample[columns].T
        if not np.isfinite(block_distances).all():
            raise FloatingPointError("a row of the sample is not finite")
        block_distances[block_distances < ROUNDING] = 0  # equal rows within float32 rounding
        distances[:, columns] = block_distances

    for _ in map_blocks(block, block_slices(len(sample), _ROWS)):
        pass
    return distances
