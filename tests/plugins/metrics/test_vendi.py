"""The Vendi score agrees with that of the full kernel, and counts distinct rows."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.vendi import Vendi, vendi_score


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, 100.0])
@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (5_000, 6)])
def test_is_that_of_the_eigenvalues_of_the_full_kernel(rows, shape, order):
    x = rows(*shape)
    kernel = (x.astype(float) @ x.T)[:400, :400] if shape[0] > 1_000 else x.astype(float) @ x.T
    x = x[: len(kernel)]
    share = np.linalg.eigvalsh(kernel / len(kernel))
    share = share[share > 1e-12]
    entropy = -(share * np.log(share)).sum() if order == 1 else np.log((share**order).sum()) / (1 - order)
    assert vendi_score(x, order) == pytest.approx(np.exp(entropy), rel=1e-4)


def test_rows_that_are_the_same_are_one_and_orthogonal_rows_count_each():
    assert vendi_score(np.tile(np.eye(3, dtype=np.float32)[:1], (9, 1))) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(6, dtype=np.float32), 3, axis=0)) == pytest.approx(6)


def test_a_higher_order_counts_rare_rows_less():
    x = np.repeat(np.eye(2, dtype=np.float32), [99, 1], axis=0)
    scores = [vendi_score(x, indices) for indices in (0.1, 1.0, 10.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 1.5
    assert scores[2] < 1.02


def test_only_the_selected_rows_count_and_the_field_is_the_order():
    x = np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 3]]
    trial = MetricInput(n=5, selected=np.array([0, 1, 2]), embeddings=x)
    result = [Vendi(order=indices).measure(trial, np.random.default_rng(0)).values[""] for indices in (1.0, 2.0)]
    assert result == [pytest.approx(1.8899, abs=1e-4), pytest.approx(9 / 5)]
