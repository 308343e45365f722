"""Descent of GIO: fields and steps that its selectors share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.errors import DataError
from curate.kernels.clustering.lloyd import assign
from curate.kernels.clustering.spherical_kmeans import spherical_kmeans
from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.neighbors.kl_divergence import DivergenceEstimate, Rule, Start, descend
from curate.kernels.types import Codes, Matrix, Rows, Vector, Vectors

UNIFORM_ROWS = 20
"""Number of random unit vectors that the selection begins with; they are not selected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """Fields of GIO, and the steps of its descent."""

    rule: Rule = "all"
    """Estimate of the divergence: the mean over ``all`` distances to the selection, as in the published code, or the
    ``nearest`` one, which depends on the rows that are already selected."""

    start: Start = "mean"
    """First vector of each descent: the ``mean`` of the target, the result of the ``previous`` descent, or a ``random``
    target row."""

    n_neighbors: Annotated[int, Ge(1)] = 5
    """k: number of the neighbor whose distance measures the density."""

    steps: Annotated[int, Ge(1), Le(10_000)] = 50
    """Number of gradient steps for each row or cluster; three times as many for the first."""

    learning_rate: Annotated[float, Gt(0), Le(1)] = 0.01
    """Length of a step, in units of the length of the first vector divided by that of its gradient."""

    n_clusters: Annotated[int, Ge(2)] = 1_500
    """Pools and targets with more rows are replaced by the centroids of as many clusters."""

    def add_clusters(self, x: Matrix, target: Matrix, rng: np.random.Generator) -> Iterator[tuple[Rows, float, float]]:
        """Yield the rows of a cluster, the most similar to its centroid first, and the estimate before and after it."""
        targets, _ = self._points(target, rng)
        if len(np.unique(targets, axis=0)) < 2:
            raise DataError(
                "gio: the target has 1 distinct row, and no neighbors that measure its density",
                hint="add target rows, or use rds_plus",
            )
        points, members = self._points(x, rng)
        start = normalize_rows(rng.uniform(-1, 1, (UNIFORM_ROWS, x.shape[1])))
        estimate = DivergenceEstimate(targets, start, self.n_neighbors, self.rule)
        before = estimate.value()
        added = descend(estimate, points, rng, start=self.start, steps=self.steps, learning_rate=self.learning_rate)
        for index, after in added:
            rows = np.flatnonzero(members == index)
            yield rows[np.argsort(-(x[rows] @ points[index]), kind="stable")], before, after
            before = after

    def _points(self, x: Matrix, rng: np.random.Generator) -> tuple[Matrix, Codes]:
        """Return the points to work with, and the point of each row."""
        if len(x) <= self.n_clusters:
            return x, np.arange(len(x), dtype=np.int32)
        centroids = spherical_kmeans(Vectors.from_array(x), self.n_clusters, rng).centroids
        return centroids, assign(x, centroids)[0]


def gains_of(rows: Rows, before: float, after: float) -> Vector:
    """Return the decrease of the divergence for each row of a cluster."""
    return np.full(len(rows), before - after, np.float32)
