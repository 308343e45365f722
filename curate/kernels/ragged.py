"""Concatenated ranges of consecutive integers."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Positions


def concatenate_ranges(starts: Positions, lengths: Positions) -> Positions:
    """Return ``start``, ``start + 1``, … of every range, one range after the other.

    Parameters
    ----------
    starts : (g,) int64, first integer of each range
    lengths : (g,) int64

    Returns
    -------
    (sum of lengths,) int64

    Examples
    --------
    >>> concatenate_ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist()
    [5, 6, 9, 10, 11]
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)
