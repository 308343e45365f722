"""Selection of sequences by information measures of their joint Markov chain."""

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
    """Select sequences by a measure of their joint transitions, with the distorted greedy.

    All sequences are read as one chain over joint states, with the observed transitions.

    Parameters
    ----------
    states : (n, t) integers from 0, t >= 2; row i is one sequence
    budget : number of sequences to keep, 0 <= budget <= n
    objective : ``entropy_rate`` and ``factorizability`` are maximized, the distances ``independence`` and
        ``stationarity`` minimized; see ``curate.kernels.stats.markov_chain.InformationObjective``
    groups : (n,) group of each sequence, numbered from 0: the k-submodular form, which measures the rows of each group
        separately under one budget

    Returns
    -------
    indices : (budget,) rows, ties to the lowest index
    gains : (budget,) float64, change of the objective by each row, in nats per step; for distances, their decrease,
        which is never above 0

    Notes
    -----
    Guarantee: none in general. The paper calls the objectives submodular, but they are differences of entropies: fair
    coins u with rows u[t−1], u[t−2], u[t−1], u[t] and budget 2 give ln 2, although 2 ln 2 is possible. If the sequences
    are independent of each other, the objectives are modular and the selection is optimal. No set exceeds the sum of
    the entropy rates of its sequences, so the ``budget`` largest of those bound the optimum of ``entropy_rate``.

    Cost: O(n k t log t) time for k rows; O(n t) memory.

    Deviations: the chain has the observed transition frequencies, as is usual. If there are few transitions for the
    number of joint states, rates of many sequences are far too low. The two distances take a row in every step of the
    distorted greedy, as the authors' code does; the other two stop when a row would lower the objective and fill the
    budget afterwards.

    References
    ----------
    Lai & Choi (2025), arXiv:2503.23340, whose distorted greedy is that of Harshaw et al. (2019), arXiv:1904.09354.

    Examples
    --------
    >>> coin = np.random.default_rng(0).integers(0, 2, (2, 500))
    >>> indices, _ = markov(np.stack([np.arange(500) % 2, coin[0], coin[0], coin[1]]), 2)
    >>> indices.tolist()
    [3, 1]
    """
    n, steps = states.shape
    if not budget:
        return np.empty(0, np.intp), np.empty(0)
    hashes = state_hashes(states)
    chain = MarkovChain(hashes[:, :-1], hashes[:, 1:], np.full(steps - 1, 1 / (steps - 1)))
    function = InformationObjective(chain, objective, groups)
    is_distance = objective in ("independence", "stationarity")
    return distorted(function, function.cost, np.arange(n), budget, submodular=False, negative=is_distance)


def number_states(sequences: pl.Series) -> NDArray[np.int64]:
    """Return the states of a column of sequences as numbers from 0; (n, t).

    Raises
    ------
    PluginError : if it is not a column of lists of one length, at least 2, without nulls
    """
    if not isinstance(sequences.dtype, pl.List | pl.Array):
        message = f"markov: the column {sequences.name!r} contains {sequences.dtype}, not lists"
        raise PluginError(message, hint="use a column with lists of states")
    states = sequences.explode()
    lengths = sequences.list.len() if isinstance(sequences.dtype, pl.List) else sequences.arr.len()
    if sequences.null_count() or states.null_count() or lengths.n_unique() > 1 or (lengths < 2).any():
        raise PluginError(
            f"markov: the lists in {sequences.name!r} differ in length, contain nulls, or have fewer than 2 states",
            hint="give every row the same number of states, at the same times",
        )
    numbers: NDArray[np.int64] = states.rank("dense").to_numpy().astype(np.int64) - 1
    return numbers.reshape(len(sequences), lengths[0] if len(lengths) else 0)


@selector(
    version=2,
    scope="pool",
    reads={"frame"},
    random=False,
    quadratic=True,
    example={"column": "states"},
    cost="O(n k t log t) for t steps",
    guarantee="none in general; the optimum for independent sequences",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Markov:
    """Keep sequences that are jointly least predictable, most informative, or closest to independent.

    Use it for rows that are sequences over the same time, such as sensors, simulated variables, or test items evaluated
    at each checkpoint. It does not apply to texts.

    The steps of all rows are read together as one Markov chain. Gains are in nats per step. They are negative if fewer
    rows would have been better, and for the distances.

    Notes
    -----
    The objectives are not submodular in general, so the greedy choice has no guarantee, although the paper states one.

    References
    ----------
    Lai & Choi (2025), "Information-theoretic coordinate subset and partition selection of multivariate Markov
    chains via submodular optimization", arXiv:2503.23340.
    """

    column: ColumnName
    """Column of sequences: lists of states (integers, strings or booleans), all of the same length."""

    objective: Measure = "entropy_rate"
    """``entropy_rate``: uncertainty of the next states of the kept rows, given the present ones. ``factorizability``:
    information shared by the kept rows and the others. ``independence``: the smallest distance of the kept rows to
    independent sequences. ``stationarity``: the smallest distance to sequences without memory."""

    groups: ColumnName | None = None
    """Column of groups: dependence counts only within a group, under one budget for all (the k-submodular form). Rows
    without a value form a group."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns of sequences and of groups."""
        return (self.column,) if self.groups is None else (self.column, self.groups)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        frame = require(pool.frame)
        groups = None
        if self.groups is not None:
            groups = frame[self.groups].rank("dense").fill_null(0).to_numpy().astype(np.intp)
        indices, gains = markov(number_states(frame[self.column]), budget, self.objective, groups)
        return Selection(indices, gains.astype(np.float32), reasons=("adds less than the kept rows",))
