"""Fixtures of rows to measure."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def rows():
    """Return a function that generates (n, d) unit rows."""

    def made(n, d, seed=0):
        return unit(np.random.default_rng(seed).standard_normal((n, d)))

    return made


@pytest.fixture
def labeled():
    """Return a function that generates three labeled clusters and test rows from the same clusters."""

    def made(n=90, tests=60, selected=None, seed=0, noise=0.4, **parts):
        rng = np.random.default_rng(seed)
        centers = np.eye(4)[:3]
        label, test_label = rng.integers(0, 3, n).astype(np.int32), rng.integers(0, 3, tests).astype(np.int32)
        supplied = {
            "embeddings": unit(centers[label] + noise * rng.standard_normal((n, 4))),
            "label": label,
            "classes": ("a", "b", "c"),
            "test_embeddings": unit(centers[test_label] + noise * rng.standard_normal((tests, 4))),
            "test_label": test_label,
        } | parts
        return MetricInput(n=n, selected=np.arange(n) if selected is None else selected, **supplied)

    return made
