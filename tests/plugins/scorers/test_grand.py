"""GraNd: the norm of the last layer's gradient, averaged over the first epochs and all runs."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics, ProxyModel, compute_logits
from curate.plugins.proxies.mlp import MLP
from curate.plugins.scorers.el2n import EL2N
from curate.plugins.scorers.grand import GraNd


def test_it_is_the_norm_of_the_gradient_of_the_loss_in_the_last_layer():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = (np.arange(20) % 4 - 1).astype(np.int32)
    proxy = MLP(hidden_size=5, epochs=3, runs=2, batch_size=4)
    state = proxy.train(x[labels >= 0], labels[labels >= 0], 3, rng)
    logits = np.array([[compute_logits(proxy, state, x, run, epoch) for epoch in range(3)] for run in range(2)])
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))
    found = GraNd(epochs=2).score(ScoreBatch(dynamics=dynamics), rng)
    expected = np.zeros(20)
    for run in range(2):
        for epoch in range(2):
            error = dynamics.probabilities(run, epoch).astype(np.float64) - np.eye(3)[labels]
            gradient = np.einsum("nc,nh->nch", error, dynamics.features(run, epoch).astype(np.float64))
            expected += np.linalg.norm(gradient.reshape(20, -1), axis=1) / 4
    np.testing.assert_allclose(found[labels >= 0], expected[labels >= 0], rtol=1e-4)
    assert np.isnan(found[labels < 0]).all()


def test_with_inputs_of_equal_length_it_ranks_as_el2n():
    p = np.random.default_rng(0).dirichlet(np.ones(3), (2, 4, 10)).astype(np.float32)
    batch = ScoreBatch(dynamics=Dynamics.from_probabilities(np.arange(10, dtype=np.int32) % 3, p))
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(GraNd().score(batch, rng), np.sqrt(2) * EL2N().score(batch, rng), rtol=1e-5)
