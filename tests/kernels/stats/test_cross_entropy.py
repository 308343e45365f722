"""Cross-entropy agrees with scikit-learn, and is finite where a class is missing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from curate.kernels.stats.cross_entropy import cross_entropy


def test_cross_entropy_is_scikit_learns_but_for_a_row_of_even_probabilities():
    p = np.random.default_rng(1).dirichlet(np.ones(4), 50)
    truth = np.random.default_rng(2).integers(0, 4, 50)
    k = 10**9
    assert cross_entropy(p[np.arange(50), truth], k, 4) == pytest.approx(log_loss(truth, p, labels=range(4)), rel=1e-6)
    assert cross_entropy(np.zeros(3), 9, 4) == pytest.approx(np.log(40))
    assert cross_entropy(np.ones(3), 10, 1) == 0
