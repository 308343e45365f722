"""The three bandits score arms as published, and each finds the best one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from curate.kernels.stats.bandits import exp3, thompson, ucb


def test_ucb_is_the_published_formula():
    bounds = ucb(np.array([0.3, 0.1, 0.2]), np.array([5, 1, 2]), 0.1)
    np.testing.assert_allclose(bounds, [0.39120, 0.30393, 0.34420], atol=5e-6)


def test_ucb_without_exploration_is_the_mean_and_arms_not_yet_seen_come_first():
    mean, draws = np.array([0.3, 0.9, 0.0]), np.array([5, 1, 0])
    assert ucb(mean, draws, 0.0).tolist() == [0.3, 0.9, np.inf]
    assert ucb(np.zeros(2), np.zeros(2, np.int64), 1.0).tolist() == [np.inf, np.inf]


def test_ucb_with_much_exploration_ranks_by_the_least_drawn():
    draws = np.array([7, 2, 9, 4])
    bounds = ucb(np.array([0.0, 0.1, 0.9, 0.5]), draws, 1e9)
    assert np.argsort(-bounds).tolist() == np.argsort(draws).tolist()


def test_thompson_draws_from_a_normal_of_that_mean_and_deviation():
    """10,000 draws of each arm against the normal distribution, Kolmogorov–Smirnov."""
    rng = np.random.default_rng(0)
    mean, drawn = np.array([0.3, 0.5]), np.array([4, 25])
    draws = np.array([thompson(mean, drawn, 0.2, rng) for _ in range(10_000)])
    for arm in range(2):
        expected = stats.norm(mean[arm], 0.2 / np.sqrt(drawn[arm]))
        assert stats.kstest(draws[:, arm], expected.cdf).pvalue > 1e-3
    assert thompson(mean, np.array([3, 0]), 0.2, rng)[1] == np.inf


def test_exp3_is_the_published_formula_over_the_arms_left():
    estimate, gamma = np.array([3.0, 1.0, 7.0]), 0.3
    weight = np.exp(gamma * estimate / 3)
    expected = (1 - gamma) * weight / weight.sum() + gamma / 3
    np.testing.assert_allclose(exp3(estimate, np.ones(3, bool), gamma), expected)
    weight = weight[:2]
    expected = [*((1 - gamma) * weight / weight.sum() + gamma / 2), 0]
    np.testing.assert_allclose(exp3(estimate, np.array([True, True, False]), gamma), expected)


def test_exp3_does_not_overflow_and_all_exploration_is_uniform():
    assert exp3(np.array([1e9, 0.0]), np.ones(2, bool), 0.5).tolist() == [0.75, 0.25]
    assert exp3(np.array([5.0, 0.0]), np.ones(2, bool), 1.0).tolist() == [0.5, 0.5]


def test_exp3_estimates_are_unbiased():
    """Σ over plays p_i (reward_i / p_i) = reward_i: one step of the importance-weighted estimate, 20,000 times."""
    rng = np.random.default_rng(1)
    reward = np.array([0.2, 0.9, 0.5])
    p = exp3(np.array([0.0, 4.0, 1.0]), np.ones(3, bool), 0.4)
    arms = rng.choice(3, 20_000, p=p)
    estimate = np.bincount(arms, reward[arms] / p[arms], minlength=3) / 20_000
    sigma = reward * np.sqrt((1 - p) / p / 20_000)
    assert (np.abs(estimate - reward) < 3 * sigma).all()


@pytest.mark.parametrize("policy", ["ucb", "thompson", "exp3"])
def test_regret_is_far_below_that_of_uniform_play(policy):
    """Ten Bernoulli arms, one of mean 0.8 among 0.2, 5,000 plays: uniform play loses 0.54 a play."""
    rng = np.random.default_rng(2)
    mean = np.where(np.arange(10) == 6, 0.8, 0.2)
    draws, total, estimate = np.zeros(10, np.int64), np.zeros(10), np.zeros(10)
    regret = 0.0
    for _ in range(5_000):
        averages = total / np.maximum(draws, 1)
        p = np.ones(10)
        if policy == "exp3":
            p = exp3(estimate, np.ones(10, bool), 0.1)
            arm = int(rng.choice(10, p=p))
        else:
            arm = int((ucb(averages, draws, 0.5) if policy == "ucb" else thompson(averages, draws, 0.5, rng)).argmax())
        reward = float(rng.random() < mean[arm])
        draws[arm] += 1
        total[arm] += reward
        estimate[arm] += reward / p[arm]
        regret += 0.8 - mean[arm]
    assert regret < {"ucb": 0.04, "thompson": 0.02, "exp3": 0.2}[policy] * 5_000
    assert draws.argmax() == 6
