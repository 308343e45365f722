"""Whitening: features with the identity as covariance, and their cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix, Numbers

_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Whitening:
    """Affine map to features with mean 0 and the identity as covariance."""

    mean: Numbers
    """Mean (d,) of the features."""

    matrix: Numbers
    """Matrix W (d, d): the covariance of (x − mean) W is the identity, but for the ridge."""

    def apply(self, x: Matrix) -> Matrix:
        """Return the whitened features (n, d), each divided by its length; float32.

        A row equal to the mean stays 0.
        """
        features = (x - self.mean).astype(np.float32) @ self.matrix.astype(np.float32)
        lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
        return np.asarray(features / np.where(lengths > 0, lengths, 1), np.float32)

    def transform(self, x: Matrix) -> Numbers:
        """Return the whitened features (n, d) float64."""
        return (x - self.mean) @ self.matrix


def fit_whitening(parts: Sequence[Matrix], ridge: float) -> Whitening:
    """Fit the whitening of the rows of several matrices together.

    Parameters
    ----------
    parts : sequence of (n, d) float32
        Matrices with one row in total at least.
    ridge : float
        Number added to the diagonal of the covariance, above 0, so that it can be inverted.

    Notes
    -----
    Cost: O(n d² + d³) time, O(d²) memory. Sums are in float64 over fixed blocks, so the result does not depend on the
    number of threads.

    Guarantee: cosines do not depend on the factor of the inverse covariance: the Cholesky factor here, or its symmetric
    root (ZCA), differ by a rotation.

    References
    ----------
    Feng et al. (2024), TAROT, arXiv:2412.00420, section 3.2. Kessy, Lewin & Strimmer (2018), "Optimal whitening and
    decorrelation", arXiv:1512.00809.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32) * np.float32([1, 2, 3])
    >>> z = fit_whitening([x], 1e-12).transform(x)
    >>> bool(np.allclose(z.T @ z / 50, np.eye(3)))
    True
    """
    n, d = sum(map(len, parts)), parts[0].shape[1]
    blocks = [part[rows] for part in parts for rows in block_slices(len(part), _ROWS)]
    total = np.zeros(d)
    for one in map_blocks(lambda block: block.sum(axis=0, dtype=np.float64), blocks):
        total += one
    mean = total / n

    def products(block: Matrix) -> Numbers:
        centered = block - mean
        return np.asarray(centered.T @ centered)

    covariance = np.zeros((d, d))
    for one in map_blocks(products, blocks):
        covariance += one
    factor = cholesky(covariance / n + ridge * np.eye(d), lower=True)
    return Whitening(mean, solve_triangular(factor, np.eye(d), lower=True).T)
