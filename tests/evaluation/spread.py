"""Metric that reads no labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


@metric(version=1, reads={"embedding"}, measures=(OutputColumn(higher_is_better=True),))
@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean distance of the selected rows from their mean."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        x = require(trial.embeddings)[trial.selected]
        return MetricResult({"": float(np.linalg.norm(x - x.mean(0), axis=1).mean())})
