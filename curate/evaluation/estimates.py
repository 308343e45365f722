"""What trials with several seeds tell: a mean, how far chance may have moved it, and whether two choices differ.

Two things are left to chance: the seed (what was chosen, and how the probe learnt), and which rows stand in the test.
Repeating with other seeds shows the first only, so that where every test row's outcome is known, the second is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from curate.kernels.types import Numbers, Rows
from curate.report.evaluation_data import Estimate

CONFIDENCE = 0.95


def estimate(values: Numbers, rows: Numbers | None = None) -> Estimate:
    """The mean of one value a seed.

    Parameters
    ----------
    values : (s,) one a seed
    rows : (s, m) what each value is the mean of, test row by test row; None if that is not known

    Notes
    -----
    The variance of the mean is the seeds' variance / s, plus the variance of the rows' means / m: the two-way analysis
    of crossed random effects, with the interaction counted twice rather than not at all. Degrees of freedom after
    Satterthwaite [1]_.

    References
    ----------
    .. [1] F. E. Satterthwaite, An Approximate Distribution of Estimates of Variance Components, Biometrics Bulletin
       2(6), 1946, doi:10.2307/3002019

    >>> found = estimate(np.array([1.0, 2.0, 3.0]))
    >>> round(found.mean, 3), round(found.half_width, 3), round(found.p, 3)
    (2.0, 2.484, 0.074)
    >>> estimate(np.array([2.0]))
    Estimate(mean=2.0, half_width=nan, p=nan)
    """
    from scipy import stats

    s, mean = len(values), float(np.mean(values))
    if s < 2 or math.isnan(mean):
        return Estimate(mean, math.nan, math.nan)
    parts = [(float(np.var(values, ddof=1)) / s, s - 1)]
    if rows is not None and rows.shape[1] > 1:
        parts.append((float(np.var(rows.mean(0), ddof=1)) / rows.shape[1], rows.shape[1] - 1))
    variance = sum(part for part, _ in parts)
    if variance <= (1e-12 * max(1.0, abs(mean))) ** 2:
        return Estimate(mean, math.nan, 1.0 if abs(mean) < 1e-12 else math.nan)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(variance)
    half_width = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    return Estimate(mean, half_width, float(2 * stats.t.sf(abs(mean) / error, freedom)))


def nulls(data: Mapping[str, object]) -> dict[str, object]:
    """Plain data with null for NaN, which JSON cannot write.

    >>> nulls({"p": math.nan, "all": [1.0, (math.nan,)]})
    {'p': None, 'all': [1.0, [None]]}
    """
    return {key: _null(value) for key, value in data.items()}


def _null(value: object) -> object:
    if isinstance(value, dict):
        return nulls(value)
    if isinstance(value, list | tuple):
        return [_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def jaccard(a: Rows, b: Rows) -> float:
    """Rows in both selections, as a share of those in either; 1 if both are empty.

    >>> jaccard(np.array([0, 1, 2]), np.array([1, 2, 3]))
    0.5
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else 1.0
