"""The nearest rows vote."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from curate.plugins.metrics.knn_probe import KNNProbe, nearest_vote


def test_is_the_weighted_vote_of_scikit_learn(labeled):
    trial = labeled(n=200, tests=700, noise=0.9)

    def votes(distances):
        return np.exp(-(distances**2) / 2 / 0.5)  # exp(cosine / temperature), but for a factor

    peer = KNeighborsClassifier(7, weights=votes).fit(trial.embeddings, trial.label)
    result = nearest_vote(
        trial.embeddings, trial.label, np.ones(200, np.float32), trial.test_embeddings, n_neighbors=7, temperature=0.5
    )
    np.testing.assert_allclose(result, peer.predict_proba(trial.test_embeddings), atol=1e-4)


def test_one_neighbor_decides_alone_and_all_that_are_as_near_vote():
    x = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    classes = np.array([0, 1, 1, 0], np.int32)
    result = nearest_vote(x, classes, np.ones(4, np.float32), x[:1], n_neighbors=1)
    np.testing.assert_allclose(result, [[1 / 3, 2 / 3]], atol=1e-6)
    weighted = nearest_vote(x, classes, np.array([4, 1, 1, 1], np.float32), x[:1], n_neighbors=1)
    np.testing.assert_allclose(weighted, [[2 / 3, 1 / 3]], atol=1e-6)


def test_a_lower_temperature_listens_to_the_nearest():
    x = np.array([[1, 0], [0.8, 0.6], [0.8, -0.6]], np.float32)
    classes, ones = np.array([0, 1, 1], np.int32), np.ones(3, np.float32)
    cold, warm = (nearest_vote(x, classes, ones, x[:1], n_neighbors=3, temperature=t).argmax() for t in (0.05, 10.0))
    assert (cold, warm) == (0, 1)


def test_distinct_groups_are_separated(labeled):
    measured = KNNProbe(n_neighbors=5).measure(labeled(noise=0.1), np.random.default_rng(0))
    assert measured.values["accuracy"] == 1
    assert measured.hits.all()
