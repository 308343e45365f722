"""Maximum mean discrepancy agrees with its definition, and is unbiased over uniform samples."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.mmd import MMD, median_distance, squared_mmd


def by_definition(x, a, b, bandwidth):
    squared = ((x[:, None].astype(float) - x) ** 2).sum(axis=2)
    kernel = np.exp(-squared / (2 * bandwidth**2))

    def mean(first, second):
        return np.mean([kernel[i, j] for i in first for j in second if i != j])

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


def test_is_its_definition_with_and_without_rows_in_common(rows):
    x = rows(40, 4)
    for a, b in ((np.arange(10), np.arange(20, 40)), (np.arange(0, 40, 3), np.arange(40))):
        assert squared_mmd(x, a, b, 0.7) == pytest.approx(by_definition(x, a, b, 0.7), abs=1e-6)


def test_uniform_selections_have_zero_on_average(rows):
    x = rows(120, 3)
    generator = np.random.default_rng(5)
    result = [squared_mmd(x, generator.choice(120, 15, replace=False), np.arange(120), 1.0) for _ in range(400)]
    assert abs(np.mean(result)) < 4 * np.std(result) / 20


def test_bandwidth_is_the_median_distance_between_rows_of_the_pool(rows):
    x = rows(30, 4)
    distances = [np.linalg.norm(x[i] - x[j]) for i in range(30) for j in range(i)]
    assert median_distance(x) == pytest.approx(np.median(distances), abs=1e-5)


def test_a_pool_of_copies_but_for_a_few_still_has_a_bandwidth():
    x = np.repeat(np.eye(2, dtype=np.float32), [20, 2], axis=0)
    assert median_distance(x) > 0
    result = MMD().measure(MetricInput(n=22, selected=np.array([20, 21]), embeddings=x), np.random.default_rng(0))
    assert result.values[""] > 0.5


def test_a_choice_from_one_side_is_farther_than_an_even_one(rows):
    x = rows(400, 4)
    one_side, even = np.flatnonzero(x[:, 0] > 0.2), np.random.default_rng(1).choice(400, 150, replace=False)
    far, near = (
        MMD().measure(MetricInput(n=400, selected=chosen, embeddings=x), np.random.default_rng(0)).values[""]
        for chosen in (one_side, even)
    )
    assert far > 0.05 > 10 * abs(near)
