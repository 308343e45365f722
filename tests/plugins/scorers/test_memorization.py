"""Memorization of rows that others do not explain, and the cost of their removal."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.scorers.memorization import Memorization
from tests.plugins.scorers.learners import batch_of, mixture


def score(x, labels, classes=3, **fields):
    batch = batch_of(x, labels, classes)
    return Memorization(**{"subsets": 40, **fields}).score(batch, np.random.default_rng(0))


def tail():
    """Return three classes of forty rows, and four rows of two more classes: two equal ones, and two apart."""
    x, labels = mixture(120, 3)
    rng = np.random.default_rng(5)
    rare = rng.standard_normal((4, 12)).astype(np.float32)
    rare[1] = rare[0]
    rare /= np.linalg.norm(rare, axis=1, keepdims=True)
    return np.concatenate([x, rare]), np.concatenate([labels, [3, 3, 4, 4]]).astype(np.int32)


def test_rare_rows_are_memorized_unless_they_have_a_copy():
    values, errors = score(*tail(), 5, subsets=300).values.T
    assert values[122:].min() > 0.5
    assert values[120] == values[121] < 0.45  # 0.3 of the subsets without the row are without its copy
    assert np.abs(values[:120]).mean() < 0.05
    assert (errors[:120] < 0.1).all()


def test_the_cost_of_removing_memorized_rows_is_measured():
    x, labels = tail()
    facts = score(x, labels, 5, subsets=100).facts
    assert facts["labeled"] == 124
    assert 2 <= facts["memorized"] <= 10
    difference = facts["accuracy_without_random"] - facts["accuracy_without_memorized"]
    assert facts["removal_cost"] == pytest.approx(difference)
    assert 0 <= difference <= 4 / 124
    assert 0 <= facts["removal_cost_error"] < 0.02
    assert 0.9 < facts["accuracy"] <= 1


def test_nothing_is_memorized_of_a_pool_of_one_vector():
    x = np.repeat(mixture(1, 1)[0], 6, axis=0)
    result = score(x, np.zeros(6, np.int32), 2)
    assert result.values[:, 0] == pytest.approx(0)
    assert result.facts == {"memorized": 0, "labeled": 6}


def test_probabilities_are_finer_than_correctness():
    x, labels = mixture(90, 3, noise=1.0)
    correct, probability = (score(x, labels, measure=measure).values[:, 0] for measure in ("correct", "probability"))
    assert len(np.unique(probability)) > len(np.unique(correct))
    assert np.corrcoef(correct, probability)[0, 1] > 0.5


def test_rows_without_a_label_have_no_value():
    x, labels = mixture(30, 3)
    labels[::3] = -1
    values = score(x, labels).values
    assert np.isnan(values[::3]).all()
    assert np.isfinite(values[labels >= 0]).all()
    assert np.isnan(score(x, np.full(30, -1, np.int32)).values).all()
