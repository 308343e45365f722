"""Disagreement of neighbors: by definition, and with copies, rows without labels and dissimilar neighbors."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.scorers.knn_disagreement import knn_disagreement

same = np.testing.assert_allclose


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def loop(x, labels, k):
    """Return the score by definition, for a few rows."""
    result = []
    for row, label in zip(x, labels, strict=True):
        if label < 0:
            result.append(np.nan)
            continue
        vectors = {vector.tobytes(): vector for vector in x[labels >= 0]}
        votes = []
        for key, vector in vectors.items():
            own = key == row.tobytes()
            there = labels[(labels >= 0) & (x == vector).all(axis=1)]
            if not own or (there != label).any():
                votes.append((own, float(row @ vector), np.mean(there != label)))
        own_votes = [(1.0, share) for own, _, share in votes if own]
        others = sorted(((similarity, share) for own, similarity, share in votes if not own), reverse=True)[:k]
        votes = own_votes + [(max(similarity, 0), share) for similarity, share in others]
        total = sum(weight for weight, _ in votes)
        if not total:
            votes, total = [(1, share) for _, share in others], len(others)
        result.append(sum(weight * share for weight, share in votes) / total if votes else np.nan)
    return result


@given(seed=st.integers(0, 1 << 32), k=st.integers(1, 12))
def test_it_is_the_definition(seed, k):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    x = unit(rng.normal(size=(n, 3)))[rng.integers(0, n, n)]
    labels = rng.integers(-1, 3, n).astype(np.int32)
    same(knn_disagreement(x, labels, k), loop(x, labels, k), atol=1e-5)


def test_a_wrong_label_among_right_ones():
    rng = np.random.default_rng(0)
    x = unit(np.repeat(np.eye(4), 20, axis=0) + 0.1 * rng.normal(size=(80, 4)))
    labels = np.repeat(np.arange(4), 20).astype(np.int32)
    labels[[3, 50]] = [2, 0]
    assert set(np.argsort(-knn_disagreement(x, labels, 10))[:2].tolist()) == {3, 50}


def test_copies_with_the_same_label_do_not_confirm_a_row():
    x = unit(np.array([[1, 0.1]] * 30 + [[1, 0], [0.9, 0.2], [1, 0.3]]))
    labels = np.array([1] * 30 + [0, 0, 0], np.int32)
    scores = knn_disagreement(x, labels, 3)
    assert (scores[:30] == 1).all()


def test_copies_with_another_label_contradict_it_by_their_number():
    x = unit(np.array([[1.0, 0]] * 6 + [[-1, 0.1], [-1, 0.2]]))
    labels = np.array([0] * 5 + [1] + [2, 3], np.int32)
    scores = knn_disagreement(x, labels, 2)
    same(scores[:5], 1 / 6, atol=1e-6)
    same(scores[5], 5 / 6, atol=1e-6)


def test_dissimilar_neighbors_count_only_without_others():
    x = unit(np.array([[1.0, 0], [-1, 0.1], [-1, -0.1]]))
    scores = knn_disagreement(x, np.array([0, 0, 1], np.int32), 2)
    same(scores[0], 0.5)  # both are opposite
    same(scores[1], 1, atol=1e-6)  # the nearest one has another label, the opposite one does not count


def test_one_vector_or_no_label():
    x = unit(np.ones((3, 2)))
    assert np.isnan(knn_disagreement(x, np.array([0, 0, -1], np.int32), 5)).all()
    assert np.isnan(knn_disagreement(x, np.full(3, -1, np.int32), 5)).all()
    same(knn_disagreement(x, np.array([0, 1, -1], np.int32), 5), [0.5, 0.5, np.nan])


def test_cells_give_nearly_the_same(monkeypatch):
    from curate.kernels.neighbors import knn as search

    rng = np.random.default_rng(0)
    centroids = unit(rng.normal(size=(40, 8)))
    cluster = rng.integers(0, 40, 2_000).astype(np.int32)
    x = unit(centroids[cluster] + 0.2 * rng.normal(size=(2_000, 8)))
    cluster = (x @ centroids.T).argmax(axis=1).astype(np.int32)
    labels = np.where(rng.random(2_000) < 0.1, rng.integers(0, 40, 2_000), cluster).astype(np.int32)
    exact = knn_disagreement(x, labels, 10)
    monkeypatch.setattr(search, "EXACT_ROWS", 100)
    cells = knn_disagreement(x, labels, 10, centroids=centroids, cluster=cluster)
    assert np.abs(exact - cells).mean() < 0.02
    assert not (exact == cells).all()
