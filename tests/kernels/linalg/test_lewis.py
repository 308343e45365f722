"""Lewis weights solve their equation, and sensitivities agree with linear programs and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from curate.kernels.linalg.lewis import lewis_weights, lp_sensitivities

POWERS = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0]


def rows(seed=0, n=20, d=3):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def l1_sensitivity(x, i):
    """Return the largest ⟨x_i, y⟩ with Σ |⟨x_j, y⟩| at most 1, by linear programming."""
    n, d = x.shape
    bounds = np.block([[x, -np.eye(n)], [-x, -np.eye(n)], [np.zeros((1, d)), np.ones((1, n))]])
    return -linprog(np.r_[-x[i], np.zeros(n)], bounds, np.r_[np.zeros(2 * n), 1], bounds=(None, None)).fun


@pytest.mark.parametrize("p", POWERS)
def test_lewis_weights_solve_their_equation_and_sum_to_the_rank(p):
    x = rows().astype(np.float64)
    w = lewis_weights(x.astype(np.float32), p)
    inverse = np.linalg.inv((x * (w ** (1 - 2 / p))[:, None]).T @ x)
    np.testing.assert_allclose(w, np.einsum("ij,jk,ik->i", x, inverse, x) ** (p / 2), rtol=1e-7)
    assert w.sum() == pytest.approx(3, abs=1e-7)


def test_lewis_weights_for_p_2_are_leverage_scores():
    x = rows()
    np.testing.assert_allclose(lewis_weights(x, 2.0), np.diag(x @ np.linalg.pinv(x)), atol=1e-5)


@pytest.mark.parametrize("p", POWERS)
def test_lewis_weights_bound_sensitivities(p):
    """s <= w for p <= 2, and s <= d^(p/2 − 1) w for p > 2; what sums to less, at least to 1."""
    x = rows()
    s = lp_sensitivities(x, p)
    assert (s <= max(1, 3 ** (p / 2 - 1)) * lewis_weights(x, p) + 1e-9).all()
    assert s.sum() >= 1


def uneven(seed, kind, n=24, d=4):
    x = rows(seed, n, d)
    if kind == "lengths over eight orders":
        x *= (10.0 ** np.random.default_rng(seed).uniform(-4, 4, (n, 1))).astype(np.float32)
    elif kind == "copies and ties":
        x = np.round(2 * x)
        x[: n // 3] = x[0]
    return x


@pytest.mark.parametrize("kind", ["plain", "lengths over eight orders", "copies and ties"])
@pytest.mark.parametrize("seed", range(3))
def test_sensitivities_for_p_1_are_those_of_linear_programs_to_1e_6(seed, kind):
    """Reweighted least squares were off by up to 4e-4; here each row's own program is solved in another form."""
    x = uneven(seed, kind)
    scaled = x.astype(np.float64) / np.abs(x).max()
    expected = [l1_sensitivity(scaled, i) if x[i].any() else 0.0 for i in range(len(x))]
    result = lp_sensitivities(x, 1.0)
    if kind == "lengths over eight orders":  # the oracle's own tolerance is absolute
        long = np.abs(x).max(axis=1) > 1
        np.testing.assert_allclose(result[long], np.array(expected)[long], rtol=1e-5)
    else:
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("p", "accuracy"), [(1.001, 1e-3), (1.05, 1e-6), (1.1, 1e-8), (1.5, 1e-8), (3.0, 1e-8)])
def test_sensitivities_are_as_accurate_as_documented(p, accuracy):
    """Against Newton's method on a smoothed sum whose smoothing falls to 0."""
    x = uneven(2, "plain").astype(np.float64)
    for i in range(6):
        null = np.linalg.svd(x[i : i + 1])[2][1:].T
        a, b = x @ null, x @ (x[i] / (x[i] @ x[i]))
        t, least = np.zeros(3), np.inf
        for smooth in 10.0 ** -np.arange(0, 13, 0.5):
            for _ in range(40):
                r = a @ t + b
                s = np.sqrt(r**2 + smooth**2)
                gradient = a.T @ (r * s ** (p - 2))
                hessian = (a * (s ** (p - 2) + (p - 2) * r**2 * s ** (p - 4))[:, None]).T @ a
                step, size = -np.linalg.solve(hessian + 1e-30 * np.eye(3), gradient), 1.0
                while size > 1e-9 and (((a @ (t + size * step) + b) ** 2 + smooth**2) ** (p / 2)).sum() > (s**p).sum():
                    size /= 2
                t = t + (size if size > 1e-9 else 0) * step
            least = min(least, (np.abs(a @ t + b) ** p).sum())
        assert lp_sensitivities(x.astype(np.float32), p)[i] == pytest.approx(1 / least, rel=accuracy)


@pytest.mark.parametrize("p", [1.5, 3.0, 6.0])
def test_sensitivities_are_the_largest_shares_over_all_directions(p):
    """In the plane, where every direction can be tried."""
    x = rows(5, 9, 2)
    angle = np.linspace(0, np.pi, 200_001)
    powers = np.abs(x.astype(np.float64) @ np.stack([np.cos(angle), np.sin(angle)])) ** p
    np.testing.assert_allclose(lp_sensitivities(x, p), (powers / powers.sum(axis=0)).max(axis=1), rtol=1e-6)


@pytest.mark.parametrize("p", POWERS)
def test_two_copies_of_the_axes_have_equal_weights(p):
    np.testing.assert_allclose(lp_sensitivities(np.tile(np.eye(2, dtype=np.float32), (2, 1)), p), 0.5, rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 3.0])
@pytest.mark.parametrize("score", [lewis_weights, lp_sensitivities])
def test_a_turned_or_stretched_space_changes_nothing(score, p):
    x = rows()
    other = (x @ np.array([[1, 2, 0], [0, 1, 1], [3, 0, 1]])).astype(np.float32)
    np.testing.assert_allclose(score(x, p), score(other, p), rtol=2e-4)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("score", [lewis_weights, lp_sensitivities])
def test_zero_rows_have_leverage_0_and_a_missing_dimension_is_allowed(score, p):
    x = rows(1, 12, 3)
    x[4] = 0
    flat = np.concatenate((x, x[:, :2]), axis=1)
    assert score(flat, p)[4] == 0
    np.testing.assert_allclose(score(flat, p), score(x, p), rtol=2e-4)
    np.testing.assert_allclose(score(np.ones((4, 2), np.float32), p), 0.25)
    assert score(np.zeros((2, 2), np.float32), p).tolist() == [0, 0]


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("score", [lewis_weights, lp_sensitivities])
def test_rows_in_a_direction_below_the_rounding_error_have_leverage_0(p, score):
    """The span leaves out directions below 1e-12 of the largest eigenvalue."""
    assert score(np.array([[1, 0], [0, 1e-7]], np.float32), p).round(9).tolist() == [1, 0]
