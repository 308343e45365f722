"""INGENIOUS: rows are drawn by their gain of coverage in a random part of the pool, separately for each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.submodular import greedy
from curate.kernels.submodular.objectives import FacilityLocation
from curate.kernels.submodular.similarities import DenseSimilarities
from curate.kernels.types import Matrix, Numbers, Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def ingenious(
    gains: Numbers, parts: Sequence[Rows], budget: int, epochs: int, rng: np.random.Generator, *, temperature: float
) -> tuple[Rows, ...]:
    """Draw rows of each part without replacement, in proportion to the Taylor softmax of their gains.

    Every epoch draws from the same probabilities again.

    Parameters
    ----------
    gains : (n,) float64 >= 0, gain of greedy facility location by each row within its part, in rows
    parts : row indices of each part of the pool; sizes descend, and differ by at most 1
    budget : number of rows in each epoch, 0 <= budget <= n
    epochs : number of epochs, at least 1
    rng : random generator
    temperature : above 0, in rows: the larger, the more uniform the probabilities

    Returns
    -------
    ``epochs`` arrays of (budget,) rows: the first drawn of each part, then the second of each, and so on; with the same
        rng a smaller budget gives a prefix of the first epoch

    Notes
    -----
    Cost: O(epochs n log n) time, O(n + epochs budget) memory.

    Guarantee: exactly the budget; numbers of rows per part differ by at most one, and every row can be drawn.

    References
    ----------
    Renduchintala et al. (2023), arXiv:2305.06677. Sampling without replacement by Gumbel noise: Efraimidis & Spirakis
    (2006), doi:10.1016/j.ipl.2005.11.003.

    Examples
    --------
    >>> parts = [np.array([0, 2]), np.array([1])]
    >>> (epoch,) = ingenious(np.array([9.0, 1.0, 0.0]), parts, 2, 1, np.random.default_rng(0), temperature=1e-9)
    >>> epoch.tolist()
    [0, 1]
    """
    rows = np.concatenate(parts)
    sizes = np.array([len(part) for part in parts])
    part = np.repeat(np.arange(len(parts)), sizes)
    positions = concatenate_ranges(np.zeros_like(sizes), sizes)
    turns = np.argsort(positions, kind="stable")[:budget]  # the first of every part, then the second, …
    log_probabilities = np.concatenate([np.log(taylor_softmax(gains[part], temperature)) for part in parts])
    plan = []
    for _ in range(epochs):
        order = np.lexsort((-(log_probabilities + rng.gumbel(size=len(rows))), part))
        plan.append(rows[order[turns]])
    return tuple(plan)


def taylor_softmax(gains: Numbers, temperature: float) -> Numbers:
    """Compute probabilities (n,) in proportion to 1 + z + z²/2, with z = gain / temperature.

    This is the Taylor polynomial of exp z. Gains must be at least 0. No probability is 0: underflow is replaced with
    the smallest positive number.

    Parameters
    ----------
    gains : (n,) float64 >= 0
    temperature : above 0

    Returns
    -------
    (n,) float64

    References
    ----------
    de Brébisson & Vincent (2016), arXiv:1511.05042.

    Examples
    --------
    >>> taylor_softmax(np.array([3.0, 1.0, 0.0]), 1.0).round(5).tolist()
    [0.70833, 0.20833, 0.08333]
    """
    scale = max(temperature, float(gains.max(initial=0)))  # squares cannot overflow
    t, g = temperature / scale, gains / scale
    weights = t * t + g * t + g * g / 2
    probabilities: Numbers = np.maximum(weights / weights.sum(), np.finfo(np.float64).tiny)
    return probabilities


def coverage_gains(embeddings: Matrix, parts: Sequence[Rows]) -> Numbers:
    """Compute the gain of greedy facility location by each row within its part.

    Parameters
    ----------
    embeddings : (n, d) float32, rows of unit length
    parts : row indices of each part

    Returns
    -------
    (n,) float64, in rows
    """
    gains = np.empty(len(embeddings))

    def measure(part: Rows) -> None:
        order, gained = greedy.lazy(
            FacilityLocation(DenseSimilarities(embeddings[part])), np.arange(len(part)), len(part)
        )
        gains[part[order]] = gained

    for _ in map_blocks(measure, parts):
        pass
    return gains


@selector(
    version=1,
    scope="pool",
    reads={"embedding"},
    cost="O(n p (d + ln p)) for parts of p rows",
    guarantee="exact greedy in each part; every row can be drawn",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ingenious:
    """Draw rows that add much coverage of their part of the pool more often, with new draws for each epoch.

    Use it to train over several epochs on small subsets that are representative but vary, as for language model
    pre-training. ``rs2`` draws uniform subsets, the baseline to beat; ``facility_location`` gives one fixed subset.

    The pool is split into random parts. In each part, greedy facility location computes the gain of coverage by every
    row; rows are drawn accordingly, with the same number from each part. Gains are in rows. Time grows with rows times
    partition_size; memory is at most 12 partition_size² bytes a thread, 300 MB at 5,000.

    At the published temperature of 1 row, the first picks of each part, which gain hundreds of rows, are drawn almost
    surely, and the many that gain less than one have nearly equal probabilities. At a temperature of partition_size the
    gains are shares of the part, and all rows have nearly the same probability.

    Notes
    -----
    Deviations: the paper sets the number of parts, up to 5,000, here their size is set; gains come from the exact
    greedy sequence, not from a random sample of candidates at each pick, and are computed for all rows, so that the
    last of a part can be drawn too; the budget is exact, as the parts are not each rounded up; the embeddings stay
    those of the pool, where the paper recomputes them with the model in training.

    References
    ----------
    Renduchintala et al. (2023), "INGENIOUS: using informative data subsets for efficient pre-training of language
    models", arXiv:2305.06677.
    """

    epochs: Annotated[int, Ge(1), Le(1_000)] = 1
    """Number of planned epochs, each drawn from the same probabilities; the budget is that of each."""

    partition_size: Annotated[int, Ge(1)] = 5000
    """Maximum number of rows of a part; the paper's number of partitions is the number of rows divided by it."""

    temperature: Annotated[float, Gt(0)] = 1.0
    """Temperature in rows: far above the gains, all rows are equally likely; far below, in proportion to the squares of
    gains."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        n = len(pool)
        parts = np.array_split(rng.permutation(n), max(1, -(-n // self.partition_size)))
        gains = coverage_gains(pool.embeddings, parts)
        plan = ingenious(gains, parts, budget, self.epochs, rng, temperature=self.temperature)
        return Selection.from_epochs(plan, gains.astype(np.float32), ("not drawn in its part of the pool",))
