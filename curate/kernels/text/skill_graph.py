"""Graph of skills: how often each occurs, and how often two occur together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from curate.kernels.linalg.blocked_matmul import for_each_product
from curate.kernels.types import Matrix, Numbers, Vector

Normalization = Literal["max", "log"]


@dataclass(frozen=True, slots=True)
class SkillGraph:
    """Skills of some rows, as a graph."""

    names: tuple[str, ...]
    """Names of the v skills, in alphabetical order."""

    memberships: sp.csr_matrix
    """Whether each row has each skill, (n, v), 0 or 1."""

    @classmethod
    def from_lists(cls, skills: Sequence[Sequence[str] | None], min_rows: int = 1) -> SkillGraph:
        """Build the graph from the skills of each row; a skill counts once in a row, and needs ``min_rows`` rows."""
        distinct = [sorted(set(one or ())) for one in skills]
        rows = np.repeat(np.arange(len(distinct)), [len(one) for one in distinct])
        names, codes = np.unique([name for one in distinct for name in one], return_inverse=True)
        counts = np.bincount(codes, minlength=len(names))
        kept = np.flatnonzero(counts >= min_rows)
        ones = np.ones(len(codes))
        matrix = sp.csr_matrix((ones, (rows, codes)), shape=(len(distinct), len(names)))[:, kept]
        return cls(tuple(str(name) for name in names[kept]), matrix)

    def take(self, names: Sequence[str]) -> SkillGraph:
        """Return the graph of some of its skills, in that order."""
        number = {name: position for position, name in enumerate(self.names)}
        return SkillGraph(tuple(names), self.memberships[:, [number[name] for name in names]])

    def adjacency(self, normalization: Normalization) -> sp.csr_matrix:
        """Return the number of rows with each skill (diagonal) and with each pair of skills, (v, v).

        Numbers are divided by the largest one; with ``log``, ln(1 + number) is.
        """
        counts = sp.csr_matrix(self.memberships.T @ self.memberships)
        if normalization == "log":
            counts.data = np.log1p(counts.data)
        counts.data = counts.data / max(counts.data.max(initial=0), 1e-300)
        return counts

    def centroids(self, x: Matrix) -> Matrix:
        """Return the mean direction (v, d) of the rows with each skill; 0 if they cancel out."""
        sums = self.memberships.T @ x.astype(np.float64)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.asarray(sums / np.where(lengths > 1e-12, lengths, 1), np.float32)


def graph_scores(x: Matrix, skills: Matrix, adjacency: sp.csr_matrix, min_similarity: float) -> Vector:
    """Sum the similarities of each row to all skills, weighted by the graph.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    skills : (v, d) float32
        Vector of each skill, of unit length.
    adjacency : (v, v) sparse
        Weights of skills and of pairs of them, symmetric.
    min_similarity : float
        Similarities below it are 0.

    Returns
    -------
    (n,) float32, Σ_j (S A)_xj

    Notes
    -----
    Cost: O(n v d) time, O(n) memory. The sum over j of each row of A is the weight of a skill, so A is not applied to
    each row.

    Examples
    --------
    >>> a = sp.csr_matrix(np.array([[2.0, 1], [1, 1]]))
    >>> graph_scores(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), a, 0.0).tolist()
    [3.0, 2.0]
    """
    weights: Numbers = np.asarray(adjacency.sum(axis=1), np.float64).ravel()
    total = np.zeros(len(x))

    def add(similarities: Matrix, rows: slice, columns: slice) -> None:
        similarities[similarities < max(min_similarity, 0)] = 0
        total[rows] += similarities @ weights[columns]

    for_each_product(x, skills, add)
    return total.astype(np.float32)
