"""Second-split forgetting: wrong labels are forgotten, rare rows are not."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Learner
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.scorers.second_split_forgetting import SecondSplitForgetting, forgetting_epoch, learning_epoch


def test_a_row_is_learned_when_it_stays_right_and_forgotten_when_it_stays_wrong():
    correct = np.array([[int(epoch) for epoch in row] for row in ("0111", "0101", "1111", "0000", "1100")], bool).T
    assert learning_epoch(correct).tolist() == [2, 4, 1, 5, 5]
    assert forgetting_epoch(correct).tolist() == [5, 5, 5, 1, 3]


def test_wrong_labels_are_forgotten_sooner_than_rare_rows_although_both_are_learned_late():
    rng = np.random.default_rng(0)
    n, d = 600, 40
    center = np.eye(d)[:3]
    labels = rng.integers(0, 2, n).astype(np.int32)
    x = center[labels] + 0.25 * rng.standard_normal((n, d))
    rare = np.arange(n) < 40  # a third group, far from the others, with the label 0
    labels[rare] = 0
    x[rare] = center[2] + 0.25 * rng.standard_normal((40, d))
    wrong = np.arange(n) >= n - 40
    labels[wrong] = 1 - labels[wrong]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    learner = Learner(x, labels, 2, Logistic(epochs=30, learning_rate=2.0, batch_size=16))
    forgotten, learned = SecondSplitForgetting().score(ScoreBatch(learner=learner), np.random.default_rng(1)).T
    assert forgotten[wrong].mean() < 0.5 * forgotten[rare].mean()
    usual = ~(rare | wrong)
    assert learned[wrong].mean() > learned[usual].mean()


def test_rows_without_a_label_and_copies_of_one_row_have_no_score():
    x = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    labels = np.array([0, 1, 0, -1, 0, 1], np.int32)
    learner = Learner(x, labels, 2, Logistic(epochs=2, batch_size=4))
    score = SecondSplitForgetting().score(ScoreBatch(learner=learner), np.random.default_rng(0))
    assert np.isnan(score[3]).all()
    assert np.isfinite(score[[0, 1, 2, 4, 5]]).all()
    copies = Learner(x[[0, 0]], labels[:2], 2, Logistic(epochs=2, batch_size=4))
    assert np.isnan(SecondSplitForgetting().score(ScoreBatch(learner=copies), np.random.default_rng(0))).all()
