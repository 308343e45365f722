"""The network learns classes that are not linearly separable, and depends on its seed and fields."""

from __future__ import annotations

import dataclasses

import numpy as np

from curate.plugins.metrics.logistic_probe import LogisticProbe
from curate.plugins.metrics.mlp_probe import MLPProbe


def rng(seed=0):
    return np.random.default_rng(seed)


def crossed(labeled):
    """Return two classes in opposite quadrants of the plane (XOR)."""
    trial = labeled(n=300, tests=200, noise=1.0)

    def label(x):
        return ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int32)

    return dataclasses.replace(
        trial, label=label(trial.embeddings), test_label=label(trial.test_embeddings), classes=("a", "b")
    )


def test_fits_classes_that_a_linear_probe_cannot(labeled):
    trial = crossed(labeled)
    assert LogisticProbe().measure(trial, rng()).values["accuracy"] < 0.7
    assert MLPProbe().measure(trial, rng()).values["accuracy"] > 0.85


def test_penalty_shrinks_it_to_nothing(labeled):
    assert MLPProbe(alpha=1e4).measure(crossed(labeled), rng()).values["accuracy"] < 0.7


def test_the_seed_is_its_start(labeled):
    trial = labeled(noise=0.9)
    first, second = (MLPProbe().measure(trial, rng(seed)).values["cross_entropy"] for seed in (1, 2))
    assert first != second


def test_a_fit_that_did_not_converge_is_noted(labeled):
    assert MLPProbe(max_iterations=2).measure(labeled(noise=0.9), rng()).notes == ("not converged after 2 iterations",)
