"""Plugin in place of a probe: predicts the class with the nearest mean direction of selected rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


@metric(
    version=1,
    reads={"embedding", "label", "test"},
    measures=(OutputColumn(name="accuracy", higher_is_better=True, unit="share of the test rows", range=(0, 1)),),
    learns=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NearestClass:
    """Accuracy of the nearest class mean."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x, y = require(trial.embeddings)[trial.selected], require(trial.label)[trial.selected]
        found = np.unique(y[y >= 0])
        means = np.stack([x[y == code].mean(0) for code in found])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        hits = found[(require(trial.test_embeddings) @ means.T).argmax(1)] == require(trial.test_label)
        absent = len(trial.classes) - len(found)
        return MetricResult({"accuracy": float(hits.mean())}, hits, (f"{absent} classes absent",) if absent else ())
