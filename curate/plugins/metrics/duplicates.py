"""Duplicates among the selected rows."""

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
    reads={"content", "embedding"},
    measures=(
        OutputColumn(name="exact", higher_is_better=False, unit="rows", range=(0, float("inf"))),
        OutputColumn(name="near", higher_is_better=False, unit="rows", range=(0, float("inf"))),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Number of selected rows that duplicate the text of another, and number with a near-duplicate.

    Use it to check how much a selection repeats itself, and whether deduplication before it is needed. ``redundancy``
    gives the distribution of similarities instead of counts.

    Of c rows with the same text, c - 1 are exact duplicates. All rows of a group of near-duplicates count as near, and
    exact duplicates are also near ones. Exact, in O(k² d) time and O(k) memory for k selected rows.

    References
    ----------
    Near-duplicates by cosine similarity of embeddings: Abbas et al. (2023), SemDeDup, arXiv:2303.09540.
    """

    min_similarity: Annotated[float, Ge(-1), Le(1)] = 0.95
    """Cosine similarity from which two rows are near-duplicates; 1 finds equal rows, with 1e-6 for rounding."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        exact = len(inputs.selected) - len(np.unique(require(inputs.content)[inputs.selected]))
        nearest = nearest_similarity(require(inputs.embeddings)[inputs.selected])
        return MetricResult(
            {
                "exact": float(exact),
                "near": float(np.count_nonzero(nearest >= similarity_threshold(self.min_similarity))),
            }
        )
