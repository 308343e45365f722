"""Classifier of target against pool: held out for every row, and defined for few rows."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.linalg.cosines import normalize_rows
from curate.plugins.batches import ScoreBatch, TargetRows
from curate.plugins.scorers.target_classifier import TargetClassifier


def target_of(x):
    return TargetRows(x, np.full(len(x), -1, np.int32), np.zeros(len(x), np.int32))


def score(x, targets, **fields):
    batch = ScoreBatch(embeddings=x, target=target_of(targets))
    return TargetClassifier(**fields).score(batch, np.random.default_rng(0))


def cloud(n, center, seed):
    return normalize_rows(np.random.default_rng(seed).standard_normal((n, 6)) * 0.4 + center)


def test_rows_near_the_target_have_higher_odds_and_the_area_is_known():
    center = np.eye(6)
    x = np.concatenate([cloud(300, center[0], 0), cloud(100, center[1], 1)]).astype(np.float32)
    result = score(x, cloud(60, center[1], 2).astype(np.float32))
    assert result.values[300:].mean() > 0 > result.values[:300].mean()
    assert result.facts["auc_low"] < result.facts["auc"] < result.facts["auc_high"]
    assert result.facts["auc"] > 0.8
    assert result.warnings == ()


def test_a_target_like_the_pool_is_reported():
    x = cloud(400, np.zeros(6), 3).astype(np.float32)
    result = score(x, cloud(80, np.zeros(6), 4).astype(np.float32))
    assert "does not differ from the pool" in result.warnings[0]
    assert np.abs(result.values).mean() < 0.5


def test_a_target_equal_to_the_pool_scores_rows_by_models_that_did_not_see_them():
    x = cloud(200, np.zeros(6), 5).astype(np.float32)
    result = score(x, x)
    assert result.facts["auc"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("targets", [1, 3])
def test_one_distinct_target_row(targets):
    x = cloud(50, np.zeros(6), 6).astype(np.float32)
    with pytest.raises(DataError, match=r"1 distinct target rows are too few .*target_similarity"):
        score(x, np.repeat(x[:1], targets, axis=0))


def test_a_pool_of_copies_scores_zero_with_a_warning():
    x = np.repeat(cloud(1, np.zeros(6), 7), 9, axis=0).astype(np.float32)
    result = score(x, cloud(30, np.zeros(6), 8).astype(np.float32))
    assert not result.values.any()
    assert "too few distinct rows" in result.warnings[0]


def test_a_sample_of_the_pool_depends_on_content_only():
    x = cloud(500, np.zeros(6), 9).astype(np.float32)
    targets = cloud(40, np.ones(6), 10).astype(np.float32)
    shuffled = np.random.default_rng(0).permutation(500)
    assert (
        score(x, targets, sample_size=100).values[shuffled].tolist()
        == score(x[shuffled], targets, sample_size=100).values.tolist()
    )
