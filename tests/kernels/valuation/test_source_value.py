"""Relevance and diversity are those of the definition, and ends are as published."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.valuation.source_value import relevance_and_diversity, source_values


def slow(x, groups, buyer, directions, floor):
    """Return the values of each group by a loop over directions, from covariance matrices."""
    covariances = [np.cov(x[groups == group].T.astype(np.float64), bias=True) for group in range(groups.max() + 1)]
    variances, axes = np.linalg.eigh(covariances[buyer])
    order = np.argsort(-variances)[:directions]
    values = []
    for covariance in covariances:
        relevance = diversity = 1.0
        for i in order:
            theirs = axes[:, i] @ covariance @ axes[:, i]
            relevance *= max(min(variances[i], theirs) / max(variances[i], theirs), floor)
            diversity *= max(abs(variances[i] - theirs) / max(variances[i], theirs), floor)
        values.append((relevance ** (1 / len(order)), diversity ** (1 / len(order))))
    return np.array(values)


def test_the_published_example():
    values = relevance_and_diversity(np.array([4.0, 1.0]), np.array([[2.0, 1.0]]), 0)
    assert values[0] == pytest.approx([0.70711, 0], abs=1e-5)


def test_one_factor_of_zero_counts_as_the_floor():
    values = relevance_and_diversity(np.array([4.0, 1.0]), np.array([[2.0, 1.0], [0.0, 1.0]]), 0.01)
    assert values[0, 1] == pytest.approx((0.5 * 0.01) ** 0.5)
    assert values[1] == pytest.approx([0.01**0.5, (1 * 0.01) ** 0.5])


@pytest.mark.parametrize("floor", [0, 0.001])
def test_values_are_those_of_the_definition(floor):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 400).astype(np.int32)
    x = (rng.standard_normal((400, 6)) * [[3, 2, 1, 1, 0.5, 0.2]] * (1 + groups[:, None])).astype(np.float32)
    x += 5 * groups[:, None]
    values, directions = source_values(x, groups, 1, 3, min_variance=0, max_directions=4, floor=floor)
    assert directions == 4
    expected = slow(x, groups, 1, 4, floor)
    np.testing.assert_allclose(values[[0, 2]], expected[[0, 2]], rtol=1e-5)
    assert values[1] == pytest.approx([1, floor], abs=1e-9)


def test_relevance_and_diversity_add_up_to_at_most_one_without_a_floor():
    rng = np.random.default_rng(3)
    values = relevance_and_diversity(rng.random(5), rng.random((100, 5)), 0)
    assert (values.sum(axis=1) <= 1).all()
    one_direction = relevance_and_diversity(rng.random(1), rng.random((100, 1)), 0)
    assert one_direction.sum(axis=1) == pytest.approx(1)


def test_directions_of_small_variance_are_left_out():
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((500, 4)) * [1, 1, 0.1, 0.01]).astype(np.float32)
    _, directions = source_values(x, np.zeros(500, np.int32), 0, 1, min_variance=0.04, max_directions=9, floor=0)
    assert directions == 2  # the variances are 1, 1, 0.01 and 0.0001, 0.5 on average


def test_blocks_add_up_and_rows_without_a_group_do_not_count(monkeypatch):
    rng = np.random.default_rng(2)
    x, groups = rng.standard_normal((300, 5)).astype(np.float32), rng.integers(-1, 4, 300).astype(np.int32)
    options = {"min_variance": 0.04, "max_directions": 5, "floor": 0.001}
    at_once = source_values(x, groups, 0, 6, **options)[0]
    assert np.isnan(at_once[4:]).all()
    monkeypatch.setattr("curate.kernels.valuation.source_value._ROWS", 7)
    np.testing.assert_allclose(source_values(x, groups, 0, 6, **options)[0], at_once, rtol=1e-6)
    there = groups >= 0
    np.testing.assert_allclose(source_values(x[there], groups[there], 0, 6, **options)[0], at_once, rtol=1e-6)


def test_a_buyer_whose_rows_are_the_same_has_no_directions():
    x = np.ones((4, 3), np.float32)
    values, directions = source_values(
        x, np.array([0, 0, 1, 1], np.int32), 0, 2, min_variance=0, max_directions=3, floor=0
    )
    assert directions == 0
    assert np.isnan(values).all()
