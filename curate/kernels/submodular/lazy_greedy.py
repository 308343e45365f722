"""Lazy greedy maximisation of a submodular function: the greedy sequence, with few of its evaluations."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from curate.kernels.types import Numbers, Rows

_TOGETHER = 1024


def lazy_greedy(
    bounds: Sequence[float] | Numbers,
    budget: int,
    gains: Callable[[Rows], Numbers],
    take: Callable[[int], None],
) -> tuple[Rows, Numbers]:
    """Pick ``budget`` elements, each time the one of largest gain, ties to the lowest index.

    Gains of a submodular function only shrink as elements are taken. So a gain computed earlier bounds today's, and an
    element whose fresh gain is at least every other bound is the largest: the others need no evaluation. Elements of
    largest bound are evaluated together, first one, then four, sixteen, … until one of them is that element.

    Parameters
    ----------
    bounds : (n,) a bound of each element's gain before anything is taken, usually that gain itself
    budget : number of elements, 0 <= budget <= n
    gains : the gains of some elements now; must not grow when others are taken, also not by rounding
    take : called with each element picked

    Returns
    -------
    order : (budget,) the elements, in the order they were taken
    gains : (budget,) float64, the gain of each when it was taken

    Cost: O(n) and O(log n) an evaluation; at worst budget × n evaluations, in practice a few a pick. Guarantee: exactly
    the naive greedy sequence, hence at least (1 − 1/e) of the optimum for a monotone function that is 0 for no element.

    References
    ----------
    Minoux (1978), doi:10.1007/BFb0006528. Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.

    >>> sets, covered = [{1, 2}, {2, 3, 4}, {4}], set()
    >>> def gains(elements):
    ...     return np.array([len(sets[i] - covered) for i in elements], float)
    >>> order, gained = lazy_greedy([2, 3, 1], 3, gains, lambda i: covered.update(sets[i]))
    >>> order.tolist(), gained.tolist()
    ([1, 0, 2], [3.0, 1.0, 0.0])
    """
    heap = [(-float(bound), element) for element, bound in enumerate(bounds)]
    heapq.heapify(heap)
    computed = [-1] * len(heap)  # in which step each bound was
    order = np.empty(budget, np.intp)
    taken = np.empty(budget, np.float64)
    for step in range(budget):
        most = 1
        while computed[heap[0][1]] < step:
            stale: list[int] = []
            while heap and len(stale) < most and computed[heap[0][1]] < step:
                stale.append(heapq.heappop(heap)[1])
            for element, gain in zip(stale, gains(np.array(stale, np.intp)).tolist(), strict=True):
                computed[element] = step
                heapq.heappush(heap, (-gain, element))
            most = min(4 * most, _TOGETHER)
        largest, element = heapq.heappop(heap)
        order[step], taken[step] = element, -largest
        take(element)
    return order, taken
