from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.weighted_sampling import draw_rows


def test_the_first_draw_is_in_proportion_to_the_weights():
    weights = np.array([1.0, 2.0, 5.0, 0.5])
    draws, rng = 20_000, np.random.default_rng(0)
    counts = np.bincount([draw_rows(np.log(weights), 1, rng)[0] for _ in range(draws)], minlength=4)
    share = weights / weights.sum()
    assert (np.abs(counts - draws * share) < 4 * np.sqrt(draws * share * (1 - share))).all()


def test_the_second_draw_is_in_proportion_among_the_others():
    weights = np.array([1.0, 2.0, 5.0])
    rng = np.random.default_rng(1)
    pairs = np.array([draw_rows(np.log(weights), 2, rng) for _ in range(30_000)])
    after_last = pairs[pairs[:, 0] == 2, 1]
    share = (after_last == 1).mean()
    assert abs(share - 2 / 3) < 4 * np.sqrt(2 / 9 / len(after_last))


@given(n=st.integers(0, 30), scale=st.sampled_from([0.0, 1.0, 1e5, 1e30]), seed=st.integers(0, 99))
def test_every_row_once_and_smaller_budgets_are_prefixes(n, scale, seed):
    log_weights = scale * np.random.default_rng(seed).standard_normal(n)
    every = draw_rows(log_weights, n, np.random.default_rng(seed))
    assert sorted(every.tolist()) == list(range(n))
    for budget in range(n):
        assert draw_rows(log_weights, budget, np.random.default_rng(seed)).tolist() == every[:budget].tolist()
