"""Grades agree with scikit-learn's, and hold where a class is missing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from curate.kernels.stats.classification_metrics import cross_entropy, macro_f1


def test_macro_f1_is_scikit_learns_over_the_classes_of_the_truth():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 6, 300), rng.integers(0, 9, 300)
    predicted[:150] = truth[:150]
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro")
    assert macro_f1(predicted, truth) == pytest.approx(expected)


def test_macro_f1_of_classes_that_are_never_predicted():
    assert macro_f1(np.array([0, 0, 0]), np.array([1, 2, 5])) == 0
    assert macro_f1(np.array([7, 7]), np.array([7, 7])) == 1


def test_cross_entropy_is_scikit_learns_but_for_a_row_of_even_probabilities():
    p = np.random.default_rng(1).dirichlet(np.ones(4), 50)
    truth = np.random.default_rng(2).integers(0, 4, 50)
    k = 10**9
    assert cross_entropy(p[np.arange(50), truth], k, 4) == pytest.approx(log_loss(truth, p, labels=range(4)), rel=1e-6)
    assert cross_entropy(np.zeros(3), 9, 4) == pytest.approx(np.log(40))
    assert cross_entropy(np.ones(3), 10, 1) == 0
