"""Coverage of the pool by the selected rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.cosines import distance_to_nearest
from curate.kernels.stats.distributions import normalized_entropy
from curate.kernels.types import Codes, Rows
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


def clusters_covered(cluster: Codes, selected: Rows) -> tuple[float, float]:
    """Compute the share of clusters with a selected row, and the normalized entropy of selected rows over clusters.

    Rows in no cluster (-1) are ignored. NaN without clusters; the entropy is also NaN with only one.

    Parameters
    ----------
    cluster : (n,) int32, cluster of each row, -1 for none
    selected : (k,) row indices

    Returns
    -------
    rate, entropy : in [0, 1]

    Examples
    --------
    >>> clusters_covered(np.array([0, 0, 3, 3], np.int32), np.array([0, 1]))
    (0.5, 0.0)
    """
    codes = np.unique(cluster[cluster >= 0])
    if not len(codes):
        return float("nan"), float("nan")
    selected_codes = cluster[selected][cluster[selected] >= 0]
    counts = np.bincount(np.searchsorted(codes, selected_codes), minlength=len(codes))
    return float((counts > 0).mean()), normalized_entropy(counts)


@metric(
    version=2,
    reads={"embedding", "cluster"},
    measures=(
        OutputColumn(name="mean_distance", higher_is_better=False, unit="distance", range=(0, 2)),
        OutputColumn(name="radius", higher_is_better=False, unit="distance", range=(0, 2)),
        OutputColumn(name="cluster_rate", higher_is_better=True, unit="share of clusters", range=(0, 1)),
        OutputColumn(name="cluster_entropy", higher_is_better=True, unit="share of the maximum", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Coverage of the pool: distances of its rows to the nearest selected row, and clusters reached.

    Use it to check that a selection represents all regions of the pool, the aim of ``k_center`` and
    ``facility_location``. To compare distributions rather than coverage, use ``mmd`` or ``optimal_transport``.

    ``mean_distance`` is the coverage measure of CCS: rows cover a share p of the pool within radius r (a p-partial
    r-cover), and the area under r over p, AUC_pr, is the mean distance to the nearest selected row. ``radius`` is the
    largest distance, which k-center minimizes. Equal rows have distance exactly 0. ``cluster_rate`` is the share of
    clusters with a selected row; NaN without clusters. ``cluster_entropy`` measures how evenly the selected rows are
    spread over all clusters; NaN with fewer than two clusters, or if all selected rows are outside of clusters.

    Notes
    -----
    Deviations: measured on the pool, where the paper uses test rows.

    References
    ----------
    Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809, section 3.1. Radius: Gonzalez (1985),
    doi:10.1016/0304-3975(85)90224-5.
    """

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        embeddings = require(inputs.embeddings)
        distances = distance_to_nearest(embeddings, embeddings[inputs.selected])
        rate, entropy = clusters_covered(require(inputs.cluster), inputs.selected)
        values = {
            "mean_distance": float(distances.mean(dtype=np.float64)),
            "radius": float(distances.max()),
            "cluster_rate": rate,
            "cluster_entropy": entropy,
        }
        notes = ("the pool has fewer than two clusters, or no selected row is in one",) if np.isnan(entropy) else ()
        return MetricResult(values, notes=notes)
