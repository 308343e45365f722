"""Means over seeds, their confidence intervals, and tests of whether two ways to choose differ.

Two things are left to chance: the seed (which rows are chosen, and how the probe is trained), and which rows are in the
test. Repetitions with other seeds show the first; the second is added where the outcome of every test row is known.
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
"""Largest number of seeds that a configuration takes."""

_POWER, _SMALL = 0.8, 0.2


@dataclass(frozen=True, slots=True)
class _Spread:
    """Variances of a mean over seeds and test rows."""

    of_seeds: float
    """Variance of the values over seeds, test rows included."""

    of_rows: float
    """What the choice of test rows adds to the variance of the mean, however many seeds there are."""

    rows: int
    """Number of test rows; 0 where it is not known what became of each."""

    one_draw: bool
    """Whether one side of a difference is a single draw, the same with every seed."""

    def errors(self, seeds: int) -> list[tuple[float, float]]:
        """Return the standard errors of a mean over so many seeds, each with its degrees of freedom.

        The first counts seeds alone, the second test rows too (Satterthwaite). A test must pass both: in the second,
        rows lend degrees of freedom, and few seeds would seem to be many.
        """
        parts = [(self.of_seeds * _share(seeds, one_draw=self.one_draw), seeds - 1), (self.of_rows, self.rows - 1)]
        known = [(part, degrees) for part, degrees in parts if part]
        variance = sum(part for part, _ in known)
        return [
            *((math.sqrt(part), float(degrees)) for part, degrees in known[:1] if self.of_seeds),
            *([(math.sqrt(variance), variance**2 / sum(part**2 / d for part, d in known))] if known else []),
        ]


def _share(seeds: int, *, one_draw: bool) -> float:
    """Return by how much of the variance over seeds a difference of means varies."""
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
    """Return the mean of one value per seed, with its 95 % confidence interval and the p value of its difference to 0.

    Parameters
    ----------
    values : (s,) one per seed
    rows : (s, m) what each value is the mean of, test row by test row; None if that is not known
    one_draw : the values are differences of a selection that is the same with every seed to others drawn by chance.
        The selection then counts as one draw, whose luck more seeds do not average out.

    Notes
    -----
    With the seeds' variance v of the values, the variance of the mean is v / s; of one draw against s draws it is
    v (1 + 1 / s): the test of a single case against a small sample [1]_, under which a uniform selection is called
    better or worse than uniform ones as rarely as promised. Test rows on which the difference is another add the
    variance of the rows' means / m, less the interaction of seeds and rows that v counts already: the two-way analysis
    of crossed random effects. Degrees of freedom after Satterthwaite [2]_; the interval is never narrower, nor p
    smaller, than those of the seeds alone.

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
    """Return the number of seeds that would show a mean as far from 0 in four of five repetitions.

    Parameters
    ----------
    values, rows, one_draw : as ``estimate`` takes them
    level : p value below which a mean counts as shown

    Returns
    -------
    number : None if no number up to 1,000 would; 0 if there is nothing to say: one seed, a mean that is significant
        already, or one that is practically zero, which is less than a fifth of the standard deviation over seeds (below
        Cohen's small effect [1]_)

    Notes
    -----
    The smallest n above the number of values for which (t(1 − level / 2, f) + t(0.8, f)) · e(n) ≤ abs(mean), where
    e(n) is the standard error that ``estimate`` would have with n seeds of the same spread, and f its degrees of
    freedom: the usual formula of sample size, with t in place of z [2]_. The observed effect is itself uncertain, and
    so is the number.

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

    found = estimate(values, rows, one_draw=one_draw)
    if math.isnan(found.half_width) or found.p < level:
        return 0
    spread = _spread(values, rows, one_draw=one_draw)
    if abs(found.mean) < max(_SMALL * math.sqrt(spread.of_seeds), 1e-12):
        return 0
    if not spread.of_seeds:
        return None
    n = np.arange(len(values) + 1, MAX_SEEDS + 1)
    errors, freedom = np.moveaxis(np.array([spread.errors(number) for number in n.tolist()]), 2, 0)
    reach = (stats.t.ppf(1 - level / 2, freedom) + stats.t.ppf(_POWER, freedom)) * errors
    enough = (reach <= abs(found.mean)).all(axis=1)
    return int(n[enough.argmax()]) if enough.any() else None


def replace_nan(data: Mapping[str, object]) -> dict[str, object]:
    """Plain data with null for NaN, which JSON cannot write.

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
    """Rows in both selections, as a share of those in either; 1 if both are empty.

    >>> jaccard(np.array([0, 1, 2]), np.array([1, 2, 3]))
    0.5
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else 1.0
