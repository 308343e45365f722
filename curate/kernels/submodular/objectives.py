"""Monotone submodular functions of sets of rows, told by what each further row would add.

A function starts with no row taken. ``gains`` says what rows would add to those taken, ``take`` takes one, ``fresh`` is
the same function with none taken. Rounding never makes a gain grow (``LogDeterminant`` rounds gains to single
precision, which hides nearly all of it), so lazy evaluation gives the greedy sequence.
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

_UPDATES = 1024  # of an inverse, before it is computed again


class Objective(Protocol):
    """A monotone submodular function f of sets of rows, f of none being 0."""

    def gains(self, rows: Indices) -> Numbers:
        """(m,) float64, by how much each of ``rows``, none taken yet, would raise f."""

    def take(self, row: int) -> None:
        """Take a row."""

    def fresh(self) -> Objective:
        """The same function, no row taken."""


class FacilityLocation:
    """f(S) = Σ over rows i of the largest similarity of i to a row in S: every row has a similar one among those taken.

    All gains are kept up to date: taking a row lowers those of the rows that could have covered what it covers. Where
    many rows are taken, that is two to three times as fast as computing gains when they are read. O(m²) time to take a
    row with m similar ones, O(1) a gain.

    References
    ----------
    Cornuéjols, Fisher & Nemhauser (1977), doi:10.1287/mnsc.23.8.789.
    """

    def __init__(self, similar: Similarities) -> None:
        self.similar = similar
        self.alone = similarity_sums(similar)
        self.left = self.alone.copy()
        self.covered = np.zeros(similar.n, np.float32)

    def gains(self, rows: Indices) -> Numbers:
        return self.left[rows]

    def take(self, row: int) -> None:
        others, values = self.similar.of(row)
        closer = values > self.covered[others]
        rows, after = others[closer], values[closer]
        self.similar.subtract_rises(self.left, rows, self.covered[rows], after)
        self.covered[rows] = after

    def fresh(self) -> FacilityLocation:
        again = copy(self)
        again.left, again.covered = self.alone.copy(), np.zeros(self.similar.n, np.float32)
        return again


def find_representatives(similar: Similarities, order: Indices) -> tuple[Rows, Matrix]:
    """Find the most similar of the rows taken for every other row.

    Parameters
    ----------
    order : (k,) rows, as they were taken

    Returns
    -------
    nearest : (n,) row of ``order`` most similar to each row, the earliest of equals; -1 for those of ``order``, and
        where none is similar
    similarity : (n,) float32, similarity to that row, NaN where there is none

    Notes
    -----
    Cost: O(k m) for rows with m similar ones.
    """
    nearest, similarity = np.full(similar.n, -1, np.intp), np.zeros(similar.n, np.float32)
    for row in order.tolist():
        others, values = similar.of(row)
        closer = values > similarity[others]
        similarity[others[closer]], nearest[others[closer]] = values[closer], row
    nearest[order] = -1
    similarity[nearest < 0] = np.nan
    return nearest, similarity


class SaturatedCoverage:
    """f(S) = Σ over rows i of min(Σ over j in S of s_ij, α × Σ over all j of s_ij): enough for each row, and no more.

    References
    ----------
    Lin & Bilmes (2011), "A class of submodular functions for document summarization", ACL, eq. 4.
    """

    def __init__(self, similar: Similarities, saturation: float) -> None:
        self.similar = similar
        self.cap = saturation * similarity_sums(similar)
        self.covered = np.zeros(similar.n)

    def gains(self, rows: Indices) -> Numbers:
        def worth(s: Matrix, covered: Numbers, cap: Numbers) -> Numbers:
            return np.minimum(s, np.maximum(cap - covered, 0))

        return self.similar.total(rows, worth, self.covered, self.cap)

    def take(self, row: int) -> None:
        others, values = self.similar.of(row)
        self.covered[others] += values

    def fresh(self) -> SaturatedCoverage:
        again = copy(self)
        again.covered = np.zeros(self.similar.n)
        return again


class GraphCut:
    """f(S) = Σ over i and j in S of s_ij, i any row, − λ Σ over i, j in S of s_ij: typical rows, unlike each other.

    Monotone for λ <= 1/2.

    References
    ----------
    Lin, Bilmes & Xie (2009), "Graph-based submodular selection for extractive summarization", ASRU; Kaushal et al.
    (2019), arXiv:1901.01151, section 3.
    """

    def __init__(self, similar: Similarities, redundancy: float) -> None:
        self.similar, self.redundancy = similar, redundancy
        self.degree = similarity_sums(similar)
        self.taken = np.zeros(similar.n)

    def gains(self, rows: Indices) -> Numbers:
        return self.degree[rows] - self.redundancy * (2 * self.taken[rows] + 1)  # 1: its similarity to itself

    def take(self, row: int) -> None:
        others, values = self.similar.of(row)
        self.taken[others] += values

    def fresh(self) -> GraphCut:
        again = copy(self)
        again.taken = np.zeros(self.similar.n)
        return again


class FeatureBased:
    """f(S) = Σ over features u of φ(Σ over j in S of m_ju), φ concave: much of a feature already, little to gain.

    ``features`` (n, u) are at least 0, dense or sparse.

    References
    ----------
    Wei, Iyer & Bilmes (2014), "Fast multi-stage submodular maximization", ICML, eq. 3.
    """

    def __init__(self, features: sparse.csr_array, concave: Literal["sqrt", "log"]) -> None:
        self.features, self.concave = features, concave
        self.starts = features.indptr.astype(np.int64)
        self.sums = np.zeros(features.shape[1])

    def gains(self, rows: Indices) -> Numbers:
        places, lengths = row_entries(self.starts, rows)
        more, before = self.features.data[places].astype(np.float64), self.sums[self.features.indices[places]]
        if self.concave == "sqrt":  # √(a + m) − √a, in a form that rounding does not let grow with a
            root = np.sqrt(before + more) + np.sqrt(before)
            each = np.divide(more, root, out=np.zeros(len(more)), where=root > 0)
        else:
            each = np.log1p(more / (1 + before))
        begins = np.cumsum(lengths) - lengths
        return np.where(lengths > 0, np.add.reduceat(np.append(each, 0.0), begins), 0.0)

    def take(self, row: int) -> None:
        own = slice(self.starts[row], self.starts[row + 1])
        self.sums[self.features.indices[own]] += self.features.data[own]

    def fresh(self) -> FeatureBased:
        return FeatureBased(self.features, self.concave)


class LogDeterminant:
    """Volume that the rows taken span: f(S) = log det(I + K_S), K the cosines of the rows.

    det(I + X_S X_Sᵀ) = det(I + X_Sᵀ X_S), so the gain of a row is log(1 + xᵀ(I + X_Sᵀ X_S)⁻¹x), and no n × n array is
    needed. O(d²) time a gain.

    Rows are scaled to unit length in double precision: float32 rows have lengths that differ by rounding, and with
    nothing taken all rows must tie. Gains are rounded to single precision, so that equal rows tie.

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
            turned = self.inverse @ x
            self.inverse -= np.outer(turned, turned) / (1 + x @ turned)
        else:
            self.inverse[:] = np.linalg.inv(self.moments)

    def fresh(self) -> LogDeterminant:
        return LogDeterminant(self.x)

    def _unit(self, rows: Indices) -> Numbers:
        """(m, d) float64, the rows at unit length; zero rows stay zero."""
        x = self.x[rows].astype(np.float64)
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        unit: Numbers = np.divide(x, lengths, out=x, where=lengths > 0)
        return unit


class Modular:
    """f(S) = Σ over j in S of v_j: every row is worth the same, whatever else is taken. ``values`` (n,) at least 0."""

    def __init__(self, values: Numbers) -> None:
        self.values = values

    def gains(self, rows: Indices) -> Numbers:
        return self.values[rows]

    def take(self, row: int) -> None:
        """Nothing changes."""

    def fresh(self) -> Modular:
        return self


class WeightedSum:
    """f(S) = Σ over functions t of w_t f_t(S), weights at least 0."""

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
