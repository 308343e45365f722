"""How much the chosen rows repeat one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.linalg.cosines import similarity_threshold
from curate.kernels.neighbors.knn import nearest_similarity
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


@metric(
    version=2,
    reads={"embedding"},
    measures=(
        OutputColumn(name="mean", higher_is_better=False, unit="cosine similarity", range=(-1, 1)),
        OutputColumn(name="percentile_95", higher_is_better=False, unit="cosine similarity", range=(-1, 1)),
        OutputColumn(name="rate", higher_is_better=False, unit="share of the chosen rows", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Redundancy:
    """Similarity of the chosen rows to their nearest other chosen row: mean, 95th percentile, share that is too high.

    Few rows of a crowded pool lie farther apart than many, so compare choices of equal size. NaN for one row. Exact, in
    O(k² d) time and O(k) memory for k chosen rows.

    References
    ----------
    The distance to the nearest neighbour as a measure of spread: Clark & Evans (1954), doi:10.2307/1931034.
    """

    min_similarity: Annotated[float, Ge(-1), Le(1)] = 0.9
    """Cosine similarity to another chosen row from which a row is redundant; 1, with 1e-6 for rounding: equal rows."""

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        if len(trial.chosen) == 1:
            nothing = dict.fromkeys(("mean", "percentile_95", "rate"), float("nan"))
            return MetricResult(nothing, notes=("one row is chosen: there is no other to compare it with",))
        nearest = nearest_similarity(require(trial.embeddings)[trial.chosen]).clip(-1, 1)
        values = {
            "mean": float(nearest.mean(dtype=np.float64)),
            "percentile_95": float(np.percentile(nearest, 95)),
            "rate": float((nearest >= similarity_threshold(self.min_similarity)).mean()),
        }
        return MetricResult(values)
