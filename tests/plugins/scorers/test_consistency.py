"""Consistency: share of held-out models that predict the label, and their mean loss."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import HeldOut
from curate.plugins.scorers.consistency import Consistency


def test_it_is_the_share_of_runs_that_predict_the_label_and_their_mean_loss():
    p = np.array(
        [[[0.6, 0.4], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], [[0.3, 0.7], [0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]], np.float32
    )
    held_out = HeldOut(np.array([0, 1, 1, -1], np.int32), 2, 2, lambda run: p[run].copy())
    found = Consistency().score(ScoreBatch(held_out=held_out), np.random.default_rng(0))
    assert found[:3, 0].tolist() == [0.5, 1, 0]  # of equal probabilities, the first class is predicted
    expected = [-np.log([0.6, 0.3]).mean(), -np.log([0.8, 0.9]).mean(), np.log(2)]
    np.testing.assert_allclose(found[:3, 1], expected, rtol=1e-5)
    assert np.isnan(found[3]).all()


def test_a_probability_of_0_has_a_finite_loss():
    held_out = HeldOut(np.array([1], np.int32), 2, 1, lambda run: np.array([[1.0, 0.0]], np.float32))
    found = Consistency().score(ScoreBatch(held_out=held_out), np.random.default_rng(0))
    assert 80 < found[0, 1] < 90
