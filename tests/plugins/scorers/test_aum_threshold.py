"""AUM with threshold samples: the samples, the threshold by definition, and wrong labels below it."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Learner
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.scorers.aum_threshold import AUMThreshold, aum_threshold, draw_threshold_samples, mean_margins


def blobs(n, classes=4, flipped=0.1, seed=0):
    """Return a learner of rows around class centers, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    x = np.eye(classes, 16)[true] + 0.12 * rng.normal(size=(n, 16))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    wrong = rng.random(n) < flipped
    labels = np.where(wrong, (true + rng.integers(1, classes, n)) % classes, true).astype(np.int32)
    return Learner(x, labels, classes, Logistic(epochs=8, batch_size=64)), wrong


def test_samples_are_disjoint_and_as_many_as_rows_of_a_class():
    learner, _ = blobs(500)
    first, second = draw_threshold_samples(learner, np.arange(500), np.random.default_rng(0))
    assert (first.sum(), second.sum()) == (100, 100)
    assert not (first & second).any()
    other, _ = draw_threshold_samples(learner, np.arange(500), np.random.default_rng(1))
    assert (first != other).any()


def test_it_is_the_definition():
    learner, _ = blobs(120)
    found = aum_threshold(learner, 99, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    rows, parts = np.arange(120), []
    for is_sample in draw_threshold_samples(learner, rows, rng):
        labels = np.where(is_sample, 4, learner.labels).astype(np.int32)
        state = Logistic(epochs=8, batch_size=64).train(learner.embeddings, labels, 5, rng.spawn(1)[0])
        areas = np.zeros(120)
        for epoch in range(8):
            weights = state["weights"][0, epoch]
            logits = learner.embeddings @ weights[:-1] + weights[-1]
            for row, label in enumerate(labels):
                areas[row] += (logits[row, label] - np.delete(logits[row], label).max()) / 8
        parts.append(np.where(is_sample, np.nan, areas - np.percentile(areas[is_sample], 99)))
    np.testing.assert_allclose(found, np.nanmean(parts, axis=0), atol=1e-4)


def test_most_wrong_labels_are_below_the_threshold_and_few_others():
    learner, wrong = blobs(2_000)
    flagged = AUMThreshold().score(ScoreBatch(learner=learner), np.random.default_rng(0)) < 0
    assert (flagged & wrong).sum() / wrong.sum() > 0.9
    assert (flagged & wrong).sum() / flagged.sum() > 0.9


def test_a_lower_percentile_is_a_lower_threshold():
    learner, _ = blobs(400)
    batch = ScoreBatch(learner=learner)
    high, low = (AUMThreshold(percentile=q).score(batch, np.random.default_rng(0)) for q in (99, 50))
    assert (low > high).all()


def test_runs_are_averaged():
    learner, _ = blobs(60)
    several = Learner(learner.embeddings, learner.labels, 4, Logistic(epochs=3, runs=2))
    state = several.train(np.arange(60), np.random.default_rng(0))
    margins = mean_margins(several, state, np.arange(60), several.labels)
    single = [
        mean_margins(
            Learner(learner.embeddings, learner.labels, 4, Logistic(epochs=3)),
            {"weights": state["weights"][[run]]},
            np.arange(60),
            several.labels,
        )
        for run in range(2)
    ]
    np.testing.assert_allclose(margins, np.mean(single, axis=0), atol=1e-6)


def test_one_vector_or_no_label():
    learner, _ = blobs(4)
    same = Learner(learner.embeddings[[0, 0, 0, 0]], learner.labels, 4, learner.proxy)
    assert np.isnan(aum_threshold(same, 99, np.random.default_rng(0))).all()
    none = Learner(learner.embeddings, np.full(4, -1, np.int32), 4, learner.proxy)
    assert np.isnan(aum_threshold(none, 99, np.random.default_rng(0))).all()
