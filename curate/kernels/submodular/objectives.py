"""Monotone submodular functions of sets of rows, defined by the gain of each additional row.

A function starts with an empty set. ``gains`` returns the gains of rows, ``take`` adds a row, and ``fresh`` returns a
copy with an empty set. Rounding never makes a gain grow (``LogDeterminant`` rounds gains to single precision, which
hides nearly all of it), so lazy evaluation gives the greedy sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from curate.kernels.submodular.similarities import Similarities, row_entries, similarity_sums
from curate.kernels.types import Indices, Matrix, Numbers, Rows

if TYPE_CHECKING:
    from scipy import sparse

_UPDATES = 1024  # rank-1 updates of the inverse before it is recomputed


class Objective(Protocol):
    """Monotone submodular function f of sets of rows, with f(∅) = 0."""

    def gains(self, rows: Indices) -> Numbers:
        """Compute the increase of f by each of ``rows``, none of them taken; (m,) float64."""

    def take(self, row: int) -> None:
        """Add a row to the set."""

    def fresh(self) -> Objective:
        """Return a copy with an empty set."""


class FacilityLocation:
    """Facility location f(S) = Σ over rows i of the largest similarity of i to a row in S.

    It rewards a similar row in S for every row of the pool. All gains are kept up to date: taking a row lowers the
    gains of rows that cover the same rows. If many rows are taken, this is two to three times as fast as computing
    gains on demand. O(m²) time to take a row with m similar ones, O(1) a gain.

    References
    ----------
    Cornuéjols, Fisher & Nemhauser (1977), doi:10.1287/mnsc.23.8.789.
    """

    def __init__(self, similarities: Similarities) -> None:
        self.similarities = similarities
        self.initial_gains = similarity_sums(similarities)
        self.current_gains = self.initial_gains.copy()
        self.covered = np.zeros(similarities.n, np.float32)

    def gains(self, rows: Indices) -> Numbers:
        return self.current_gains[rows]

    def take(self, row: int) -> None:
        neighbors, similarities = self.similarities.row(row)
        improved = similarities > self.covered[neighbors]
        improved_rows, new_coverage = neighbors[improved], similarities[improved]
        self.similarities.subtract_rises(self.current_gains, improved_rows, self.covered[improved_rows], new_coverage)
        self.covered[improved_rows] = new_coverage

    def fresh(self) -> FacilityLocation:
        clone = copy(self)
        clone.current_gains, clone.covered = self.initial_gains.copy(), np.zeros(self.similarities.n, np.float32)
        return clone


def find_representatives(similarities: Similarities, indices: Indices) -> tuple[Rows, Matrix]:
    """Find the most similar selected row of every other row.

    Parameters
    ----------
    similarities : similarities of n rows
    indices : (k,) selected rows, in the order taken

    Returns
    -------
    nearest : (n,) selected row most similar to each row, ties to the earliest; -1 for selected rows, and if none is
        similar
    similarity : (n,) float32, similarity to that row, NaN if there is none

    Notes
    -----
    Cost: O(k m) for rows with m similar ones.
    """
    nearest, similarity = np.full(similarities.n, -1, np.intp), np.zeros(similarities.n, np.float32)
    for row in indices.tolist():
        neighbors, row_similarities = similarities.row(row)
        improved = row_similarities > similarity[neighbors]
        similarity[neighbors[improved]], nearest[neighbors[improved]] = row_similarities[improved], row
    nearest[indices] = -1
    similarity[nearest < 0] = np.nan
    return nearest, similarity


class SaturatedCoverage:
    """Saturated coverage f(S) = Σ over rows i of min(Σ over j in S of s_ij, α × Σ over all j of s_ij).

    It rewards enough similar rows in S for each row, and no more.

    References
    ----------
    Lin & Bilmes (2011), "A class of submodular functions for document summarization", ACL, eq. 4.
    """

    def __init__(self, similarities: Similarities, saturation: float) -> None:
        self.similarities = similarities
        self.cap = saturation * similarity_sums(similarities)
        self.covered = np.zeros(similarities.n)

    def gains(self, rows: Indices) -> Numbers:
        def worth(s: Matrix, covered: Numbers, cap: Numbers) -> Numbers:
            return np.minimum(s, np.maximum(cap - covered, 0))

        return self.similarities.sum_over_rows(rows, worth, self.covered, self.cap)

    def take(self, row: int) -> None:
        neighbors, values = self.similarities.row(row)
        self.covered[neighbors] += values

    def fresh(self) -> SaturatedCoverage:
        clone = copy(self)
        clone.covered = np.zeros(self.similarities.n)
        return clone


class GraphCut:
    """Graph cut f(S) = Σ over i and j in S of s_ij, i any row, − λ Σ over i, j in S of s_ij.

    It rewards typical rows that are unlike each other. Monotone for λ <= 1/2.

    References
    ----------
    Lin, Bilmes & Xie (2009), "Graph-based submodular selection for extractive summarization", ASRU; Kaushal et al.
    (2019), arXiv:1901.01151, section 3.
    """

    def __init__(self, similarities: Similarities, redundancy: float) -> None:
        self.similarities, self.redundancy = similarities, redundancy
        self.degree = similarity_sums(similarities)
        self.taken = np.zeros(similarities.n)

    def gains(self, rows: Indices) -> Numbers:
        return self.degree[rows] - self.redundancy * (2 * self.taken[rows] + 1)  # 1: similarity to itself

    def take(self, row: int) -> None:
        neighbors, values = self.similarities.row(row)
        self.taken[neighbors] += values

    def fresh(self) -> GraphCut:
        clone = copy(self)
        clone.taken = np.zeros(self.similarities.n)
        return clone


class FeatureBased:
    """Feature-based function f(S) = Σ over features u of φ(Σ over j in S of m_ju), with φ concave.

    The more of a feature S has, the less further rows with it gain. ``features`` (n, u) are at least 0, dense or
    sparse.

    References
    ----------
    Wei, Iyer & Bilmes (2014), "Fast multi-stage submodular maximization", ICML, eq. 3.
    """

    def __init__(self, features: sparse.csr_array, concave: Literal["sqrt", "log"]) -> None:
        self.features, self.concave = features, concave
        self.starts = features.indptr.astype(np.int64)
        self.sums = np.zeros(features.shape[1])

    def gains(self, rows: Indices) -> Numbers:
        positions, lengths = row_entries(self.starts, rows)
        added, current = self.features.data[positions].astype(np.float64), self.sums[self.features.indices[positions]]
        if self.concave == "sqrt":  # √(a + m) − √a, in a form that does not grow with a by rounding
            root = np.sqrt(current + added) + np.sqrt(current)
            increments = np.divide(added, root, out=np.zeros(len(added)), where=root > 0)
        else:
            increments = np.log1p(added / (1 + current))
        starts = np.cumsum(lengths) - lengths
        return np.where(lengths > 0, np.add.reduceat(np.append(increments, 0.0), starts), 0.0)

    def take(self, row: int) -> None:
        entries = slice(self.starts[row], self.starts[row + 1])
        self.sums[self.features.indices[entries]] += self.features.data[entries]

    def fresh(self) -> FeatureBased:
        return FeatureBased(self.features, self.concave)


class LogDeterminant:
    """Log-determinant f(S) = log det(I + K_S), where K are the cosines of the rows: the volume that S spans.

    det(I + X_S X_Sᵀ) = det(I + X_Sᵀ X_S), so the gain of a row is log(1 + xᵀ(I + X_Sᵀ X_S)⁻¹x), and no n × n array is
    needed. O(d²) time a gain.

    Rows are scaled to unit length in double precision, because the lengths of float32 rows differ by rounding, and all
    rows must tie for an empty set. Gains are rounded to single precision, so that equal rows tie.

    References
    ----------
    Kulesza & Taskar (2012), arXiv:1207.6083; Sharma, Kapoor & Deshpande (2015), "On greedy maximization of entropy".
    """

    def __init__(self, x: Matrix) -> None:
        self.x = x
        self.moments = np.eye(x.shape[1])
        self.inverse = np.eye(x.shape[1])
        self.updates = 0

    def gains(self, rows: Indices) -> Numbers:
        x = self._unit(rows)
        gains: Numbers = np.log1p(np.einsum("ij,ij->i", x @ self.inverse, x)).astype(np.float32).astype(np.float64)
        return gains

    def take(self, row: int) -> None:
        x = self._unit(np.array([row]))[0]
        self.moments += np.outer(x, x)
        self.updates += 1
        if self.updates % _UPDATES:
            projected = self.inverse @ x
            self.inverse -= np.outer(projected, projected) / (1 + x @ projected)
        else:
            self.inverse[:] = np.linalg.inv(self.moments)

    def fresh(self) -> LogDeterminant:
        return LogDeterminant(self.x)

    def _unit(self, rows: Indices) -> Numbers:
        """Return the rows at unit length, (m, d) float64; zero rows stay zero."""
        x = self.x[rows].astype(np.float64)
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        unit: Numbers = np.divide(x, lengths, out=x, where=lengths > 0)
        return unit


class Modular:
    """Modular function f(S) = Σ over j in S of v_j: a row has the same value in any set. ``values`` (n,) at least 0."""

    def __init__(self, values: Numbers) -> None:
        self.values = values

    def gains(self, rows: Indices) -> Numbers:
        return self.values[rows]

    def take(self, row: int) -> None:
        """Do nothing: gains do not depend on the set."""

    def fresh(self) -> Modular:
        return self


class WeightedSum:
    """Weighted sum f(S) = Σ over functions t of w_t f_t(S), weights at least 0."""

    def __init__(self, terms: Sequence[Objective], weights: Sequence[float]) -> None:
        self.terms, self.weights = terms, weights

    def gains(self, rows: Indices) -> Numbers:
        total = np.zeros(len(rows))
        for term, weight in zip(self.terms, self.weights, strict=True):
            total += weight * term.gains(rows)
        return total

    def take(self, row: int) -> None:
        for term in self.terms:
            term.take(row)

    def fresh(self) -> WeightedSum:
        return WeightedSum([term.fresh() for term in self.terms], self.weights)
