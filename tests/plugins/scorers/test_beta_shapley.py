"""Beta-Shapley values of a trained proxy are those of the definition, and rank wrong labels last."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.plugins.scorers.beta_shapley import BetaShapley
from curate.plugins.scorers.data_banzhaf import DataBanzhaf
from curate.plugins.subset_trainings import order_by_content
from tests.plugins.scorers.learners import batch_of, mixture


def exact(learner, groups, n_groups, weight, seed=0):
    """Return the value of each group by its definition, with the halves that the scorer draws."""
    rng = np.random.default_rng(seed)
    own, rows = order_by_content(learner, rng)
    fold = assign_vector_folds(own.embeddings, 2, rng)
    values = np.zeros(n_groups)
    for half in (0, 1):
        test = np.flatnonzero(fold != half)

        def utility(members, half=half, test=test):
            training = np.flatnonzero((fold == half) & np.isin(groups[rows], members))
            if not len(training):
                return 1 / own.classes
            probabilities = own.fit_predict(training, test, np.random.default_rng(0))
            return (probabilities.argmax(axis=1) == own.labels[test]).mean()

        for player in range(n_groups):
            others = [one for one in range(n_groups) if one != player]
            for size in range(n_groups):
                gains = [
                    utility((*chosen, player)) - utility(chosen) for chosen in itertools.combinations(others, size)
                ]
                values[player] += weight(size) * np.mean(gains) / 2
    return values


def groups_of_different_worth():
    """Return a pool whose groups have correct labels, wrong labels, and one class only."""
    x, labels = mixture(160, 4, noise=1.0)
    groups = (np.arange(160) // 40).astype(np.int32)
    labels[groups == 1] = (labels[groups == 1] + 1) % 4
    labels[groups == 2] = 0
    return x, labels, groups


@pytest.mark.parametrize(
    ("scorer", "weight"),
    [
        (BetaShapley(alpha=1, beta=1, group="source", trainings=300), lambda _: 1 / 4),
        (DataBanzhaf(group="source", trainings=300), lambda size: math.comb(3, size) / 8),
    ],
    ids=["Shapley", "Banzhaf"],
)
def test_values_of_groups_are_those_of_the_definition(scorer, weight):
    x, labels, groups = groups_of_different_worth()
    batch = batch_of(x, labels, 4, groups=groups, group_names=("a", "b", "c", "d"))
    values, errors = scorer.score(batch, np.random.default_rng(0)).values.T
    expected = exact(batch.learner, groups, 4, weight)
    for group in range(4):
        assert len(set(values[groups == group])) == 1
        assert abs(values[groups == group][0] - expected[group]) < 4 * errors[groups == group][0] + 1e-6
    assert errors.max() < 0.02
    assert values[groups == 1][0] < min(values[groups == 0][0], values[groups == 3][0])


def test_shapley_values_sum_to_the_accuracy_above_guessing():
    x, labels, groups = groups_of_different_worth()
    batch = batch_of(x, labels, 4, groups=groups, group_names=("a", "b", "c", "d"))
    scorer = BetaShapley(alpha=1, beta=1, group="source", trainings=600, measure="probability")
    values = scorer.score(batch, np.random.default_rng(0)).values[::40, 0]
    rng = np.random.default_rng(0)
    own, _ = order_by_content(batch.learner, rng)
    fold = assign_vector_folds(own.embeddings, 2, rng)
    accuracies = []
    for half in (0, 1):
        training, test = np.flatnonzero(fold == half), np.flatnonzero(fold != half)
        probabilities = own.fit_predict(training, test, np.random.default_rng(0))
        accuracies.append(probabilities[np.arange(len(test)), own.labels[test]].mean())
    assert values.sum() == pytest.approx(np.mean(accuracies) - 0.25, abs=0.02)


@pytest.mark.parametrize("kind", [BetaShapley, DataBanzhaf])
def test_wrong_labels_of_a_small_pool_have_the_lower_values(kind):
    x, labels = mixture(60, 3)
    wrong = np.arange(0, 60, 10)
    labels[wrong] = (labels[wrong] + 1) % 3
    scorer = kind(trainings=1_000, measure="probability")
    values = scorer.score(batch_of(x, labels, 3), np.random.default_rng(0)).values[:, 0]
    right = np.delete(values, wrong)
    assert values[wrong].mean() < 0 < right.mean()
    assert (values[wrong][:, None] < right).mean() > 0.9


def test_values_within_their_noise_get_a_warning():
    x, labels = mixture(80, 2)
    (warning,) = BetaShapley(alpha=1, trainings=8).score(batch_of(x, labels, 2), np.random.default_rng(0)).warnings
    assert "of the 80 rows have a value that is smaller than its standard error with 8 trainings" in warning
    assert warning.endswith("increase `trainings`, or value groups of rows with `group`")


def test_rows_without_label_or_group_have_no_value():
    x, labels = mixture(40, 2)
    labels[:4] = -1
    groups = (np.arange(40) % 3 - 1).astype(np.int32)
    batch = batch_of(x, labels, 2, groups=groups, group_names=("a", "b"))
    values = BetaShapley(group="source", trainings=10).score(batch, np.random.default_rng(0)).values
    missing = (labels < 0) | (groups < 0)
    assert np.isnan(values[missing]).all()
    assert np.isfinite(values[~missing]).all()


def test_a_pool_without_labels_or_groups_has_no_values():
    x, labels = mixture(20, 2)
    for parts in ({"labels": np.full(20, -1, np.int32)}, {"labels": labels, "groups": np.full(20, -1, np.int32)}):
        batch = batch_of(x, parts["labels"], 2, groups=parts.get("groups", labels), group_names=("a", "b"))
        result = BetaShapley(group="source", trainings=4).score(batch, np.random.default_rng(0))
        assert np.isnan(result.values).all()
    assert result.warnings == ("no row with a label has a group, so that no row has a value",)


def test_one_vector_cannot_be_divided():
    x = np.repeat(mixture(1, 1)[0], 6, axis=0)
    result = DataBanzhaf(trainings=4).score(batch_of(x, np.zeros(6, np.int32), 2), np.random.default_rng(0))
    assert np.isnan(result.values).all()
    assert not result.warnings
