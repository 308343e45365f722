"""Gaussian kernel density in log space, and the bandwidths at which only a few rows carry it."""

from __future__ import annotations

from math import exp, log, log1p, pi, sqrt

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Indices, Matrix, Numbers

_ROWS, _COLUMNS = 1024, 4096  # one product: 16 MiB of exponents a thread


def kernel_density(
    x: Matrix, references: Matrix, bandwidth: float, *, dimensions: float, omitted: Indices | None = None
) -> tuple[Numbers, Numbers]:
    """Compute the logarithm of the Gaussian kernel density at each row, and the number of references that carry it.

    The density at x is the mean over the references y of exp(-|x - y|² / 2h²) / (2π h²)^(m/2), with the bandwidth h and
    the number of dimensions m. The sums stay in logarithms, so that hundreds of dimensions do not underflow.

    Parameters
    ----------
    x : (n, d) float32
    references : (r, d) float32, r >= 1
    bandwidth : standard deviation h of the kernel
    dimensions : number of dimensions m of the normalization; it adds a constant
    omitted : (n,) reference that does not count for each row, -1 for none, so that a row need not count itself;
        None = none

    Returns
    -------
    log_density : (n,) float64 natural logarithms; -inf for a row without any reference
    contributors : (n,) float64 participation ratio (Σw)² / Σw² of the kernel values w, from 1 to r: the number of
        references if all counted the same; 0 for a row without any reference

    Notes
    -----
    Cost: O(n r d) time; O(n) memory, and about 40 MB a thread.

    References
    ----------
    Rosenblatt (1956), doi:10.1214/aoms/1177728190; Parzen (1962), doi:10.1214/aoms/1177704472.

    Examples
    --------
    >>> x = np.array([[0.0], [3.0]], np.float32)
    >>> log_density, contributors = kernel_density(x, x[:1], 1.0, dimensions=1)
    >>> np.exp(log_density).round(4).tolist(), contributors.tolist()
    ([0.3989, 0.0044], [1.0, 1.0])
    """
    center = references.mean(axis=0, dtype=np.float64)
    y = (references - center).astype(np.float32)
    scale = np.float32(-0.5 / bandwidth**2)
    y_lengths = np.einsum("ij,ij->i", y, y)
    own = np.full(len(x), -1, np.intp) if omitted is None else omitted

    def sums_of(rows: slice) -> tuple[Numbers, Numbers, Numbers]:
        """Return the largest exponent of each row, and the sums of the kernel values and their squares next to it."""
        block = (x[rows] - center).astype(np.float32)
        lengths = np.einsum("ij,ij->i", block, block)[:, None]
        m = len(block)
        top, total, squares = np.full(m, -np.inf), np.zeros(m), np.zeros(m)
        for columns in block_slices(len(y), _COLUMNS):
            exponents = block @ y[columns].T
            exponents *= -2
            exponents += lengths
            exponents += y_lengths[columns]
            np.maximum(exponents, 0, out=exponents)
            exponents *= scale
            here = np.flatnonzero((own[rows] >= columns.start) & (own[rows] < columns.stop))
            exponents[here, own[rows][here] - columns.start] = -np.inf
            new_top = np.maximum(top, exponents.max(axis=1))
            base = np.where(np.isfinite(new_top), new_top, 0)  # only omitted references so far
            shrink = np.exp(np.where(np.isfinite(top), top - base, -np.inf))
            exponents -= base.astype(np.float32)[:, None]
            np.exp(exponents, out=exponents)
            total = total * shrink + exponents.sum(axis=1, dtype=np.float64)
            squares = squares * shrink**2 + np.einsum("ij,ij->i", exponents, exponents)
            top = new_top
        return top, total, squares

    parts = list(map_blocks(sums_of, block_slices(len(x), _ROWS)))
    top, total, squares = (np.concatenate(part) for part in zip(*parts, strict=True))
    counted = len(y) - (own >= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(counted > 0, top + np.log(total) - np.log(counted), -np.inf)
        contributors = np.where(counted > 0, total**2 / squares, 0)
    return logs - dimensions / 2 * log(2 * pi * bandwidth**2), contributors


def critical_bandwidths(references: int, dimensions: float) -> tuple[float, float]:
    """Compute the bandwidths below which a few references carry a Gaussian kernel density, in standard deviations.

    For r references and rows from a normal distribution of m dimensions, ln r / m fixes two bandwidths. Below the first
    one, the sum over the references is dominated by the nearest few (extreme values). Above the second one, which is √2
    times larger, so many contribute that the sum fluctuates as a sum of independent terms (central limit theorem).

    Parameters
    ----------
    references : number of references r, at least 2
    dimensions : number of dimensions m

    Returns
    -------
    first, second : in units of the standard deviation of the rows along one dimension

    Notes
    -----
    The first bandwidth h solves ln r / m = ½ ln(1 + 1/h²) - h² / (2 (1 + h²)²), the large-deviation estimate of the
    random energy model for Gaussian rows.

    References
    ----------
    Biroli & Mézard (2024), Kernel Density Estimators in Large Dimensions, arXiv:2408.05807, describes the regimes.

    Examples
    --------
    >>> [round(h, 3) for h in critical_bandwidths(100_000, 20)]
    [0.594, 0.84]
    """
    from scipy.optimize import brentq

    ratio = log(references) / dimensions

    def excess(log_h: float) -> float:
        u = exp(2 * log_h)
        return 0.5 * log1p(1 / u) - u / (2 * (1 + u) ** 2) - ratio

    first = exp(brentq(excess, -ratio - 2, 3 - 0.25 * log(min(ratio, 1))))
    return first, sqrt(2) * first
