"""Nearest-neighbor estimate of the Kullback–Leibler divergence, its gradient, and points that lower it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy.special import digamma, gammaln

from curate.kernels.types import Matrix, Numbers

Rule = Literal["all", "nearest"]
Start = Literal["mean", "previous", "random"]

_SQUARED = 1e-10  # smallest squared distance, as in the published code
_EPSILON = 1e-8


class DivergenceEstimate:
    """Estimate of the divergence D(X ‖ W) of target points X from a growing set W.

    With ρ(x) the distance of x to its k-th nearest other point of X, and ν_l(x) to its l-th nearest of the m points of
    W, the estimate is, in nats,

        d mean ln(ν_l(x) / ρ(x)) + ln(m / (n − 1)) + ψ(k) − ψ(l).

    The rule ``nearest`` uses l = k, or m if that is less. The rule ``all`` is that of the published code: the mean over
    l = 1 … m, with logarithms in place of ψ. All distances to W then count equally, near or far, so that the estimate
    is biased, and its gradient at a further point v does not depend on W, but for the factor 1 / (m + 1).

    Parameters
    ----------
    x : (n, d)
        Points of X, at least two.
    w : (m, d)
        Points of W, at least one.
    k : int
        Number of the neighbor, at least 1; n − 1 if that is less.
    rule : {"all", "nearest"}
        Distances to W that count.

    References
    ----------
    Wang, Kulkarni & Verdú (2009), doi:10.1109/TIT.2009.2016060, equation 5 and section II-C. Everaert & Potts (2023),
    GIO, arXiv:2306.11670; their code has the rule ``all``.

    Examples
    --------
    >>> estimate = DivergenceEstimate(np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [2.0]]), 1, "all")
    >>> round(estimate.value(), 5)
    -0.54043
    """

    def __init__(self, x: Matrix | Numbers, w: Matrix | Numbers, k: int, rule: Rule) -> None:
        self.x = x.astype(np.float64)
        self.rule = rule
        n, self.d = x.shape
        self.k = min(k, n - 1)
        between = _distances(self.x, self.x)
        np.fill_diagonal(between, np.inf)
        self.log_radius = np.log(np.partition(between, self.k - 1, axis=1)[:, self.k - 1] + _EPSILON)
        self.m = 0
        self.log_sums = np.zeros(n)
        self.nearest = np.full((n, self.k), np.inf)
        for point in w.astype(np.float64):
            self.add(point)

    def value(self) -> float:
        """Return the estimate."""
        return self._value(self.m, self.log_sums, self.nearest)

    def value_with(self, point: Numbers) -> float:
        """Return the estimate after adding a point (d,) to W."""
        distances = _distances(self.x, point[None])[:, 0]
        return self._value(self.m + 1, self._sums_with(distances), self._nearest_with(distances))

    def add(self, point: Numbers) -> None:
        """Add a point (d,) to W."""
        distances = _distances(self.x, point[None])[:, 0]
        self.log_sums = self._sums_with(distances)
        self.nearest = self._nearest_with(distances)
        self.m += 1

    def gradient(self, point: Numbers) -> Numbers:
        """Return the gradient (d,) of the estimate with respect to a further point (d,) of W."""
        difference = point - self.x
        squared = np.einsum("ij,ij->i", difference, difference)
        counts = squared > _SQUARED
        if self.rule == "nearest":  # the point must be the l-th nearest
            distances, rank = np.sqrt(squared), min(self.k, self.m + 1)
            counts &= distances <= (self.nearest[:, rank - 1] if rank <= self.m else np.inf)
            if rank > 1:
                counts &= distances > self.nearest[:, rank - 2]
        share = self.d / len(self.x) / (1 if self.rule == "nearest" else self.m + 1)
        return np.asarray(share * (difference[counts] / squared[counts, None]).sum(axis=0))

    def _sums_with(self, distances: Numbers) -> Numbers:
        return self.log_sums + np.log(distances + _EPSILON)

    def _nearest_with(self, distances: Numbers) -> Numbers:
        return np.sort(np.column_stack([self.nearest, distances]), axis=1)[:, : self.k]

    def _value(self, m: int, log_sums: Numbers, nearest: Numbers) -> float:
        n = len(self.x)
        if self.rule == "all":
            constant = np.log(self.k * m / (n - 1)) - gammaln(m + 1) / m
            return float(self.d * (log_sums / m - self.log_radius).mean() + constant)
        rank = min(self.k, m)
        logs = np.log(nearest[:, rank - 1] + _EPSILON)
        constant = np.log(m / (n - 1)) + digamma(self.k) - digamma(rank)
        return float(self.d * (logs - self.log_radius).mean() + constant)


def _distances(x: Numbers, y: Numbers) -> Numbers:
    """Return the distances (n, m), at least 10⁻⁵."""
    squared = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
    return np.asarray(np.sqrt(np.maximum(squared, _SQUARED)))


def descend(
    estimate: DivergenceEstimate,
    points: Matrix,
    rng: np.random.Generator,
    *,
    start: Start,
    steps: int,
    learning_rate: float,
) -> Iterator[tuple[int, float]]:
    """Yield points that lower a divergence, one after another, and add them to W.

    A vector v is moved by gradient descent, and the nearest remaining point is added.

    Parameters
    ----------
    estimate : DivergenceEstimate
        Divergence of the target points from W, which is changed.
    points : (p, d) float32
        Points to add.
    rng : Generator
        Draws target points for ``start="random"``.
    start : {"mean", "previous", "random"}
        First v of each descent: the mean of the target points, the result of the previous descent, or a random target
        point.
    steps : int
        Number of gradient steps; three times as many for the first point.
    learning_rate : float
        Length of a step, in units of the length of the first v divided by that of its gradient.

    Yields
    ------
    index : int
        Added point.
    value : float
        Estimate after it was added.

    Notes
    -----
    Cost: O((steps n + p) d) time for each point.

    References
    ----------
    Everaert & Potts (2023), GIO, arXiv:2306.11670, algorithm 1.
    """
    x, candidates = estimate.x, points.astype(np.float64)
    is_left = np.ones(len(points), np.bool_)
    v = first = x[rng.integers(len(x))] if start == "random" else x.mean(axis=0)
    length = np.linalg.norm(estimate.gradient(first))
    rate = learning_rate * (np.linalg.norm(first) / length if length else 0.0)
    for number in range(len(points)):
        if number and start == "mean":
            v = first
        elif number and start == "random":
            v = x[rng.integers(len(x))]
        for _ in range(steps if number else 3 * steps):
            v = v - rate * estimate.gradient(v)
        squared = np.square(candidates - v).sum(axis=1)
        index = int(np.argmin(np.where(is_left, squared, np.inf)))
        is_left[index] = False
        estimate.add(candidates[index])
        yield index, estimate.value()
