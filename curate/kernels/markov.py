"""Entropy rates of sets of sequences that are read as one Markov chain, and what each further sequence would add."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels.sampling import mixed

Numbers = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Rows = NDArray[np.integer]

_ODD = np.uint64(0x9E3779B97F4A7C15)


def state_hashes(states: NDArray[np.integer]) -> Hashes:
    """(n, t) numbers whose sum over some rows tells, at each time, which states those rows are in together.

    ``states`` (n, t) are numbered from 0. Two different joint states have the same sum with probability 2^-64.

    References
    ----------
    Zobrist (1970), "A new hashing method with application for game playing".
    """
    row = np.arange(len(states), dtype=np.uint64)[:, None]
    return mixed(mixed(row * _ODD + np.uint64(1)) + states.astype(np.uint64) * _ODD)


class Chain:
    """n sequences as the coordinates of one Markov chain, by its transitions from ``first`` to ``second`` states.

    Parameters
    ----------
    first, second : (n, m) uint64, as ``state_hashes`` gives them
    weight : (m,) float64, the probability of each transition, of sum 1
    """

    def __init__(self, first: Hashes, second: Hashes, weight: Numbers) -> None:
        self.first, self.second, self.weight = first, second, weight

    def rate(self, first: Hashes, second: Hashes) -> float:
        """H(P^(S)) in nats: the entropy of where the coordinates S go next, given where they are.

        ``first`` and ``second`` (m,) are the sums of the hashes of S.
        """
        return self._entropy(mixed(first) + second * _ODD) - self._entropy(first)

    def _entropy(self, codes: Hashes) -> float:
        share = np.bincount(np.unique(codes, return_inverse=True)[1], self.weight)
        share = share[share > 0]
        return -float(share @ np.log(share))


class Information:
    """A function of sets S of a chain's coordinates, made monotone: f(S) + Σ over S of c, c_e = max(0, f(V∖e) − f(V)).

    ``entropy_rate``: f(S) = H(P^(S)). ``factorizability``: f(S) = D(P ‖ P^(S) ⊗ P^(V∖S)) = H(P^(S)) + H(P^(V∖S)) −
    H(P), what the coordinates in S and the others tell of each other. Both are submodular, and with c what a coordinate
    adds is never below 0. ``cost`` (n,) is c: f itself is this function less its cost.

    O(m log m) time for each gain.

    References
    ----------
    Lai & Choi (2025), "Information-theoretic coordinate subset and partition selection of multivariate Markov
    chains via submodular optimization", arXiv:2503.23340. D is the divergence rate of chains.

    Deviations: c is cut at 0.
    """

    def __init__(
        self,
        chain: Chain,
        objective: Literal["entropy_rate", "factorizability"],
        cost: Numbers | None = None,
    ) -> None:
        self.chain, self.objective = chain, objective
        self.whole = chain.first.sum(axis=0), chain.second.sum(axis=0)
        self.taken = np.zeros_like(self.whole[0]), np.zeros_like(self.whole[0])
        self.total = chain.rate(*self.whole)
        self.value = 0.0
        self.cost: Numbers = self._costs() if cost is None else cost

    def gains(self, rows: Rows) -> Numbers:
        found = [self._value(self.taken[0] + self.chain.first[e], self.taken[1] + self.chain.second[e]) for e in rows]
        return np.maximum(np.array(found) - self.value + self.cost[rows], 0)

    def take(self, row: int) -> None:
        self.taken = self.taken[0] + self.chain.first[row], self.taken[1] + self.chain.second[row]
        self.value = self._value(*self.taken)

    def fresh(self) -> Information:
        return Information(self.chain, self.objective, self.cost)

    def _value(self, first: Hashes, second: Hashes) -> float:
        """F of the coordinates whose hashes sum to these."""
        rate = self.chain.rate(first, second)
        if self.objective == "entropy_rate":
            return rate
        return rate + self.chain.rate(self.whole[0] - first, self.whole[1] - second) - self.total

    def _costs(self) -> Numbers:
        all_taken = self._value(*self.whole)
        but_one = zip(self.whole[0] - self.chain.first, self.whole[1] - self.chain.second, strict=True)
        return np.maximum(np.array([self._value(*sums) for sums in but_one]) - all_taken, 0)
