"""Lazy greedy maximization of a submodular function: the greedy sequence with few evaluations."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np

from curate.kernels.types import Numbers, Rows

_MAX_BATCH = 1024


def lazy_greedy(
    bounds: Sequence[float] | Numbers,
    budget: int,
    gains: Callable[[Rows], Numbers],
    take: Callable[[int], None],
) -> tuple[Rows, Numbers]:
    """Pick ``budget`` elements, each time the one of largest gain, ties to the lowest index.

    Gains of a submodular function only shrink as elements are taken. So an earlier gain bounds the current one, and an
    element whose current gain is at least every other bound has the largest gain: the others need no evaluation.
    Elements of largest bound are evaluated in batches of 1, 4, 16, … until one of them has the largest gain.

    Parameters
    ----------
    bounds : (n,) upper bounds of the initial gains, usually the gains themselves
    budget : number of elements, 0 <= budget <= n
    gains : function that returns the current gains of some elements; they must not grow when others are taken, not even
        by rounding
    take : function called with each element picked

    Returns
    -------
    indices : (budget,) elements, in the order they were taken
    gains : (budget,) float64, the gain of each element when it was taken

    Notes
    -----
    Cost: O(n) and O(log n) an evaluation; in the worst case budget × n evaluations, in practice a few per pick.

    Guarantee: exactly the naive greedy sequence, hence at least (1 − 1/e) of the optimum for a monotone function that
    is 0 for the empty set.

    References
    ----------
    Minoux (1978), doi:10.1007/BFb0006528. Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971.

    Examples
    --------
    >>> sets, covered = [{1, 2}, {2, 3, 4}, {4}], set()
    >>> def gains(elements):
    ...     return np.array([len(sets[i] - covered) for i in elements], float)
    >>> indices, gained = lazy_greedy([2, 3, 1], 3, gains, lambda i: covered.update(sets[i]))
    >>> indices.tolist(), gained.tolist()
    ([1, 0, 2], [3.0, 1.0, 0.0])
    """
    heap = [(-float(bound), element) for element, bound in enumerate(bounds)]
    heapq.heapify(heap)
    computed_at = [-1] * len(heap)  # step in which each bound was computed
    indices = np.empty(budget, np.intp)
    gains_taken = np.empty(budget, np.float64)
    for step in range(budget):
        batch_size = 1
        while computed_at[heap[0][1]] < step:
            outdated: list[int] = []
            while heap and len(outdated) < batch_size and computed_at[heap[0][1]] < step:
                outdated.append(heapq.heappop(heap)[1])
            for element, gain in zip(outdated, gains(np.array(outdated, np.intp)).tolist(), strict=True):
                computed_at[element] = step
                heapq.heappush(heap, (-gain, element))
            batch_size = min(4 * batch_size, _MAX_BATCH)
        negative_gain, element = heapq.heappop(heap)
        indices[step], gains_taken[step] = element, -negative_gain
        take(element)
    return indices, gains_taken
