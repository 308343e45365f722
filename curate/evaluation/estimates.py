"""Means over seeds with confidence intervals, and tests of whether two selections differ.

There are two sources of randomness: the seed (which rows are selected, and how a probe is trained), and the choice of
test rows. The first is measured by repetition with several seeds. The second is added if the outcome of every test row
is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Numbers, Rows
from curate.report.evaluation_data import SIGNIFICANT, Estimate

CONFIDENCE = 0.95
MAX_SEEDS = 1_000
"""Maximum number of seeds in a configuration."""

_POWER, _SMALL = 0.8, 0.2


@dataclass(frozen=True, slots=True)
class _Spread:
    """Variances of a mean over seeds and test rows."""

    of_seeds: float
    """Variance of the values over seeds, which includes part of the variance over test rows."""

    of_rows: float
    """Additional variance of the mean due to the choice of test rows, independent of the number of seeds."""

    rows: int
    """Number of test rows; 0 if their individual outcomes are unknown."""

    one_draw: bool
    """Whether one side of a difference is a single draw that is the same with every seed."""

    def errors(self, seeds: int) -> list[tuple[float, float]]:
        """Return the standard errors of a mean over a number of seeds, each with its degrees of freedom.

        The first accounts for seeds only, the second also for test rows (Satterthwaite). A test must pass both,
        because in the second, the degrees of freedom of the rows could hide that there are few seeds.
        """
        parts = [(self.of_seeds * _share(seeds, one_draw=self.one_draw), seeds - 1), (self.of_rows, self.rows - 1)]
        known = [(part, degrees) for part, degrees in parts if part]
        variance = sum(part for part, _ in known)
        return [
            *((math.sqrt(part), float(degrees)) for part, degrees in known[:1] if self.of_seeds),
            *([(math.sqrt(variance), variance**2 / sum(part**2 / d for part, d in known))] if known else []),
        ]


def _share(seeds: int, *, one_draw: bool) -> float:
    """Return the factor from the variance over seeds to the variance of a difference of means."""
    return 1 / seeds + (1.0 if one_draw else 0.0)


def _spread(values: Numbers, rows: Numbers | None, *, one_draw: bool) -> _Spread:
    s = len(values)
    of_seeds, of_rows, m = float(np.var(values, ddof=1)), 0.0, 0
    if rows is not None and (m := rows.shape[1]) > 1:
        means = rows.mean(0)
        residuals = rows - means - rows.mean(1, keepdims=True) + rows.mean()
        interaction = float((residuals**2).sum()) / ((s - 1) * (m - 1))
        of_rows = float(np.var(means, ddof=1)) - interaction * _share(s, one_draw=one_draw)
        of_rows = of_rows / m if of_rows > 1e-12 else 0.0
    return _Spread(of_seeds, of_rows, m, one_draw)


def estimate(values: Numbers, rows: Numbers | None = None, *, one_draw: bool = False) -> Estimate:
    """Return the mean over seeds, with its 95 % confidence interval and the p value of its difference from 0.

    Parameters
    ----------
    values : ndarray of shape (s,)
        One value per seed.
    rows : ndarray of shape (s, m), optional
        Outcome of each test row, whose means are the values; None if unknown.
    one_draw : bool
        Whether the values are differences between one fixed selection and random selections. The fixed selection then
        counts as a single draw: more seeds do not average out its random error.

    Returns
    -------
    Estimate
        Mean, half width of the interval, and p value.

    Notes
    -----
    With the variance v of the values over seeds, the variance of the mean is v / s. For one draw compared with s draws
    it is v (1 + 1 / s): the test of a single case against a small sample [1]_, which keeps the error rate when one
    random selection is compared with others. Test rows add the variance of the row means / m, minus the interaction of
    seeds and rows that v already contains: the two-way analysis of crossed random effects. Degrees of freedom follow
    Satterthwaite [2]_. The interval is never narrower, and p never smaller, than with the seeds alone.

    References
    ----------
    .. [1] J. R. Crawford, D. C. Howell, Comparing an Individual's Test Score Against Norms Derived from Small Samples,
       The Clinical Neuropsychologist 12(4), 1998, doi:10.1076/clin.12.4.482.7241
    .. [2] F. E. Satterthwaite, An Approximate Distribution of Estimates of Variance Components, Biometrics Bulletin
       2(6), 1946, doi:10.2307/3002019

    Examples
    --------
    >>> found = estimate(np.array([1.0, 2.0, 3.0]))
    >>> round(found.mean, 3), round(found.half_width, 3), round(found.p, 3)
    (2.0, 2.484, 0.074)
    >>> found = estimate(np.array([1.0, 2.0, 3.0]), one_draw=True)
    >>> round(found.half_width, 3), round(found.p, 3)
    (4.968, 0.225)
    >>> estimate(np.array([2.0]))
    Estimate(mean=2.0, half_width=nan, p=nan)
    """
    from scipy import stats

    s, mean = len(values), float(np.mean(values))
    if s < 2 or math.isnan(mean):
        return Estimate(mean, math.nan, math.nan)
    spread = _spread(values, rows, one_draw=one_draw)
    errors = [(error, freedom) for error, freedom in spread.errors(s) if error > 1e-12 * max(1.0, abs(mean))]
    if not errors:
        return Estimate(mean, math.nan, 1.0 if abs(mean) < 1e-12 else math.nan)
    half_width = max(float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error for error, freedom in errors)
    return Estimate(mean, half_width, max(float(2 * stats.t.sf(abs(mean) / error, f)) for error, f in errors))


def seeds_needed(
    values: Numbers, rows: Numbers | None = None, *, one_draw: bool = False, level: float = SIGNIFICANT
) -> int | None:
    """Return the number of seeds at which a mean of this size would be significant with a power of 80 %.

    Parameters
    ----------
    values, rows, one_draw
        See ``estimate``.
    level : float
        Significance level.

    Returns
    -------
    int or None
        Number of seeds; None if no number up to 1,000 suffices. 0 if the question does not apply: with one seed, a mean
        that is already significant, or a mean below a fifth of the standard deviation over seeds, which is less than
        Cohen's small effect [1]_.

    Notes
    -----
    The smallest n above the number of values for which (t(1 − level / 2, f) + t(0.8, f)) · e(n) ≤ abs(mean), where
    e(n) is the standard error of ``estimate`` with n seeds of the same spread, and f its degrees of freedom: the usual
    sample size formula, with t instead of z [2]_. The observed effect is uncertain, and so is the number.

    References
    ----------
    .. [1] J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition, 1988, section 2.2
    .. [2] NIST/SEMATECH e-Handbook of Statistical Methods, section 7.2.2.2, Sample sizes required, doi:10.18434/M32189

    Examples
    --------
    >>> seeds_needed(np.array([1.0, 2.0, 3.0])), seeds_needed(np.array([1.0, 2.0, 3.0]), one_draw=True)
    (5, None)
    >>> seeds_needed(np.array([1.0, 1.1, 0.9])), seeds_needed(np.array([1.0, -1.1, 0.2]))
    (0, 0)
    """
    from scipy import stats

    result = estimate(values, rows, one_draw=one_draw)
    if math.isnan(result.half_width) or result.p < level:
        return 0
    spread = _spread(values, rows, one_draw=one_draw)
    if abs(result.mean) < max(_SMALL * math.sqrt(spread.of_seeds), 1e-12):
        return 0
    if not spread.of_seeds:
        return None
    n = np.arange(len(values) + 1, MAX_SEEDS + 1)
    errors, freedom = np.moveaxis(np.array([spread.errors(number) for number in n.tolist()]), 2, 0)
    reach = (stats.t.ppf(1 - level / 2, freedom) + stats.t.ppf(_POWER, freedom)) * errors
    enough = (reach <= abs(result.mean)).all(axis=1)
    return int(n[enough.argmax()]) if enough.any() else None


def replace_nan(data: Mapping[str, object]) -> dict[str, object]:
    """Return plain data with None instead of NaN, which JSON cannot represent.

    >>> replace_nan({"p": math.nan, "all": [1.0, (math.nan,)]})
    {'p': None, 'all': [1.0, [None]]}
    """
    return {key: _null(value) for key, value in data.items()}


def _null(value: object) -> object:
    if isinstance(value, dict):
        return replace_nan(value)
    if isinstance(value, list | tuple):
        return [_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def jaccard(a: Rows, b: Rows) -> float:
    """Return the Jaccard index of two selections, 1 if both are empty.

    >>> jaccard(np.array([0, 1, 2]), np.array([1, 2, 3]))
    0.5
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else 1.0
