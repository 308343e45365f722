"""Confident learning as a scorer: the mean over the runs, both columns, and rows without a label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.confident_joint import find_label_errors
from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import HeldOut
from curate.plugins.scorers.confident_learning import ConfidentLearning


def score(labels, probabilities, **fields):
    """Return the score for probabilities of shape (runs, n, classes)."""
    p = np.asarray(probabilities, np.float32)
    held_out = HeldOut(np.asarray(labels, np.int32), p.shape[2], len(p), lambda run: p[run])
    return ConfidentLearning(**fields).score(ScoreBatch(held_out=held_out), np.random.default_rng(0))


@given(seed=st.integers(0, 1 << 32), runs=st.integers(1, 3))
def test_columns_are_those_of_the_mean_over_the_runs(seed, runs):
    rng = np.random.default_rng(seed)
    p, labels = rng.dirichlet(np.ones(3), (runs, 30)).astype(np.float32), rng.integers(-1, 3, 30)
    labeled, mean = labels >= 0, p.mean(axis=0)
    found = score(labels, p)
    np.testing.assert_allclose(found[labeled, 0], mean[labeled, labels[labeled]], atol=1e-6)
    errors = find_label_errors(mean[labeled], labels[labeled].astype(np.int32), "prune_by_noise_rate")
    assert (found[labeled, 1] == errors).mean() > 0.9  # but for rounding of the mean
    assert np.isnan(found[~labeled]).all()


def test_the_margin_of_the_label():
    found = score([0, 1, 0], [[[0.6, 0.4], [0.6, 0.4], [1, 0]]], rank_by="normalized_margin")
    np.testing.assert_allclose(found[:, 0], [0.6, 0.4, 1], atol=1e-6)


def test_no_row_with_a_label():
    assert np.isnan(score([-1, -1], [[[0.6, 0.4], [0.6, 0.4]]])).all()


@pytest.mark.parametrize("filter_by", ["prune_by_noise_rate", "prune_by_class", "both", "confident_joint"])
def test_a_clear_error(filter_by):
    p = np.repeat([[[0.9, 0.1], [0.1, 0.9]]], 20, axis=1)
    found = score([0] * 20 + [1] * 18 + [0] * 2, p, filter_by=filter_by)
    if filter_by == "confident_joint":
        assert found[:, 1].tolist() == [0] * 38 + [1] * 2
    assert found[:38, 1].max() == 0
    assert found[38:, 0].max() < 0.5
