"""Ways to look for the best rows of a monotone submodular function: one row at a time, and shortcuts of it.

Each takes the function, the rows that may be chosen, ascending, and how many. It gives the rows in the order they were
taken, and by how much each raised the function (float64). Ties go to the lowest row.
"""

from __future__ import annotations

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.submodular.lazy_greedy import lazy_greedy
from curate.kernels.submodular.objectives import Objective
from curate.kernels.types import Numbers, Rows

_ROWS = 1024

GreedyResult = tuple[Rows, Numbers]


def compute_gains(f: Objective, rows: Rows) -> Numbers:
    """(m,) gains of ``rows``, some at a time."""
    return np.concatenate([np.empty(0), *(f.gains(rows[block]) for block in block_slices(len(rows), _ROWS))])


def naive(f: Objective, rows: Rows, budget: int) -> GreedyResult:
    """Take the row of largest gain, again and again, every gain computed anew each time: the definition.

    Cost: budget × m gains. Guarantee: at least (1 − 1/e) of the optimum.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.
    """
    order, taken = np.empty(budget, np.intp), np.empty(budget)
    for step in range(budget):
        gains = compute_gains(f, rows)
        best = int(gains.argmax())
        order[step], taken[step] = rows[best], gains[best]
        f.take(int(rows[best]))
        rows = np.delete(rows, best)
    return order, taken


def lazy(f: Objective, rows: Rows, budget: int) -> GreedyResult:
    """The same rows as ``naive``, computing only the gains that may be the largest: an old gain bounds today's.

    Cost: m gains, and in practice a few for each row taken.

    References
    ----------
    Minoux (1978), doi:10.1007/BFb0006528.
    """
    first = compute_gains(f, rows)
    places, taken = lazy_greedy(first, budget, lambda some: f.gains(rows[some]), lambda place: f.take(int(rows[place])))
    return rows[places], taken


def stochastic(f: Objective, rows: Rows, budget: int, epsilon: float, rng: np.random.Generator) -> GreedyResult:
    """Take the best of a random (m / budget) ln(1/ε) of the rows left, again and again.

    Cost: m ln(1/ε) gains, whatever the budget. Guarantee: at least (1 − 1/e − ε) of the optimum, on average.

    References
    ----------
    Mirzasoleiman et al. (2015), "Lazier than lazy greedy", arXiv:1409.7938, Alg. 1.
    """
    order, taken = np.empty(budget, np.intp), np.empty(budget)
    sample = int(np.ceil(len(rows) / max(budget, 1) * np.log(1 / epsilon)))
    left = rows.copy()  # of which the first len(rows) - step are left
    for step in range(budget):
        remaining = len(rows) - step
        places = rng.choice(remaining, min(sample, remaining), replace=False, shuffle=False)
        candidates = left[places]
        gains = compute_gains(f, candidates)
        best = np.flatnonzero(gains == gains.max())
        place = places[best[candidates[best].argmin()]]
        order[step], taken[step] = left[place], gains[best[0]]
        f.take(int(left[place]))
        left[place] = left[remaining - 1]
    return order, taken


def threshold(f: Objective, rows: Rows, budget: int, epsilon: float) -> GreedyResult:
    """Take every row whose gain reaches a threshold, which falls by the factor 1 − ε from the largest gain of all.

    Below ε/m of the largest gain, rows follow by the gain they had last. A row is looked at again only where its last
    gain reaches the threshold.

    Cost: at most (m/ε) ln(m/ε) gains; fewer, as most are bounded by their last ones. Guarantee: at least (1 − 1/e − ε)
    of the optimum.

    References
    ----------
    Badanidiyuru & Vondrák (2014), "Fast algorithms for maximizing submodular functions",
    doi:10.1137/1.9781611973402.110, Alg. 1.
    """
    order: list[int] = []
    taken: list[float] = []
    last = compute_gains(f, rows)
    bar = largest = float(last.max(initial=0))
    while len(order) < budget and bar >= epsilon / len(rows) * largest > 0:
        for place in np.flatnonzero(last >= bar).tolist():
            if len(order) == budget:
                break
            last[place] = f.gains(rows[place : place + 1])[0]
            if last[place] >= bar:
                order.append(int(rows[place]))
                taken.append(float(last[place]))
                f.take(order[-1])
                last[place] = -np.inf
        bar *= 1 - epsilon
    for place in np.argsort(-last, kind="stable")[: budget - len(order)].tolist():
        order.append(int(rows[place]))
        taken.append(float(f.gains(rows[place : place + 1])[0]))
        f.take(order[-1])
    return np.array(order, np.intp), np.array(taken)


