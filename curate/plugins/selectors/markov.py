"""Choose sequences, read as one Markov chain, by how much they tell together or of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.greedy import distorted
from curate.kernels.markov import Chain, Information, state_hashes
from curate.plugins.kinds import ColumnName, selector
from curate.plugins.pool import Pool, Rows, Selection, given

Objective = Literal["entropy_rate", "factorizability"]


def markov(
    states: NDArray[np.integer], budget: int, objective: Objective = "entropy_rate"
) -> tuple[Rows, NDArray[np.float64]]:
    """Distorted greedy for sequences that are together the least predictable, or tell the most about the others.

    All sequences are read as one chain over joint states, with the transitions that were seen. Its restriction to some
    sequences has an entropy rate, which is submodular but may fall with more sequences. So it is taken for a monotone
    function less a cost of each sequence.

    Parameters
    ----------
    states : (n, t) integers from 0, t >= 2; row i is one sequence
    budget : number of sequences to keep, 0 <= budget <= n

    Returns
    -------
    order : (budget,) rows; those that lose come last
    gains : (budget,) float64, what each added to the objective, in nats a step

    Cost: O(n t log t) time, and as much for each row taken at worst; O(n t) memory. Guarantee: before rows that lose,
    the function less its cost is at least (1 − 1/e) of the function less the cost of any other choice.

    References
    ----------
    Lai & Choi (2025), arXiv:2503.23340, whose distorted greedy is that of Harshaw et al. (2019), arXiv:1904.09354.

    Deviations: the law of the chain is that of the transitions seen, as is usual; with few of them for the number of
    joint states, rates of many sequences are far too low.

    >>> coin = np.random.default_rng(0).integers(0, 2, (2, 500))
    >>> order, _ = markov(np.stack([np.arange(500) % 2, coin[0], coin[0], coin[1]]), 2)
    >>> order.tolist()
    [3, 1]
    """
    n, steps = states.shape
    if not budget:
        return np.empty(0, np.intp), np.empty(0)
    hashes = state_hashes(states)
    information = Information(Chain(hashes[:, :-1], hashes[:, 1:], np.full(steps - 1, 1 / (steps - 1))), objective)
    return distorted(information, information.cost, np.arange(n), budget)


@selector(
    version=1,
    reads={"frame"},
    random=False,
    example={"column": "states"},
    cost="O(n k t log t) for t steps at worst",
    guarantee="1 − 1/e of the optimum, before the cost",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Markov:
    """Keep the sequences that are together the least predictable, or that tell the most about the others.

    For rows that are sequences side by side in time, such as sensors, simulated variables, or test items judged at each
    checkpoint: the steps of all rows are read together as one Markov chain. Gains are in nats a step; the last may be
    negative, where fewer rows would have been better.

    References
    ----------
    Lai & Choi (2025), "Information-theoretic coordinate subset and partition selection of multivariate Markov
    chains via submodular optimization", arXiv:2503.23340.
    """

    column: ColumnName
    """The column of sequences: lists of states, integers or strings or true and false, all of the same length."""

    objective: Objective = "entropy_rate"
    """``entropy_rate``: of where the rows kept go next; ``factorizability``: what the rows kept and the others tell of
    each other."""

    def columns(self) -> tuple[str, ...]:
        """The column of sequences."""
        return (self.column,)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        order, gains = markov(numbered(given(pool.frame)[self.column]), budget, self.objective)
        return Selection(order, gains.astype(np.float32), reasons=("tells less beside the rows kept",))


def numbered(sequences: pl.Series) -> NDArray[np.int64]:
    """(n, t) states numbered from 0.

    Raises
    ------
    PluginError : if it is no column of lists of one length, at least 2, without gaps
    """
    if not isinstance(sequences.dtype, pl.List | pl.Array):
        told = f"markov: the column {sequences.name!r} holds {sequences.dtype}, no lists"
        raise PluginError(told, hint="name a column of lists of states")
    states = sequences.explode()
    lengths = sequences.list.len() if isinstance(sequences.dtype, pl.List) else sequences.arr.len()
    if sequences.null_count() or states.null_count() or lengths.n_unique() > 1 or (lengths < 2).any():
        raise PluginError(
            f"markov: the lists in {sequences.name!r} differ in length, have gaps, or fewer than 2 states",
            hint="give every row as many states, at the same times",
        )
    numbers: NDArray[np.int64] = states.rank("dense").to_numpy().astype(np.int64) - 1
    return numbers.reshape(len(sequences), lengths[0] if len(lengths) else 0)
