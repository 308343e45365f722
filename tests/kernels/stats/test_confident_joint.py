"""Confident learning: by definition, next to cleanlab where it is installed, and for odd inputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.confident_joint import (
    class_thresholds,
    confident_classes,
    confident_joint,
    find_label_errors,
    noise_matrix,
    normalized_margin,
)

FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_joint")


def noisy(seed, rows=400, most_classes=12):
    """Return probabilities and labels of which up to half are wrong."""
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(5, rows)), int(rng.integers(2, most_classes + 1))
    true = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) * rng.uniform(0.5, 2)
    logits[np.arange(n), true] += rng.uniform(0, 4)
    powers = np.exp(logits)
    labels = np.where(rng.random(n) < rng.uniform(0, 0.5), rng.integers(0, classes, n), true)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels.astype(np.int32)


def joint_of(p, labels):
    return confident_joint(confident_classes(p, class_thresholds(p, labels)), labels, p.shape[1])


# ---------------------------------------------------------------- definition


@given(seed=st.integers(0, 1 << 32))
def test_counts_are_those_of_a_loop_over_rows(seed):
    p, labels = noisy(seed, rows=60)
    classes = p.shape[1]
    thresholds = [p[labels == k, k].astype(float).mean() if (labels == k).any() else 2 for k in range(classes)]
    counts = np.zeros((classes, classes))
    for row, label in zip(p, labels, strict=True):
        reached = [k for k in range(classes) if row[k] >= thresholds[k] - 1e-6]
        if reached:
            counts[label, reached[0] if len(reached) == 1 else row.argmax()] += 1
    counts[np.diag_indices(classes)] = np.maximum(counts.diagonal(), 1)
    wanted = counts / counts.sum(axis=1, keepdims=True) * np.bincount(labels, minlength=classes)[:, None]
    joint = joint_of(p, labels)
    assert (np.abs(joint - wanted) < 1).all()
    assert joint.sum(axis=1).tolist() == np.bincount(labels, minlength=classes).tolist()


def test_noise_matrix_recovers_the_rates_of_a_perfect_model():
    rng = np.random.default_rng(0)
    rates = np.array([[0.8, 0.1, 0.0], [0.2, 0.9, 0.3], [0.0, 0.0, 0.7]])  # of given labels, a column for each true one
    true = np.repeat(np.arange(3), 4_000)
    given_labels = np.array([rng.choice(3, p=rates[:, label]) for label in true], np.int32)
    p = np.full((len(true), 3), 0.05, np.float32)
    p[np.arange(len(true)), true] = 0.9
    thresholds = np.full(3, 0.5)  # classes whose rows are mostly right
    joint = confident_joint(confident_classes(p, thresholds), given_labels, 3)
    np.testing.assert_allclose(noise_matrix(joint), rates, atol=0.02)


@pytest.mark.parametrize("filter_by", FILTERS)
def test_finds_the_labels_that_a_good_model_contradicts(filter_by):
    rng = np.random.default_rng(1)
    true = np.repeat(np.arange(4), 100).astype(np.int32)
    logits = rng.normal(size=(400, 4))
    logits[np.arange(400), true] += 8
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = true.copy()
    wrong = np.arange(0, 400, 10)
    labels[wrong] = (labels[wrong] + 1) % 4
    assert np.flatnonzero(find_label_errors(p.astype(np.float32), labels, filter_by)).tolist() == wrong.tolist()


# ---------------------------------------------------------------- odd inputs


@pytest.mark.parametrize("filter_by", FILTERS)
@given(seed=st.integers(0, 1 << 32))
def test_any_order_and_copies(filter_by, seed):
    p, labels = noisy(seed, rows=40, most_classes=4)
    order = np.random.default_rng(seed).permutation(len(p))
    flags = find_label_errors(p, labels, filter_by)
    np.testing.assert_array_equal(find_label_errors(p[order], labels[order], filter_by), flags[order])
    twice = find_label_errors(np.concatenate([p, p]), np.concatenate([labels, labels]), filter_by)
    np.testing.assert_array_equal(twice[: len(p)], twice[len(p) :])


@pytest.mark.parametrize("filter_by", FILTERS)
def test_a_model_that_knows_nothing_finds_nothing(filter_by):
    p = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (30, 1))
    labels = np.repeat([0, 1, 2], 10).astype(np.int32)
    if filter_by == "confident_joint":  # every class is confident, so the most probable one wins
        assert find_label_errors(p, labels, filter_by).tolist() == (labels > 0).tolist()
    else:
        assert not find_label_errors(p, labels, filter_by).any()


@pytest.mark.parametrize("filter_by", FILTERS)
def test_classes_without_rows_and_with_one_row(filter_by):
    p = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]], np.float32)
    flags = find_label_errors(p, np.array([1, 1, 0], np.int32), filter_by)
    assert not flags.any()
    one = find_label_errors(p[:1], np.array([0], np.int32), filter_by)
    assert one.shape == (1,)


def test_a_class_keeps_a_row_if_all_are_counted_as_errors():
    p = np.array([[0.3, 0.7]] * 2 + [[0.2, 0.8]] * 8, np.float32)
    p[0] = [0.29, 0.71]
    labels = np.array([0, 0] + [1] * 8, np.int32)
    flags = find_label_errors(p, labels, "prune_by_class")
    assert flags[:2].sum() <= 1


def test_no_rows():
    empty = np.empty((0, 3), np.float32)
    assert len(find_label_errors(empty, np.empty(0, np.int32), "both")) == 0


# ---------------------------------------------------------------- next to cleanlab


def test_as_cleanlab():
    """Where counts round to the same integers, the same rows; cleanlab breaks ties of the rounding arbitrarily."""
    cleanlab = pytest.importorskip("cleanlab.filter")
    from cleanlab.count import compute_confident_joint
    from cleanlab.rank import get_label_quality_scores

    compared = 0
    for seed in range(60):
        p, labels = noisy(seed)
        if len(np.unique(labels)) < 2:
            continue
        np.testing.assert_allclose(
            normalized_margin(p, labels), get_label_quality_scores(labels, p, method="normalized_margin"), atol=1e-6
        )
        joint, theirs = joint_of(p, labels), compute_confident_joint(labels, p)
        assert np.abs(joint - theirs).max() <= 1
        if (joint != theirs).any():
            continue
        compared += 1
        for ours in FILTERS:
            name = "confident_learning" if ours == "confident_joint" else ours
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about classes of one row
                expected = cleanlab.find_label_issues(labels, p, filter_by=name, n_jobs=1)
            np.testing.assert_array_equal(find_label_errors(p, labels, ours), expected, f"{seed} {ours}")
    assert compared >= 30
