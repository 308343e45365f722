"""TracIn is the sum of gradient products over the epochs, and predicts what steps on a row do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curate.kernels.stats.softmax import softmax
from curate.plugins.batches import ScoreBatch, TargetRows
from curate.plugins.dynamics import Dynamics, Learner, ProxyModel, compute_logits
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.proxies.mlp import MLP
from curate.plugins.scorers.tracin import TracIn


def batch_of(proxy, target=None, rate=0.7, group=None):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = (np.arange(30) % 4 - 1).astype(np.int32)
    state = proxy.train(x[labels >= 0], labels[labels >= 0], 3, rng)
    logits = np.array(
        [[compute_logits(proxy, state, x, run, epoch) for epoch in range(proxy.epochs)] for run in range(proxy.runs)]
    )
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))
    object.__setattr__(dynamics, "learning_rate", rate)
    return ScoreBatch(dynamics=dynamics, learner=Learner(x, labels, 3, proxy), target=target, groups=group)


def score(batch, **fields):
    return TracIn(**fields).score(batch, np.random.default_rng(0))


def gradients(features, p, labels):
    error = p.astype(np.float64) - np.eye(3)[labels]
    return np.einsum("ia,ib->iab", error, features.astype(np.float64)).reshape(len(labels), -1)


@pytest.mark.parametrize("proxy", [Logistic(epochs=4, runs=2), MLP(epochs=4, runs=2, hidden_size=5)])
@pytest.mark.parametrize("has_target", [False, True])
def test_it_is_the_definition(proxy, has_target):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    target = TargetRows(x, np.array([0, 1, 2, 2, 1, 0], np.int32), np.zeros(6, np.int32))
    batch = batch_of(proxy, target if has_target else None)
    dynamics, labeled = batch.dynamics, batch.dynamics.labels >= 0
    expected = np.zeros(labeled.sum())
    for run in range(2):
        for epoch in range(4):
            of_rows = gradients(
                dynamics.features(run, epoch)[labeled],
                dynamics.probabilities(run, epoch)[labeled],
                dynamics.labels[labeled],
            )
            of_targets = of_rows
            if has_target:
                model = ProxyModel(x, proxy, dynamics.model.state)
                features = model.features(run, epoch)
                of_targets = gradients(features, softmax(features @ model.last_layer(run, epoch)), target.labels)
            expected += 0.7 * of_rows @ of_targets.mean(axis=0) / 2
    found = score(batch, reference=None if has_target else "pool")
    np.testing.assert_allclose(found[labeled], expected, rtol=1e-4, atol=1e-6)
    assert np.isnan(found[~labeled]).all()


def test_the_learning_rate_is_that_of_the_proxy_unless_it_is_given():
    batch = batch_of(Logistic(epochs=3))
    np.testing.assert_allclose(score(batch, learning_rate=1.4), 2 * score(batch), rtol=1e-5)


def test_steps_on_a_row_lower_the_loss_of_the_target_as_much_as_it_says():
    """Gradient descent on one row at a time: the sum over the steps is the fall of the loss, to first order."""
    rng = np.random.default_rng(3)
    x = np.hstack((rng.standard_normal((12, 3)), np.ones((12, 1)))).astype(np.float32)
    labels = rng.integers(0, 3, 12).astype(np.int32)
    weights, rate, rows, falls = np.zeros((4, 3)), 1e-3, rng.permutation(np.repeat(np.arange(8), 5)), np.zeros(8)
    logits = []

    def target_loss(w):
        p = softmax(x[8:] @ w.astype(np.float64))
        return -np.log(p[np.arange(4), labels[8:]].astype(np.float64)).mean()

    contributions = np.zeros(8)
    for row in rows:
        p = softmax(x @ weights)
        all_gradients = gradients(x, p, labels)
        contributions[row] += rate * all_gradients[row] @ all_gradients[8:].mean(axis=0)
        logits.append(x[:8] @ weights)
        before = weights.copy()
        weights -= rate * np.outer(x[row], p[row] - np.eye(3)[labels[row]])
        falls[row] += rate * all_gradients[8:].mean(axis=0) @ gradients(x[[row]], p[[row]], labels[[row]])[0]
        assert target_loss(before) != target_loss(weights)
    np.testing.assert_allclose(contributions, falls)


def test_groups_have_the_sum_of_their_rows():
    group = (np.arange(30) % 3).astype(np.int32)
    by_row, by_group = (
        score(batch_of(Logistic(epochs=3))),
        score(batch_of(Logistic(epochs=3), group=group), group="cluster"),
    )
    for number in range(3):
        values = by_row[group == number]
        np.testing.assert_allclose(
            np.unique(by_group[group == number][~np.isnan(values)]), np.nansum(values), rtol=1e-5
        )


def test_held_out_rows_are_a_reference():
    batch = batch_of(Logistic(epochs=3))
    held_out = score(batch, reference="held_out")
    assert np.isfinite(held_out[batch.dynamics.labels >= 0]).all()
    assert np.nanmax(np.abs(held_out - score(batch, reference="pool"))) > 0
    np.testing.assert_array_equal(held_out, score(batch))
    log = replace(batch, learner=None)
    np.testing.assert_array_equal(score(log), score(batch, reference="pool"))
