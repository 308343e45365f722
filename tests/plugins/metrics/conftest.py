"""Rows to measure on."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def rows():
    """Makes (n, d) unit rows."""

    def made(n, d, seed=0):
        return unit(np.random.default_rng(seed).standard_normal((n, d)))

    return made


@pytest.fixture
def labelled():
    """Makes a trial of three groups around three directions, each its label, and test rows of the same groups."""

    def made(n=90, tests=60, chosen=None, seed=0, noise=0.4, **parts):
        rng = np.random.default_rng(seed)
        centres = np.eye(4)[:3]
        label, test_label = rng.integers(0, 3, n).astype(np.int32), rng.integers(0, 3, tests).astype(np.int32)
        supplied = {
            "embeddings": unit(centres[label] + noise * rng.standard_normal((n, 4))),
            "label": label,
            "classes": ("a", "b", "c"),
            "test_embeddings": unit(centres[test_label] + noise * rng.standard_normal((tests, 4))),
            "test_label": test_label,
        } | parts
        return MetricInput(n=n, chosen=np.arange(n) if chosen is None else chosen, **supplied)

    return made