def distributed(f: Objective, rows: Rows, budget: int, parts: int, rng: np.random.Generator) -> GreedyResult:
    """Run the lazy greedy in ``parts`` random parts, then among the rows that those took, and return the best answer.

    Candidates are the answer of the second round and that of each part. Every part measures gains on the complete pool.
    The answer of a part with fewer rows than the budget is completed from the rows of the other answers.

    Cost: as ``lazy``; parts run at the same time, each with its own state of ``f``. Guarantee: at least (1 − 1/e) / 2
    of the optimum in expectation over the parts; a single draw may be worse.

    References
    ----------
    Mirzasoleiman et al. (2013), "Distributed submodular maximization", arXiv:1411.0541 (GreeDi); random parts: Barbosa
    et al. (2015), arXiv:1502.02606, Alg. 1 and Theorem 1, for rows that are assigned to parts independently.
    """
    part = rng.integers(parts, size=len(rows))

    def first(number: int) -> GreedyResult:
        members = rows[part == number]
        return lazy(f.fresh(), members, min(budget, len(members)))

    answers = list(map_blocks(first, range(parts)))
    union = np.sort(np.concatenate([order for order, _ in answers]))
    candidates = [lazy(f.fresh(), union, budget), *(_completed(f.fresh(), each, union, budget) for each in answers)]
    return max(candidates, key=lambda answer: answer[1].sum())


def _completed(f: Objective, answer: GreedyResult, rows: Rows, budget: int) -> GreedyResult:
    """Extend ``answer`` to ``budget`` rows by the lazy greedy over ``rows``."""
    order, gains = answer
    if len(order) == budget:
        return answer
    for row in order.tolist():
        f.take(row)
    more, more_gains = lazy(f, np.setdiff1d(rows, order), budget - len(order))
    return np.concatenate((order, more)), np.concatenate((gains, more_gains))


def distorted(
    f: Objective, cost: Numbers, rows: Rows, budget: int, *, submodular: bool = True, negative: bool = False
) -> GreedyResult:
    """Maximize f(S) − Σ over S of cost: take the row of largest (1 − 1/k)^(k − i − 1) × gain − cost, i = 0 … k − 1.

    At first the gain counts for little, so that rows which cost much are not taken early for gains that others would
    have brought cheaper. A row is taken only while that number is above 0. The rest of the budget is filled with the
    rows of largest gain − cost, which is below 0 or nearly so.

    Parameters
    ----------
    cost : (n,) of each row of the pool, at least 0
    submodular : whether gains of ``f`` never grow; if they may, every gain is computed again after each row
    negative : take a row in every step, even where the number is not above 0. For functions that never rise, where
        otherwise the budget would be filled without regard to the cost

    Returns
    -------
    order, gains : of f − cost

    Notes
    -----
    Cost: as ``lazy``, and O(m) for each row taken; budget × m gains if ``f`` is not submodular.

    Guarantee: if ``f`` is monotone and submodular and ``negative`` is off, then before the budget is filled
    f(S) − cost(S) is at least (1 − 1/e) f(O) − cost(O) for any set O of up to ``budget`` rows. Otherwise none.

    Deviations: the published algorithm does not fill the budget.

    References
    ----------
    Harshaw, Feldman, Ward & Karbasi (2019), "Submodular maximization beyond non-negativity", arXiv:1904.09354, Alg. 1.
    """
    order, taken = np.empty(budget, np.intp), np.empty(budget)
    last, price = compute_gains(f, rows), cost[rows]
    fresh = np.zeros(len(rows), np.intp)  # number of rows taken when the gain was computed
    left = np.ones(len(rows), bool)
    done = 0

    def best(factor: float) -> tuple[int, float]:
        """Return the place of the row of largest factor × gain − cost, and that number."""
        if not submodular:
            stale = np.flatnonzero(left & (fresh < done))
            last[stale], fresh[stale] = compute_gains(f, rows[stale]), done
        while True:
            worth = np.where(left, factor * last - price, -np.inf)
            place = int(worth.argmax())
            if fresh[place] == done:
                return place, float(worth[place])
            last[place] = f.gains(rows[place : place + 1])[0]
            fresh[place] = done

    def take(place: int) -> None:
        nonlocal done
        order[done], taken[done] = rows[place], last[place] - price[place]
        f.take(int(rows[place]))
        left[place] = False
        done += 1

    for i in range(budget):
        place, worth = best((1 - 1 / budget) ** (budget - i - 1))
        if worth > 0 or negative:
            take(place)
    while done < budget:
        take(best(1.0)[0])
    return order, taken
