"""PDS: rows that teach the target have higher scores, and a regression gives every row one."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.influence.optimal_control import control_scores
from curate.kernels.linalg.cosines import normalize_rows
from curate.plugins.batches import ScoreBatch, TargetRows
from curate.plugins.dynamics import Dynamics, Learner, ProxyModel, compute_logits
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.scorers.pds import PDS, standardize


def batch_of(labels, x, target, proxy):
    labeled = labels >= 0
    state = proxy.train(x[labeled], labels[labeled], 2, np.random.default_rng(0))
    logits = np.array(
        [[compute_logits(proxy, state, x, run, epoch) for epoch in range(proxy.epochs)] for run in range(proxy.runs)]
    )
    dynamics = Dynamics.from_logits(labels, logits, ProxyModel(x, proxy, state))
    return ScoreBatch(dynamics=dynamics, learner=Learner(x, labels, 2, proxy), embeddings=x, target=target)


def two_classes(n=200, seed=0, wrong=0.2):
    """Return vectors of two classes, some of which have the wrong label, and target rows with the right ones."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n + 40).astype(np.int32)
    x = normalize_rows(rng.standard_normal((n + 40, 5)) * 0.4 + np.where(truth[:, None], 1, -1) * np.eye(5)[0])
    labels = truth[:n].copy()
    flipped = rng.random(n) < wrong
    labels[flipped] = 1 - labels[flipped]
    return x[:n], labels, flipped, TargetRows(x[n:], truth[n:], np.zeros(40, np.int32))


def score(batch, **fields):
    return PDS(**fields).score(batch, np.random.default_rng(0))


def test_rows_with_a_wrong_label_have_lower_scores():
    x, labels, flipped, target = two_classes()
    values = score(batch_of(labels, x, target, Logistic(epochs=2)), regression=False).values
    assert values[~flipped].mean() > values[flipped].mean() + 1
    assert np.abs(values).max() <= 3


def test_scores_are_those_of_the_recursion_standardized():
    x, labels, _, target = two_classes(n=60)
    proxy = Logistic(epochs=2)
    batch = batch_of(labels, x, target, proxy)
    features = np.column_stack([x, np.ones(60)]).astype(np.float32)
    references = np.column_stack([target.embeddings, np.ones(40)]).astype(np.float32)
    assert batch.dynamics.features(0, 1).shape == features.shape
    expected = control_scores(features, labels, references, target.labels, 2, steps=7, learning_rate=0.5)
    values = score(batch, regression=False, steps=7, learning_rate=0.5).values
    np.testing.assert_allclose(values, standardize(expected), rtol=1e-4, atol=1e-5)


def test_the_regression_scores_rows_without_a_label_and_outside_the_sample():
    x, labels, _, target = two_classes()
    labels[::5] = -1
    batch = batch_of(labels, x, target, Logistic(epochs=2))
    own = score(batch, regression=False, sample_size=50).values
    assert np.count_nonzero(~np.isnan(own)) == 50
    assert np.isnan(own[labels < 0]).all()
    result = score(batch, sample_size=50)
    assert np.isfinite(result.values).all()
    assert result.facts["sample"] == 50
    assert -1 <= result.facts["rank_correlation"] <= 1


@pytest.mark.parametrize("reference", ["pool", "held_out"])
def test_other_references(reference):
    x, labels, flipped, _ = two_classes()
    values = score(batch_of(labels, x, None, Logistic(epochs=2)), reference=reference, regression=False).values
    assert values[~flipped].mean() > values[flipped].mean()


def test_a_pool_without_labels_has_no_scores():
    x, labels, _, target = two_classes()
    batch = batch_of(labels, x, target, Logistic(epochs=2))
    unlabeled = Dynamics.from_logits(np.full(200, -1, np.int32), np.zeros((1, 2, 200, 2)), batch.dynamics.model)
    result = score(ScoreBatch(dynamics=unlabeled, learner=batch.learner, embeddings=x, target=target))
    assert np.isnan(result.values).all()


def test_a_descent_that_diverges_is_an_error():
    x, labels, _, target = two_classes()
    with pytest.raises(PluginError, match=r"diverges with learning_rate 1000; lower learning_rate"):
        score(batch_of(labels, x, target, Logistic(epochs=2)), learning_rate=1_000.0, steps=500)
