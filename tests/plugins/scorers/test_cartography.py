"""Cartography: mean, standard deviation and correctness over the epochs, by definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics
from curate.plugins.scorers.cartography import Cartography


def dynamics(probabilities, labels):
    """Return dynamics from an array (runs, epochs, n, classes)."""
    return Dynamics.from_probabilities(np.asarray(labels, np.int32), probabilities.astype(np.float32))


def score(judged):
    return Cartography().score(ScoreBatch(dynamics=judged), np.random.default_rng(0))


@given(seed=st.integers(0, 1 << 32), runs=st.integers(1, 3), epochs=st.integers(1, 6))
def test_it_is_the_definition(seed, runs, epochs):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), (runs, epochs, 5))
    labels = rng.integers(-1, 3, 5)
    found = score(dynamics(p, labels))
    for row, label in enumerate(labels):
        if label < 0:
            assert np.isnan(found[row]).all()
            continue
        own = p[:, :, row, label].astype(np.float32)
        correct = (p[:, :, row].astype(np.float32).argmax(axis=2) == label).mean()
        np.testing.assert_allclose(found[row], [own.std(axis=1).mean(), own.mean(), correct], atol=1e-6)


def test_a_row_between_right_and_wrong_is_most_ambiguous():
    own = np.array([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0.6, 0.5, 0.6, 0.5]])
    p = np.stack([own, 1 - own], axis=-1).transpose(1, 0, 2)[None]
    found = score(dynamics(p, [0, 0, 0, 0]))
    np.testing.assert_allclose(found[:, 0], [0.5, 0, 0, 0.05], atol=1e-6)
    np.testing.assert_allclose(found[:, 1], [0.5, 1, 0, 0.55], atol=1e-6)
    np.testing.assert_allclose(found[:, 2], [0.5, 1, 0, 1], atol=1e-6)
