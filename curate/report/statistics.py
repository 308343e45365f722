"""Statistics of a report, computed from arrays over rows: histograms, shares and summary numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.report.report_data import Histogram, Shares

BINS = 40


def histogram(
    name: str,
    values: NDArray[np.floating],
    kept: NDArray[np.bool_],
    uniform: NDArray[np.bool_],
    *,
    unit: str = "",
    higher_is_better: bool | None = None,
) -> Histogram:
    """Compute the histogram of a score for kept rows, dropped rows and the random baseline, with common bins.

    The bins span all values. If there are outliers, the bins span the middle 99 % of the values, and the outermost
    bins count the rest. A score with few integer values has one bin per value.

    Parameters
    ----------
    name : str
        Name of the score.
    values : ndarray of shape (n,)
        Score of every pool row; NaN and infinity count as missing.
    kept, uniform : ndarray of bool of shape (n,)
        Masks of the selection and of the random baseline.
    unit : str
        Unit of the score.
    higher_is_better : bool, optional
        Orientation of the score.

    Examples
    --------
    >>> kept, uniform = np.array([[True, True, False, False], [False, False, True, True]])
    >>> h = histogram("length", np.array([1.0, 2, 2, np.nan]), kept, uniform)
    >>> h.kept.tolist(), h.dropped.tolist(), h.medians, h.missing
    ([1, 1], [0, 1], (1.5, 2.0, 2.0), 1)
    """
    finite = np.isfinite(values)
    parts = [values[finite & rows].astype(np.float64) for rows in (kept, ~kept, uniform)]
    edges = _edges(values[finite].astype(np.float64))
    counts = [np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0].astype(np.int64) for part in parts]
    medians = [median(part) for part in (*parts, values[finite])]
    outside = sum(int(((part < edges[0]) | (part > edges[-1])).sum()) for part in parts[:2])
    return Histogram(
        name=name,
        unit=unit,
        higher_is_better=higher_is_better,
        edges=edges,
        kept=counts[0],
        dropped=counts[1],
        uniform=counts[2],
        pool_median=medians[3],
        medians=(medians[0], medians[1], medians[2]),
        outside=outside,
        missing=int((~finite).sum()),
    )


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if (values == np.rint(values)).all() and high - low < BINS and max(-low, high) < 2**52:
        return np.arange(low - 0.5, high + 1)
    inner_low, inner_high = np.percentile(values, [0.5, 99.5])
    if inner_high > inner_low and high - low > 2 * (inner_high - inner_low):
        low, high = float(inner_low), float(inner_high)
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # all values are equal up to rounding
        half = max(0.5, abs(low) * 1e-3)
        return np.array([low - half, low + half])
    return np.linspace(low, high, BINS + 1)


def shares(
    of: str,
    codes: NDArray[np.integer],
    names: Sequence[str],
    kept: NDArray[np.bool_],
    uniform: NDArray[np.bool_],
    *,
    none: str = "none",
) -> Shares:
    """Count the rows of each group in the pool, in the selection and in the random baseline.

    Parameters
    ----------
    of : str
        Kind of the groups: ``cluster``, ``source``, ``label``.
    codes : ndarray of int of shape (n,)
        Index of each row's group in ``names``; rows with -1 form a group called ``none``.
    names : sequence of str
        Names of the groups.
    kept, uniform : ndarray of bool of shape (n,)
        Masks of the selection and of the random baseline.
    none : str
        Name of the group of rows without a group.

    Examples
    --------
    >>> part = shares("source", np.array([0, 1, 1]), ["a", "b"], np.array([1, 0, 0], bool), np.array([0, 0, 1], bool))
    >>> part.before.tolist(), part.after.tolist(), part.uniform.tolist()
    ([1, 2], [1, 0], [0, 1])
    """
    bins = len(names) + 1
    before, after, evenly = (np.bincount(codes[rows] + 1, minlength=bins) for rows in (slice(None), kept, uniform))
    first = 0 if before[0] else 1
    return Shares(
        grouping=of,
        names=((none, *names) if before[0] else tuple(names)),
        before=before[first:],
        after=after[first:],
        uniform=evenly[first:],
    )


def conflicts(texts: pl.Series, labels: pl.Series) -> pl.DataFrame:
    """Return the rows whose text occurs with more than one label, grouped by text.

    Parameters
    ----------
    texts : polars.Series of length n
        Texts, or values that identify them, such as hashes.
    labels : polars.Series of str of length n
        Labels; rows without a label (null) are ignored.

    Returns
    -------
    polars.DataFrame
        Columns ``row`` and ``first``, the first row with the same text, in the order of the first rows.

    Examples
    --------
    >>> conflicts(pl.Series(["a", "b", "a", "b", "a"]), pl.Series(["x", "x", "y", "x", None])).rows()
    [(0, 0), (2, 0)]
    """
    frame = pl.DataFrame({"text": texts, "label": labels}).with_row_index("row").drop_nulls("label")
    several = frame.filter(pl.col("label").n_unique().over("text") > 1)
    return several.select("row", first=pl.col("row").min().over("text")).sort("first", "row")


def effective_groups(counts: NDArray[np.int64]) -> float:
    """Return the effective number of groups, which is the exponential of the entropy of their shares.

    >>> round(effective_groups(np.array([5, 5, 5, 0])), 6), effective_groups(np.array([0]))
    (3.0, 0.0)
    """
    if not counts.sum():
        return 0.0
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def copies(similarities: NDArray[np.float32], threshold: float) -> float:
    """Return the share of rows whose similarity to the nearest neighbor reaches a threshold; NaN without rows.

    >>> copies(np.float32([0.5, 0.875]), 0.875)
    0.5
    """
    return float((similarities >= np.float32(threshold)).mean()) if len(similarities) else float("nan")


def median(values: NDArray[np.floating]) -> float:
    """Return the median; NaN without values."""
    return float(np.median(values)) if len(values) else float("nan")
