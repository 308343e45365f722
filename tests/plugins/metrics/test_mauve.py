"""MAUVE agrees with the reference implementation, except for its error with equal histograms."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.mauve import Mauve, assign_buckets, frontier_integral, mauve


@pytest.mark.parametrize(
    ("p", "q", "area", "integral"),
    [
        ([0.9, 0.1], [0.1, 0.9], 0.0826015, 0.5056245),
        ([0.6, 0.4], [0.5, 0.5], 0.9983544, 0.0067482),
        ([0.5, 0.3, 0.2], [0.2, 0.3, 0.5], 0.8214100, None),
        ([1, 0], [0, 1], 0.0040721, 1),
        ([0.5, 0.5], [0.5, 0.5], 1, 0),
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 1, 0),
        ([1.0], [1.0], 1, 0),
    ],
)
def test_values_of_the_reference(p, q, area, integral):
    p, q = np.array(p, float), np.array(q, float)
    assert mauve(p, q) == pytest.approx(area, abs=5e-7)
    if integral is not None:
        assert frontier_integral(p, q) == pytest.approx(integral, abs=5e-8)
        assert frontier_integral(q, p) == frontier_integral(p, q)


def test_frontier_integral_is_the_integral_it_is_the_closed_form_of():
    p, q = np.array([0.5, 0.3, 0.2, 0]), np.array([0.2, 0.1, 0.2, 0.5])
    w = (np.arange(20_000) + 0.5)[:, None] / 20_000
    mixture = w * p + (1 - w) * q

    def kl(a):
        return np.where(a > 0, a * np.log(np.where(a > 0, a, 1) / mixture), 0).sum(axis=1)

    expected = 2 * (w[:, 0] * kl(p) + (1 - w[:, 0]) * kl(q)).mean()
    assert frontier_integral(p, q) == pytest.approx(expected, abs=1e-6)


def measure(x, chosen, **fields):
    return (
        Mauve(**fields).measure(MetricInput(n=len(x), selected=chosen, embeddings=x), np.random.default_rng(0)).values
    )


def test_a_one_sided_selection_differs_more_than_a_uniform_one(rows):
    x = rows(600, 3)
    one_side, even = np.flatnonzero(x[:, 0] > 0.3), np.random.default_rng(1).choice(600, 200, replace=False)
    left, right = measure(x, one_side), measure(x, even)
    assert left[""] < 0.5
    assert right[""] > 0.9
    assert left["frontier_integral"] > 2 * right["frontier_integral"]


def test_smoothing_raises_mauve_of_small_samples_and_scaling_lowers_it(rows):
    x = rows(300, 3)
    plain = measure(x, np.arange(40))[""]
    assert measure(x, np.arange(40), smoothing=0.5)[""] > plain > measure(x, np.arange(40), scaling=20)[""]


def test_the_best_of_several_starts_is_taken(rows):
    def inertia(starts):
        x = rows(300, 3)
        code = assign_buckets(x, 12, starts, np.random.default_rng(3))
        return sum(len(x[code == c]) - np.linalg.norm(x[code == c].sum(axis=0)) for c in np.unique(code))

    assert inertia(8) < inertia(1)
