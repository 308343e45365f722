"""Jackknife: the sampling error of a statistic from its values without each part of the sample."""

from __future__ import annotations

from curate.kernels.types import Numbers


def pseudo_values(value: float, left_out: Numbers) -> Numbers:
    """Compute the contribution of each part of a sample to a statistic, centered at the statistic.

    Parameters
    ----------
    value : statistic of the complete sample
    left_out : (g,) statistic without each of g equal parts of the sample, g at least 2

    Returns
    -------
    (g,) float64, of mean ``value``; the standard error of their mean is that of the statistic

    Notes
    -----
    Deviation: the mean of the usual pseudo-values is the statistic without its bias of order 1 / n; here it is the
    statistic.

    References
    ----------
    Tukey (1958), "Bias and confidence in not quite large samples"; Efron & Tibshirani (1993), An Introduction to the
    Bootstrap, section 11.5, for parts of several rows.

    Examples
    --------
    The parts of a mean contribute their own means:

    >>> import numpy as np
    >>> pseudo_values(2.0, np.array([2.5, 2.0, 1.5])).tolist()
    [1.0, 2.0, 3.0]
    """
    contributions: Numbers = value + (len(left_out) - 1) * (left_out.mean() - left_out)
    return contributions
