"""INGENIOUS: draw rows by how much they add to the coverage of a random part of the pool, afresh for every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.parallel import map_blocks
from curate.kernels.ragged import concatenate_ranges
from curate.kernels.submodular.greedy import lazy
from curate.kernels.submodular.objectives import FacilityLocation
from curate.kernels.submodular.similarities import DenseSimilarities
from curate.kernels.types import Matrix, Numbers, Rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def ingenious(
    gains: Numbers, parts: Sequence[Rows], budget: int, epochs: int, rng: np.random.Generator, *, temperature: float
) -> tuple[Rows, ...]:
    """Importance sampling: in each part, rows without replacement in proportion to the Taylor softmax of their gains.

    Every epoch draws anew from the same probabilities.

    Parameters
    ----------
    gains : (n,) float64 >= 0, what greedy facility location gained by each row within its part, in rows
    parts : the rows of each part of the pool; sizes fall, and differ by 1 at most
    budget : number of rows in each epoch, 0 <= budget <= n
    epochs : number of epochs, at least 1
    temperature : above 0, in rows: the larger, the more even the probabilities

    Returns
    -------
    ``epochs`` times (budget,) rows: the first drawn of each part, then the second of each, and so on; with the same rng
    a smaller budget gives the first of the rows of the first epoch

    Cost: O(epochs n log n) time, O(n + epochs budget) memory. Guarantee: exactly the budget; parts give as many rows as
    each other, give or take one, and every row has a chance.

    References
    ----------
    Renduchintala et al. (2023), arXiv:2305.06677. Sampling without replacement by Gumbel noise: Efraimidis & Spirakis
    (2006), doi:10.1016/j.ipl.2005.11.003.

    >>> parts = [np.array([0, 2]), np.array([1])]
    >>> (epoch,) = ingenious(np.array([9.0, 1.0, 0.0]), parts, 2, 1, np.random.default_rng(0), temperature=1e-9)
    >>> epoch.tolist()
    [0, 1]
    """
    rows = np.concatenate(parts)
    sizes = np.array([len(part) for part in parts])
    part = np.repeat(np.arange(len(parts)), sizes)
    place = concatenate_ranges(np.zeros_like(sizes), sizes)
    turn = np.argsort(place, kind="stable")[:budget]  # the first of every part, then the second, …
    chance = np.concatenate([np.log(taylor_softmax(gains[part], temperature)) for part in parts])
    plan = []
    for _ in range(epochs):
        drawn = np.lexsort((-(chance + rng.gumbel(size=len(rows))), part))
        plan.append(rows[drawn[turn]])
    return tuple(plan)


def taylor_softmax(gains: Numbers, temperature: float) -> Numbers:
    """(n,) probabilities in proportion to 1 + z + z²/2, the Taylor polynomial of exp z, where z = gain / temperature.

    For gains of at least 0. None is 0: what is too small for a number counts as the smallest there is.

    References
    ----------
    de Brébisson & Vincent (2016), arXiv:1511.05042.

    >>> taylor_softmax(np.array([3.0, 1.0, 0.0]), 1.0).round(5).tolist()
    [0.70833, 0.20833, 0.08333]
    """
    scale = max(temperature, float(gains.max(initial=0)))  # so that no square overflows
    t, g = temperature / scale, gains / scale
    weight = t * t + g * t + g * g / 2
    probability: Numbers = np.maximum(weight / weight.sum(), np.finfo(np.float64).tiny)
    return probability


def coverage_gains(embeddings: Matrix, parts: Sequence[Rows]) -> Numbers:
    """What greedy facility location gains by each row within its part; (n,) float64, in rows."""
    gains = np.empty(len(embeddings))

    def measure(part: Rows) -> None:
        order, gained = lazy(FacilityLocation(DenseSimilarities(embeddings[part])), np.arange(len(part)), len(part))
        gains[part[order]] = gained

    for _ in map_blocks(measure, parts):
        pass
    return gains


@selector(
    version=1,
    reads={"embedding"},
    cost="O(n p (d + ln p)) for parts of p rows",
    guarantee="exact greedy in each part; every row can be drawn",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ingenious:
    """Draw rows that add much to the coverage of their part of the pool more often, and for each epoch others.

    The pool is cut at random into parts. In each, greedy facility location says how many rows' worth of coverage every
    row adds; rows are drawn by that, and parts give as many as each other. Gains are these, in rows. Time grows with
    rows times partition_size; memory is 12 partition_size² bytes a thread at most, 300 MB at 5,000.

    At the published temperature of 1 row the first picks of each part, which gain hundreds of rows, are drawn almost
    surely, and the many that gain less than one have nearly the same chance. At a temperature of partition_size the
    gains are shares of the part, and all rows have nearly the same chance.

    References
    ----------
    Renduchintala et al. (2023), "INGENIOUS: using informative data subsets for efficient pre-training of language
    models", arXiv:2305.06677.

    Deviations: the paper sets the number of parts, up to 5,000 of them, here their size is set; gains come from the
    exact greedy sequence, not from a random sample of candidates at each pick, and of all rows, so that the last of a
    part can be drawn too; the budget is exact, as the parts are not each rounded up; the embeddings stay those of the
    pool, where the paper takes them anew from the model in training.
    """

    epochs: Annotated[int, Ge(1), Le(1_000)] = 1
    """How many epochs are planned, each drawn from the same probabilities; the budget is that of each."""

    partition_size: Annotated[int, Ge(1)] = 5000
    """Rows of a part at most; the paper's number of partitions is the number of rows over it."""

    temperature: Annotated[float, Gt(0)] = 1.0
    """In rows: far above the gains, all rows are equally likely; far below, in proportion to the squares of gains."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        n = len(pool)
        parts = np.array_split(rng.permutation(n), max(1, -(-n // self.partition_size)))
        gains = coverage_gains(pool.embeddings, parts)
        plan = ingenious(gains, parts, budget, self.epochs, rng, temperature=self.temperature)
        return Selection.from_epochs(plan, gains.astype(np.float32), ("not drawn in its part of the pool",))
