"""Quad samples its clusters as the configured bandit, and meets the budget in every case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PluginError
from curate.plugins.batches import Pool
from curate.plugins.selectors.sampling.quad import Quad, quad

POLICIES = ["ucb", "thompson", "exp3"]
every_policy = pytest.mark.parametrize("policy", POLICIES)


def rng(seed=0):
    return np.random.default_rng(seed)


def groups(*sizes, rewards):
    """Return clusters 0, 1, … of the given sizes, with one reward per cluster."""
    cluster = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    return np.asarray(rewards, np.float32)[cluster], cluster


def pool_of(quality, cluster, **scores):
    n = len(cluster)
    scores = {name: np.asarray(score, np.float32) for name, score in scores.items()}
    return Pool(
        np.zeros((n, 0), np.float32),
        np.asarray(quality, np.float32),
        np.asarray(cluster, np.int32),
        scores,
        {"worse": False},
    )


# ---------------------------------------------------------------- which clusters


@pytest.mark.parametrize("policy", ["ucb", "thompson"])
def test_without_exploration_every_cluster_is_tried_once_and_the_best_is_played_until_it_is_empty(policy):
    reward, cluster = groups(4, 5, 3, rewards=[0.1, 0.9, 0.5])
    (rows,) = quad(reward, cluster, 12, rng(), policy=policy, exploration=0)
    assert cluster[rows].tolist() == [0, 1, 2, *[1] * 4, *[2] * 2, *[0] * 3]


def test_ucb_with_much_exploration_alternates_while_clusters_have_rows():
    reward, cluster = groups(9, 9, 2, rewards=[0.0, 1.0, 0.5])
    (rows,) = quad(reward, cluster, 14, rng(), exploration=1e9)
    assert np.bincount(cluster[rows[:6]]).tolist() == [2, 2, 2]
    assert np.bincount(cluster[rows]).tolist() == [6, 6, 2]


def test_ucb_picks_follow_the_published_formula_step_by_step():
    """Against the definition, on random rewards that span [0, 1]."""
    reward = rng(1).random(60).astype(np.float32)
    reward[:2] = 0, 1
    cluster = rng(2).integers(0, 4, 60).astype(np.int32)
    (rows,) = quad(reward, cluster, 50, rng(3), exploration=0.2)
    for step in range(50):
        seen, left = rows[:step], np.setdiff1d(np.arange(60), rows[:step])
        bounds = np.full(4, -np.inf)
        for c in np.unique(cluster[left]):
            own = seen[cluster[seen] == c]
            bonus = 0.2 * np.sqrt(2 * np.log(step) / len(own)) if len(own) else np.inf
            bounds[c] = reward[own].mean() + bonus if len(own) else np.inf
        assert bounds[cluster[rows[step]]] >= bounds.max() - 1e-6


@every_policy
def test_rewards_of_rows_kept_are_well_above_those_of_a_uniform_sample(policy):
    """One cluster of six is good; all have rows enough."""
    reward, cluster = groups(*[3000] * 6, rewards=[0.2, 0.2, 0.9, 0.2, 0.2, 0.2])
    reward = np.clip(reward + 0.1 * rng(4).standard_normal(len(reward)), 0, 1).astype(np.float32)
    (rows,) = quad(reward, cluster, 2500, rng(5), policy=policy, exploration=0.1)
    assert np.bincount(cluster[rows]).argmax() == 2
    regret, of_uniform = 0.9 - reward[rows].mean(), 0.9 - reward.mean()
    assert regret < {"ucb": 0.05, "thompson": 0.05, "exp3": 0.6}[policy] * of_uniform


def test_a_round_picks_the_best_clusters_and_draws_so_many_rows_of_each():
    reward, cluster = groups(9, 9, 9, 9, rewards=[0.0, 0.6, 1.0, 0.8])
    (rows,) = quad(reward, cluster, 20, rng(), exploration=0, clusters_per_round=2, samples_per_cluster=3)
    assert cluster[rows].tolist() == [c for c in (0, 1, 2, 3, 2, 3) for _ in range(3)] + [2, 2]


def test_exp3_may_pick_a_cluster_twice_in_a_round_and_finds_it_empty():
    reward, cluster = groups(1, 1, 8, rewards=[0.0, 1.0, 0.5])
    (rows,) = quad(reward, cluster, 10, rng(), policy="exp3", clusters_per_round=9, samples_per_cluster=2)
    assert sorted(rows.tolist()) == list(range(10))


def test_unclustered_rows_form_a_separate_cluster():
    cluster = np.array([-1, -1, -1, 0, 0, 0], np.int32)
    reward = (cluster < 0).astype(np.float32)
    (rows,) = quad(reward, cluster, 4, rng(), exploration=0)
    assert cluster[rows].tolist() == [-1, 0, -1, -1]


# ---------------------------------------------------------------- rewards


@every_policy
def test_the_reward_of_a_row_not_drawn_has_no_part_in_what_is(policy):
    """But for the range of all rewards."""
    reward = rng(6).random(80).astype(np.float32)
    reward[:2] = 0, 1
    cluster = rng(7).integers(0, 5, 80).astype(np.int32)
    (rows,) = quad(reward, cluster, 30, rng(8), policy=policy)
    other = reward.copy()
    undrawn = np.setdiff1d(np.arange(2, 80), rows)
    other[undrawn] = 1 - other[undrawn]
    other[:2] = reward[:2]
    assert quad(other, cluster, 30, rng(8), policy=policy)[0].tolist() == rows.tolist()


@every_policy
def test_another_unit_of_the_reward_changes_nothing(policy):
    reward, cluster = rng(9).integers(0, 64, 70).astype(np.float32), rng(10).integers(0, 5, 70).astype(np.int32)
    one = quad(reward, cluster, 30, rng(11), policy=policy, min_reward=20.0)[0]
    other = quad(4 * reward + 8, cluster, 30, rng(11), policy=policy, min_reward=88.0)[0]
    assert one.tolist() == other.tolist()


def test_equal_rewards_let_the_clusters_take_turns():
    cluster = np.repeat(np.arange(5), 8).astype(np.int32)
    selection = Quad().select(pool_of(np.zeros(40), cluster), 20, rng())
    assert np.bincount(cluster[selection.indices]).tolist() == [4] * 5


def test_the_reward_is_the_quality_or_the_score_turned_so_that_higher_is_better():
    reward, cluster = groups(5, 5, rewards=[1.0, 3.0])
    pool = pool_of(-reward, cluster, s=reward, worse=reward)
    for fields, best in (({}, 0), ({"by": "s"}, 1), ({"by": "worse"}, 0)):
        selection = Quad(exploration=0, **fields).select(pool, 4, rng()).check(10, 4)
        assert cluster[selection.indices].tolist()[2:] == [best] * 2
        expected = reward[selection.indices] if fields == {"by": "s"} else -reward[selection.indices]
        assert selection.gain.tolist() == expected.tolist()


# ---------------------------------------------------------------- the threshold


def test_rows_of_clusters_whose_mean_reward_is_not_above_the_threshold_are_left_aside():
    reward, cluster = groups(6, 6, 6, rewards=[0.0, 1.0, 2.0])
    (rows,) = quad(reward, cluster, 6, rng(), exploration=0, min_reward=1.0)
    assert cluster[rows].tolist() == [2] * 6


def test_when_no_cluster_clears_the_threshold_those_of_highest_mean_fill_the_budget():
    """Also with rows that were drawn and left aside; within a cluster at random."""
    reward, cluster = groups(4, 4, 4, rewards=[1.0, 0.0, 2.0])
    (rows,) = quad(reward, cluster, 10, rng(), min_reward=1.5)
    assert cluster[rows].tolist() == [2] * 4 + [0] * 4 + [1] * 2
    (rows,) = quad(reward, cluster, 6, rng(), min_reward=9.0)
    assert cluster[rows].tolist() == [2] * 4 + [0] * 2


# ---------------------------------------------------------------- epochs


def test_a_later_epoch_keeps_the_estimates_and_starts_with_unused_rows():
    reward, cluster = groups(3, 6, rewards=[0.0, 1.0])
    first, second, third = quad(reward, cluster, 3, rng(), exploration=0, epochs=3)
    assert cluster[first].tolist() == [0, 1, 1]
    assert cluster[second].tolist() == cluster[third].tolist() == [1, 1, 1]
    assert len(np.union1d(first[1:], second)) == 5
    assert len(np.intersect1d(third, np.concatenate((first, second)))) == 2


def test_one_epoch_is_no_plan_and_more_weigh_the_rows_by_their_epochs():
    reward, cluster = groups(5, 5, rewards=[0.0, 1.0])
    pool = pool_of(reward, cluster)
    assert Quad().select(pool, 4, rng()).epochs is None
    selection = Quad(epochs=4).select(pool, 4, rng()).check(10, 4)
    assert selection.weight.sum() == 16


# ---------------------------------------------------------------- the budget


@given(
    st.integers(0, 40),
    st.floats(0, 1),
    st.sampled_from(POLICIES),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([None, -1.0, 0.3, 2.0]),
    st.integers(0, 999),
)
def test_exactly_the_budget_in_every_epoch_for_any_configuration(n, rate, policy, epochs, picks, samples, least, seed):
    reward, cluster = rng(seed).random(n).astype(np.float32), rng(seed).integers(-1, 6, n).astype(np.int32)
    plan = quad(
        reward,
        cluster,
        int(rate * n),
        rng(seed),
        policy=policy,
        epochs=epochs,
        clusters_per_round=picks,
        samples_per_cluster=samples,
        min_reward=least,
    )
    assert [len(np.unique(rows)) for rows in plan] == [int(rate * n)] * epochs


@every_policy
def test_a_smaller_budget_gives_the_first_rows_of_a_larger(policy):
    reward, cluster = rng(12).random(90).astype(np.float32), rng(13).integers(0, 7, 90).astype(np.int32)
    few, many = (
        quad(reward, cluster, budget, rng(14), policy=policy, clusters_per_round=3, samples_per_cluster=2)[0]
        for budget in (25, 60)
    )
    assert few.tolist() == many[:25].tolist()


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_or_infinite_reward_is_an_error_that_names_the_score(bad):
    with pytest.raises(PluginError, match="the score 's' is missing or infinite for 1 rows"):
        Quad(by="s").select(pool_of([0, 0], [0, 0], s=[1, bad]), 1, rng())


@pytest.mark.parametrize("exploration", [0.0, 1.5])
def test_exp3_refuses_an_invalid_exploration_share(exploration):
    with pytest.raises(ValueError, match=r"^exploration: must be above 0 and at most 1 with policy exp3$"):
        Quad(policy="exp3", exploration=exploration)
    assert Quad(exploration=exploration).exploration == exploration
