"""Sequences are chosen by what they tell together."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.errors import PluginError
from curate.plugins.pool import Pool
from curate.plugins.selectors.markov import Markov, markov, numbered


def pool(sequences):
    n = len(sequences)
    frame = pl.DataFrame({"s": sequences})
    return Pool(np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), frame=frame)


def sequences(seed=0, steps=2000):
    """A clock, two coins, one of them twice, and one that stays mostly where it is."""
    rng = np.random.default_rng(seed)
    coins = rng.integers(0, 2, (2, steps))
    sticky = np.cumsum(rng.random(steps) < 0.1) % 2
    return np.stack([np.arange(steps) % 2, coins[0], coins[0], coins[1], sticky])


def test_least_predictable_together_takes_no_sequence_twice_and_the_clock_last_but_its_copy():
    order, gains = markov(sequences(), 5)
    assert order[:3].tolist() in ([1, 3, 4], [3, 1, 4])
    assert gains[:2] == pytest.approx(np.log(2), abs=0.01)
    assert gains[2] == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=0.03)
    assert gains[3:] == pytest.approx(0, abs=0.03)


def test_factorizability_takes_one_of_two_copies_first():
    order, gains = markov(sequences(), 1, "factorizability")
    assert order.tolist() in ([1], [2])
    assert gains[0] == pytest.approx(np.log(2), abs=0.02)


def test_states_may_be_words_or_true_and_false():
    plain = sequences(steps=50)
    order = markov(plain, 3)[0].tolist()
    for states in ([[f"s{v}" for v in row] for row in plain], [[bool(v) for v in row] for row in plain]):
        some = pool(states)
        selection = Markov(column="s").select(some, 3, np.random.default_rng(0)).check(5, 3)
        assert selection.order.tolist() == order


def test_fixed_length_lists_do_too():
    series = pl.Series("s", [[0, 1, 1], [1, 1, 5]], dtype=pl.Array(pl.Int64, 3))
    assert numbered(series).tolist() == [[0, 1, 1], [1, 1, 2]]


@pytest.mark.parametrize("budget", range(4))
def test_constant_sequences_meet_every_budget(budget):
    assert len(markov(np.zeros((3, 9), int), budget)[0]) == budget


@pytest.mark.parametrize("bad", [[[0, 1], [0, 1, 2]], [[0, None], [0, 1]], [[0, 1], None], [[0], [1]], [[], []]])
def test_lists_of_different_lengths_or_with_gaps_are_refused(bad):
    with pytest.raises(PluginError, match="the lists in 's' differ in length, have gaps, or fewer than 2 states"):
        numbered(pl.Series("s", bad, dtype=pl.List(pl.Int64)))


def test_a_column_without_lists_is_refused():
    with pytest.raises(PluginError, match="'s' holds String, no lists"):
        numbered(pl.Series("s", ["a", "b"]))
