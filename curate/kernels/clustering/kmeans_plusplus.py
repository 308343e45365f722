"""Rows for k-means to start from: greedy k-means++, in matrix products."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.cosines import ROUNDING
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Rows

_ROWS = 2048
_DRAWN = 128  # rows drawn at a time


def choose_seeds(sample: Matrix, k: int, rng: np.random.Generator) -> Rows:
    """Rows of ``sample`` to start from, far apart: greedy k-means++.

    The first row is drawn evenly. For each next one, 2 + ⌊ln k⌋ rows are drawn with probability proportional to their
    distance (1 - cosine) to the nearest chosen row, and the one that lowers the sum of all these distances most is
    chosen.

    Rows are drawn 128 at a time, by the distances at that time, and their distances to all rows come from one matrix
    product. A row that chosen rows have come nearer to since counts as drawn only with probability new / old distance,
    so that the draws follow the present distances exactly.

    Parameters
    ----------
    sample : (m, d) float32, rows of unit length
    k : number of rows to choose, at least 1

    Returns
    -------
    (at most k,) rows in the order chosen; fewer when the sample has fewer distinct rows.

    Cost: O(m k d ln k) time, in matrix products, and O(m k ln k) besides; memory of 128 m distances. Guarantee:
    expected inertia on the sample within O(ln⁶ k) of the optimum; in practice lower than that of the plain form, whose
    bound is 8 (ln k + 2).

    References
    ----------
    Arthur & Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA, section 2.2, and section 7 for
    the greedy form. Its bound: Grunau, Özüdoğru, Rozhoň & Tětek (2023), "A nearly tight analysis of greedy k-means++",
    SODA, arXiv:2207.07949.

    Deviations: distance is 1 - cosine, on unit rows half the squared distance of the paper; probabilities are the same.

    >>> choose_seeds(np.array([[1, 0], [0, 1], [1, 0]], np.float32), 3, np.random.default_rng(0)).size
    2
    """
    trials = 2 + int(np.log(k))
    chosen = [int(rng.integers(len(sample)))]
    distance = _distances(sample, chosen)[0]
    while len(chosen) < k and distance.any():
        cumulative = np.cumsum(distance, dtype=np.float64)
        drawn = np.searchsorted(cumulative[:-1], rng.random(_DRAWN) * cumulative[-1], side="right")
        bar = rng.random(_DRAWN, np.float32) * distance[drawn]
        to_drawn = _distances(sample, drawn)
        waiting = np.arange(_DRAWN)
        while len(chosen) < k:
            waiting = waiting[bar[waiting] < distance[drawn[waiting]]]  # distances only fall: who is out stays out
            if len(waiting) < trials:
                break
            lowered = np.minimum(to_drawn[waiting[:trials]], distance)
            best = int(lowered.sum(axis=1).argmin())
            chosen.append(int(drawn[waiting[best]]))
            distance = lowered[best]
            waiting = waiting[trials:]
    return np.array(chosen, np.intp)


def _distances(sample: Matrix, rows: Rows | list[int]) -> Matrix:
    """1 - cosine of every row to each of ``rows``; (len(rows), m), 0 where they cannot be told apart.

    Raises
    ------
    FloatingPointError : if one is not finite
    """
    found = np.empty((len(rows), len(sample)), np.float32)
    candidates = sample[rows]

    def block(part: slice) -> None:
        with np.errstate(invalid="ignore"):  # BLAS sets the flag now and then on a few finite rows: look at the numbers
            distance = 1 - candidates @ sample[part].T
        if not np.isfinite(distance).all():
            raise FloatingPointError("a row of the sample is not finite")
        distance[distance < ROUNDING] = 0  # equal rows, as far as float32 tells
        found[:, part] = distance

    for _ in map_blocks(block, block_slices(len(sample), _ROWS)):
        pass
    return found
