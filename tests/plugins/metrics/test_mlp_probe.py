"""The network learns what no line divides, by its seed and its fields."""

from __future__ import annotations

import dataclasses

import numpy as np

from curate.plugins.metrics.logistic_probe import LogisticProbe
from curate.plugins.metrics.mlp_probe import MLPProbe


def rng(seed=0):
    return np.random.default_rng(seed)


def crossed(labelled):
    """Two labels in opposite quarters of the plane: exclusive or."""
    trial = labelled(n=300, tests=200, noise=1.0)

    def label(x):
        return ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int32)

    return dataclasses.replace(
        trial, label=label(trial.embeddings), test_label=label(trial.test_embeddings), classes=("a", "b")
    )


def test_learns_what_a_linear_probe_cannot(labelled):
    trial = crossed(labelled)
    assert LogisticProbe().measure(trial, rng()).values["accuracy"] < 0.7
    assert MLPProbe().measure(trial, rng()).values["accuracy"] > 0.85


def test_penalty_shrinks_it_to_nothing(labelled):
    assert MLPProbe(alpha=1e4).measure(crossed(labelled), rng()).values["accuracy"] < 0.7


def test_the_seed_is_its_start(labelled):
    trial = labelled(noise=0.9)
    first, second = (MLPProbe().measure(trial, rng(seed)).values["cross_entropy"] for seed in (1, 2))
    assert first != second


def test_a_fit_that_was_cut_short_is_told(labelled):
    assert MLPProbe(max_iterations=2).measure(labelled(noise=0.9), rng()).notes == ("not converged after 2 iterations",)
