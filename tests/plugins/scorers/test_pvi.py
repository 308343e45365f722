"""PVI: bits about the label, which are 0 without information and add up to the V-information."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics
from curate.plugins.scorers.pvi import PVI


def dynamics(probabilities, labels):
    """Return dynamics from an array (runs, epochs, n, classes)."""
    return Dynamics.from_probabilities(np.asarray(labels, np.int32), probabilities.astype(np.float32))


def score(judged, **fields):
    return both(judged, **fields)[:, 0]


def both(judged, **fields):
    return PVI(**fields).score(ScoreBatch(dynamics=judged), np.random.default_rng(0))


def test_the_v_information_of_a_label_is_the_mean_over_its_rows():
    p = np.random.default_rng(0).dirichlet(np.ones(3), (2, 3, 30))
    found = both(dynamics(p, np.arange(30) % 3))
    for label in range(3):
        np.testing.assert_allclose(found[label::3, 1], found[label::3, 0].mean(), rtol=1e-5)


def test_the_published_figure():
    p = np.array([[[[0.8, 0.2], [0.2, 0.8]]]])
    np.testing.assert_allclose(score(dynamics(p, [0, 1])), [0.67807, 0.67807], atol=1e-5)


def test_without_information_it_is_0():
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    p = np.broadcast_to([0.5, 0.3, 0.2], (2, 1, 10, 3))
    np.testing.assert_allclose(score(dynamics(p, labels)), np.zeros(10), atol=1e-6)


def test_a_wrong_label_has_a_negative_value_and_rare_labels_may_have_more_bits():
    labels = np.array([0] * 7 + [1])
    p = np.full((1, 1, 8, 2), [0.99, 0.01])
    p[0, 0, 7] = [0.01, 0.99]
    found = score(dynamics(p, labels))
    assert found[7] == pytest.approx(np.log2(0.99 * 8), abs=1e-4)
    labels[3] = 1
    assert score(dynamics(p, labels))[3] < -4


def test_the_epoch_is_the_last_if_there_are_fewer_and_rows_without_a_label_have_none():
    p = np.array([[[[0.5, 0.5]] * 3, [[0.8, 0.2]] * 3]])
    labels = [0, 1, -1]
    assert score(dynamics(p, labels), epoch=1)[:2] == pytest.approx([0, 0], abs=1e-6)
    late = score(dynamics(p, labels), epoch=2)
    assert np.array_equal(late, score(dynamics(p, labels), epoch=99), equal_nan=True)
    assert late[0] > 0 > late[1]
    assert np.isnan(late[2])


def test_no_label_at_all():
    assert np.isnan(score(dynamics(np.full((1, 1, 2, 2), 0.5), [-1, -1]))).all()
