"""Redundancy uses the nearest other selected row, and no row that was not selected."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.redundancy import Redundancy


def test_nearest_other_chosen_row(rows):
    x, chosen = rows(300, 5), np.arange(40)
    similarity = x[chosen] @ x[chosen].T
    np.fill_diagonal(similarity, -2)
    nearest = similarity.max(axis=1)
    trial = MetricInput(n=300, selected=chosen, embeddings=x)
    result = Redundancy(min_similarity=0.8).measure(trial, np.random.default_rng(0)).values
    expected = {
        "mean": nearest.mean(),
        "percentile_95": np.percentile(nearest, 95),
        "rate": (nearest >= 0.8).mean(),
    }
    assert result == pytest.approx(expected, abs=1e-5)
    assert 0 < result["rate"] < 1


def test_copies_are_wholly_redundant(rows):
    x = np.repeat(rows(5, 3), 2, axis=0)
    result = (
        Redundancy().measure(MetricInput(n=10, selected=np.arange(10), embeddings=x), np.random.default_rng(0)).values
    )
    assert result == pytest.approx({"mean": 1, "percentile_95": 1, "rate": 1}, abs=1e-5)


def test_a_threshold_of_1_finds_all_of_100_equal_pairs_and_no_other(rows):
    x = np.concatenate([rows(100, 384), rows(100, 384), rows(50, 384, seed=1)])
    trial = MetricInput(n=250, selected=np.arange(250), embeddings=x)
    assert Redundancy(min_similarity=1.0).measure(trial, np.random.default_rng(0)).values["rate"] == 0.8
