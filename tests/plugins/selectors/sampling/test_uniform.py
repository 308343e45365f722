"""Uniform sampling gives every row the same chance."""

from __future__ import annotations

import numpy as np

from curate.plugins.selectors.sampling.uniform import uniform


def test_every_row_is_drawn_equally_often():
    """4,000 draws of 3 from 10: each row 1,200 times, give or take five standard deviations."""
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([uniform(10, 3, rng) for _ in range(4000)]), minlength=10)
    assert np.abs(counts - 1200).max() < 5 * np.sqrt(4000 * 0.3 * 0.7)


def test_every_first_row_is_equally_likely():
    rng = np.random.default_rng(1)
    counts = np.bincount([uniform(5, 2, rng)[0] for _ in range(5000)], minlength=5)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(5000 * 0.2 * 0.8)


def test_another_seed_draws_other_rows():
    draws = {tuple(uniform(1000, 20, np.random.default_rng(seed))) for seed in range(20)}
    assert len(draws) == 20
