"""The kernel density agrees with SciPy's von Mises-Fisher density; its bandwidth comes from the pool."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import vonmises_fisher

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.density_perplexity import (
    DensityPerplexity,
    best_concentration,
    kernel_density,
    log_height,
)


@pytest.mark.parametrize("d", [2, 3, 20])
@pytest.mark.parametrize("concentration", [0.5, 30.0])
def test_one_kernel_is_the_density_of_scipy(rows, d, concentration):
    x, test = rows(1, d), rows(9, d, seed=1)
    result, effective = kernel_density(x, np.ones(1, np.float32), test, concentration)
    even = vonmises_fisher(x[0] / np.linalg.norm(x[0].astype(float)), 1e-9).logpdf(x[0])
    peer = vonmises_fisher(x[0].astype(float) / np.linalg.norm(x[0].astype(float)), concentration)
    np.testing.assert_allclose(
        result, peer.logpdf(test / np.linalg.norm(test, axis=1, keepdims=True)) - even, atol=1e-4
    )
    np.testing.assert_allclose(effective, 1)


def test_it_integrates_to_1_over_the_sphere(rows):
    x, everywhere = rows(20, 3), rows(200_000, 3, seed=2)
    result, _ = kernel_density(x, np.linspace(1, 2, 20, dtype=np.float32), everywhere, 5.0)
    assert np.exp(result).mean() == pytest.approx(1, abs=0.02)


def test_sums_over_many_blocks_are_those_of_plain_numbers(rows):
    x, test = rows(9_000, 3), rows(40, 3, seed=1)
    weight = np.random.default_rng(0).random(9_000).astype(np.float32) + 0.1
    parts = weight / weight.sum() * np.exp(40.0 * (test.astype(float) @ x.T))
    result, effective = kernel_density(x, weight, test, 40.0)
    np.testing.assert_allclose(result, np.log(parts.sum(axis=1)) + log_height(40.0, 3), atol=1e-4)
    np.testing.assert_allclose(effective, parts.sum(axis=1) ** 2 / (parts**2).sum(axis=1), rtol=1e-4)


def test_no_overflow_in_many_dimensions_and_narrow_kernels():
    assert np.isfinite(log_height(16_384.0, 1_024))
    assert log_height(1e-6, 1_024) == pytest.approx(0, abs=1e-9)


def test_rows_closer_together_call_for_narrower_kernels_and_copies_do_not(rows):
    crowd = rows(300, 3)
    tight = crowd * np.float32(0.1) + np.array([1, 0, 0], np.float32)
    tight /= np.linalg.norm(tight, axis=1, keepdims=True)
    assert best_concentration(tight) > 5 * best_concentration(crowd)
    assert best_concentration(np.repeat(crowd, 2, axis=0)) <= best_concentration(crowd) * 2


def test_width_does_not_depend_on_the_choice_and_nearer_choices_are_better(rows):
    x = rows(400, 3)
    test = x[x[:, 0] > 0.5]
    near, far = np.flatnonzero(x[:, 0] > 0.2), np.flatnonzero(x[:, 0] < -0.2)
    values = [
        DensityPerplexity().measure(
            MetricInput(n=400, selected=chosen, embeddings=x, test_embeddings=test), np.random.default_rng(0)
        )
        for chosen in (near, far)
    ]
    assert values[0].values[""] < 0 < values[1].values[""]


def test_a_density_of_single_rows_is_noted(rows):
    trial = MetricInput(n=50, selected=np.arange(3), embeddings=rows(50, 3), test_embeddings=rows(9, 3, seed=1))
    measured = DensityPerplexity(concentration=500.0).measure(trial, np.random.default_rng(0))
    assert measured.notes[0].startswith("the density at a test row depends on only 1.")
