"""KNN-Shapley finds wrong labels, whatever the copies."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.knn_shapley import KnnShapley


def mixture(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors around one center a class, and their classes."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((classes, 12))
    label = np.arange(n) % classes
    x = (centers[label] + 0.4 * rng.standard_normal((n, 12))).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), label


def score(x, labels, **fields):
    batch = ScoreBatch(embeddings=x, labels=labels)
    return KnnShapley(**fields).score(batch, np.random.default_rng(0))


def test_wrong_labels_have_the_lowest_values():
    x, label = mixture(400, 4)
    wrong = np.arange(0, 400, 10)
    given = label.copy()
    given[wrong] = (given[wrong] + 1) % 4
    values = score(x, [f"class {one}" for one in given])
    assert np.isin(np.argsort(values)[:40], wrong).mean() > 0.9
    assert (values[wrong] < 0).mean() > 0.8
    assert (np.delete(values, wrong) > 0).mean() > 0.8


def test_rows_without_a_label_are_not_valued_and_change_nothing_but_their_own():
    x, label = mixture(100, 2)
    labels = [None if row % 5 == 0 else str(one) for row, one in enumerate(label)]
    values = score(x, labels)
    assert np.isnan(values[::5]).all()
    assert np.isfinite(np.delete(values, np.arange(0, 100, 5))).all()


def test_one_labeled_row_and_no_label_give_no_values():
    x, _ = mixture(6, 2)
    assert np.isnan(score(x, [None] * 6)).all()
    assert np.isnan(score(x, ["a", *[None] * 5])).all()
    assert np.isnan(score(np.repeat(x[:1], 6, axis=0), ["a"] * 6)).all()  # copies share a fold


def test_one_class_is_worth_the_same_for_every_fold():
    x, _ = mixture(60, 2)
    values = score(x, ["a"] * 60)
    assert (values > 0).all()


def test_more_test_rows_than_there_are_use_all():
    x, label = mixture(80, 2)
    labels = [str(one) for one in label]
    assert np.array_equal(score(x, labels, test_rows=80_000), score(x, labels, test_rows=1_000_000))


def test_votes_weighted_by_similarity_find_the_same_wrong_labels():
    x, label = mixture(400, 4)
    wrong = np.arange(0, 400, 10)
    given = label.copy()
    given[wrong] = (given[wrong] + 1) % 4
    names = [f"class {one}" for one in given]
    plain, weighted = score(x, names), score(x, names, weight="similarity")
    assert np.isin(np.argsort(weighted)[:40], wrong).mean() > 0.9
    assert 0 < weighted[np.isfinite(weighted)].sum() < plain.sum()  # a vote weighs at most 1
