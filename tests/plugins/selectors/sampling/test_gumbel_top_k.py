from __future__ import annotations

import numpy as np

from curate.plugins.batches import Pool
from curate.plugins.selectors.difficulty.top_k import top_k
from curate.plugins.selectors.sampling.gumbel_top_k import GumbelTopK


def pool_of(quality):
    n = len(quality)
    return Pool(np.empty((n, 0), np.float32), np.asarray(quality, np.float32), np.zeros(n, np.int32))


def test_a_temperature_near_zero_keeps_the_best():
    quality = np.random.default_rng(0).permutation(200)
    rows = GumbelTopK(temperature=1e-4).select(pool_of(quality), 50, np.random.default_rng(1)).indices
    assert rows.tolist() == top_k(quality.astype(np.float32), 50).tolist()


def test_first_draws_are_in_proportion_to_the_exponential():
    pool, temperature = pool_of([0.0, 0.1, 0.3]), 0.1
    rng = np.random.default_rng(2)
    first = [GumbelTopK(temperature=temperature).select(pool, 1, rng).indices[0] for _ in range(10_000)]
    share = np.exp([0, 1, 3])
    share /= share.sum()
    counts = np.bincount(first, minlength=3)
    assert (np.abs(counts - 10_000 * share) < 4 * np.sqrt(10_000 * share * (1 - share))).all()


def test_extreme_qualities_and_temperatures_do_not_overflow():
    quality = np.array([-3e38, 0, 3e38], np.float32)
    rows = GumbelTopK(temperature=1e-9).select(pool_of(quality), 3, np.random.default_rng(0)).indices
    assert rows.tolist() == [2, 1, 0]
