"""How near the chosen rows come to every row of the pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.cosines import distance_to_nearest
from curate.kernels.stats.distributions import normalized_entropy
from curate.kernels.types import Codes, Rows
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


def clusters_covered(cluster: Codes, chosen: Rows) -> tuple[float, float]:
    """The share of the pool's clusters that have a chosen row, and the normalised entropy of the chosen over them.

    Rows in no cluster (-1) are left out. NaN where there is no cluster; the entropy, where there is but one.

    >>> clusters_covered(np.array([0, 0, 3, 3], np.int32), np.array([0, 1]))
    (0.5, 0.0)
    """
    found = np.unique(cluster[cluster >= 0])
    if not len(found):
        return float("nan"), float("nan")
    inside = cluster[chosen][cluster[chosen] >= 0]
    counts = np.bincount(np.searchsorted(found, inside), minlength=len(found))
    return float((counts > 0).mean()), normalized_entropy(counts)


@metric(
    version=2,
    reads={"embedding", "cluster"},
    measures=(
        OutputColumn(name="mean_distance", higher_is_better=False, unit="distance", range=(0, 2)),
        OutputColumn(name="radius", higher_is_better=False, unit="distance", range=(0, 2)),
        OutputColumn(name="cluster_rate", higher_is_better=True, unit="share of clusters", range=(0, 1)),
        OutputColumn(name="cluster_entropy", higher_is_better=True, unit="share of the largest", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How well the chosen rows cover the pool: distances of its rows to the nearest chosen one, and clusters reached.

    ``mean_distance`` is the coverage measure of CCS: rows cover a share p of the pool within radius r (a p-partial
    r-cover), and the area under r over p, AUC_pr, is the mean distance to the nearest chosen row. ``radius`` is the
    largest, which k-center makes small. Equal rows are exactly 0 apart. ``cluster_rate`` is the share of clusters with
    a chosen row; NaN without clusters. ``cluster_entropy`` is how evenly the chosen rows are spread over all clusters;
    NaN with fewer than two, or with all chosen rows outside of clusters.

    References
    ----------
    Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809, section 3.1. Radius: Gonzalez (1985),
    doi:10.1016/0304-3975(85)90224-5.

    Deviations: measured on the pool that was chosen from, where the paper takes test rows.
    """

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        embeddings = require(trial.embeddings)
        distances = distance_to_nearest(embeddings, embeddings[trial.chosen])
        rate, entropy = clusters_covered(require(trial.cluster), trial.chosen)
        values = {
            "mean_distance": float(distances.mean(dtype=np.float64)),
            "radius": float(distances.max()),
            "cluster_rate": rate,
            "cluster_entropy": entropy,
        }
        notes = ("the pool has fewer than two clusters, or no chosen row is in one",) if np.isnan(entropy) else ()
        return MetricResult(values, notes=notes)
