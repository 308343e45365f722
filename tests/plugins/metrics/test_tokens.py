"""Tokens are counted in the selected rows."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.tokens import Tokens


def test_total_mean_and_share():
    trial = MetricInput(n=4, selected=np.array([1, 3]), tokens=np.array([10, 20, 50, 20], np.int32))
    assert Tokens().measure(trial, np.random.default_rng(0)).values == {"total": 40, "mean": 20, "rate": 0.4}


def test_sums_beyond_32_bits_and_a_pool_without_tokens():
    many = MetricInput(n=3, selected=np.arange(3), tokens=np.full(3, 2**30, np.int32))
    assert Tokens().measure(many, np.random.default_rng(0)).values["total"] == 3 * 2**30
    none = Tokens().measure(
        MetricInput(n=1, selected=np.arange(1), tokens=np.zeros(1, np.int32)), np.random.default_rng(0)
    )
    assert np.isnan(none.values["rate"])
    assert none.notes == ("the pool has no tokens",)
