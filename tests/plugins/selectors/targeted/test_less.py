"""LESS: means over the target rows of a task, the largest over tasks, and checkpoints by their weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.linalg.cosines import normalize_rows
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.embedders.gradients import Gradients, join_checkpoints
from curate.plugins.selectors.targeted.less import Less, task_influence


def vectors(n, d, seed):
    return normalize_rows(np.random.default_rng(seed).standard_normal((n, d)))


@given(n=st.integers(0, 20), m=st.integers(1, 9), seed=st.integers(0, 999))
def test_influence_is_the_largest_mean_over_tasks(n, m, seed):
    x, targets = vectors(n, 5, seed), vectors(m, 5, seed + 1)
    tasks = np.random.default_rng(seed).integers(0, 4, m).astype(np.int32)
    similarities = x @ targets.T
    expected = np.full(n, -2.0)
    for task in set(tasks.tolist()):
        expected = np.maximum(expected, similarities[:, tasks == task].mean(axis=1))
    np.testing.assert_allclose(task_influence(x, targets, tasks), expected, atol=1e-6)
    chosen = Less().choose(task_influence(x, targets, tasks), n // 2)
    assert (np.sort(expected)[::-1][: n // 2] - chosen.gain < 1e-6).all()
    assert len(set(chosen.indices.tolist())) == n // 2


def test_the_best_task_counts_so_specialists_win():
    """With orthogonal tasks, a row of one task beats a row that is half as good at both."""
    x = normalize_rows(np.array([[1.0, 0.0, 0.0], [0.6, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    target = TargetRows(x[[0, 2]], np.full(2, -1, np.int32), np.array([0, 1], np.int32))
    pool = Pool(x, np.zeros(4, np.float32), np.zeros(4, np.int32), target=target)
    selection = Less().select(pool, 2, np.random.default_rng(0)).check(4, 2)
    assert selection.indices.tolist() == [0, 2]
    together = Pool(x, np.zeros(4, np.float32), np.zeros(4, np.int32), target=TargetRows(
        x[[0, 2]], np.full(2, -1, np.int32), np.zeros(2, np.int32)
    ))  # fmt: skip
    assert Less().select(together, 1, np.random.default_rng(0)).indices.tolist() == [1]


@given(seed=st.integers(0, 999), checkpoints=st.integers(1, 4))
def test_joined_checkpoints_have_the_weighted_mean_of_cosines(seed, checkpoints):
    rng = np.random.default_rng(seed)
    pool = [rng.standard_normal((6, 5)).astype(np.float32) * 10.0**exponent for exponent in range(checkpoints)]
    target = [rng.standard_normal((3, 5)).astype(np.float32) for _ in range(checkpoints)]
    rates = rng.uniform(0.1, 2, checkpoints)
    expected = sum(
        rate * normalize_rows(x) @ normalize_rows(y).T for rate, x, y in zip(rates, pool, target, strict=True)
    ) / sum(rates)
    x, y = join_checkpoints(pool, rates.tolist()), join_checkpoints(target, rates.tolist())
    np.testing.assert_allclose(x @ y.T, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)


def test_a_row_without_a_gradient_has_no_vector():
    x = np.array([[1, 1], [0, 0], [np.nan, 1], [np.inf, 1], [1e-30, 0]], np.float32)
    joined = join_checkpoints([x, np.ones((5, 1), np.float32)], [1, 1])
    assert np.isnan(joined).all(axis=1).tolist() == [False, True, True, True, False]
    assert join_checkpoints([x[:0], x[:0]], [1, 1]).shape == (0, 4)


def test_adam_is_for_rows_of_the_pool_only_and_all_else_is_the_same():
    embedder = Gradients(models=("a", "b"), weights=(3, 1), dimension=7, parameters="lora", rank=2, adam=True, seed=5)
    pool, target = embedder.requests(target=False), embedder.requests(target=True)
    assert [one.model for one in pool] == [one.model for one in target] == ["a", "b"]
    assert all(one.request.adam for one in pool)
    assert not any(one.request.adam for one in target)
    assert {one.request.dimension for one in (*pool, *target)} == {7}
    assert {one.request.seed for one in (*pool, *target)} == {5}
    outputs = tuple({"vector": np.ones((2, 7), np.float32)} for _ in range(2))
    np.testing.assert_allclose(np.linalg.norm(embedder.encode(outputs), axis=1), 1, rtol=1e-6)
