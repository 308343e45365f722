"""Rounding of shares to integer counts, robust to floating-point error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.kernels.types import Counts

_ROUNDING = 1e-9  # 0.29 · 100 is 28.999999999999996, and 0.7 · 10 may be a little more than 7


def floor_count(share: float) -> int:
    """Round the product of a share and a number down.

    Parameters
    ----------
    share : product of a share and a number

    Examples
    --------
    >>> floor_count(0.29 * 100), floor_count(2.9)
    (29, 2)
    """
    return int(share + _ROUNDING)


def ceil_counts(shares: NDArray[np.floating]) -> Counts:
    """Round products of shares and numbers up.

    Parameters
    ----------
    shares : (n,) products of shares and numbers

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> ceil_counts(np.array([1.1 * 30, 2.1])).tolist()
    [33, 3]
    """
    counts: Counts = np.ceil(shares - _ROUNDING).astype(np.int64)
    return counts
