"""Influence is the first-order fall of the mean loss, with the Hessian approximated by Kronecker factors."""

from __future__ import annotations

import numpy as np

from curate.kernels.stats.softmax import softmax
from curate.plugins.batches import Dynamics
from curate.plugins.scorers.influence import influence, layer_influence


def setting(n=60, d=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    weights = rng.standard_normal((d, classes))
    return x, weights, rng.integers(0, classes, n).astype(np.int32)


def mean_loss(x, weights, labels):
    logits = x.astype(np.float64) @ weights
    logits -= logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(x)), labels].mean()


def test_equals_the_definition_with_dense_matrices():
    x, weights, labels = setting()
    p = softmax(x @ weights)
    error = p.astype(np.float64) - np.eye(3)[labels]
    gradients = np.einsum("ia,ib->iab", error, x.astype(np.float64)).reshape(len(x), -1)
    hessian = np.kron(error.T @ error, x.T.astype(np.float64) @ x) / len(x) ** 2
    damped = hessian + 0.3 * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    expected = gradients @ np.linalg.solve(damped, gradients.mean(axis=0))
    np.testing.assert_allclose(layer_influence(x, p, labels, 0.3), expected, atol=1e-9)


def test_with_much_damping_it_is_the_fall_of_the_mean_loss_in_a_gradient_step_on_the_row():
    """By finite differences, up to one factor for all rows."""
    x, weights, labels = setting()
    p = softmax(x @ weights)
    result = layer_influence(x, p, labels, 1e9)
    step, falls = 1e-5, []
    for i in range(len(x)):
        gradient = np.outer(x[i], p[i] - np.eye(3)[labels[i]])
        falls.append(mean_loss(x, weights, labels) - mean_loss(x, weights - step * gradient, labels))
    falls = np.array(falls) / step
    np.testing.assert_allclose(result / np.abs(result).max(), falls / np.abs(falls).max(), atol=1e-3)


def test_rows_with_a_wrong_label_have_the_lowest_influence():
    """Two classes that a layer tells apart; every tenth label is wrong."""
    rng = np.random.default_rng(1)
    side = np.repeat([0, 1], 100)
    x = (np.eye(6)[side] + 0.2 * rng.standard_normal((200, 6))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    wrong = np.arange(200) % 10 == 0
    labels = np.where(wrong, 1 - side, side).astype(np.int32)
    p = softmax(x[:, :2])
    result = layer_influence(x, p, labels, 0.1)
    assert result[wrong].max() < 0 < result[~wrong].min()


def test_nothing_wrong_is_no_influence():
    labels = np.array([0, 1], np.int32)
    assert layer_influence(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), labels, 0.1).tolist() == [0, 0]


def test_the_mean_over_runs_after_the_requested_or_the_last_epoch():
    x, _, labels = setting()
    labels[:5] = -1
    p = softmax(np.random.default_rng(2).standard_normal((2 * 3 * 60, 3))).reshape(2, 3, 60, 3)
    dynamics = Dynamics.from_probabilities(labels, p)
    for epoch, queries in ((2, 1), (9, 2)):
        result = influence(x, dynamics, epoch, 0.1)
        runs = [layer_influence(x[5:], p[run, queries, 5:], labels[5:], 0.1) for run in range(2)]
        assert np.isnan(result[:5]).all()
        np.testing.assert_allclose(result[5:], np.mean(runs, axis=0), rtol=1e-5)
    unlabeled = Dynamics.from_probabilities(np.full(60, -1, np.int32), p)
    assert np.isnan(influence(x, unlabeled, 1, 0.1)).all()
