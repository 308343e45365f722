"""Two coordinates for each row of a sample, so that similar rows lie close together on the report's map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE = 500
"""Most rows that the map shows: t-SNE places them in a third of a second, and an eye can tell them apart."""

STEPS = 300
"""Steps of t-SNE, of which the first 250 exaggerate."""

ANGLE = 0.8
"""How far t-SNE summarizes distant points, between 0 and 1 (scikit-learn's ``angle``)."""

SMALLEST = 10
"""With fewer distinct rows than this there are no neighbourhoods to keep: the map shows the principal axes."""

COMPONENTS = 50
"""Principal axes handed to t-SNE: its authors' own choice, and what makes the neighbour search cheap."""


def project(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Place m rows in the plane, by t-SNE started from their principal axes.

    Parameters
    ----------
    embeddings : (m, d) float32, m >= 1; meant for m up to ``SAMPLE``

    Returns
    -------
    places : (m, 2) float32, centred, the widest axis in [-1, 1]. Distances mean little, neighbourhoods much.

    Runs on one thread, so that the map is the same on every machine size. Costs O(m log m) a step after an exact
    neighbour search; O(m d) memory.

    References
    ----------
    van der Maaten & Hinton (2008), Visualizing Data using t-SNE, JMLR 9. van der Maaten (2014), Accelerating t-SNE
    using Tree-Based Algorithms, JMLR 15. Kobak & Berens (2019), doi:10.1038/s41467-019-13056-x, for the start.

    Deviations
    ----------
    300 steps instead of 1,000, and an angle of 0.8 instead of 0.5: on two pools, 98 % of the nearest neighbors that 500
    steps at 0.5 keep, in half the time.

    >>> project(np.eye(3, dtype=np.float32)).shape
    (3, 2)
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        axes = _principal(embeddings, COMPONENTS)
        distinct = len(np.unique(axes.round(6), axis=0))
        places = _neighbour_embedding(axes) if distinct >= SMALLEST else axes[:, :2]
    places = places - (places.max(axis=0) + places.min(axis=0)) / 2
    widest = np.abs(places).max()
    return np.asarray(places / widest if widest > 0 else places, np.float32)


def _principal(rows: NDArray[np.float32], components: int) -> NDArray[np.float64]:
    """The rows on their first principal axes, (m, max(2, …)); the largest coordinate on an axis is positive."""
    from scipy.linalg import eigh

    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    wide = centred.shape[1] > len(centred)
    products = centred @ centred.T if wide else centred.T @ centred  # the smaller of the two holds the same variances
    side = len(products)
    variances, axes = eigh(products, subset_by_index=[max(0, side - components), side - 1])
    variances, axes = variances[::-1], axes[:, ::-1]
    placed = axes * np.sqrt(np.maximum(variances, 0)) if wide else centred @ axes
    placed[:, variances <= 1e-9 * len(rows)] = 0  # an axis without variance is rounding error
    placed *= np.where(placed[np.abs(placed).argmax(axis=0), np.arange(placed.shape[1])] < 0, -1.0, 1.0)
    return np.pad(placed, ((0, 0), (0, max(0, 2 - placed.shape[1]))))


def _neighbour_embedding(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    start = axes[:, :2] / axes[:, 0].std() * 1e-4
    perplexity = min(30.0, (len(axes) - 1) / 3)
    model = TSNE(init=start, perplexity=perplexity, max_iter=STEPS, angle=ANGLE, random_state=0, n_jobs=1)
    with threadpool_limits(1):  # two threads wait for each other at every step: thrice the time on a busy machine
        return np.asarray(model.fit_transform(axes), np.float64)
