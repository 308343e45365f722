"""Layers of nearest rows around target rows, as TAROT selects them, in whitened features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.whitening import Whitening, fit_whitening
from curate.kernels.neighbors.turns import find_turns, nearest_rows
from curate.kernels.stats.sinkhorn import Potentials, sinkhorn
from curate.kernels.types import Indices, Matrix, Rows, Vector

_TOLERANCE = 1e-3
_ITERATIONS = 1_000


@dataclass(frozen=True, slots=True)
class WhitenedSpace:
    """Whitened features of a pool and of target rows, compared by cosine."""

    x: Matrix
    """Vectors of the pool (n, d) float32."""

    targets: Matrix
    """Whitened vectors of the target (m, d) float32, of unit length."""

    whitening: Whitening
    regularization: float
    """Entropic regularization ε of transport, in the unit of the distance."""

    @classmethod
    def fit(cls, x: Matrix, targets: Matrix, ridge: float, regularization: float) -> WhitenedSpace:
        """Whiten the pool (n, d) and the target (m, d) together."""
        whitening = fit_whitening([x, targets], ridge)
        return cls(x, whitening.apply(targets), whitening, regularization)

    def transport(self, rows: Indices, targets: Rows) -> Potentials:
        """Transport some rows of the pool to some target rows; the cost is √(2 − 2 cosine)."""
        cosines = self.whitening.apply(self.x[rows]) @ self.targets[targets].T
        return sinkhorn(
            np.sqrt(np.maximum(0, 2 - 2 * cosines)),
            self.regularization,
            tolerance=_TOLERANCE,
            max_iterations=_ITERATIONS,
        )

    @property
    def all_targets(self) -> Rows:
        """Numbers of all target rows."""
        return np.arange(len(self.targets))


def select_layers(space: WhitenedSpace, budget: int, *, farthest: bool = False) -> tuple[Rows, Vector]:
    """Select the nearest row of each target row, then the second nearest, …, until the budget is used up.

    Of the layer that does not fit, the new rows that are cheapest to transport to the target are selected: those of the
    lowest dual potential, which is the derivative of the transport cost by the weight of a row.

    Parameters
    ----------
    space : WhitenedSpace
        Pool of n rows and target of m rows.
    budget : int
        Number of rows, 0 <= budget <= n.
    farthest : bool
        Select those of the highest potential, as the published code does.

    Returns
    -------
    rows : (budget,) layer by layer
    similarity : (budget,) float32
        Cosine of each row with the target row that selects it first.

    Notes
    -----
    Cost: that of ``find_turns``, with O(n d²) for whitening, and one transport problem of at most (m, m).

    References
    ----------
    Feng et al. (2024), TAROT, arXiv:2412.00420, section 3.3.
    """
    m = len(space.targets)
    turn, similarity = find_turns(space.x, space.targets, None, budget, space.whitening.apply)
    order = np.argsort(turn, kind="stable")[:budget]
    if not budget:
        return order, similarity[order]
    last = turn[order[-1]] // m
    complete = order[turn[order] // m < last]
    new = np.flatnonzero(turn // m == last)
    if len(complete) + len(new) > budget:
        potentials = space.transport(new, space.all_targets).f
        ranked = new[np.argsort(-potentials if farthest else potentials, kind="stable")]
        order = np.concatenate([complete, ranked[: budget - len(complete)]])
    return order, similarity[order]


def select_by_folds(space: WhitenedSpace, folds: Rows, max_neighbors: int) -> tuple[Rows, Vector, list[int]]:
    """Select as many nearest rows of the target rows as bring the selection nearest to held-out target rows.

    For each fold, its target rows select their k nearest rows, with a positive cosine, for k = 1, 2, … while this
    lowers the cost of transport to the target rows of the other folds.

    Parameters
    ----------
    space : WhitenedSpace
        Pool of n rows and target of m rows.
    folds : (m,)
        Fold of each target row, at least two different ones.
    max_neighbors : int
        Largest k, at least 1.

    Returns
    -------
    rows : (k,) ascending
        Union over the folds.
    similarity : (k,) float32
        Cosine of each row with the target row that selects it; the largest of several.
    neighbors : list of int
        The k of each fold; 0 if no row has a positive cosine.

    Notes
    -----
    Cost: O(n (d² + m d)) time, memory for ``max_neighbors`` rows of each target row, and for each k and fold one
    transport problem from at most k m / folds rows to m.

    Deviations: the published code keeps the rows of the first k that raises the cost; here, those of the k before,
    which has the lowest cost.

    References
    ----------
    Feng et al. (2024), TAROT, arXiv:2412.00420, section 3.4.
    """
    rows, cosines = nearest_rows(space.x, space.targets, min(max_neighbors, len(space.x)), space.whitening.apply)
    best = np.full(len(space.x), -1, np.float32)
    neighbors = []
    for fold in np.unique(folds):
        is_nominating = folds == fold
        chosen, k = _grow(space, rows[is_nominating], cosines[is_nominating], np.flatnonzero(~is_nominating))
        neighbors.append(k)
        np.maximum.at(best, chosen[0], chosen[1])
    selected = np.flatnonzero(best >= 0)
    return selected, best[selected], neighbors


def _grow(space: WhitenedSpace, rows: Indices, cosines: Matrix, others: Rows) -> tuple[tuple[Indices, Vector], int]:
    """Return the rows that the nominating target rows select, with their cosines, and the number of neighbors."""
    lowest, best = np.inf, 0
    for k in range(1, rows.shape[1] + 1):
        union = np.unique(rows[:, :k][cosines[:, :k] > 0])
        if not len(union):
            break
        potentials = space.transport(union, others)
        cost = float(potentials.f.mean() + potentials.g.mean())
        if cost >= lowest:
            break
        lowest, best = cost, k
    is_selected = cosines[:, :best] > 0
    return (rows[:, :best][is_selected], cosines[:, :best][is_selected]), best
