"""Greedy maximization of monotone submodular functions: the exact sequence, and faster variants.

Each function takes an objective, the ascending rows to choose from, and their number. It returns the rows in the order
taken, and the increase of the objective by each (float64). Ties go to the lowest row.
"""

from __future__ import annotations

import numpy as np

from curate.kernels.parallel import block_slices
from curate.kernels.submodular.lazy_greedy import lazy_greedy
from curate.kernels.submodular.objectives import Objective
from curate.kernels.types import Numbers, Rows

_ROWS = 1024

GreedyResult = tuple[Rows, Numbers]


def compute_gains(f: Objective, rows: Rows) -> Numbers:
    """Compute the gains of ``rows`` in blocks.

    Parameters
    ----------
    f : objective
    rows : (m,) row indices

    Returns
    -------
    (m,) float64
    """
    return np.concatenate([np.empty(0), *(f.gains(rows[block]) for block in block_slices(len(rows), _ROWS))])


def naive(f: Objective, rows: Rows, budget: int) -> GreedyResult:
    """Take the row of largest gain, again and again, with all gains computed in each step: the definition.

    Parameters
    ----------
    f : objective with an empty set
    rows : (m,) ascending rows to choose from
    budget : number of rows to take

    Returns
    -------
    indices : (budget,) rows in the order taken
    gains : (budget,) float64

    Notes
    -----
    Cost: budget × m gains.

    Guarantee: at least (1 − 1/e) of the optimum.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.
    """
    indices, gains_taken = np.empty(budget, np.intp), np.empty(budget)
    for step in range(budget):
        gains = compute_gains(f, rows)
        best = int(gains.argmax())
        indices[step], gains_taken[step] = rows[best], gains[best]
        f.take(int(rows[best]))
        rows = np.delete(rows, best)
    return indices, gains_taken


def lazy(f: Objective, rows: Rows, budget: int) -> GreedyResult:
    """Take the same rows as ``naive``, computing only gains that may be the largest.

    An earlier gain is an upper bound of the current one.

    Parameters
    ----------
    f, rows, budget : as for ``naive``

    Returns
    -------
    indices, gains : as for ``naive``

    Notes
    -----
    Cost: m gains, and in practice a few for each row taken.

    References
    ----------
    Minoux (1978), doi:10.1007/BFb0006528.
    """
    initial_gains = compute_gains(f, rows)
    positions, gains = lazy_greedy(
        initial_gains,
        budget,
        lambda candidates: f.gains(rows[candidates]),
        lambda position: f.take(int(rows[position])),
    )
    return rows[positions], gains


def stochastic(f: Objective, rows: Rows, budget: int, epsilon: float, rng: np.random.Generator) -> GreedyResult:
    """Take the best of a random (m / budget) ln(1/ε) of the remaining rows, again and again.

    Parameters
    ----------
    f, rows, budget : as for ``naive``
    epsilon : ε in (0, 1), loss of guarantee
    rng : random generator

    Returns
    -------
    indices, gains : as for ``naive``

    Notes
    -----
    Cost: m ln(1/ε) gains, whatever the budget.

    Guarantee: at least (1 − 1/e − ε) of the optimum, in expectation.

    References
    ----------
    Mirzasoleiman et al. (2015), "Lazier than lazy greedy", arXiv:1409.7938, Alg. 1.
    """
    indices, gains_taken = np.empty(budget, np.intp), np.empty(budget)
    sample_size = int(np.ceil(len(rows) / max(budget, 1) * np.log(1 / epsilon)))
    pool = rows.copy()  # the first len(rows) - step entries are the remaining rows
    for step in range(budget):
        remaining = len(rows) - step
        positions = rng.choice(remaining, min(sample_size, remaining), replace=False, shuffle=False)
        candidates = pool[positions]
        gains = compute_gains(f, candidates)
        best = np.flatnonzero(gains == gains.max())
        position = positions[best[candidates[best].argmin()]]
        indices[step], gains_taken[step] = pool[position], gains[best[0]]
        f.take(int(pool[position]))
        pool[position] = pool[remaining - 1]
    return indices, gains_taken


