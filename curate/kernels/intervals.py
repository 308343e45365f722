"""How sure a mean over a few seeds, or a difference of accuracies on shared test rows, can be.

No interval is narrower than the data allow: what was measured once has none, and accuracies that do not differ between
seeds still come from a sample of test rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from curate.kernels.parallel import ranges

Numbers = NDArray[np.float64]

_DRAWS = 256  # resamples at a time


class Interval(NamedTuple):
    """From ``low`` to ``high``; NaN where the data allow none."""

    low: float
    high: float


class Difference(NamedTuple):
    """What a comparison of two on the same test rows found."""

    mean: float
    interval: Interval
    p: float
    """Two-sided, that there is no difference."""


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values; NaN for a single one.

    Parameters
    ----------
    values : (n,), one a seed
    confidence : in (0, 1)

    Values that are all the same give an interval of no width: where they are accuracies, use ``accuracy_interval``.

    References
    ----------
    Student (1908), doi:10.1093/biomet/6.1.1.

    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return Interval(float("nan"), float("nan"))
    half = float(stdtrit(len(found) - 1, (1 + confidence) / 2)) * float(found.std(ddof=1)) / len(found) ** 0.5
    return Interval(float(found.mean()) - half, float(found.mean()) + half)


def wilson_interval(share: float, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a probability, of which ``share`` of ``trials`` succeeded; it never has no width.

    References
    ----------
    Wilson (1927), doi:10.1080/01621459.1927.10502953.

    >>> [round(end, 3) for end in wilson_interval(1.0, 10)]
    [0.722, 1.0]
    """
    squared = float(ndtri((1 + confidence) / 2)) ** 2
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = (squared * (share * (1 - share) / trials + squared / (4 * trials**2))) ** 0.5 / (1 + squared / trials)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def accuracy_interval(hits: ArrayLike, confidence: float = 0.95) -> Interval:
    """An interval of the mean accuracy that covers what seeds vary by, and what another test set would.

    The hull of Student's t interval over the seeds, within [0, 1], and of Wilson's for the test rows; of one seed,
    Wilson's alone. NaN without test rows.

    Parameters
    ----------
    hits : (m,), or (seeds, m): whether each test row was predicted rightly

    >>> accuracy_interval(np.ones((5, 100), bool)) == wilson_interval(1.0, 100)
    True
    """
    right = np.atleast_2d(np.asarray(hits, np.float64))
    seeds, rows = right.shape
    if not rows:
        return Interval(float("nan"), float("nan"))
    of_rows = wilson_interval(float(right.mean()), rows, confidence)
    if seeds < 2:
        return of_rows
    of_seeds = mean_interval(right.mean(axis=1), confidence)
    return Interval(min(of_rows.low, max(0.0, of_seeds.low)), max(of_rows.high, min(1.0, of_seeds.high)))


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, resamples: int = 10_000, confidence: float = 0.95
) -> Difference:
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
        return Difference(float("nan"), Interval(float("nan"), float("nan")), float("nan"))
    mean = float(sides[0].mean() - sides[1].mean())
    one = np.array([[1.0, 0.0]])
    padded = [
        np.hstack([side, np.repeat(extra, len(side), 0)]) for side, extra in zip(sides, (one, 1 - one), strict=True)
    ]
    drawn = np.empty(resamples)
    for part in ranges(resamples, _DRAWS):
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
    return Difference(mean, Interval(float(low), float(high)), p)


def sign_flip_p(differences: ArrayLike, rng: np.random.Generator, resamples: int = 10_000) -> float:
    """Two-sided p that paired differences are as likely of one sign as of the other (a paired permutation test).

    The share of the ways to give them signs for which their sum is at least as far from 0 as it is: of all ways where
    there are no more than ``resamples``, else of as many drawn ones and the one found.

    Parameters
    ----------
    differences : (n,), one a pair: a seed, or a test row. n seeds cannot give less than 2 / 2^n

    References
    ----------
    Fisher (1935), The Design of Experiments, section 21. Drawn: Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.

    >>> sign_flip_p([1.0, 2.0, 3.0], np.random.default_rng(0)), sign_flip_p([0.0, 0.0], np.random.default_rng(0))
    (0.25, 1.0)
    """
    values = np.asarray(differences, np.float64)
    values = values[values != 0]  # whose sign is no matter
    found = abs(float(values.sum())) * (1 - 1e-9)
    if 2 ** min(len(values), 63) <= resamples:
        ways = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
        return float((np.abs((2 * ways - 1) @ values) >= found).mean())
    farther = 0
    for part in ranges(resamples, _DRAWS):
        signs = 2 * rng.integers(0, 2, (part.stop - part.start, len(values)), np.int8) - 1
        farther += int(np.count_nonzero(np.abs(signs @ values) >= found))
    return (farther + 1) / (resamples + 1)


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
