"""The weighted rows of AutoCoreset represent the pool: models trained on them are nearly as good."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PluginError
from curate.kernels.parallel import one_blas_thread
from curate.plugins.batches import Pool
from curate.plugins.selectors.sampling.autocoreset import (
    AutoCoreset,
    _null_vector,
    autocoreset,
    caratheodory,
    least_squares,
)


@pytest.fixture(autouse=True)
def one_thread():
    """Limit BLAS to one thread once, rather than for each training."""
    with one_blas_thread():
        yield


def rng(seed=0):
    return np.random.default_rng(seed)


def regression(seed, n=1_000, d=5):
    """Return a regression problem whose targets include a few outliers."""
    r = rng(seed)
    x = r.standard_normal((n, d))
    y = x @ r.standard_normal(d) + 0.1 * r.standard_normal(n) + (r.random(n) < 0.03) * 10 * r.standard_normal(n)
    return x.astype(np.float32), y.astype(np.float32)


# ---------------------------------------------------------------- Carathéodory


def test_eliminated_sums_stay_exact_and_so_does_the_number_of_rows():
    """500 points in 6 dimensions and a column of ones, to 20."""
    points = np.column_stack((np.ones(500), rng().random((500, 6))))
    rows, weights = caratheodory(points, 20, rng())
    assert len(set(rows.tolist())) == 20
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights @ points[rows], points.sum(axis=0), rtol=1e-11)
    assert weights.sum() == pytest.approx(500)


@given(st.integers(1, 25), st.integers(1, 5), st.integers(0, 100), st.floats(0, 1), st.booleans())
def test_elimination_meets_any_size_from_the_number_of_columns_on(n, q, seed, rate, levels):
    """Also where points repeat, or have fewer directions than columns."""
    points = np.abs(rng(seed).standard_normal((n, q)))
    points = np.round(points) if levels else points
    size = min(n, q + int(rate * n))
    rows, weights = caratheodory(points, size, rng(seed))
    assert len(set(rows.tolist())) == size
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights @ points[rows], points.sum(axis=0), atol=1e-9)


# ---------------------------------------------------------------- the loop


@given(st.integers(1, 6), st.integers(0, 200), st.booleans())
def test_a_null_vector_is_the_same_however_the_points_are_rounded(q, seed, copies):
    """Also where the null space has several dimensions, of which a decomposition returns any basis."""
    points = np.random.default_rng(seed).integers(0, 4, (q + 1, q)).astype(float)
    points[-1] = points[0] if copies else points[-1]
    null = _null_vector(points)
    assert null.max() == pytest.approx(1)
    np.testing.assert_allclose(null @ points, 0, atol=1e-9)
    noise = 1 + 1e-15 * np.random.default_rng(seed + 1).standard_normal(points.shape)
    np.testing.assert_allclose(_null_vector(points * noise), null, atol=1e-6)


def test_least_squares_are_those_of_the_weighted_rows():
    x, y = regression(0, 50, 3)
    weights = rng(1).random(20)
    train, losses = least_squares(x, y)
    features = np.column_stack((x, np.ones(50))).astype(np.float64)
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(features[:20] * root[:, None], y[:20] * root)[0]
    model = train(np.arange(20), weights)
    np.testing.assert_allclose(model, expected, atol=1e-9)
    np.testing.assert_allclose(losses(model), (features @ expected - y) ** 2, atol=1e-9)


def test_search_ends_when_patience_is_up_and_keeps_the_best_model():
    """Models are numbers; the fifth trained is the best, the two after it are not better."""
    values = [9, 9, 9, 5, 3, 4, 3, 1]
    trained = []

    def train(rows, weights):
        trained.append((rows, weights))
        return values[len(trained) - 1]

    indices, weights, mean_loss = autocoreset(10, 4, train, lambda value: np.full(10, float(value)), rng(), patience=2)
    assert len(trained) == 7
    assert sorted(indices.tolist()) == sorted(trained[4][0].tolist())
    assert weights.sum() == pytest.approx(trained[4][1].sum())
    np.testing.assert_allclose(mean_loss, np.mean(values[:7]))


def test_importance_weights_of_all_models_losses_are_unbiased():
    """With one start and one round, the rows that the first model's losses ask for: their weighted losses are right."""
    first = rng(0).random(30) ** 4
    sums = []
    for seed in range(2_000):
        indices, weights, _ = autocoreset(
            30, 6, lambda rows, weights: 0, lambda _: first, rng(seed), n_initial_models=1
        )
        sums.append(weights @ first[indices])
    assert abs(np.mean(sums) - first.sum()) < 4 * np.std(sums) / 2_000**0.5 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("summary", "budget", "d", "least", "most"),
    [("importance", 50, 5, 0.89, 0.94), ("importance", 100, 20, 0.76, 0.81), ("caratheodory", 100, 20, 0.04, 0.12)],
)
def test_the_weighted_loss_of_the_model_returned_is_too_low_and_those_of_the_first_models_are_not(
    summary, budget, d, least, most
):
    """Means over 60 pools of 1,000 rows (5, if slow) of the weighted loss over the loss on all rows."""
    returned, first = [], []
    for seed in range(60 if summary == "importance" else 5):
        r = rng(seed)
        x = r.standard_normal((1_000, d)).astype(np.float32)
        y = (x @ r.standard_normal(d) + r.standard_normal(1_000)).astype(np.float32)
        train, losses = least_squares(x, y)
        met = []

        def remember(model, losses=losses, met=met):
            met.append(losses(model))
            return met[-1]

        indices, weights, _ = autocoreset(1_000, budget, train, remember, rng(seed), summary=summary)
        loss = losses(train(indices, weights))
        returned.append(weights @ loss[indices] / loss.sum())
        first.append(np.mean([weights @ column[indices] / column.sum() for column in met[:3]]))
    assert least < np.mean(returned) < most
    assert np.mean(first) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("budget", [1, 2, 3, 7])
