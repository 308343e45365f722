"""How sure a difference of accuracies on shared test rows is, and how sure many tests at once are.

No interval is narrower than the data allow: accuracies that do not differ still come from a sample of test rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from curate.kernels.parallel import block_slices
from curate.kernels.types import Numbers

_DRAWS = 256  # resamples at a time


class Interval(NamedTuple):
    """From ``low`` to ``high``; NaN where the data allow none."""

    low: float
    high: float


class MeanDifference(NamedTuple):
    """What a comparison of two on the same test rows found."""

    mean: float
    interval: Interval
    p: float
    """Two-sided, that there is no difference."""


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, resamples: int = 10_000, confidence: float = 0.95
) -> MeanDifference:
    """By how much ``a`` is more accurate than ``b`` on the same test rows: percentiles over test rows drawn again.

    A resample draws test rows, the same for both, and seeds, of each for itself, with replacement. Two rows are added,
    of which each side alone gets one right, so that even where both agree on every row the interval has the width that
    so many rows allow.

    Parameters
    ----------
    a, b : (m,), or (seeds, m), seeds of any number for each: whether each test row was predicted rightly
    resamples : how many

    Returns
    -------
    mean : of a − b over the seeds and rows given
    interval : percentiles of the resampled differences
    p : twice the smaller share of resamples on one side of 0, at most 1, and at least 2 / (resamples + 1)

    Cost: O(resamples · m · seeds) time; memory of 256 resamples.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, sections 8.3 and 13.3. The rows added: Agresti & Min
    (2005), doi:10.1002/sim.1781, who add half as much to intervals for matched pairs.

    >>> same = paired_bootstrap(np.ones(100, bool), np.ones(100, bool), np.random.default_rng(0))
    >>> same.mean, same.interval.low < 0 < same.interval.high, same.p > 0.5
    (0.0, True, True)
    """
    sides = [np.atleast_2d(np.asarray(side, np.float64)) for side in (a, b)]
    rows = sides[0].shape[1]
    if not rows:
        return MeanDifference(float("nan"), Interval(float("nan"), float("nan")), float("nan"))
    mean = float(sides[0].mean() - sides[1].mean())
    one = np.array([[1.0, 0.0]])
    padded = [
        np.hstack([side, np.repeat(extra, len(side), 0)]) for side, extra in zip(sides, (one, 1 - one), strict=True)
    ]
    drawn = np.empty(resamples)
    for part in block_slices(resamples, _DRAWS):
        count = part.stop - part.start
        times = rng.multinomial(rows + 2, np.full(rows + 2, 1 / (rows + 2)), count).astype(np.float64) / (rows + 2)
        by_seed = [
            (rng.multinomial(len(side), np.full(len(side), 1 / len(side)), count) / len(side), times @ side.T)
            for side in padded
        ]
        first, second = ((seeds * accuracy).sum(axis=1) for seeds, accuracy in by_seed)
        drawn[part] = first - second
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    below, above = np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0)
    p = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    return MeanDifference(mean, Interval(float(low), float(high)), p)


def holm(p: ArrayLike) -> Numbers:
    """The p values, corrected for their number by Holm's step-down: below α, the chance of any false claim is below α.

    Parameters
    ----------
    p : (n,); NaN, for what was not tested, stays and does not count

    Returns
    -------
    (n,) at most 1, in the order given

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, np.float64)
    corrected = raw.copy()
    order = np.argsort(raw, kind="stable")[: np.count_nonzero(~np.isnan(raw))]  # NaN is sorted last
    steps = raw[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return corrected
