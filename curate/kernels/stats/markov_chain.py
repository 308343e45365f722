"""Information rates of sets of sequences in one Markov chain, and the gain of each additional sequence."""

from __future__ import annotations

from copy import copy
from typing import Literal

import numpy as np

from curate.kernels.parallel import block_slices
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Hashes, Indices, Numbers

Measure = Literal["entropy_rate", "factorizability", "independence", "stationarity"]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_CELLS = 2**20  # codes sorted at a time
_GRID = 2.0**46  # terms of entropies are multiples of 1/_GRID, so their sums are exact in any order


def state_hashes(states: Indices) -> Hashes:
    """Hash states so that the sum over rows identifies the joint state of those rows at each time.

    Two different joint states have the same sum with probability 2^-64.

    Parameters
    ----------
    states : (n, t) integers, numbered from 0

    Returns
    -------
    (n, t) uint64

    References
    ----------
    Zobrist (1970), "A new hashing method with application for game playing".
    """
    row = np.arange(len(states), dtype=np.uint64)[:, None]
    return mix_bits(mix_bits(row * _ODD + np.uint64(1)) + states.astype(np.uint64) * _ODD)


class MarkovChain:
    """Joint distribution of the transitions of n sequences, which are the coordinates of one Markov chain.

    Parameters
    ----------
    first, second : (n, m) uint64, states before and after each of m transitions, from ``state_hashes``
    weight : (m,) float64, the probability of each transition, of sum 1
    """

    def __init__(self, first: Hashes, second: Hashes, weight: Numbers) -> None:
        self.first, self.second, self.weight = first, second, weight

    def rates(self, first: Hashes, second: Hashes) -> Numbers:
        """Compute the entropy rates H(P^(S)) in nats of sets S: the entropy of the next states given the present ones.

        Parameters
        ----------
        first, second : (b, m) sums of the hashes of each set S

        Returns
        -------
        (b,) float64, multiples of 2^-46; sets with the same joint law have exactly the same rate
        """
        return self.entropies(mix_bits(first) + second * _ODD) - self.entropies(first)

    def entropies(self, codes: Hashes) -> Numbers:
        """Compute the entropy in nats of each row of ``codes`` (b, m), in O(b m log m) time."""
        blocks = block_slices(len(codes), max(1, _CELLS // len(self.weight)))
        return np.concatenate([np.empty(0), *(self._entropies(codes[block]) for block in blocks)])

    def _entropies(self, codes: Hashes) -> Numbers:
        by_code = np.argsort(codes, axis=1)
        ascending = np.take_along_axis(codes, by_code, axis=1)
        starts_state = np.ones(codes.shape, bool)
        starts_state[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
        probabilities = np.add.reduceat(self.weight[by_code].ravel(), np.flatnonzero(starts_state))
        terms = -probabilities * np.log(probabilities, out=np.zeros(len(probabilities)), where=probabilities > 0)
        distinct = starts_state.sum(axis=1)
        entropies: Numbers = np.add.reduceat(np.rint(terms * _GRID), np.cumsum(distinct) - distinct) / _GRID
        return entropies


class InformationObjective:
    """Information objective f of a chain's coordinates S, plus Σ over S of c, with c_e = max(0, f(V∖e) − f(V)).

    The function f of each measure:

    - ``entropy_rate``: H(P^(S)).
    - ``factorizability``: D(P ‖ P^(S) ⊗ P^(V∖S)) = H(P^(S)) + H(P^(V∖S)) − H(P).
    - ``independence``: −D(P^(S) ‖ ⊗ over i in S of P^(i)) = H(P^(S)) − Σ over i in S of H(P^(i)).
    - ``stationarity``: −D(P^(S) ‖ Π_S) = H(P^(S)) − H(Π_S), where every row of Π_S is the law of the next states.

    With groups V_1 … V_k, the k-submodular form, S_j = S ∩ V_j: the sum of f(S_j) over the groups. For
    ``factorizability``, D(P ‖ P^(S_1) ⊗ … ⊗ P^(S_k) ⊗ P^(V∖S)). The groups are disjoint, so f remains a function of S.

    ``cost`` (n,) is c. f is this function minus its cost.

    Parameters
    ----------
    chain : the joint law
    measure : f
    groups : (n,) group of each coordinate, numbered from 0; by default one group

    Notes
    -----
    H(P^(S)) = H(X_S, Y_S) − H(X_S) is a difference of submodular functions and not submodular in general. So f is not
    submodular, gains may grow when coordinates are taken, and may be negative even with c added.

    Bounds that always hold: H(P^(S)) is at most Σ over S of H(P^(i)), and all D are at least 0. The distances to
    independence and to stationarity never fall when a coordinate is added. If the coordinates are independent, f is
    modular for every measure.

    Cost: O(m log m) time for each gain, O(1) once all joint states of the taken coordinates differ.

    Deviations: the paper calls f submodular. c is cut at 0, as a cost must not be negative.

    References
    ----------
    Lai & Choi (2025), "Information-theoretic coordinate subset and partition selection of multivariate Markov
    chains via submodular optimization", arXiv:2503.23340. D is the divergence rate of chains.
    """

    def __init__(self, chain: MarkovChain, measure: Measure, groups: Indices | None = None) -> None:
        self.chain, self.measure = chain, measure
        self.group: Indices = np.zeros(len(chain.first), np.intp) if groups is None else groups
        self.alone = chain.rates(chain.first, chain.second)
        self._reset()
        first, second = self._sums(chain.first), self._sums(chain.second)
        fall = self._inside(first[self.group] - chain.first, second[self.group] - chain.second)
        fall -= self._inside(first, second)[self.group]
        if measure in ("factorizability", "independence"):
            fall += self.alone
        self.cost: Numbers = np.maximum(fall, 0)

    def gains(self, rows: Indices) -> Numbers:
        """Compute the gains of ``rows``, none of them taken; (m,) float64."""
        gains = np.zeros(len(rows))
        refining = ~self.discrete[self.group[rows]]
        refined = rows[refining]
        group, first, second = self.group[refined], self.chain.first[refined], self.chain.second[refined]
        gains[refining] = self._inside(self.first[group] + first, self.second[group] + second) - self.inside[group]
        if self.measure == "independence":
            gains -= self.alone[rows]
        if self.measure == "factorizability":
            rest = self.rest_first - self.chain.first[rows], self.rest_second - self.chain.second[rows]
            gains += self.chain.rates(*rest) - self.rest_rate
        return gains + self.cost[rows]

    def take(self, row: int) -> None:
        """Add a row to the set."""
        group = self.group[row]
        self.first[group] += self.chain.first[row]
        self.second[group] += self.chain.second[row]
        self.rest_first -= self.chain.first[row]
        self.rest_second -= self.chain.second[row]
        self.inside[group] = self._inside(self.first[group, None], self.second[group, None])[0]
        self.discrete[group] = _distinct(self.first[group]) and _distinct(self.second[group])
        self.rest_rate = self._rest_rate()

    def fresh(self) -> InformationObjective:
        """Return a copy of the objective with no row taken."""
        clone = copy(self)
        clone._reset()
        return clone

    def _reset(self) -> None:
        self.first, self.second = self._sums(self.chain.first[:0]), self._sums(self.chain.second[:0])
        self.inside = np.zeros(len(self.first))
        self.discrete = np.zeros(len(self.first), bool)  # all states differ: further coordinates change nothing
        self.rest_first, self.rest_second = self.chain.first.sum(axis=0), self.chain.second.sum(axis=0)
        self.rest_rate = self._rest_rate()

    def _rest_rate(self) -> float:
        if self.measure != "factorizability":
            return 0.0
        return float(self.chain.rates(self.rest_first[None], self.rest_second[None])[0])

    def _sums(self, hashes: Hashes) -> Hashes:
        """Sum the hashes of the first rows by group; (k, m)."""
        sums = np.zeros((int(self.group.max(initial=0)) + 1, hashes.shape[1]), np.uint64)
        np.add.at(sums, self.group[: len(hashes)], hashes)
        return sums

    def _inside(self, first: Hashes, second: Hashes) -> Numbers:
        """Compute the information of each set within its group, up to a constant per coordinate."""
        rates = self.chain.rates(first, second)
        return rates - self.chain.entropies(second) if self.measure == "stationarity" else rates


def _distinct(codes: Hashes) -> bool:
    return len(np.unique(codes)) == len(codes)
