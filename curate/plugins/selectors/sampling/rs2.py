"""RS2: a fresh uniform sample for every epoch, the baseline of methods that choose anew as training goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.types import Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def rs2(n: int, budget: int, epochs: int, rng: np.random.Generator, *, replacement: bool) -> tuple[Rows, ...]:
    """``budget`` of n rows for each epoch, every set of them equally likely.

    Without replacement the rows are shuffled and cut into ⌊n / budget⌋ chunks, one for each epoch. When they are used
    up, the rows are shuffled again. With replacement they are shuffled for every epoch.

    Parameters
    ----------
    n : number of rows
    budget : number of rows in each epoch, 0 <= budget <= n
    epochs : number of epochs, at least 1
    replacement : whether a row that was drawn for one epoch may be drawn for the next

    Returns
    -------
    ``epochs`` times (budget,) rows in random order; none twice in one epoch

    Cost: O(n) time for every shuffle, O(epochs budget) memory. Guarantee: without replacement no row is in two of the
    ⌊n / budget⌋ epochs of one shuffle.

    References
    ----------
    Okanovic et al. (2024), arXiv:2305.18424.

    Deviations: the rows left over by a shuffle, fewer than ``budget``, are in none of its epochs. The authors' code
    fills the last epoch of a shuffle with rows of the first, and leaves it one row short.

    >>> first, second, third = rs2(5, 2, 3, np.random.default_rng(0), replacement=False)
    >>> len({*first.tolist(), *second.tolist()}), len(third)
    (4, 2)
    """
    chunks = 1 if replacement or not budget else n // budget
    plan: list[Rows] = []
    while len(plan) < epochs:
        shuffled = rng.permutation(n).astype(np.intp, copy=False)
        plan += [shuffled[chunk * budget : (chunk + 1) * budget] for chunk in range(min(chunks, epochs - len(plan)))]
    return tuple(plan)


@selector(
    version=1,
    reads=frozenset(),
    example={"epochs": 3},
    cost="O(n) an epoch",
    guarantee="every set of rows equally likely",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RS2:
    """Plan a fresh random sample for each epoch: training sees more rows at the price of no more steps. Gains are 0.

    With one epoch it is a uniform sample. Weights count the epochs that a row is in.

    References
    ----------
    Okanovic et al. (2024), "Repeated random sampling for minimizing the time-to-accuracy of learning",
    arXiv:2305.18424.
    """

    epochs: Annotated[int, Ge(1), Le(1_000)]
    """How many epochs are planned; the budget is that of each."""

    replacement: bool = False
    """Whether a row drawn for one epoch may be drawn for the next; if not, rows take turns, until too few are left for
    another epoch."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        plan = rs2(len(pool), budget, self.epochs, rng, replacement=self.replacement)
        return Selection.from_epochs(plan, np.zeros(len(pool), np.float32), ("not drawn for any epoch",))
