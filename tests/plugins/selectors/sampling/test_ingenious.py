"""INGENIOUS samples by the Taylor softmax of the gains of facility location within random partitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.submodular.greedy import naive
from curate.kernels.submodular.objectives import FacilityLocation
from curate.kernels.submodular.similarities import DenseSimilarities
from curate.plugins.batches import Pool
from curate.plugins.selectors.sampling.ingenious import Ingenious, coverage_gains, ingenious, taylor_softmax


def greedy_coverage(x):
    """Return every row in the order of greedy facility location, with its gain."""
    return naive(FacilityLocation(DenseSimilarities(x)), np.arange(len(x)), len(x))


def rng(seed=0):
    return np.random.default_rng(seed)


def unit_rows(seed, n, d=4):
    x = rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def pool_of(x):
    return Pool(x, np.zeros(len(x), np.float32), np.zeros(len(x), np.int32))


# ---------------------------------------------------------------- probabilities


def test_gains_of_3_1_and_0_have_the_published_probabilities():
    assert taylor_softmax(np.array([3.0, 1.0, 0.0]), 1.0).round(5).tolist() == [0.70833, 0.20833, 0.08333]


def test_a_high_temperature_is_uniform_and_a_low_one_squares_the_gains():
    gains = np.array([4.0, 2.0, 1.0, 0.0])
    np.testing.assert_allclose(taylor_softmax(gains, 1e300), [0.25] * 4)
    np.testing.assert_allclose(taylor_softmax(gains, 1e-300), [16 / 21, 4 / 21, 1 / 21, 0], atol=1e-12)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=9), st.floats(1e-300, 1e300))
def test_every_row_has_a_chance_at_any_temperature(gains, temperature):
    probability = taylor_softmax(np.array(gains), temperature)
    assert (probability > 0).all()
    assert abs(probability.sum() - 1) < 1e-9


# ---------------------------------------------------------------- draws


def test_sequences_are_drawn_in_proportion_to_the_probabilities_of_what_is_left():
    """Against all six sequences' probabilities, 20,000 epochs; 3 sigma of a share."""
    gains = np.array([3.0, 1.0, 0.0])
    p = taylor_softmax(gains, 1.0)
    plan = ingenious(gains, [np.arange(3)], 3, 20_000, rng(1), temperature=1.0)
    for a, b, c in permutations(range(3)):
        expected = p[a] * p[b] / (1 - p[a])
        share = np.mean([rows.tolist() == [a, b, c] for rows in plan])
        assert abs(share - expected) < 3 * np.sqrt(expected * (1 - expected) / 20_000)


def test_inclusion_probabilities_are_those_of_successive_sampling():
    """Two of three rows: the exact inclusion probabilities, 20,000 epochs, 3 sigma."""
    gains = np.array([3.0, 1.0, 0.0])
    p = taylor_softmax(gains, 1.0)
    plan = ingenious(gains, [np.arange(3)], 2, 20_000, rng(2), temperature=1.0)
    frequency = np.bincount(np.concatenate(plan), minlength=3) / 20_000
    expected = [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(3) if j != i) for i in range(3)]
    sigma = np.sqrt(np.array(expected) * (1 - np.array(expected)) / 20_000)
    assert (np.abs(frequency - expected) < 3 * sigma).all()


def test_the_last_row_of_the_greedy_order_can_be_drawn():
    """The authors' code asks the greedy algorithm for all rows but one of a part, and never draws that one."""
    x = unit_rows(3, 12)
    last = greedy_coverage(x)[0][-1]
    plan = Ingenious(epochs=400).select(pool_of(x), 3, rng(3)).epochs
    assert sum(last in rows for rows in plan) > 10


@given(st.integers(0, 60), st.floats(0, 1), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_every_epoch_has_exactly_the_budget_and_partitions_contribute_equally(n, rate, size, epochs, seed):
    """The published shares are rounded up, so that their sum exceeds the budget."""
    budget = int(rate * n)
    parts = np.array_split(rng(seed).permutation(n), max(1, -(-n // size)))
    part = np.empty(n, np.intp)
    for number, rows in enumerate(parts):
        part[rows] = number
    plan = ingenious(np.zeros(n), parts, budget, epochs, rng(seed), temperature=1.0)
    assert [len(np.unique(rows)) for rows in plan] == [budget] * epochs
    for rows in plan:
        counts = np.bincount(part[rows], minlength=len(parts))
        assert np.ptp(counts) <= 1


def test_one_epoch_of_a_smaller_budget_is_the_beginning_of_a_larger():
    x = unit_rows(4, 50)
    few, many = (Ingenious(partition_size=9).select(pool_of(x), budget, rng(4)).indices for budget in (7, 30))
    assert few.tolist() == many[:7].tolist()


def test_gains_and_probabilities_stay_the_same_from_epoch_to_epoch_and_rows_do_not():
    selection = Ingenious(epochs=3, temperature=100.0).select(pool_of(unit_rows(5, 40)), 10, rng(5)).check(40, 10)
    assert len({tuple(rows.tolist()) for rows in selection.epochs}) == 3
    gain_of = dict(zip(selection.indices.tolist(), selection.gain.tolist(), strict=True))
    assert len(gain_of) > 10


# ---------------------------------------------------------------- gains


def test_gains_are_those_of_greedy_facility_location_within_each_part():
    x = unit_rows(6, 30)
    parts = [np.arange(0, 30, 2), np.arange(1, 30, 2)]
    gains = coverage_gains(x, parts)
    for part in parts:
        indices, expected = greedy_coverage(x[part])
        assert gains[part[indices]].tolist() == expected.tolist()


@pytest.mark.parametrize(("size", "sizes"), [(40, [40]), (39, [20, 20]), (11, [10] * 4), (9, [8] * 5), (1, [1] * 40)])
def test_the_pool_is_cut_into_as_few_even_parts_as_their_size_allows(size, sizes):
    """Of equal rows, the first of a part gains all of it, and the others nothing."""
    x = np.tile(np.array([[0.6, 0.8]], np.float32), (40, 1))
    gain = Ingenious(partition_size=size).select(pool_of(x), 40, rng(7)).gain
    assert gain[gain > 0.5].round().tolist() == sizes


def test_at_the_published_temperature_the_first_pick_of_a_large_part_is_drawn_almost_surely():
    """Its gain counts hundreds of rows; at a temperature of the part's size it is one row among others."""
    x = np.abs(unit_rows(8, 400))
    first = greedy_coverage(x)[0][0]
    hits = {
        t: sum(first in r for r in Ingenious(epochs=50, temperature=t).select(pool_of(x), 40, rng(8)).epochs)
        for t in (1.0, 400.0)
    }
    assert hits[1.0] == 50
    assert hits[400.0] < 30
