"""Influence is the first-order fall of a mean loss, by every method, for every reference, and for groups."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.influence.softmax_layer import hessian
from curate.kernels.stats.softmax import softmax
from curate.plugins.batches import ScoreBatch, TargetRows
from curate.plugins.dynamics import Dynamics, Learner, ProxyModel, compute_logits
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.proxies.mlp import MLP
from curate.plugins.scorers.influence import Influence, mean_eigenvalue
from curate.plugins.trained_layers import pool_layers

METHODS = ["kronecker", "exact", "conjugate_gradient", "lissa", "datainf"]


def unit_rows(n, d, seed):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def batch_of(proxy, n=60, d=4, target=None, **parts):
    x = unit_rows(n, d, 0)
    labels = (np.arange(n) * 7 % 13 % 4 - 1).astype(np.int32)
    state = proxy.train(x[labels >= 0], labels[labels >= 0], 3, np.random.default_rng(1))
    logits = np.array(
        [[compute_logits(proxy, state, x, run, epoch) for epoch in range(proxy.epochs)] for run in range(proxy.runs)]
    )
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))
    return ScoreBatch(dynamics=dynamics, learner=Learner(x, labels, 3, proxy), target=target, **parts)


def score(batch, **fields):
    return Influence(**fields).score(batch, np.random.default_rng(0)).values


def row_gradients(layer):
    error = layer.probabilities.astype(np.float64) - np.eye(3)[layer.labels]
    return np.einsum("ia,ib->iab", error, layer.features.astype(np.float64)).reshape(len(layer), -1)


def dense_influence(layer, target, method, damping):
    """Return the influence by the definition, with dense matrices."""
    gradients, mean = row_gradients(layer), row_gradients(target).mean(axis=0)
    n, size = gradients.shape
    error = layer.probabilities.astype(np.float64) - np.eye(3)[layer.labels]
    x = layer.features.astype(np.float64)
    if method == "datainf":
        level = damping * np.square(gradients).sum() / n / size
        inverses = [np.linalg.inv(np.outer(g, g) + level * np.eye(size)) for g in gradients]
        return gradients @ np.mean(inverses, axis=0) @ mean
    matrix = np.kron(error.T @ error, x.T @ x) / n**2 if method == "kronecker" else hessian(layer)
    return gradients @ np.linalg.solve(matrix + damping * np.trace(matrix) / size * np.eye(size), mean)


@pytest.mark.parametrize("proxy", [Logistic(epochs=3, runs=2), MLP(epochs=3, runs=2, hidden_size=5)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reference", ["pool", "target"])
def test_equals_the_definition_with_dense_matrices(proxy, method, reference):
    """After the requested epoch, on average over the runs; the bias is part of the layer."""
    targets = TargetRows(unit_rows(5, 4, 3), np.array([0, 1, 2, -1, 0], np.int32), np.zeros(5, np.int32))
    batch = batch_of(proxy, target=targets)
    tight = {"tolerance": 1e-5, "batch_size": 60} if method in ("conjugate_gradient", "lissa") else {}
    found = score(batch, method=method, epoch=2, damping=0.5, reference=reference, **tight)
    layers = pool_layers(batch.dynamics)
    model = batch.dynamics.model
    values = []
    for run in range(2):
        layer = target = layers.training(run, 1)
        if reference == "target":
            features = ProxyModel(targets.embeddings, model.proxy, model.state).features(run, 1)
            p = softmax(features @ model.last_layer(run, 1))
            known = targets.labels >= 0
            target = type(layer)(features[known], p[known], targets.labels[known])
        values.append(dense_influence(layer, target, method, 0.5))
    np.testing.assert_allclose(found[layers.rows], np.mean(values, axis=0), rtol=2e-3, atol=1e-4)
    assert np.isnan(found[batch.dynamics.labels < 0]).all()


def test_the_last_epoch_is_measured_if_there_are_fewer():
    batch = batch_of(Logistic(epochs=3))
    np.testing.assert_array_equal(score(batch, epoch=9), score(batch, epoch=3))
    assert (score(batch, epoch=9) != score(batch, epoch=2))[batch.dynamics.labels >= 0].any()


def test_with_a_target_section_the_target_is_the_reference_by_default():
    targets = TargetRows(unit_rows(5, 4, 3), np.zeros(5, np.int32), np.zeros(5, np.int32))
    batch = batch_of(Logistic(epochs=3), target=targets)
    np.testing.assert_array_equal(score(batch), score(batch, reference="target"))
    assert np.nanmax(np.abs(score(batch) - score(batch, reference="pool"))) > 0


def test_rows_of_the_targets_class_help_and_wrong_labels_hurt():
    """Two classes that a layer separates; every tenth label is wrong; the targets are of one class."""
    rng = np.random.default_rng(1)
    side = np.repeat([0, 1], 100)
    x = (np.eye(6)[side] + 0.2 * rng.standard_normal((200, 6))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wrong = np.arange(200) % 10 == 0
    labels = np.where(wrong, 1 - side, side).astype(np.int32)
    proxy = Logistic(epochs=1, batch_size=200, learning_rate=0.1)
    state = proxy.train(x, labels, 2, rng)
    logits = compute_logits(proxy, state, x, 0, 0)[None, None]
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))
    target = TargetRows(x[~wrong & (side == 1)][:10], np.ones(10, np.int32), np.zeros(10, np.int32))
    learner = Learner(x, labels, 2, proxy)
    for fields in ({"reference": "pool"}, {"reference": "held_out"}):
        result = score(ScoreBatch(dynamics=dynamics, learner=learner), **fields)
        assert result[wrong].max() < 0 < result[~wrong].min(), fields
    result = score(ScoreBatch(dynamics=dynamics, target=target))
    assert result[wrong & (side == 1)].max() < 0 < result[~wrong & (side == 1)].min()


def test_held_out_influence_is_the_mean_over_the_folds_of_other_rows():
    batch = batch_of(Logistic(epochs=3))
    first = score(batch, reference="held_out")
    assert np.isfinite(first[batch.dynamics.labels >= 0]).all()
    assert np.isnan(first[batch.dynamics.labels < 0]).all()
    np.testing.assert_array_equal(first, score(batch, reference="held_out"))


def test_a_group_has_the_sum_of_its_rows():
    group = (np.arange(60) % 5 - 1).astype(np.int32)
    batch = batch_of(Logistic(epochs=3), groups=group)
    by_row, by_group = score(batch), score(batch, group="source")
    for number in range(4):
        members = (group == number) & (batch.dynamics.labels >= 0)
        np.testing.assert_allclose(by_group[members], by_row[members].sum(), rtol=1e-5)
    assert np.isnan(by_group[group < 0]).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_residual_of_iterations_is_reported(method):
    batch = batch_of(Logistic(epochs=3))
    facts = Influence(method=method).score(batch, np.random.default_rng(0)).facts
    if method not in ("conjugate_gradient", "lissa"):
        assert facts == {}
        return
    assert 0 < facts["residual"] <= {"conjugate_gradient": 2e-3, "lissa": 0.2}[method]
    assert facts["iterations"] > 0


def certain(right):
    """Return dynamics of rows that are predicted with certainty, rightly or wrongly."""
    labels = np.array([0, 1, 0], np.int32)
    logits = np.where(np.eye(2)[labels if right else 1 - labels] > 0, 0.0, -200.0)[None, None]
    return ScoreBatch(dynamics=Dynamics.from_logits(labels, logits, ProxyModel(unit_rows(3, 2, 0))))


@pytest.mark.parametrize("method", METHODS)
def test_nothing_wrong_is_no_influence(method):
    np.testing.assert_allclose(score(certain(right=True), method=method), 0, atol=1e-30)


@pytest.mark.parametrize("method", ["exact", "conjugate_gradient", "lissa"])
def test_a_hessian_of_zero_is_an_error(method):
    with pytest.raises(PluginError, match="the Hessian is zero"):
        score(certain(right=False), method=method)


def test_the_closed_forms_do_not_need_the_hessian():
    assert (score(certain(right=False), method="datainf") != 0).any()
    assert np.isfinite(score(certain(right=False), method="kronecker")).all()


def test_iterations_that_do_not_suffice_are_an_error():
    batch = batch_of(Logistic(epochs=3))
    with pytest.raises(PluginError, match="conjugate gradients did not converge"):
        score(batch, method="conjugate_gradient", max_iterations=1, tolerance=1e-6)
    with pytest.raises(PluginError, match="LiSSA is not accurate"):
        score(batch, method="lissa", max_iterations=2)


def test_a_log_is_a_layer_on_the_embeddings_without_a_bias():
    x, labels = unit_rows(30, 4, 0), (np.arange(30) % 3).astype(np.int32)
    logits = np.random.default_rng(0).standard_normal((1, 1, 30, 3))
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x))
    layer = pool_layers(dynamics).training(0, 0)
    assert layer.shape == (3, 4)
    found = score(ScoreBatch(dynamics=dynamics), damping=0.3)
    np.testing.assert_allclose(found, dense_influence(layer, layer, "kronecker", 0.3), rtol=1e-4, atol=1e-6)


def test_the_unit_of_damping_is_the_mean_eigenvalue():
    layer = pool_layers(batch_of(Logistic(epochs=3)).dynamics).training(0, 0)
    gradients = row_gradients(layer)
    fisher = gradients.T @ gradients / len(gradients)
    error = layer.probabilities.astype(np.float64) - np.eye(3)[layer.labels]
    x = layer.features.astype(np.float64)
    kronecker = np.kron(error.T @ error, x.T @ x) / len(x) ** 2
    for method, matrix in (("exact", hessian(layer)), ("datainf", fisher), ("kronecker", kronecker)):
        assert mean_eigenvalue(layer, method) == pytest.approx(np.trace(matrix) / len(matrix))
