"""GradMatch finds few weighted rows whose sum approximates the sum of all rows, by orthogonal matching pursuit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from curate.errors import PluginError
from curate.plugins.batches import Pool
from curate.plugins.dynamics import Dynamics, compute_logits
from curate.plugins.embedders.lsa import Lsa
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.selectors.coverage.grad_match import GradMatch, grad_match

INTENTS = Path(os.environ.get("CURATE_DATA", "data")) / "intents" / "clinc150_data_full.json"


def vectors(seed, n, d=4, *, twins=False):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: n // 2] = x[:1]
    return x


def unit_pool(seed, n, d=4, error=None):
    x = vectors(seed, n, d)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scores = {} if error is None else {"el2n": np.asarray(error, np.float32)}
    return Pool(x, np.zeros(n, np.float32), np.zeros(n, np.int32), scores, dict.fromkeys(scores, True))


def ridge(g, regularization):
    """Return λ times the mean squared length."""
    return regularization * (g.astype(np.float64) ** 2).sum() / len(g)


def ridge_oracle(g, regularization):
    """Minimize ‖gᵀ w − Σ g‖² + λ m ‖w‖² over w >= 0, with the regularization as extra rows."""
    g = g.astype(np.float64)
    stacked = np.vstack((g.T, np.sqrt(ridge(g, regularization)) * np.eye(len(g))))
    return nnls(stacked, np.concatenate((g.sum(axis=0), np.zeros(len(g)))))


def objective(g, order, weights, regularization):
    error = weights.astype(np.float64) @ g[order].astype(np.float64) - g.sum(axis=0, dtype=np.float64)
    return error @ error + ridge(g, regularization) * (weights.astype(np.float64) ** 2).sum()


@given(
    st.integers(1, 10), st.integers(1, 6), st.integers(0, 1000), st.sampled_from([1e-6, 0.1, 0.5, 5.0]), st.booleans()
)
def test_without_a_limit_the_weights_are_those_of_non_negative_least_squares(n, d, seed, regularization, twins):
    g = vectors(seed, n, d, twins=twins)
    indices, weights, _, _ = grad_match(g, n, regularization=regularization, tolerance=0.0)
    _, best = ridge_oracle(g, regularization)
    assert (weights > 0).all()
    assert objective(g, indices, weights, regularization) == pytest.approx(best**2, rel=1e-4, abs=1e-4)


@given(st.integers(1, 30), st.integers(0, 1000), st.data())
def test_weights_are_the_best_for_the_rows_kept_and_gains_are_the_falls(n, seed, data):
    budget = data.draw(st.integers(1, n))
    g = vectors(seed, n, 6)
    indices, weights, gains, unexplained = grad_match(g, budget, regularization=0.5, tolerance=1e-4)
    assert len(indices) <= budget
    kept = g[indices].astype(np.float64)
    gram = kept @ kept.T + ridge(g, 0.5) * np.eye(len(indices))
    np.testing.assert_allclose(weights, np.linalg.solve(gram, kept @ g.sum(axis=0, dtype=np.float64)), rtol=1e-3)
    np.testing.assert_allclose(unexplained, g.sum(axis=0, dtype=np.float64) - weights @ kept, atol=1e-4)
    assert (gains > 0).all()


def test_orthonormal_gradients_are_picked_by_their_coefficients_and_explain_all_but_the_rest():
    """Each direction is held by as many equal rows as its coefficient says."""
    g = np.repeat(np.eye(5, dtype=np.float32), [3, 9, 1, 7, 5], axis=0)
    indices, weights, gains, unexplained = grad_match(g, 3, regularization=1e-9, tolerance=1e-4)
    assert indices.tolist() == [3, 13, 20]
    np.testing.assert_allclose(weights, [9, 7, 5], rtol=1e-5)
    np.testing.assert_allclose(unexplained, [3, 0, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(gains, np.array([81, 49, 25]) / 165, rtol=1e-5)


def test_regularization_counts_from_the_first_pick():
    g = np.array([[2, 0], [2, 0]], np.float32)
    assert grad_match(g, 1, regularization=1.0, tolerance=0.0)[1].tolist() == [1.0]  # (4 + 1 · 4)⁻¹ · 2 · 4


@pytest.mark.parametrize("unit", [2.0**-10, 2.0**10])
def test_the_unit_of_the_gradients_changes_nothing(unit):
    g = vectors(7, 60, 5) * np.random.default_rng(8).uniform(0.1, 2, (60, 1)).astype(np.float32)
    indices, weights, gains, unexplained = grad_match(g, 20, regularization=0.5, tolerance=1e-4)
    other = grad_match(g * np.float32(unit), 20, regularization=0.5, tolerance=1e-4)
    assert other[0].tolist() == indices.tolist()
    np.testing.assert_allclose(other[1], weights, rtol=1e-5)
    np.testing.assert_allclose(other[2], gains, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(other[3] / unit, unexplained, rtol=1e-5, atol=1e-5)


def unexplained_share(g, budget, regularization):
    unexplained = grad_match(g, budget, regularization=regularization, tolerance=1e-4)[3]
    return np.linalg.norm(unexplained) / np.linalg.norm(g.sum(axis=0, dtype=np.float64))


def absolute(g, regularization):
    """Return the λ that makes the penalty λ ‖w‖² independent of the length of the gradients."""
    return regularization / ridge(g, 1.0)


def test_short_gradients_are_explained_as_well_as_long_ones():
    """Of 200 gradients of length .2 in 10 dimensions, 20 rows: an absolute λ of .5 leaves more than twice as much."""
    g = vectors(9, 200, 10) + np.float32(1)
    g *= np.float32(0.2) / np.linalg.norm(g, axis=1, keepdims=True)
    assert unexplained_share(g, 20, 0.5) == pytest.approx(unexplained_share(5 * g, 20, 0.5), rel=1e-4)
    assert unexplained_share(g, 20, absolute(g, 0.5)) > 2 * unexplained_share(g, 20, 0.5)


@pytest.mark.skipif(not INTENTS.is_file(), reason="needs CLINC150, in the folder that CURATE_DATA names")
def test_within_the_labels_of_clinc150_less_is_unexplained_than_with_an_absolute_penalty():
    """10 of 100 rows of each of 15 labels, errors as lengths: .03 of the gradient is unexplained, and was .60."""
    rows = json.loads(INTENTS.read_text(encoding="utf-8"))["train"][:1500]
    texts, labels = zip(*rows, strict=True)
    rng = np.random.default_rng(0)
    lsa, names = Lsa(), sorted(set(labels))
    x = lsa.restore(lsa.fit(texts, rng)).encode(texts)
    codes = np.array([names.index(label) for label in labels], np.int32)
    proxy = Logistic(epochs=10)
    state = proxy.train(x, codes, len(names), rng)
    logits = np.stack([compute_logits(proxy, state, x, 0, epoch) for epoch in range(10)])
    errors = Dynamics.from_logits(codes, logits[None]).statistic("error")[0]
    gradient = x * np.mean(errors, axis=0, dtype=np.float32)[:, None]
    shares = []
    for label in range(len(names)):
        g = gradient[codes == label]
        shares.append([unexplained_share(g, 10, 0.5), unexplained_share(g, 10, absolute(g, 0.5))])
    relative, before = np.mean(shares, axis=0)
    assert before == pytest.approx(0.60, abs=0.1)
    assert relative == pytest.approx(0.03, abs=0.03)


@pytest.mark.parametrize(("regularization", "least", "most"), [(0.5, 980, 1000), (1e-6, 8, 40)])
def test_the_number_of_selected_rows_is_as_documented(regularization, least, most):
    """1,000 unit gradients around a mean in 32 dimensions: nearly all at the default, about 32 with a λ close to 0."""
    g = vectors(0, 1000, 32) + np.float32(1)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    picks = len(grad_match(g, 1000, regularization=regularization, tolerance=1e-4)[0])
    assert least <= picks <= most


def test_gradients_that_cancel_out_need_no_row():
    g = np.array([[1, 0], [-1, 0]], np.float32)
    assert len(grad_match(g, 2, regularization=0.5, tolerance=1e-4)[0]) == 0


def test_the_budget_is_filled_with_random_rows_of_weight_1():
    pool = unit_pool(1, 200)
    plugin = GradMatch(regularization=1e-6)
    picks = grad_match(pool.embeddings, 50, regularization=1e-6, tolerance=1e-4)[0]
    one, two = (plugin.select(pool, 50, np.random.default_rng(seed)).check(200, 50) for seed in (0, 1))
    assert len(picks) < 10
    for selection in (one, two):
        assert selection.indices[: len(picks)].tolist() == picks.tolist()
        assert set(selection.weight[len(picks) :].tolist()) == {1}
        assert set(selection.gain[len(picks) :].tolist()) == {0}
    assert one.indices.tolist() != two.indices.tolist()


def test_the_error_lengthens_gradients():
    pool = unit_pool(3, 40, error=np.random.default_rng(3).uniform(0, 2, 40))
    selection = GradMatch(error_by="el2n").select(pool, 3, np.random.default_rng(0))
    gradient = pool.embeddings * pool.scores["el2n"][:, None]
    expected = grad_match(gradient, 3, regularization=0.5, tolerance=1e-4)
    assert selection.indices.tolist() == expected[0].tolist()
    assert selection.weight.tolist() == expected[1].tolist()


def test_an_invalid_error_is_refused():
    with pytest.raises(PluginError, match="grad_match: the score 'el2n' is missing, infinite or negative for 1 rows"):
        GradMatch(error_by="el2n").select(unit_pool(4, 3, error=[1, np.nan, 1]), 1, np.random.default_rng(0))
