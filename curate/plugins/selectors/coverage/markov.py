"""Selection of sequences, read as one Markov chain, by an information-theoretic measure of their joint law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.stats.markov_chain import InformationObjective, MarkovChain, Measure, state_hashes
from curate.kernels.submodular.greedy import distorted
from curate.kernels.types import Indices, Numbers, Rows
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import ColumnName, selector
from curate.plugins.results import Selection


def markov(
    states: Indices, budget: int, objective: Measure = "entropy_rate", groups: Rows | None = None
) -> tuple[Rows, Numbers]:
    """Choose sequences by a measure of their joint transitions, with the distorted greedy.

    All sequences are read as one chain over joint states, with the transitions that were seen.

    Parameters
    ----------
    states : (n, t) integers from 0, t >= 2; row i is one sequence
    budget : number of sequences to keep, 0 <= budget <= n
    objective : ``entropy_rate`` and ``factorizability`` are maximized, the distances ``independence`` and
        ``stationarity`` minimized; see ``curate.kernels.stats.markov_chain.InformationObjective``
    groups : (n,) group of each sequence, numbered from 0: the k-submodular form, which measures each group's rows by
        themselves under one budget

    Returns
    -------
    order : (budget,) rows, ties to the lowest index
    gains : (budget,) float64, the change of the objective by each row, in nats a step; of distances, their fall, which
        is never above 0

    Notes
    -----
    Guarantee: none in general. The paper calls the objectives submodular, but they are differences of entropies: fair
    coins u with rows u[t−1], u[t−2], u[t−1], u[t] and budget 2 give ln 2 where 2 ln 2 is possible. If the sequences are
    independent of each other, the objectives are modular and the choice is optimal. No set exceeds the sum of its own
    sequences' entropy rates, so that the ``budget`` largest of those bound the optimum of ``entropy_rate``.

    Cost: O(n k t log t) time for k rows; O(n t) memory.

    Deviations: the law of the chain is that of the transitions seen, as is usual. With few of them for the number of
    joint states, rates of many sequences are far too low. The two distances take a row in every step of the distorted
    greedy, as the authors' code does; the other two stop where a row would lose and fill the budget afterwards.

    References
    ----------
    Lai & Choi (2025), arXiv:2503.23340, whose distorted greedy is that of Harshaw et al. (2019), arXiv:1904.09354.

    Examples
    --------
    >>> coin = np.random.default_rng(0).integers(0, 2, (2, 500))
    >>> order, _ = markov(np.stack([np.arange(500) % 2, coin[0], coin[0], coin[1]]), 2)
    >>> order.tolist()
    [3, 1]
    """
    n, steps = states.shape
    if not budget:
        return np.empty(0, np.intp), np.empty(0)
    hashes = state_hashes(states)
    chain = MarkovChain(hashes[:, :-1], hashes[:, 1:], np.full(steps - 1, 1 / (steps - 1)))
    information = InformationObjective(chain, objective, groups)
    falls = objective in ("independence", "stationarity")
    return distorted(information, information.cost, np.arange(n), budget, submodular=False, negative=falls)


def numbered(sequences: pl.Series) -> NDArray[np.int64]:
    """Number the states of a column of sequences from 0; (n, t).

    Raises
    ------
    PluginError : if it is no column of lists of one length, at least 2, without gaps
    """
    if not isinstance(sequences.dtype, pl.List | pl.Array):
        message = f"markov: the column {sequences.name!r} holds {sequences.dtype}, no lists"
        raise PluginError(message, hint="name a column of lists of states")
    states = sequences.explode()
    lengths = sequences.list.len() if isinstance(sequences.dtype, pl.List) else sequences.arr.len()
    if sequences.null_count() or states.null_count() or lengths.n_unique() > 1 or (lengths < 2).any():
        raise PluginError(
            f"markov: the lists in {sequences.name!r} differ in length, have gaps, or fewer than 2 states",
            hint="give every row as many states, at the same times",
        )
    numbers: NDArray[np.int64] = states.rank("dense").to_numpy().astype(np.int64) - 1
    return numbers.reshape(len(sequences), lengths[0] if len(lengths) else 0)


@selector(
    version=2,
    reads={"frame"},
    random=False,
    quadratic=True,
    example={"column": "states"},
    cost="O(n k t log t) for t steps",
    guarantee="none in general; the optimum for independent sequences",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Markov:
    """Keep the sequences that are jointly least predictable, most informative of the others, or closest to independent.

    For rows that are sequences over the same time, such as sensors, simulated variables, or test items judged at each
    checkpoint. The steps of all rows are read together as one Markov chain. Gains are in nats a step. They are negative
    where fewer rows would have been better, and for the distances.

    Notes
    -----
    The objectives are not submodular in general, so the greedy choice has no guarantee, although the paper states one.

    References
    ----------
    Lai & Choi (2025), "Information-theoretic coordinate subset and partition selection of multivariate Markov
    chains via submodular optimization", arXiv:2503.23340.
    """

    column: ColumnName
    """The column of sequences: lists of states, integers or strings or true and false, all of the same length."""

    objective: Measure = "entropy_rate"
    """``entropy_rate``: uncertainty of the next states of the rows kept, given the present ones. ``factorizability``:
    information shared by the rows kept and the others. ``independence``: the smallest distance of the rows kept to
    independent sequences. ``stationarity``: the smallest distance to sequences without memory."""

    groups: ColumnName | None = None
    """A column of groups: dependence counts only within a group, under one budget for all (the k-submodular form). Rows
    without a value form a group."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns of sequences and of groups."""
        return (self.column,) if self.groups is None else (self.column, self.groups)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        frame = require(pool.frame)
        groups = None
        if self.groups is not None:
            groups = frame[self.groups].rank("dense").fill_null(0).to_numpy().astype(np.intp)
        order, gains = markov(numbered(frame[self.column]), budget, self.objective, groups)
        return Selection(order, gains.astype(np.float32), reasons=("adds less than the rows kept",))
