"""OptiDEL: quotas by cluster, and the crossover between hard and random rows of the theory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from curate.plugins.selectors.difficulty.optidel import optidel


@given(seed=st.integers(0, 1 << 32), n=st.integers(1, 60), data=st.data())
def test_the_hardest_rows_of_each_cluster_in_proportion_to_its_size(seed, n, data):
    rng = np.random.default_rng(seed)
    quality, cluster = rng.integers(0, 9, n).astype(np.float32), rng.integers(-1, 4, n).astype(np.int32)
    budget = data.draw(st.integers(0, n))
    kept = optidel(quality, cluster, budget)
    assert len(set(kept.tolist())) == budget
    for name in np.unique(cluster):
        rows = np.flatnonzero(cluster == name)
        mine = np.intersect1d(kept, rows)
        assert abs(len(mine) - budget * len(rows) / n) < 1
        expected = rows[np.argsort(-quality[rows], kind="stable")][: len(mine)]
        assert sorted(mine) == sorted(expected)
    assert (np.diff(quality[kept]) <= 0).all()


def error_of_student(rows_per_dimension, keep_rate, by, seed, d=30):
    """Return the generalization error of a perceptron trained on selected rows of a teacher perceptron."""
    rng = np.random.default_rng(seed)
    teacher = rng.standard_normal(d)
    x = rng.standard_normal((rows_per_dimension * d, d))
    margin = np.abs(x @ teacher).astype(np.float32)
    budget = int(keep_rate * len(x))
    one_cluster = np.zeros(len(x), np.int32)
    kept = optidel(-margin, one_cluster, budget) if by == "hard" else rng.permutation(len(x))[:budget]
    student = LinearSVC(C=1e4, fit_intercept=False, max_iter=20_000).fit(x[kept], np.sign(x[kept] @ teacher)).coef_[0]
    cosine = student @ teacher / (np.linalg.norm(student) * np.linalg.norm(teacher))
    return np.arccos(np.clip(cosine, -1, 1)) / np.pi


def test_hard_rows_are_better_than_random_ones_if_there_are_many_and_worse_if_there_are_few():
    """The crossover that the theory predicts, for a perceptron of 30 inputs and half of the rows."""

    def mean(rows_per_dimension, by):
        return np.mean([error_of_student(rows_per_dimension, 0.5, by, seed) for seed in range(8)])

    assert mean(12, "hard") < 0.9 * mean(12, "random")
    assert mean(2, "hard") > 1.1 * mean(2, "random")
