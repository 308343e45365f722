"""Influence predicts what retraining a convex model without a row, or without a group of rows, does to other rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr

from curate.kernels.influence import inverse_hessian
from curate.kernels.influence.softmax_layer import SoftmaxLayer, error_moments, gradient_products, mean_gradient
from curate.kernels.linalg.kronecker import kronecker_solve

CLASSES, DECAY = 3, 0.02


def losses(weights, x, y):
    logits = x @ weights.reshape(CLASSES, -1).T
    logs = logits - logits.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(x)), y], np.exp(logs)


def train(x, y, weight):
    """Minimize the weighted mean loss plus λ/2 ‖W‖², where the weights of the rows have the sum 1 with all rows."""

    def objective(w):
        loss, p = losses(w, x, y)
        error = (p - np.eye(CLASSES)[y]) * weight[:, None]
        return weight @ loss + DECAY / 2 * w @ w, (error.T @ x).ravel() + DECAY * w

    return minimize(
        objective, np.zeros(CLASSES * x.shape[1]), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9}
    ).x


@pytest.fixture(scope="module")
def setting():
    """Return a training set with some wrong labels, target rows, and the layer of the trained model for both."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((CLASSES, 4))
    y = rng.integers(0, CLASSES, 130)
    x = np.hstack((centers[y] + rng.standard_normal((130, 4)), np.ones((130, 1)))).astype(np.float32)
    labels = np.where(rng.random(130) < 0.1, (y + 1) % CLASSES, y).astype(np.int32)
    labels[90:] = y[90:]
    rows, targets = (x[:90].astype(np.float64), labels[:90]), (x[90:].astype(np.float64), labels[90:])
    weights = train(*rows, np.full(90, 1 / 90))

    def layer(x, y):
        return SoftmaxLayer(x.astype(np.float32), losses(weights, x, y)[1].astype(np.float32), y)

    return rows, targets, layer(*rows), layer(*targets), losses(weights, *targets)[0].mean()


def retrained(setting, left_out):
    """Return how much the mean loss of the targets rises if some rows are left out."""
    rows, targets, _, _, before = setting
    weight = np.full(90, 1 / 90)
    weight[left_out] = 0
    return losses(train(*rows, weight), *targets)[0].mean() - before


@pytest.fixture(scope="module")
def left_out(setting):
    return np.array([retrained(setting, [row]) for row in range(90)])


def exact(setting):
    _, _, layer, target, _ = setting
    return gradient_products(layer, inverse_hessian.solve_exactly(layer, mean_gradient(target), DECAY))


def test_exact_influence_is_the_effect_of_leaving_a_row_out(setting, left_out):
    """In order and in size: the influence of a row is n times the rise of the loss without it."""
    influence = exact(setting)
    assert spearmanr(influence, left_out).statistic > 0.98
    slope = influence @ (90 * left_out) / (influence @ influence)
    assert slope == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("method", ["kronecker", "datainf"])
def test_approximations_rank_rows_as_leaving_them_out_does(setting, left_out, method):
    _, _, layer, target, _ = setting
    vector = mean_gradient(target)
    solution = {
        "kronecker": lambda: kronecker_solve(*error_moments(layer), vector, DECAY),
        "datainf": lambda: inverse_hessian.solve_by_datainf(layer, vector, DECAY),
    }[method]()
    assert spearmanr(gradient_products(layer, solution), left_out).statistic > 0.7


def test_the_sum_over_a_group_tracks_leaving_the_group_out(setting):
    """Groups of 2 to 12 of 90 rows: the sum ranks them; it is too low, because it ignores how the Hessian changes."""
    influence = exact(setting)
    rng = np.random.default_rng(1)
    groups = [rng.choice(90, rng.integers(2, 13), replace=False) for _ in range(40)]
    effects = np.array([retrained(setting, group) for group in groups])
    sums = np.array([influence[group].sum() for group in groups])
    assert spearmanr(sums, effects).statistic > 0.95
    assert 1 < sums @ (90 * effects) / (sums @ sums) < 1.4
