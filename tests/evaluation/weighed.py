"""Metric that returns the number of training rows of an epoch plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


@metric(version=1, reads=set(), measures=(OutputColumn(higher_is_better=None),), random=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """Sum of the weights of the selected rows."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        return MetricResult({"": float(len(trial.selected) if trial.weight is None else trial.weight.sum())})
