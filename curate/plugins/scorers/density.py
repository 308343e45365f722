"""How crowded the pool is around a row."""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log, pi
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from curate.kernels.linalg.cosines import distances, gaps
from curate.kernels.neighbors.knn import knn
from curate.kernels.types import Matrix, Vector
from curate.plugins.batches import ScoreBatch, given
from curate.plugins.interfaces import OutputColumn, scorer

NEAREST = 1e-3  # the distance of duplicates, so that their density is finite


def chords(x: Matrix, indices: NDArray[np.int32], similarities: Matrix) -> Matrix:
    """Compute the Euclidean distances of unit rows to their neighbors, at least 0.001 and at most 2.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    indices, similarities : (n, k) the neighbors of each row, as ``knn`` returns them

    Returns
    -------
    (n, k) float32, ascending

    Examples
    --------
    >>> x = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> (chords(x, *knn(x, 2)) ** 2).round().tolist()
    [[2.0, 4.0], [2.0, 2.0], [2.0, 4.0]]
    """
    rows = np.repeat(np.arange(len(x)), indices.shape[1])
    gap = gaps(similarities.ravel(), x, x, rows, indices.ravel())
    return np.maximum(np.sort(distances(gap).reshape(indices.shape), axis=1), np.float32(NEAREST))


def intrinsic_dimensions(distances: Matrix, most: int) -> float:
    """The number of dimensions in which the rows spread, as the distances to their neighbours tell it.

    Within a small ball of a set of m dimensions the number of neighbours grows as radiusᵐ, so that ln(r_k / r_j) is
    1 / m on average over the nearer neighbours j; m is one over the mean over all rows.

    Parameters
    ----------
    distances : (n, k) float32, to the k nearest rows, ascending; those of duplicates (0.001) are left out
    most : upper limit of the answer; unit vectors of d numbers lie on a surface of d - 1 dimensions

    Returns
    -------
    m, 1 <= m <= most; 1 where there is nothing to estimate from (no two different distances of one row)

    Cost: O(n k).

    References
    ----------
    Levina & Bickel (2004), "Maximum likelihood estimation of intrinsic dimension", NIPS 17, eq. 8; averaged over rows
    as MacKay & Ghahramani's 2005 comment on it corrects.

    Deviations: duplicates are left out.
    """
    nearer, farthest = distances[:, :-1], distances[:, -1:]
    logs = np.log(farthest / nearer)[nearer > NEAREST]
    total = float(logs.sum(dtype=np.float64))
    return min(max(len(logs) / total, 1.0), float(most)) if total > 0 else 1.0


def log_density(distances: Matrix, rows: int, dimensions: float) -> Vector:
    """Natural logarithm of the k-nearest-neighbour density: ln k - ln(rows - 1) - ln V - dimensions · ln r_k.

    V is the volume of the unit ball of that many dimensions, π^(m/2) / Γ(m/2 + 1). All in logarithms: r_k to the power
    of some hundred dimensions is no number that a float holds.

    Parameters
    ----------
    distances : (n, k) float32, to the k nearest rows, ascending, all above 0
    rows : number of rows in the pool; the row itself does not count

    Returns
    -------
    (n,) float32, per unit volume, higher where the pool is more crowded

    Cost: O(n).

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079.

    >>> two_of_eight_rows_on_a_segment_of_half = log_density(np.array([[0.1, 0.25]], np.float32), 9, 1)
    >>> round(float(np.exp(two_of_eight_rows_on_a_segment_of_half)[0]), 4)
    0.5
    """
    volume = dimensions / 2 * log(pi) - lgamma(dimensions / 2 + 1)
    fraction = log(distances.shape[1]) - log(rows - 1)
    return (fraction - volume - dimensions * np.log(distances[:, -1])).astype(np.float32)


@scorer(
    version=3,
    reads={"embedding", "cluster"},
    within="corpus",
    columns=(OutputColumn(higher_is_better=False, unit="nats"),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Logarithm of the density of the pool around a row, from the distance to its k-th nearest neighbour.

    Lower counts as better: where the pool is crowded, each row is nearly told by its neighbours, and keeping the rare
    rows evens the pool out. Noise is rare too, so drop junk first. Distances are straight lines between unit vectors;
    neighbours nearer than 0.001 (duplicates) count as that far, so that scores are finite. A pool of one row scores 0.
    In a pool of k rows or fewer, k is the number of other rows.

    The logarithm is linear in the number of dimensions, so its scale means something only if that number is right. A
    sentence embedding's own (hundreds) is far too high, as texts fill few of them: therefore the estimate. It does not
    change the order of the rows.

    Above 20,000 rows neighbours are searched in the nearest clusters only: a missed one makes a row look rarer.

    References
    ----------
    Loftsgaarden & Quesenberry (1965), doi:10.1214/aoms/1177700079. Dimensions: Levina & Bickel (2004), "Maximum
    likelihood estimation of intrinsic dimension", NIPS 17, eq. 8.

    Deviations: the estimated number of dimensions in place of the space's.
    """

    neighbours: Annotated[int, Ge(1)] = 10
    """k: the distance to the k-th nearest row is measured."""

    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """How many dimensions the rows spread in; auto: estimated from the same neighbours."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        x = given(batch.embeddings)
        k = min(self.neighbours, len(x) - 1)
        if k < 1:
            return np.zeros(len(x), np.float32)
        reach = chords(x, *knn(x, k, centroids=given(batch.centroids), cluster=given(batch.cluster)))
        m = intrinsic_dimensions(reach, max(x.shape[1] - 1, 1)) if self.dimensions == "auto" else self.dimensions
        return log_density(reach, len(x), m)
