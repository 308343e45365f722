"""Groups are built from codes in any order, and centroids are their mean directions."""

from __future__ import annotations

import numpy as np

from curate.kernels.linalg.centroids import group_rows, mean_directions, streamed_mean_directions


def test_strays_are_left_out_and_numbers_without_rows_make_no_group():
    assert [rows.tolist() for rows in group_rows(np.array([7, -1, 2, 7, -1, 2], np.int32))] == [[2, 5], [0, 3]]
    assert group_rows(np.full(3, -1, np.int32)) == []
    assert group_rows(np.empty(0, np.int32)) == []


def test_mean_directions_are_means_at_unit_length():
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    members = [np.arange(5), np.arange(5, 20)]
    means = np.stack([x[rows].mean(axis=0) for rows in members])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(mean_directions(x, members), expected, atol=1e-6)


def test_rows_that_cancel_out_are_represented_by_the_first():
    x = np.array([[1, 0], [-1, 0]], np.float32)
    assert mean_directions(x, [np.arange(2)]).tolist() == [[1, 0]]


def test_streamed_means_do_not_depend_on_blocks():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((60, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    codes = rng.integers(-1, 3, 60).astype(np.int32)
    blocks = zip(np.split(codes, [7, 7, 50]), np.split(x, [7, 7, 50]), strict=True)
    expected = mean_directions(x, [np.flatnonzero(codes == group) for group in range(3)])
    np.testing.assert_allclose(streamed_mean_directions(blocks, 3, 4), expected, atol=1e-6)


def test_streamed_means_of_groups_without_a_direction_are_the_first_axis():
    x = np.array([[0, 1], [0, -1]], np.float32)
    assert streamed_mean_directions([(np.zeros(2, np.int32), x)], 2, 2).tolist() == [[1, 0], [1, 0]]
