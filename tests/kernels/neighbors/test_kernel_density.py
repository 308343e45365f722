"""Kernel densities are those of SciPy and of the definition, in any number of dimensions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde

from curate.kernels.neighbors.kernel_density import critical_bandwidths, kernel_density


def slow(x, references, h, omitted=None):
    """Return the log density and the participation ratio row by row, in float64."""
    results = []
    for row, own in zip(x.astype(np.float64), omitted if omitted is not None else [-1] * len(x), strict=True):
        others = np.delete(references.astype(np.float64), own, axis=0) if own >= 0 else references
        exponents = -((row - others) ** 2).sum(axis=1) / (2 * h**2)
        top = exponents.max()
        w = np.exp(exponents - top)
        d = x.shape[1]
        results.append((top + math.log(w.mean()) - d / 2 * math.log(2 * math.pi * h**2), w.sum() ** 2 / (w**2).sum()))
    return np.array(results).T


def test_one_reference_gives_the_kernel():
    h, x = 0.5, np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    logs, contributors = kernel_density(x, x[:1], h, dimensions=2)
    kernel = np.exp([0, -0.5 / h**2]) / (2 * math.pi)
    assert np.exp(logs) == pytest.approx(kernel / h**2)
    assert contributors.tolist() == [1, 1]


def test_in_one_dimension_it_is_that_of_scipy():
    rng = np.random.default_rng(0)
    references, x = rng.standard_normal(500), np.linspace(-6, 6, 101)
    h = 0.3
    expected = gaussian_kde(references, bw_method=h / references.std(ddof=1)).logpdf(x)
    logs, _ = kernel_density(*(v[:, None].astype(np.float32) for v in (x, references)), h, dimensions=1)
    np.testing.assert_allclose(logs, expected, rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 1 << 32), n=st.integers(1, 8), r=st.integers(2, 12), h=st.floats(0.05, 3))
def test_it_is_the_definition(seed, n, r, h):
    rng = np.random.default_rng(seed)
    x, references = (rng.standard_normal((rows, 3)).astype(np.float32) for rows in (n, r))
    omitted = rng.integers(-1, r, n)
    found = kernel_density(x, references, h, dimensions=3, omitted=omitted)
    np.testing.assert_allclose(found[0], slow(x, references, h, omitted)[0], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found[1], slow(x, references, h, omitted)[1], rtol=1e-2)


def test_blocks_of_references_add_up(monkeypatch):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 4)).astype(np.float32)
    omitted = np.arange(50)
    at_once = kernel_density(x, x, 0.4, dimensions=4, omitted=omitted)
    monkeypatch.setattr("curate.kernels.neighbors.kernel_density._COLUMNS", 1)  # some blocks hold the omitted row only
    one_by_one = kernel_density(x, x, 0.4, dimensions=4, omitted=omitted)
    np.testing.assert_allclose(one_by_one, at_once, rtol=1e-5)


def test_translation_does_not_change_it():
    rng = np.random.default_rng(2)
    x, shift = rng.standard_normal((200, 5)).astype(np.float32), np.float32([100, -50, 0, 7, 1000])
    for found, shifted in zip(
        kernel_density(x, x, 0.5, dimensions=5), kernel_density(x + shift, x + shift, 0.5, dimensions=5), strict=True
    ):
        np.testing.assert_allclose(shifted, found, rtol=1e-2, atol=1e-2)  # float32 holds x + 1000 to four decimals


def test_hundreds_of_dimensions_do_not_underflow():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 384)).astype(np.float32)
    logs, contributors = kernel_density(x, x, 0.1, dimensions=384, omitted=np.arange(300))
    assert np.isfinite(logs).all()
    assert np.exp(logs.max()) == 0  # though the densities themselves underflow
    assert (contributors >= 1 - 1e-9).all()
    np.testing.assert_allclose(logs, slow(x, x, 0.1, np.arange(300))[0], rtol=1e-5)


def test_a_row_without_references_has_no_density():
    x = np.zeros((1, 2), np.float32)
    logs, contributors = kernel_density(x, x, 1.0, dimensions=2, omitted=np.array([0]))
    assert logs.tolist() == [-math.inf]
    assert contributors.tolist() == [0]


def test_few_references_carry_the_density_below_the_critical_bandwidths():
    rng = np.random.default_rng(4)
    first, second = critical_bandwidths(20_000, 20)
    references, x = (rng.standard_normal((rows, 20)).astype(np.float32) for rows in (20_000, 200))
    medians = [
        np.median(kernel_density(x, references, h, dimensions=20)[1]) for h in (first / 2, first, second, 1.5 * second)
    ]
    assert medians[0] < 1.5
    assert medians[1] < 10 < medians[2] < medians[3]


def test_critical_bandwidths_are_those_of_the_equation():
    for references, dimensions in ((2, 767.0), (100_000, 20.0), (1_000_000, 1.0), (10_000, 3.5)):
        h, second = critical_bandwidths(references, dimensions)
        u = h**2
        ratio = math.log(references) / dimensions
        assert 0.5 * math.log1p(1 / u) - u / (2 * (1 + u) ** 2) == pytest.approx(ratio, rel=1e-6)
        assert second == pytest.approx(math.sqrt(2) * h)
    assert critical_bandwidths(100_000, 20) == pytest.approx((0.594, 0.840), abs=5e-4)
