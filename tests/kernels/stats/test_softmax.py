"""Probabilities from logits do not overflow, and float16 is precise enough for the scores."""

from __future__ import annotations

import numpy as np
from scipy import special

from curate.kernels.stats.softmax import half_precision_logs, softmax


def test_probabilities_are_scipys_and_sum_to_1_however_large_the_logits():
    logits = np.random.default_rng(1).standard_normal((5, 7)) * [[1], [100], [10_000], [1e-6], [0]]
    result = softmax(logits)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, special.softmax(logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)


def test_storage_in_half_precision_changes_no_order_but_to_a_tie_and_keeps_small_probabilities():
    rng = np.random.default_rng(0)
    for scale in (0.5, 3.0, 12.0):
        p = softmax(scale * rng.standard_normal((20_000, 150)))
        stored = half_precision_logs(p)
        own = np.take_along_axis(stored, p.argmax(axis=1)[:, None], axis=1)[:, 0]
        assert (own == stored.max(axis=1)).all()
        assert (p.argmax(axis=1) == stored.argmax(axis=1)).mean() > 0.995
        np.testing.assert_allclose(softmax(stored), p, rtol=0.05, atol=1e-3)
        np.testing.assert_allclose(
            stored.astype(np.float64), np.log(np.maximum(p, np.finfo(np.float32).tiny)), rtol=5e-4, atol=1e-7
        )
