"""Memorization and out-of-bag values with a nearest-neighbor learner, and the properties of their subsets."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.valuation import memorization as module
from curate.kernels.valuation.memorization import memorization, out_of_bag


def nearest(x, labels):
    """Return a learner that predicts the label of the nearest training row."""

    def evaluate(training, rows, rng):
        distances = np.abs(x[rows][:, None] - x[training][None])
        return (labels[training][distances.argmin(axis=1)] == labels[rows]).astype(np.float32)

    return evaluate


X = np.arange(20, dtype=float)
LABELS = np.array([0] * 10 + [1] * 10)


def test_a_unique_label_is_memorized_and_its_duplicate_is_not():
    labels = LABELS.copy()
    labels[4] = 2
    values, errors = memorization(20, nearest(X, labels), share=0.7, subsets=200, rng=np.random.default_rng(0))
    assert values[4] == 1
    assert errors[4] == 0
    assert values[[0, 1, 18, 19]] == pytest.approx(0, abs=1e-9)
    x, twice = np.append(X, 4.0), np.append(labels, 2)
    values, errors = memorization(21, nearest(x, twice), share=0.9, subsets=600, rng=np.random.default_rng(0))
    for row in (4, 20):
        assert values[row] == pytest.approx(0.1, abs=4 * errors[row])  # the probability that the copy is left out, too


def test_values_are_those_of_the_definition():
    """Mean correctness over all subsets of two of three rows that contain the row, minus that without it."""

    def evaluate(training, rows, rng):
        return (rows * 0.1 + training.sum() * 0.01 + np.isin(rows, training) * 0.5).astype(np.float32)

    values, _ = memorization(3, evaluate, share=0.7, subsets=300, rng=np.random.default_rng(0))
    sums = {0: (1 + 2) / 2 - 3, 1: (1 + 3) / 2 - 2, 2: (2 + 3) / 2 - 1}
    assert values == pytest.approx([0.5 + 0.01 * sums[row] for row in range(3)], abs=1e-3)


def test_errors_are_those_of_repeated_estimates():
    def evaluate(training, rows, rng):
        return (rng.random(len(rows)) < 0.3).astype(np.float32)

    runs = [memorization(10, evaluate, share=0.7, subsets=60, rng=np.random.default_rng(seed)) for seed in range(150)]
    values, errors = (np.array(part) for part in zip(*runs, strict=True))
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)
    assert abs(values.mean()) < 0.02


@pytest.mark.parametrize(("n", "share"), [(10, 0.7), (7, 0.5), (2, 0.7), (2, 0.01), (33, 0.99)])
def test_subsets_have_their_size_and_leave_out_all_rows_about_equally_often(n, share):
    training = []

    def evaluate(rows, everything, rng):
        training.append(rows)
        return np.zeros(n, np.float32)

    memorization(n, evaluate, share=share, subsets=120, rng=np.random.default_rng(0))
    size = min(max(round(share * n), 1), n - 1)
    assert {len(rows) for rows in training} == {size}
    left_out = 120 - np.bincount(np.concatenate(training), minlength=n)
    assert left_out.min() > 0.5 * 120 * (n - size) / n


def test_one_row_is_never_left_out_and_has_no_value():
    values, errors = memorization(
        1, lambda *_: np.ones(1, np.float32), share=0.7, subsets=5, rng=np.random.default_rng(0)
    )
    assert np.isnan([values, errors]).all()


def test_a_row_with_a_wrong_label_has_the_lowest_out_of_bag_value():
    labels = LABELS.copy()
    labels[4] = 1
    values, errors = out_of_bag(20, nearest(X, labels), bags=200, rng=np.random.default_rng(0))
    assert values.argmin() == 4
    assert values[4] == 0
    assert values[[0, 19]] == pytest.approx(1, abs=0.05)
    assert (errors < 0.1).all()


def test_bags_are_bootstrap_samples_and_rows_outside_are_evaluated():
    bags = []

    def evaluate(training, rows, rng):
        assert not set(training) & set(rows)
        assert set(training) | set(rows) == set(range(30))
        bags.append(len(training))
        return rows.astype(np.float32)

    values, _ = out_of_bag(30, evaluate, bags=40, rng=np.random.default_rng(0))
    assert bags == [30] * 40
    assert values.tolist() == list(range(30))


def test_a_row_that_is_in_all_bags_has_no_value():
    values, errors = out_of_bag(1, lambda *_: np.ones(0, np.float32), bags=3, rng=np.random.default_rng(0))
    assert np.isnan([values, errors]).all()


def test_parts_of_a_permutation_are_disjoint():
    parts = list(module._parts(10, 3, 6, np.random.default_rng(0)))
    for start in (0, 3):
        assert len(set(np.concatenate(parts[start : start + 3]))) == 9


def test_any_number_of_threads_gives_the_same_bytes(monkeypatch):
    def evaluate(training, rows, rng):
        return rng.random(len(rows)).astype(np.float32)

    results = set()
    for threads in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        found = (
            *memorization(30, evaluate, share=0.7, subsets=20, rng=np.random.default_rng(0)),
            *out_of_bag(30, evaluate, bags=20, rng=np.random.default_rng(0)),
        )
        results.add(b"".join(part.tobytes() for part in found))
    assert len(results) == 1
