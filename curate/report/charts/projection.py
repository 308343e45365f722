"""Projection of a sample of rows to two dimensions for the map of the report, with similar rows close together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = 500
"""Maximum number of rows on the map; t-SNE needs a quarter of a second for them, and single points remain visible."""

STEPS = 500
"""Number of t-SNE steps."""

EXAGGERATED = 250
"""Number of first steps in which affinities are multiplied by ``EXAGGERATION``, so that groups form early."""

EXAGGERATION = 12.0
MOMENTUM = (0.5, 0.8)
"""Momentum in the first steps, and in the steps after them."""

BISECTIONS = 50
"""Number of bisections for the bandwidth of a row."""

SMALLEST = 10
"""Number of distinct rows below which the map shows the principal axes instead of t-SNE."""

COMPONENTS = 50
"""Number of principal axes passed to t-SNE, as in the original paper, which makes the neighbor search cheap."""


def project(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Project m rows to two dimensions with t-SNE, initialized with their principal axes.

    Parameters
    ----------
    embeddings : ndarray of float32 of shape (m, d)
        Vectors of m >= 1 rows, intended for m up to ``SAMPLE``.

    Returns
    -------
    ndarray of float32 of shape (m, 2)
        Centered coordinates, with the wider axis in [-1, 1]. Neighborhoods are meaningful, distances are not.

    Notes
    -----
    Cost: O(m²) per step and O(m²) memory, with the exact gradient: for 500 rows it takes a quarter of a second, while
    the import of a library with a tree-based approximation takes three times as long. It runs on one thread, so that
    the map does not depend on the number of cores.

    Deviations from the references: 500 steps instead of 1,000.

    References
    ----------
    van der Maaten & Hinton (2008), Visualizing Data using t-SNE, JMLR 9. Kobak & Berens (2019),
    doi:10.1038/s41467-019-13056-x, for the initialization.

    Examples
    --------
    >>> project(np.eye(3, dtype=np.float32)).shape
    (3, 2)
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        axes = _principal(embeddings, COMPONENTS)
        distinct = len(np.unique(axes.round(6), axis=0))
        points = _tsne(axes) if distinct >= SMALLEST else axes[:, :2]
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    widest = np.abs(points).max()
    return np.asarray(points / widest if widest > 0 else points, np.float32)


def _principal(rows: NDArray[np.float32], components: int) -> NDArray[np.float64]:
    """Return the rows on their first principal axes, (m, max(2, …)); the largest coordinate on an axis is positive."""
    from scipy.linalg import eigh

    centered = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    wide = centered.shape[1] > len(centered)
    products = centered @ centered.T if wide else centered.T @ centered  # the smaller one has the same variances
    side = len(products)
    variances, axes = eigh(products, subset_by_index=[max(0, side - components), side - 1])
    variances, axes = variances[::-1], axes[:, ::-1]
    placed = axes * np.sqrt(np.maximum(variances, 0)) if wide else centered @ axes
    placed[:, variances <= 1e-9 * len(rows)] = 0  # an axis without variance contains only rounding errors
    placed *= np.where(placed[np.abs(placed).argmax(axis=0), np.arange(placed.shape[1])] < 0, -1.0, 1.0)
    return np.pad(placed, ((0, 0), (0, max(0, 2 - placed.shape[1]))))


def _tsne(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positions, (m, 2), that minimize the divergence of affinities, by gradient descent with momentum."""
    affinities = _affinities(axes, min(30.0, (len(axes) - 1) / 3)).astype(np.float32)
    points = (axes[:, :2] / axes[:, 0].std() * 1e-4).astype(np.float32)
    rate = max(len(points) / EXAGGERATION / 4, 50.0)
    velocity, gains = np.zeros_like(points), np.ones_like(points)
    for step in range(STEPS):
        is_early = step < EXAGGERATED
        kernel = 1 / (1 + _squared_distances(points))
        np.fill_diagonal(kernel, 0)
        forces = affinities * (EXAGGERATION if is_early else 1)
        forces -= kernel / kernel.sum()
        forces *= kernel
        gradient = 4 * (forces.sum(axis=1)[:, None] * points - forces @ points)
        gains = np.where(velocity * gradient < 0, gains + 0.2, gains * 0.8).clip(0.01)
        velocity = MOMENTUM[not is_early] * velocity - rate * gains * gradient
        points = points + velocity
    return np.asarray(points, np.float64)


def _affinities(rows: NDArray[np.float64], perplexity: float) -> NDArray[np.float64]:
    """Return the probabilities, (m, m), that rows are neighbors; the bandwidth of each row gives the perplexity."""
    distances = _squared_distances(rows)
    np.fill_diagonal(distances, np.inf)
    distances -= distances.min(axis=1, keepdims=True)
    np.fill_diagonal(distances, 0)
    low, high, precision = np.zeros((len(rows), 1)), np.full((len(rows), 1), np.inf), np.ones((len(rows), 1))
    for _ in range(BISECTIONS):
        weights = np.exp(-precision * distances)
        np.fill_diagonal(weights, 0)
        total = weights.sum(axis=1, keepdims=True)
        entropy = np.log(total) + precision * (weights * distances).sum(axis=1, keepdims=True) / total
        is_flat = entropy > np.log(perplexity)
        low, high = np.where(is_flat, precision, low), np.where(is_flat, high, precision)
        precision = np.where(np.isinf(high), precision * 2, (low + high) / 2)
    probabilities = weights / total
    return np.asarray((probabilities + probabilities.T) / (2 * len(rows)))


def _squared_distances(rows: NDArray[Any]) -> NDArray[Any]:
    lengths = (rows * rows).sum(axis=1)
    distances = rows @ (-2 * rows.T)
    distances += lengths
    distances += lengths[:, None]
    return np.asarray(np.maximum(distances, 0))
