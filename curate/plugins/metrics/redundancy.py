"""Similarity of the selected rows to each other."""

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
        OutputColumn(name="rate", higher_is_better=False, unit="share of the selected rows", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Redundancy:
    """Similarity of the selected rows to the nearest other selected row: mean, 95th percentile, high share.

    Use it to see how much a selection repeats itself; ``duplicates`` counts clear duplicates. A few rows of a crowded
    pool are farther apart than many, so compare selections of equal size.

    NaN for one row. Exact, in O(k² d) time and O(k) memory for k selected rows.

    References
    ----------
    The distance to the nearest neighbor as a measure of spread: Clark & Evans (1954), doi:10.2307/1931034.
    """

    min_similarity: Annotated[float, Ge(-1), Le(1)] = 0.9
    """Cosine similarity to another selected row from which a row is redundant; 1 (with 1e-6 for rounding): equal."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        if len(inputs.selected) == 1:
            undefined = dict.fromkeys(("mean", "percentile_95", "rate"), float("nan"))
            return MetricResult(undefined, notes=("only one row is selected: there is no other to compare it with",))
        nearest = nearest_similarity(require(inputs.embeddings)[inputs.selected]).clip(-1, 1)
        values = {
            "mean": float(nearest.mean(dtype=np.float64)),
            "percentile_95": float(np.percentile(nearest, 95)),
            "rate": float((nearest >= similarity_threshold(self.min_similarity)).mean()),
        }
        return MetricResult(values)
