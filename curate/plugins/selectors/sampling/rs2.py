"""RS2: a new uniform sample for every epoch, the baseline of methods that select repeatedly during training."""

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
    """Draw ``budget`` of n rows for each epoch, every set of rows equally likely.

    Without replacement the rows are shuffled and cut into ⌊n / budget⌋ chunks, one for each epoch. After these, the
    rows are shuffled again. With replacement they are shuffled for every epoch.

    Parameters
    ----------
    n : number of rows
    budget : number of rows in each epoch, 0 <= budget <= n
    epochs : number of epochs, at least 1
    rng : random generator
    replacement : whether a row drawn for one epoch may be drawn for the next

    Returns
    -------
    ``epochs`` arrays of (budget,) rows in random order; none twice in one epoch

    Notes
    -----
    Cost: O(n) time for every shuffle, O(epochs budget) memory.

    Guarantee: without replacement no row is in two of the ⌊n / budget⌋ epochs of one shuffle.

    Deviations: the rows left over by a shuffle, fewer than ``budget``, are in none of its epochs. The authors' code
    fills the last epoch of a shuffle with rows of the first, and leaves it one row short.

    References
    ----------
    Okanovic et al. (2024), arXiv:2305.18424.

    Examples
    --------
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
    scope="merge",
    reads=frozenset(),
    example={"epochs": 3},
    cost="O(n) per epoch",
    guarantee="every set of rows equally likely",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RS2:
    """Plan a new random sample for each epoch: training sees more rows in the same number of steps.

    Use it if you train for several epochs: it is a strong baseline at no cost. ``uniform`` gives the same rows to every
    epoch; ``ingenious`` and ``quad`` plan epochs by coverage and reward.

    With one epoch it is a uniform sample. Weights are the number of epochs that use a row. Gains are 0.

    References
    ----------
    Okanovic et al. (2024), "Repeated random sampling for minimizing the time-to-accuracy of learning",
    arXiv:2305.18424.
    """

    epochs: Annotated[int, Ge(1), Le(1_000)]
    """Number of planned epochs; the budget is that of each."""

    replacement: bool = False
    """Whether a row drawn for one epoch may be drawn for the next; if not, rows take turns until too few remain for
    another epoch."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        plan = rs2(len(pool), budget, self.epochs, rng, replacement=self.replacement)
        return Selection.from_epochs(plan, np.zeros(len(pool), np.float32), ("not drawn for any epoch",))
