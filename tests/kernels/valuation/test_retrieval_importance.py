"""The gradient is that of the expected utility, by enumeration, and the ascent finds what helps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.valuation import retrieval_importance as module
from curate.kernels.valuation.retrieval_importance import retrieval_importance, utility_gradient


def utility_of(present, utility, k):
    return sum([u for u, is_present in zip(utility, present, strict=True) if is_present][:k]) / k


def slow(p, utility, k):
    """Return the gradient by enumeration of all sets of existing rows."""
    m = len(p)
    gradient = np.zeros(m)
    for i in range(m):
        for present in itertools.product((False, True), repeat=m - 1):
            chance = np.prod([p[j] if here else 1 - p[j] for j, here in zip(_without(i, m), present, strict=True)])
            with_it, without = (utility_of((*present[:i], state, *present[i:]), utility, k) for state in (True, False))
            gradient[i] += chance * (with_it - without)
    return gradient


def _without(i, m):
    return [j for j in range(m) if j != i]


def test_the_published_example():
    gradient = utility_gradient(np.full((1, 6), 0.5), np.array([[1.0, 1, 0, 1, 1, 0]]), 3)
    assert gradient[0] == pytest.approx([0.229167, 0.229167, -0.104167, 0.229167, 0.229167, 0], abs=1e-6)


@given(seed=st.integers(0, 1 << 32), m=st.integers(1, 8), k=st.integers(1, 10))
def test_it_is_the_gradient_of_the_definition(seed, m, k):
    rng = np.random.default_rng(seed)
    p, utility = rng.random((3, m)), rng.standard_normal((3, m))
    p[0, 0], p[1, -1] = 0, 1
    expected = [slow(*one, k) for one in zip(p, utility, strict=True)]
    np.testing.assert_allclose(utility_gradient(p, utility, k), expected, atol=1e-14)


@given(seed=st.integers(0, 1 << 32), tolerance=st.sampled_from([0.3, 0.01, 1e-6]), k=st.integers(1, 5))
def test_the_error_of_a_truncated_list_is_within_the_guarantee(seed, tolerance, k):
    rng = np.random.default_rng(seed)
    p, utility = rng.random((4, 60)), rng.random((4, 60))
    p[0] = 0.9
    exact, near = utility_gradient(p, utility, k), utility_gradient(p, utility, k, tolerance)
    assert np.abs(exact - near).max() <= tolerance / k
    assert (near[:, -1] == 0).all()


def test_a_list_of_rows_that_hardly_exist_is_not_truncated():
    p, utility = np.full((1, 30), 0.01), np.ones((1, 30))
    assert np.array_equal(utility_gradient(p, utility, 3, 0.01), utility_gradient(p, utility, 3))


def test_three_steps_have_the_published_signs():
    p = retrieval_importance(
        np.arange(6), np.array([0, 6]), np.array([1.0, 1, 0, 1, 1, 0]), 7, k=3, steps=3, step_size=0.1
    )
    assert np.sign(p - 0.5).tolist() == [1, 1, -1, 1, 1, 0, 0]


def random_log(rng, n, queries):
    lists = [rng.permutation(n)[: rng.integers(0, n + 1)] for _ in range(queries)]
    starts = np.cumsum([0, *map(len, lists)])
    return np.concatenate(lists), starts, rng.random(starts[-1])


def test_blocks_of_queries_of_different_lengths_are_those_of_single_queries(monkeypatch):
    rng = np.random.default_rng(0)
    rows, starts, utility = random_log(rng, 12, 40)
    options = {"k": 3, "steps": 5, "step_size": 0.5}
    at_once = retrieval_importance(rows, starts, utility, 12, **options)
    monkeypatch.setattr(module, "_BLOCK", 1)
    np.testing.assert_allclose(retrieval_importance(rows, starts, utility, 12, **options), at_once, rtol=1e-12)


def test_the_step_is_the_mean_gradient_of_the_queries_that_retrieve_a_row():
    rows, starts, utility = np.array([0, 1, 2, 1, 0]), np.array([0, 3, 5, 5]), np.array([0.2, 1, 0, 1, 0])
    first = slow([0.5] * 3, utility[:3], 1)
    second = slow([0.5] * 2, utility[3:], 1)
    expected = 0.5 + 0.1 * np.array([(first[0] + second[1]) / 2, (first[1] + second[0]) / 2, first[2], 0])
    found = retrieval_importance(rows, starts, utility, 4, k=1, steps=1, step_size=0.1)
    assert found == pytest.approx(expected)


def test_rows_of_a_group_have_one_probability_and_the_ascent_stays_in_the_unit_interval():
    rng = np.random.default_rng(1)
    rows, starts, utility = random_log(rng, 10, 30)
    groups = np.array([0, 0, 0, 1, 1, -1, -1, 3, 3, 3], np.int32)
    p = retrieval_importance(rows, starts, utility, 10, k=2, steps=50, step_size=5.0, groups=groups)
    assert (p >= 0).all()
    assert (p <= 1).all()
    for group in (0, 1, 3):
        assert len(set(p[groups == group].tolist())) == 1
    alone = retrieval_importance(rows, starts, utility, 10, k=2, steps=1, step_size=0.5)
    together = retrieval_importance(rows, starts, utility, 10, k=2, steps=1, step_size=0.5, groups=groups)
    assert together[:3] == pytest.approx(np.full(3, alone[:3].mean()))
    assert together[5:7] == pytest.approx(alone[5:7])


def test_ascent_removes_the_rows_that_displace_better_ones():
    """Rows 0 to 4 rank first and are wrong; without them, every query reads right ones."""
    rng = np.random.default_rng(2)
    lists = [np.concatenate([rng.permutation(5), 5 + rng.permutation(10)]) for _ in range(20)]
    utility = np.concatenate([(rows >= 5).astype(float) for rows in lists])
    p = retrieval_importance(np.concatenate(lists), np.arange(21) * 15, utility, 15, k=3, steps=100, step_size=1.0)
    assert p[:5].max() < 0.01
    assert p[5:].min() > 0.5


def test_no_query_leaves_the_prior():
    empty = np.zeros(0, np.intp)
    assert retrieval_importance(empty, np.array([0]), np.zeros(0), 3, k=2, steps=4, step_size=1.0).tolist() == [0.5] * 3
