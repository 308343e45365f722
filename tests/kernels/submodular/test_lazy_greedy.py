"""Lazy greedy takes exactly the steps of the naive greedy, with fewer evaluations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.submodular.lazy_greedy import lazy_greedy


class Coverage:
    """f(S) = total weight of the elements in the union of the sets in S; integer weights make ties common."""

    def __init__(self, seed: int, n: int = 12, elements: int = 15) -> None:
        rng = np.random.default_rng(seed)
        self.sets = rng.random((n, elements)) < 0.3
        self.left = rng.integers(1, 4, elements)
        self.evaluations = 0

    def gain(self, i: int) -> float:
        self.evaluations += 1
        return float(self.left[self.sets[i]].sum())

    def gains(self, some: list[int]) -> np.ndarray:
        return np.array([self.gain(i) for i in some])

    def take(self, i: int) -> None:
        self.left[self.sets[i]] = 0

    def bounds(self) -> list[float]:
        return [float(self.left[members].sum()) for members in self.sets]


def naive(function: Coverage, n: int, budget: int) -> tuple[list[int], list[float]]:
    indices: list[int] = []
    gains: list[float] = []
    for _ in range(budget):
        current = [function.gain(i) if i not in indices else -np.inf for i in range(n)]
        indices.append(int(np.argmax(current)))
        gains.append(max(current))
        function.take(indices[-1])
    return indices, gains


@given(st.integers(0, 10_000), st.integers(0, 12))
def test_same_sequence_and_gains_as_naive_greedy_with_ties(seed, budget):
    lazy, slow = Coverage(seed), Coverage(seed)
    indices, gains = lazy_greedy(lazy.bounds(), budget, lazy.gains, lazy.take)
    assert (indices.tolist(), gains.tolist()) == naive(slow, 12, budget)


@given(st.integers(0, 10_000))
def test_loose_bounds_change_nothing(seed):
    """A bound need not be the gain itself."""
    tight, loose = Coverage(seed), Coverage(seed)
    expected = lazy_greedy(tight.bounds(), 12, tight.gains, tight.take)[0]
    indices = lazy_greedy(np.array(loose.bounds()) + 7, 12, loose.gains, loose.take)[0]
    assert indices.tolist() == expected.tolist()


def test_fewer_evaluations_than_naive():
    lazy, slow = Coverage(3, n=300, elements=400), Coverage(3, n=300, elements=400)
    lazy_greedy(lazy.bounds(), 20, lazy.gains, lazy.take)
    naive(slow, 300, 20)
    assert lazy.evaluations < slow.evaluations / 2


def test_equal_gains_go_to_the_lowest_index():
    indices, _ = lazy_greedy([1.0, 1.0, 1.0], 3, lambda some: np.ones(len(some)), lambda _: None)
    assert indices.tolist() == [0, 1, 2]
