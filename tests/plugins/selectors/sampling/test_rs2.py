"""RS2 samples anew for every epoch; without replacement, every row appears before any repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import Pool
from curate.plugins.selectors.sampling.rs2 import RS2, rs2
from curate.plugins.selectors.sampling.uniform import uniform


def rng(seed=0):
    return np.random.default_rng(seed)


def pool_of(n):
    return Pool(np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32))


def test_three_epochs_of_3_of_10_rows_are_disjoint_and_the_fourth_begins_another_shuffle():
    """The authors' code wraps around instead: its fourth epoch has two rows."""
    plan = rs2(10, 3, 4, rng(), replacement=False)
    assert [len(rows) for rows in plan] == [3] * 4
    assert len(np.unique(np.concatenate(plan[:3]))) == 9
    generator = rng()
    first, second = generator.permutation(10), generator.permutation(10)
    assert np.concatenate(plan).tolist() == [*first[:9], *second[:3]]


@given(st.integers(0, 40), st.floats(0, 1), st.integers(1, 9), st.booleans(), st.integers(0, 99))
def test_no_row_is_twice_in_an_epoch_nor_without_replacement_in_a_cycle(n, rate, epochs, replacement, seed):
    budget = int(rate * n)
    plan = rs2(n, budget, epochs, rng(seed), replacement=replacement)
    assert [len(np.unique(rows)) for rows in plan] == [budget] * epochs
    cycle = n // budget if budget and not replacement else 1
    for start in range(0, epochs, cycle):
        draws = np.concatenate(plan[start : start + cycle])
        assert len(np.unique(draws)) == len(draws)


@pytest.mark.parametrize("replacement", [False, True])
def test_every_row_is_drawn_as_often(replacement):
    """In 10,000 epochs of 3 of 10 rows: a frequency of 0.3, give or take 3 sigma of independent draws."""
    plan = rs2(10, 3, 10_000, rng(1), replacement=replacement)
    frequency = np.bincount(np.concatenate(plan), minlength=10) / 10_000
    assert np.abs(frequency - 0.3).max() < 3 * np.sqrt(0.3 * 0.7 / 10_000)


def test_with_replacement_epochs_are_drawn_independently():
    """Two epochs of 3 of 10 rows share 0.9 of them on average; variance 0.49, 10,000 pairs, 3 sigma."""
    plan = rs2(10, 3, 20_000, rng(2), replacement=True)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(plan[::2], plan[1::2], strict=True)]
    assert abs(np.mean(shared) - 0.9) < 3 * np.sqrt(0.49 / 10_000)


def test_one_epoch_is_a_uniform_sample_and_no_plan():
    selection = RS2(epochs=1).select(pool_of(20), 7, rng(3)).check(20, 7)
    assert selection.indices.tolist() == uniform(20, 7, rng(3)).tolist()
    assert selection.epochs is None
    assert selection.weight is None


def test_weights_count_the_epochs_of_a_row_and_rows_in_no_epoch_have_a_reason():
    selection = RS2(epochs=5).select(pool_of(10), 4, rng(4)).check(10, 4)
    counts = np.bincount(np.concatenate(selection.epochs), minlength=10)
    assert selection.weight.tolist() == counts[selection.indices].tolist()
    assert selection.weight.sum() == 20
    left = RS2(epochs=2).select(pool_of(10), 4, rng(4))
    assert len(left.indices) == 8
    assert left.reasons == ("not drawn for any epoch",)


def test_the_plugin_passes_replacement_on():
    """Ten epochs of half the rows: without replacement every second one completes the pool."""
    plan = RS2(epochs=10).select(pool_of(8), 4, rng(5)).epochs
    assert all(len(np.union1d(a, b)) == 8 for a, b in zip(plan[::2], plan[1::2], strict=True))
    plan = RS2(epochs=10, replacement=True).select(pool_of(8), 4, rng(5)).epochs
    assert not all(len(np.union1d(a, b)) == 8 for a, b in zip(plan[::2], plan[1::2], strict=True))