def threshold(f: Objective, rows: Rows, budget: int, epsilon: float) -> GreedyResult:
    """Take every row whose gain reaches a threshold, which decreases by the factor 1 − ε from the largest gain.

    Below ε/m of the largest gain, rows follow by their latest gain. A gain is recomputed only if the latest one reaches
    the threshold.

    Parameters
    ----------
    f, rows, budget : as for ``naive``
    epsilon : ε in (0, 1), step of the threshold

    Returns
    -------
    indices, gains : as for ``naive``

    Notes
    -----
    Cost: at most (m/ε) ln(m/ε) gains; fewer in practice, as most are bounded by their latest ones.

    Guarantee: at least (1 − 1/e − ε) of the optimum.

    References
    ----------
    Badanidiyuru & Vondrák (2014), "Fast algorithms for maximizing submodular functions",
    doi:10.1137/1.9781611973402.110, Alg. 1.
    """
    indices: list[int] = []
    gains_taken: list[float] = []
    latest_gains = compute_gains(f, rows)
    level = largest = float(latest_gains.max(initial=0))
    while len(indices) < budget and level >= epsilon / len(rows) * largest > 0:
        for position in np.flatnonzero(latest_gains >= level).tolist():
            if len(indices) == budget:
                break
            latest_gains[position] = f.gains(rows[position : position + 1])[0]
            if latest_gains[position] >= level:
                indices.append(int(rows[position]))
                gains_taken.append(float(latest_gains[position]))
                f.take(indices[-1])
                latest_gains[position] = -np.inf
        level *= 1 - epsilon
    for position in np.argsort(-latest_gains, kind="stable")[: budget - len(indices)].tolist():
        indices.append(int(rows[position]))
        gains_taken.append(float(f.gains(rows[position : position + 1])[0]))
        f.take(indices[-1])
    return np.array(indices, np.intp), np.array(gains_taken)


def distorted(
    f: Objective, cost: Numbers, rows: Rows, budget: int, *, submodular: bool = True, negative: bool = False
) -> GreedyResult:
    """Maximize f(S) − Σ over S of cost: take the row of largest (1 − 1/k)^(k − i − 1) × gain − cost, i = 0 … k − 1.

    Gains have little weight at first, so that expensive rows are not taken early for gains that others would have
    brought at a lower cost. A row is taken only if that value is above 0. The remaining budget is filled with the rows
    of largest gain − cost, which is negative or nearly 0.

    Parameters
    ----------
    f, rows, budget : as for ``naive``
    cost : (n,) cost of each row of the pool, at least 0
    submodular : whether gains of ``f`` never grow; if they may grow, every gain is recomputed after each row
    negative : take a row in every step, even if the value is not above 0. For functions that never rise, where
        otherwise the budget would be filled without regard to the cost

    Returns
    -------
    indices : (budget,) rows in the order taken
    gains : (budget,) float64, of f − cost

    Notes
    -----
    Cost: as ``lazy``, and O(m) for each row taken; budget × m gains if ``f`` is not submodular.

    Guarantee: if ``f`` is monotone and submodular and ``negative`` is off, then before the budget is filled f(S) −
    cost(S) is at least (1 − 1/e) f(O) − cost(O) for any set O of up to ``budget`` rows. Otherwise none.

    Deviations: the published algorithm does not fill the budget.

    References
    ----------
    Harshaw, Feldman, Ward & Karbasi (2019), "Submodular maximization beyond non-negativity", arXiv:1904.09354, Alg. 1.
    """
    indices, gains_taken = np.empty(budget, np.intp), np.empty(budget)
    latest_gains, costs = compute_gains(f, rows), cost[rows]
    computed_at = np.zeros(len(rows), np.intp)  # number of rows already taken when the gain was computed
    is_left = np.ones(len(rows), bool)
    n_taken = 0

    def find_best(factor: float) -> tuple[int, float]:
        """Return the position of the row of largest factor × gain − cost, and that value."""
        if not submodular:
            outdated = np.flatnonzero(is_left & (computed_at < n_taken))
            latest_gains[outdated], computed_at[outdated] = compute_gains(f, rows[outdated]), n_taken
        while True:
            values = np.where(is_left, factor * latest_gains - costs, -np.inf)
            position = int(values.argmax())
            if computed_at[position] == n_taken:
                return position, float(values[position])
            latest_gains[position] = f.gains(rows[position : position + 1])[0]
            computed_at[position] = n_taken

    def take(position: int) -> None:
        nonlocal n_taken
        indices[n_taken], gains_taken[n_taken] = rows[position], latest_gains[position] - costs[position]
        f.take(int(rows[position]))
        is_left[position] = False
        n_taken += 1

    for i in range(budget):
        position, values = find_best((1 - 1 / budget) ** (budget - i - 1))
        if values > 0 or negative:
            take(position)
    while n_taken < budget:
        take(find_best(1.0)[0])
    return indices, gains_taken
