"""Tells how many rows an epoch plan trains on, by the weights that a metric is handed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


@metric(version=1, reads=set(), measures=(OutputColumn(higher_is_better=None),), random=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """The sum of the weights of the chosen rows."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        return MetricResult({"": float(len(trial.chosen) if trial.weight is None else trial.weight.sum())})
