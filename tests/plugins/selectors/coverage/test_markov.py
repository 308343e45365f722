"""Sequences are selected by their joint information."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from curate.errors import PluginError
from curate.kernels.stats.markov_chain import InformationObjective, MarkovChain, state_hashes
from curate.plugins.batches import Pool
from curate.plugins.selectors.coverage.markov import Markov, markov, number_states


def pool(sequences):
    n = len(sequences)
    frame = pl.DataFrame({"s": sequences})
    return Pool(np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), frame=frame)


def sequences(seed=0, steps=2000):
    """Return sequences of a clock, two coins, a copy of one, and a state that rarely changes."""
    rng = np.random.default_rng(seed)
    coins = rng.integers(0, 2, (2, steps))
    sticky = np.cumsum(rng.random(steps) < 0.1) % 2
    return np.stack([np.arange(steps) % 2, coins[0], coins[0], coins[1], sticky])


def test_least_predictable_selects_the_copy_last_and_the_clock_before_it():
    indices, gains = markov(sequences(), 5)
    assert indices[:3].tolist() in ([1, 3, 4], [3, 1, 4])
    assert gains[:2] == pytest.approx(np.log(2), abs=0.01)
    assert gains[2] == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=0.03)
    assert gains[3:] == pytest.approx(0, abs=0.03)


def test_factorizability_selects_one_of_two_copies_first():
    indices, gains = markov(sequences(), 1, "factorizability")
    assert indices.tolist() == [1]
    assert gains[0] == pytest.approx(np.log(2), abs=0.02)


def test_independence_keeps_unrelated_sequences_and_one_of_two_copies():
    indices, gains = markov(sequences(), 4, "independence")
    assert sorted(indices.tolist()) == [0, 1, 3, 4]
    assert gains == pytest.approx(0, abs=0.03)
    assert markov(sequences(), 5, "independence")[1][-1] == pytest.approx(-np.log(2), abs=0.03)


def test_independence_does_not_begin_with_a_row_that_depends_on_others():
    """Every single row is at distance 0; the plain greedy would take row 0, a copy of rows 1 and 2."""
    rng = np.random.default_rng(1)
    coins = rng.integers(0, 2, (3, 2000))
    indices, _ = markov(coins[[0, 0, 0, 1, 2]], 2, "independence")
    assert indices[0] in (3, 4)


def test_stationarity_keeps_sequences_without_memory():
    """The clock is known from its last state, and costs ln 2; the sticky sequence costs a part of that."""
    indices, gains = markov(sequences(), 5, "stationarity")
    assert set(indices[-2:].tolist()) == {0, 4}
    assert gains[:3] == pytest.approx(0, abs=0.02)
    assert gains[indices.tolist().index(0)] == pytest.approx(-np.log(2), abs=0.02)
    assert (gains <= 0).all()


def test_with_groups_dependence_counts_only_within_one():
    """Copies in two groups are as good as two coins; in one group the second copy is worth nothing."""
    coins = np.random.default_rng(2).integers(0, 2, (2, 2000))
    states = coins[[0, 0, 1]]
    indices, gains = markov(states, 2, "entropy_rate", np.array([0, 1, 1]))
    assert indices.tolist() == [0, 1] or gains.sum() == pytest.approx(2 * np.log(2), abs=0.01)
    assert sorted(markov(states, 2, "entropy_rate", np.array([0, 0, 1]))[0].tolist()) in ([0, 2], [1, 2])
    apart = markov(coins[[0, 0]], 2, "independence", np.array([0, 1]))[1]
    together = markov(coins[[0, 0]], 2, "independence")[1]
    assert apart.sum() == pytest.approx(0, abs=1e-9)
    assert together.sum() == pytest.approx(-np.log(2), abs=0.01)


@pytest.mark.parametrize("objective", ["entropy_rate", "factorizability", "independence", "stationarity"])
@pytest.mark.parametrize("groups", [None, ["a", None, "b", "a", None]])
def test_a_column_of_groups_may_have_gaps_and_every_budget_is_met(objective, groups):
    plain = sequences(steps=60)
    frame = pl.DataFrame({"s": plain.tolist(), "g": groups or [0] * 5})
    some = Pool(np.zeros((5, 0), np.float32), np.zeros(5, np.float32), np.zeros(5, np.int32), frame=frame)
    plugin = Markov(column="s", objective=objective, groups="g")
    assert plugin.columns() == ("s", "g")
    numbers = None if groups is None else np.array([1, 0, 2, 1, 0])
    for budget in range(6):
        selection = plugin.select(some, budget, np.random.default_rng(0)).check(5, budget)
        assert selection.indices.tolist() == markov(plain, budget, objective, numbers)[0].tolist()


@pytest.mark.slow
def test_the_choice_is_near_the_optimum_of_small_chains():
    """Of 8 noisy Boolean networks, 4 of 8 rows; shares of the span from the worst to the best choice."""
    shares: dict[str, list[float]] = {}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 2, (8, 300))
        parents, tables, noise = rng.integers(0, 8, (8, 2)), rng.integers(0, 2, (8, 2, 2)), rng.choice([0, 0.1, 0.5], 8)
        for t in range(1, 300):
            state = tables[np.arange(8), x[parents[:, 0], t - 1], x[parents[:, 1], t - 1]]
            x[:, t] = state ^ (rng.random(8) < noise)
        for objective in ("entropy_rate", "factorizability", "independence", "stationarity"):
            reached = markov(x, 4, objective)[1].sum()
            every = [worth(x, rows, objective) for rows in combinations(range(8), 4)]
            assert min(every) - 1e-9 <= reached <= max(every) + 1e-9
            shares.setdefault(objective, []).append((reached - min(every)) / (max(every) - min(every)))
    assert all(np.mean(values) > 0.9 for values in shares.values()), shares


def worth(x, rows, objective):
    """Return the objective of a selection by adding its rows."""
    hashes = state_hashes(x)
    steps = x.shape[1] - 1
    f, total = (
        InformationObjective(MarkovChain(hashes[:, :-1], hashes[:, 1:], np.full(steps, 1 / steps)), objective),
        0.0,
    )
    for row in rows:
        total += float(f.gains(np.array([row]))[0] - f.cost[row])
        f.take(row)
    return total


def test_states_may_be_words_or_true_and_false():
    plain = sequences(steps=50)
    indices = markov(plain, 3)[0].tolist()
    for states in ([[f"s{v}" for v in row] for row in plain], [[bool(v) for v in row] for row in plain]):
        some = pool(states)
        selection = Markov(column="s").select(some, 3, np.random.default_rng(0)).check(5, 3)
        assert selection.indices.tolist() == indices


def test_fixed_length_lists_do_too():
    series = pl.Series("s", [[0, 1, 1], [1, 1, 5]], dtype=pl.Array(pl.Int64, 3))
    assert number_states(series).tolist() == [[0, 1, 1], [1, 1, 2]]


@pytest.mark.parametrize("budget", range(4))
def test_constant_sequences_meet_every_budget(budget):
    assert len(markov(np.zeros((3, 9), int), budget)[0]) == budget


@pytest.mark.parametrize("bad", [[[0, 1], [0, 1, 2]], [[0, None], [0, 1]], [[0, 1], None], [[0], [1]], [[], []]])
def test_lists_of_different_lengths_or_with_gaps_are_refused(bad):
    with pytest.raises(
        PluginError, match="the lists in 's' differ in length, contain nulls, or have fewer than 2 states"
    ):
        number_states(pl.Series("s", bad, dtype=pl.List(pl.Int64)))


def test_a_column_without_lists_is_refused():
    with pytest.raises(PluginError, match="'s' contains String, not lists"):
        number_states(pl.Series("s", ["a", "b"]))