def test_caratheodory_keeps_the_losses_of_the_models_that_the_budget_has_room_for(budget):
    x, y = regression(1, 40, 2)
    train, losses = least_squares(x, y)
    met = []

    def remember(model):
        met.append(losses(model))
        return met[-1]

    indices, weights, _ = autocoreset(40, budget, train, remember, rng(), summary="caratheodory")
    assert weights.sum() == pytest.approx(40)
    for column in met[: min(3, budget - 1)]:
        assert weights @ column[indices] == pytest.approx(column.sum())


def mean_gaps(summary):
    """Return the mean excess loss of 50 of 1,000 rows over 5 pools, and that of 12 uniform samples (mean, best)."""
    gaps = []
    for seed in range(5):
        x, y = regression(seed, 1_000)
        train, losses = least_squares(x, y)
        least = losses(train(np.arange(1_000), np.ones(1_000))).sum()
        indices, weights, _ = autocoreset(1_000, 50, train, losses, rng(seed), summary=summary)
        samples = [rng([seed, i]).choice(1_000, 50, replace=False) for i in range(12)]
        even = [losses(train(sample, np.ones(50))).sum() for sample in samples]
        gaps.append([losses(train(indices, weights)).sum(), np.mean(even), min(even)] / least - 1)
    return np.mean(gaps, axis=0)


def test_models_by_importance_are_better_than_the_best_of_as_many_uniform_samples():
    coreset, _, best_uniform = mean_gaps("importance")
    assert coreset < best_uniform / 2


@pytest.mark.exhaustive
def test_models_by_elimination_are_better_than_those_of_uniform_samples():
    coreset, uniform, _ = mean_gaps("caratheodory")
    assert coreset < uniform


# ---------------------------------------------------------------- the plugin


def pool_of(x, score):
    x = np.asarray(x, np.float32)
    return Pool(
        x / np.linalg.norm(x, axis=1, keepdims=True),
        np.zeros(len(x), np.float32),
        np.zeros(len(x), np.int32),
        {"s": np.asarray(score, np.float32)},
        {"s": True},
    )


@pytest.mark.parametrize("summary", ["importance", "caratheodory"])
@pytest.mark.parametrize("budget", range(7))
def test_budget_is_met_with_identical_rows_and_constant_scores(summary, budget):
    selector = AutoCoreset(predict="s", summary=summary)
    for pool in (pool_of(np.ones((6, 2)), np.arange(6)), pool_of(rng().standard_normal((6, 2)), np.ones(6))):
        selection = selector.select(pool, budget, rng()).check(6, budget)
        assert (selection.weight >= 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_or_infinite_score_is_an_error_that_names_it(bad):
    with pytest.raises(PluginError, match="the score 's' is missing or infinite for 1 rows"):
        AutoCoreset(predict="s").select(pool_of(np.eye(3), [1, bad, 2]), 2, rng())
