"""Learners on a mixture of classes, for the scorers that train a proxy on parts of a pool."""

from __future__ import annotations

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Learner
from curate.plugins.proxies.logistic import Logistic


def mixture(n: int, classes: int, seed: int = 0, noise: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors around one center a class, and their classes."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((classes, 12))
    labels = (np.arange(n) % classes).astype(np.int32)
    x = (centers[labels] + noise * rng.standard_normal((n, 12))).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def batch_of(x: np.ndarray, labels: np.ndarray, classes: int, **parts: object) -> ScoreBatch:
    """Return a batch with a small logistic regression, whose training does not depend on the order of the rows."""
    learner = Learner(x, labels, classes, Logistic(epochs=30, batch_size=100_000, learning_rate=5.0))
    return ScoreBatch(learner=learner, **parts)
