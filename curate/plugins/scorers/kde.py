"""Kernel density estimate of the pool around a row, with a check that enough rows carry it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.neighbors.equal_rows import first_equal_rows
from curate.kernels.neighbors.kernel_density import critical_bandwidths, kernel_density
from curate.kernels.neighbors.knn import knn
from curate.kernels.neighbors.knn_density import MIN_DISTANCE, intrinsic_dimensions, neighbor_distances
from curate.kernels.stats.hash_sampling import content_order
from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.results import Scores

_PROBES, _NEIGHBORS = 1_000, 10  # rows and neighbors that estimate the number of dimensions
_ENOUGH, _STEP = 30, 2**0.25  # contributors of an automatic bandwidth, and the steps in which it is widened
_FEW, _CHECKED = 10, 100  # contributors that are too few; rows from which on they are checked


@scorer(
    version=1,
    reads={"embedding"},
    within="corpus",
    columns=(
        OutputColumn(higher_is_better=False, unit="nats", higher_means="more rows like it"),
        OutputColumn(
            name="contributors",
            higher_is_better=True,
            unit="rows",
            range=(0, float("inf")),
            higher_means="a density that more rows carry",
        ),
    ),
    cost="O(n r d) for r reference rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Kde:
    """Log density of the pool around a row, as a mean of Gaussian kernels around other rows.

    Use it as ``density``, when the density should be smooth at a scale that you choose: ``density`` adapts its scale to
    each row. Lower counts as better: in crowded regions each row is nearly redundant.

    ``kde_contributors`` is the number of rows that carry the estimate: the participation ratio of the kernel values.
    In many dimensions, a small bandwidth leaves only the nearest few rows, and the score is then little more than the
    distance to the nearest row. If the median is below 10, the run warns, and the scores are not a density: use a
    larger bandwidth, an embedder with fewer dimensions, or ``density``.

    A row does not count itself. A pool of one row scores 0, with 0 contributors.

    Notes
    -----
    Cost: O(n r d) time for r reference rows.

    ``bandwidth: auto`` begins with Scott's rule, r^(-1 / (m + 4)) standard deviations along one of m dimensions, and
    doubles it every four steps until the density of the median row has at least 30 contributors, or half of the
    references. The number of dimensions m is that of ``density``, estimated from neighbors. It enters the scores as a
    constant, and their order through the bandwidth only. All are measured at 1,000 of the references.

    Deviations: the row itself is left out.

    References
    ----------
    Scott (1992), Multivariate Density Estimation, doi:10.1002/9780470316849, section 6.3. Many dimensions: Biroli &
    Mézard (2024), Kernel Density Estimators in Large Dimensions, arXiv:2408.05807. Dimensions: Levina & Bickel (2004),
    "Maximum likelihood estimation of intrinsic dimension", NIPS 17, eq. 8.
    """

    bandwidth: Annotated[float, Ge(MIN_DISTANCE), Le(1_000)] | Literal["auto"] = "auto"
    """Standard deviation of the kernel, as Euclidean distance between unit vectors (two random vectors are about 1.4
    apart); auto: wide enough for 30 contributors, see the notes."""

    reference_rows: Annotated[int, Ge(2), Le(1_000_000)] = 10_000
    """Maximum number of rows whose kernels are added; more are sampled uniformly. The time is proportional to it."""

    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Number of dimensions in which the rows spread; auto: estimated from neighbors."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        x = require(batch.embeddings)
        n = len(x)
        if n < 2:
            return Scores(np.zeros((n, 2), np.float32))
        order = content_order(x, int(rng.integers(2**63)))
        references = np.ascontiguousarray(x[order[: self.reference_rows]])
        rank = np.empty(n, np.intp)
        rank[order] = np.arange(n)
        omitted = rank[first_equal_rows(x, np.arange(n), rank.astype(np.float64))]
        omitted[omitted >= len(references)] = -1
        dimensions = _dimensions(references) if self.dimensions == "auto" else float(self.dimensions)
        deviation = sqrt(_total_variance(references) / dimensions)
        critical = critical_bandwidths(len(references), dimensions)
        bandwidth = self.bandwidth
        if bandwidth == "auto":
            bandwidth = _wide_enough(references, deviation * len(references) ** (-1 / (dimensions + 4)))
        logs, contributors = kernel_density(x, references, bandwidth, dimensions=dimensions, omitted=omitted)
        facts = {
            "bandwidth": bandwidth,
            "dimensions": dimensions,
            "deviation": deviation,
            "extreme_value_bandwidth": critical[0] * deviation,
            "central_limit_bandwidth": critical[1] * deviation,
            "reference_rows": float(len(references)),
            "median_contributors": float(np.median(contributors)),
        }
        return Scores(
            np.stack([logs, contributors], axis=1).astype(np.float32), warnings=_diagnosis(facts), facts=facts
        )


def _diagnosis(facts: dict[str, float]) -> tuple[str, ...]:
    """Return a warning if few rows carry the density of the median row."""
    median = facts["median_contributors"]
    if median >= _FEW or facts["reference_rows"] < _CHECKED:
        return ()
    bandwidth, limit = facts["bandwidth"], facts["central_limit_bandwidth"]
    where = "below" if bandwidth < limit else "although it is above"
    return (
        f"only {median:.1f} of {facts['reference_rows']:,.0f} rows carry the density of the median row, so that it is "
        f"little more than the distance to the nearest row; the bandwidth is {bandwidth:.3g}, {where} the {limit:.3g} "
        f"at which many rows contribute in {facts['dimensions']:.0f} dimensions; use a larger bandwidth, an embedder "
        "with fewer dimensions, or the scorer 'density'",
    )


def _wide_enough(references: Matrix, bandwidth: float) -> float:
    """Return the bandwidth, widened until enough references contribute to the density of the median reference."""
    probes = np.arange(min(_PROBES, len(references)))
    target = min(_ENOUGH, (len(references) - 1) / 2)
    bandwidth = max(bandwidth, MIN_DISTANCE)
    while (
        np.median(kernel_density(references[probes], references, bandwidth, dimensions=0, omitted=probes)[1]) < target
    ):
        bandwidth *= _STEP
    return bandwidth


def _dimensions(references: Matrix) -> float:
    """Estimate the number of dimensions in which the references spread from the neighbors of the first ones."""
    probes = np.arange(min(_PROBES, len(references)))
    indices, similarities = knn(references, min(_NEIGHBORS, len(references) - 1), queries=probes)
    distances = neighbor_distances(references, indices, similarities, queries=probes)
    return intrinsic_dimensions(distances, max(references.shape[1] - 1, 1))


def _total_variance(x: Matrix) -> float:
    """Return the sum of the variances of all columns."""
    return float(x.var(axis=0, dtype=np.float64).sum())
