"""Self-influence by training and by the influence function equals the definitions with dense matrices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.influence.softmax_layer import hessian
from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics, ProxyModel, compute_logits
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.proxies.mlp import MLP
from curate.plugins.scorers.self_influence import SelfInfluence
from curate.plugins.trained_layers import pool_layers


def dynamics_of(proxy, n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = (np.arange(n) % 4 - 1).astype(np.int32)
    state = proxy.train(x[labels >= 0], labels[labels >= 0], 3, rng)
    logits = np.array(
        [[compute_logits(proxy, state, x, run, epoch) for epoch in range(proxy.epochs)] for run in range(proxy.runs)]
    )
    return Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))


def score(dynamics, **fields):
    return SelfInfluence(**fields).score(ScoreBatch(dynamics=dynamics), np.random.default_rng(0))


def row_gradients(layer):
    error = layer.probabilities.astype(np.float64) - np.eye(3)[layer.labels]
    return np.einsum("ia,ib->iab", error, layer.features.astype(np.float64)).reshape(len(layer), -1)


@pytest.mark.parametrize("proxy", [Logistic(epochs=3, runs=2), MLP(epochs=3, runs=2, hidden_size=5)])
@pytest.mark.parametrize("has_statistic", [True, False])
def test_of_training_it_is_the_sum_of_squared_gradients(proxy, has_statistic):
    dynamics = dynamics_of(proxy)
    layers = pool_layers(dynamics)
    squares = [
        np.square(row_gradients(layers.training(run, epoch))).sum(axis=1) for run in range(2) for epoch in range(3)
    ]
    if not has_statistic:
        dynamics = dataclasses.replace(dynamics, statistics=())
    found = score(dynamics, learning_rate=0.3)
    np.testing.assert_allclose(found[layers.rows], 0.3 * np.sum(squares, axis=0) / 2, rtol=1e-4)
    assert np.isnan(found[dynamics.labels < 0]).all()
    np.testing.assert_allclose(score(dynamics), found / np.float32(0.3) * dynamics.learning_rate, rtol=1e-5)


@pytest.mark.parametrize("proxy", [Logistic(epochs=3, runs=2), MLP(epochs=3, runs=2, hidden_size=5)])
@pytest.mark.parametrize("method", ["kronecker", "exact"])
@pytest.mark.parametrize("epoch", [1, None, 9])
def test_by_the_influence_function_it_is_the_dense_quadratic_form(proxy, method, epoch):
    dynamics = dynamics_of(proxy)
    layers = pool_layers(dynamics)
    values = []
    for run in range(2):
        layer = layers.training(run, 0 if epoch == 1 else 2)
        gradients, matrix = row_gradients(layer), hessian(layer)
        if method == "kronecker":
            error = layer.probabilities.astype(np.float64) - np.eye(3)[layer.labels]
            x = layer.features.astype(np.float64)
            matrix = np.kron(error.T @ error, x.T @ x) / len(layer) ** 2
        inverse = np.linalg.inv(matrix + 0.2 * np.trace(matrix) / len(matrix) * np.eye(len(matrix)))
        values.append(np.einsum("ia,ab,ib->i", gradients, inverse, gradients))
    found = score(dynamics, method=method, epoch=epoch, damping=0.2)
    np.testing.assert_allclose(found[layers.rows], np.mean(values, axis=0), rtol=1e-3, atol=1e-5)
    assert np.nanmin(found) >= 0
    assert np.isnan(found[dynamics.labels < 0]).all()


@pytest.mark.parametrize("method", ["tracin", "kronecker", "exact"])
def test_wrong_labels_have_the_highest_values(method):
    rng = np.random.default_rng(1)
    side = np.repeat([0, 1], 100)
    x = (np.eye(6)[side] + 0.2 * rng.standard_normal((200, 6))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wrong = np.arange(200) % 10 == 0
    labels = np.where(wrong, 1 - side, side).astype(np.int32)
    proxy = Logistic(epochs=3, batch_size=32)
    state = proxy.train(x, labels, 2, rng)
    logits = np.array([[compute_logits(proxy, state, x, 0, epoch) for epoch in range(3)]])
    found = score(Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state)), method=method)
    assert (found[wrong][:, None] > found[~wrong]).mean() > 0.99


def test_a_log_of_gradient_norms_needs_no_probabilities():
    norms = np.array([[1, 2, 3], [0, 1, 2]], np.float32)
    dynamics = Dynamics(np.zeros(3, np.int32), 2, 1, 2, ("gradient",), lambda _: norms)
    assert score(dynamics).tolist() == [1, 5, 13]
    with pytest.raises(PluginError, match="no probabilities"):
        score(dataclasses.replace(dynamics, model=ProxyModel(np.eye(3, dtype=np.float32))), method="kronecker")


def test_certain_predictions():
    labels = np.array([0, 1, 0], np.int32)
    x = np.eye(3, dtype=np.float32)
    for right in (True, False):
        logits = np.where(np.eye(2)[labels if right else 1 - labels] > 0, 0.0, -200.0)[None, None]
        dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x))
        if right:
            np.testing.assert_allclose(score(dynamics, method="exact"), 0, atol=1e-30)
            continue
        with pytest.raises(PluginError, match="the Hessian is zero"):
            score(dynamics, method="exact")


def test_rows_without_labels_have_no_value():
    dynamics = dynamics_of(Logistic(epochs=2))
    unlabeled = dataclasses.replace(dynamics, labels=np.full(40, -1, np.int32))
    for method in ("tracin", "kronecker", "exact"):
        assert np.isnan(score(unlabeled, method=method)).all()
