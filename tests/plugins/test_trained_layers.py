"""Layers of trained proxies: which rows they were trained on, and which rows they are measured on."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.stats.softmax import softmax
from curate.plugins.batches import ScoreBatch, TargetRows
from curate.plugins.dynamics import Dynamics, Learner, ProxyModel, compute_logits
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.proxies.mlp import MLP
from curate.plugins.trained_layers import mean_over_trainings, sum_over_groups

RNG = np.random.default_rng(0)


def unit_rows(n, d=5, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def batch_of(proxy, n=60, target=None):
    x = unit_rows(n)
    labels = (np.arange(n) % 4 - 1).astype(np.int32)
    state = proxy.train(x[labels >= 0], labels[labels >= 0], 3, np.random.default_rng(1))
    logits = np.array(
        [[compute_logits(proxy, state, x, run, epoch) for epoch in range(proxy.epochs)] for run in range(proxy.runs)]
    )
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))
    return ScoreBatch(dynamics=dynamics, learner=Learner(x, labels, 3, proxy), target=target)


def collect(batch, reference):
    """Return the layers of all trainings, and the values that each row gets by the number of its trainings."""
    found = []

    def measure(layers):
        found.append(layers)
        return np.full(len(layers.rows), float(len(found)))

    values = mean_over_trainings(batch, reference, np.random.default_rng(2), measure)
    return found, values


PROXIES = [Logistic(epochs=3, runs=2), MLP(epochs=3, runs=2, hidden_size=4)]


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_pool_is_trained_on_and_measured(proxy):
    batch = batch_of(proxy)
    (layers,), values = collect(batch, "pool")
    labels = batch.dynamics.labels
    assert layers.rows.tolist() == np.flatnonzero(labels >= 0).tolist()
    layer = layers.training(1, 2)
    np.testing.assert_array_equal(layer.labels, labels[labels >= 0])
    np.testing.assert_array_equal(layer.features, batch.dynamics.features(1, 2)[labels >= 0])
    np.testing.assert_array_equal(layer.probabilities, batch.dynamics.probabilities(1, 2)[labels >= 0])
    np.testing.assert_array_equal(layers.reference(1, 2).features, layer.features)
    assert np.isnan(values[labels < 0]).all()
    assert (values[labels >= 0] == 1).all()


@pytest.mark.parametrize("proxy", PROXIES)
def test_target_rows_are_predicted_by_the_proxy_of_each_epoch(proxy):
    target = TargetRows(unit_rows(4, seed=5), np.array([2, -1, 0, 1], np.int32), np.zeros(4, np.int32))
    for reference in (None, "target"):
        batch = batch_of(proxy, target=target)
        (layers,), _ = collect(batch, reference)
        layer = layers.reference(1, 0)
        assert layer.labels.tolist() == [2, 0, 1]
        logits = compute_logits(proxy, batch.dynamics.model.state, target.embeddings[[0, 2, 3]], 1, 0)
        np.testing.assert_allclose(layer.probabilities, softmax(logits), atol=1e-6)
        assert (layer.features[:, -1] == 1).all()
    (layers,), _ = collect(batch, "pool")
    assert len(layers.reference(0, 0)) == 45


def test_held_out_rows_were_not_trained_on_and_copies_share_a_side():
    batch = batch_of(PROXIES[0])
    x = batch.learner.embeddings.copy()
    x[40:] = x[:20]
    learner = Learner(x, np.zeros(60, np.int32), 3, PROXIES[0])
    batch = ScoreBatch(dynamics=batch.dynamics, learner=learner)
    found, values = collect(batch, "held_out")
    assert len(found) == 5
    seen = np.zeros(60)
    for layers in found:
        held_out = np.setdiff1d(np.arange(60), layers.rows)
        seen[held_out] += 1
        np.testing.assert_array_equal(layers.reference(0, 0).features[:, :-1], x[held_out])
        np.testing.assert_array_equal(layers.training(0, 0).features[:, :-1], x[layers.rows])
        assert set(held_out[held_out < 20] + 40) == set(held_out[held_out >= 40])
    assert (seen == 1).all()
    expected = [np.mean([number for number in range(1, 6) if row in found[number - 1].rows]) for row in range(60)]
    np.testing.assert_allclose(values, expected)


def test_the_proxy_of_a_fold_is_trained_on_the_other_folds_only():
    """Labels of held-out rows that are changed do not change their predictions."""
    batch = batch_of(PROXIES[0])
    learner = batch.learner
    found, _ = collect(batch, "held_out")
    before = found[0].reference(0, 2).probabilities
    held_out = np.setdiff1d(np.flatnonzero(learner.labels >= 0), found[0].rows)
    labels = learner.labels.copy()
    labels[held_out] = (labels[held_out] + 1) % 3
    changed = ScoreBatch(dynamics=batch.dynamics, learner=Learner(learner.embeddings, labels, 3, PROXIES[0]))
    again, _ = collect(changed, "held_out")
    np.testing.assert_array_equal(again[0].reference(0, 2).probabilities, before)
    assert (again[1].reference(0, 2).probabilities != found[1].reference(0, 2).probabilities).any()


def test_equal_vectors_cannot_be_divided_and_rows_without_labels_have_no_value():
    batch = batch_of(PROXIES[0])
    learner = Learner(np.tile(unit_rows(1), (60, 1)), np.zeros(60, np.int32), 3, PROXIES[0])
    found, values = collect(ScoreBatch(dynamics=batch.dynamics, learner=learner), "held_out")
    assert not found
    assert np.isnan(values).all()
    unlabeled = Dynamics.from_logits(np.full(3, -1, np.int32), np.zeros((1, 1, 3, 2)))
    found, values = collect(ScoreBatch(dynamics=unlabeled), None)
    assert not found
    assert np.isnan(values).all()


def test_a_reference_that_does_not_exist_is_an_error():
    batch = batch_of(PROXIES[0])
    target = TargetRows(unit_rows(2), np.array([0, -1], np.int32), np.zeros(2, np.int32))
    log = Dynamics.from_logits(np.zeros(3, np.int32), np.zeros((1, 1, 3, 2)), ProxyModel(unit_rows(3)))
    cases = [
        (batch, "target", "add a section target"),
        (ScoreBatch(dynamics=log), "held_out", "a log cannot be trained"),
        (ScoreBatch(dynamics=log, target=target), None, "a log has only rows of the pool"),
        (
            ScoreBatch(
                dynamics=batch.dynamics,
                target=TargetRows(unit_rows(1), np.array([-1], np.int32), np.zeros(1, np.int32)),
            ),
            None,
            "no target row has a label",
        ),
    ]
    for one, reference, message in cases:
        with pytest.raises(PluginError, match=message):
            collect(one, reference)


def test_sums_over_groups():
    values = np.array([1, -2, np.nan, 4, 8], np.float32)
    group = np.array([1, 1, 1, -1, 0], np.int32)
    np.testing.assert_array_equal(sum_over_groups(values, group), [-1, -1, np.nan, np.nan, 8])
    assert sum_over_groups(values, None) is values
    nothing = sum_over_groups(np.full(2, np.nan, np.float32), np.array([-1, -1], np.int32))
    assert np.isnan(nothing).all()


def test_any_number_of_threads_gives_the_same_proxies(monkeypatch):
    batch, predictions = batch_of(PROXIES[1]), []
    for threads in ("1", "4"):
        monkeypatch.setenv("CURATE_THREADS", threads)
        found, _ = collect(batch, "held_out")
        predictions.append([layers.reference(1, 2).probabilities.tobytes() for layers in found])
    assert predictions[0] == predictions[1]
