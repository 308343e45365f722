"""The loss of a row in training: the mean over epochs and runs."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics
from curate.plugins.scorers.training_loss import TrainingLoss


def score(dynamics, **fields):
    return TrainingLoss(**fields).score(ScoreBatch(dynamics=dynamics), np.random.default_rng(0))


def test_it_is_the_mean_cross_entropy_over_the_first_epochs_of_all_runs():
    p = np.random.default_rng(0).dirichlet(np.ones(3), (2, 4, 6)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1, -1], np.int32)
    loss = -np.log(np.take_along_axis(p, np.maximum(labels, 0)[None, None, :, None], axis=3)[..., 0])
    for epochs, expected in (
        (None, loss.mean(axis=(0, 1))),
        (2, loss[:, :2].mean(axis=(0, 1))),
        (9, loss.mean((0, 1))),
    ):
        found = score(Dynamics.from_probabilities(labels, p), epochs=epochs)
        np.testing.assert_allclose(found[:5], expected[:5], rtol=1e-5)
        assert np.isnan(found[5])


def test_a_log_of_losses_is_enough():
    losses = np.array([[0.5, 2.0], [1.5, 4.0]], np.float32)
    dynamics = Dynamics(np.zeros(2, np.int32), 2, 1, 2, ("loss",), lambda name: {"loss": losses}[name])
    assert score(dynamics).tolist() == [1, 3]
