"""The logistic probe is the documented regression, and notes classes that it could not fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score

from curate.plugins.metrics.logistic_probe import LogisticProbe, logistic_regression


def measure(trial, **fields):
    return LogisticProbe(**fields).measure(trial, np.random.default_rng(0))


def test_is_the_minimum_of_the_penalized_loss_found_by_another_optimizer(labeled):
    trial = labeled(n=40)
    x, y, weight = trial.embeddings.astype(float), trial.label, np.linspace(0.5, 1.5, 40)

    def loss(flat):
        coefficients, intercept = flat[:12].reshape(4, 3), flat[12:]
        logs = log_softmax(x @ coefficients + intercept, axis=1)[np.arange(40), y]
        return -3.0 * (weight * logs).sum() + (coefficients**2).sum() / 2

    best = minimize(loss, np.zeros(15), method="BFGS").x
    expected = softmax(trial.test_embeddings @ best[:12].reshape(4, 3) + best[12:], axis=1)
    result, converged = logistic_regression(
        trial.embeddings, y, weight.astype(np.float32), trial.test_embeddings, inverse_penalty=3.0
    )
    assert converged
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_grades_are_those_of_its_hits(labeled):
    trial = labeled(noise=0.8)
    measured = measure(trial)
    result, _ = logistic_regression(trial.embeddings, trial.label, np.ones(90, np.float32), trial.test_embeddings)
    predicted = result.argmax(axis=1)
    assert (measured.hits == (predicted == trial.test_label)).all()
    assert measured.values["macro_f1"] == pytest.approx(f1_score(trial.test_label, predicted, average="macro"))
    true = result[np.arange(60), trial.test_label].astype(float)
    expected = -np.log((90 * true + 1 / 3) / 91).mean()
    assert measured.values["cross_entropy"] == pytest.approx(expected, rel=1e-3)


def test_a_class_without_a_chosen_row_is_never_predicted_and_costs_finitely_much(labeled):
    trial = labeled(noise=0.1)
    without = dataclasses.replace(trial, selected=np.flatnonzero(trial.label != 1))
    measured = measure(without)
    assert not measured.hits[trial.test_label == 1].any()
    assert measured.hits[trial.test_label != 1].all()
    assert measured.values["accuracy"] == (trial.test_label != 1).mean()
    assert measure(trial).values["cross_entropy"] < measured.values["cross_entropy"] < np.log(3 * 91)
    assert measured.notes == ("1 labels of the test rows have no selected row and are never predicted: b",)


def test_one_class_is_what_is_predicted(labeled):
    trial = labeled()
    measured = measure(dataclasses.replace(trial, selected=np.flatnonzero(trial.label == 2)))
    assert measured.values["accuracy"] == (trial.test_label == 2).mean()


def test_chosen_rows_without_a_label_are_left_out(labeled):
    trial = labeled()
    label = trial.label.copy()
    label[:30] = -1
    with_them = measure(dataclasses.replace(trial, label=label))
    without = measure(dataclasses.replace(trial, selected=np.arange(30, 90)))
    assert with_them.values == without.values
    assert with_them.notes == ("30 selected rows have no label and were excluded from training",)


def test_only_the_selected_rows_are_fitted_on(labeled):
    trial = labeled(noise=0.1)
    label = trial.label.copy()
    label[45:] = (label[45:] + 1) % 3
    misled = dataclasses.replace(trial, label=label)
    assert measure(misled).values["accuracy"] < 1
    assert measure(dataclasses.replace(misled, selected=np.arange(45))).values["accuracy"] == 1


def test_a_row_of_twice_the_weight_is_two_rows(labeled):
    trial = labeled(n=30, noise=0.8)
    twice = dataclasses.replace(trial, selected=np.arange(20), weight=np.repeat([2, 1], 10).astype(np.float32))
    rows = np.concatenate([np.arange(20), np.arange(10)])
    copied = dataclasses.replace(
        trial, n=30, selected=np.arange(30), embeddings=trial.embeddings[rows], label=trial.label[rows]
    )
    # weights have the mean 1, so 20 rows of mean weight 1.5 count as 20 in place of 30 against the penalty
    result, expected = measure(twice, C=30.0), measure(copied, C=20.0)
    assert (result.hits == expected.hits).all()
    assert result.values["cross_entropy"] == pytest.approx(expected.values["cross_entropy"], rel=0.02)


def test_a_fit_that_did_not_converge_is_noted(labeled):
    assert measure(labeled(noise=0.8), max_iterations=2).notes == ("not converged after 2 iterations",)
