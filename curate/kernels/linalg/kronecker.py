"""Solves with the damped Kronecker product of two covariances, without forming the product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Numbers


@dataclass(frozen=True, slots=True)
class KroneckerInverse:
    """Inverse of a damped Kronecker product, (A ⊗ B + λI)⁻¹, by the eigenvectors of both factors."""

    output_basis: Numbers
    """Eigenvectors of A, (out, out), one a column."""

    input_basis: Numbers
    """Eigenvectors of B, (in, in), one a column."""

    eigenvalues: Numbers
    """Eigenvalues of the inverse, (out, in)."""

    @classmethod
    def from_factors(cls, a: Numbers, b: Numbers, damping: float) -> KroneckerInverse:
        """Decompose the factors; see ``kronecker_solve`` for the parameters."""
        eigenvalues_a, eigenvectors_a = np.linalg.eigh(a)
        eigenvalues_b, eigenvectors_b = np.linalg.eigh(b)
        curvature = np.outer(
            np.maximum(eigenvalues_a, 0), np.maximum(eigenvalues_b, 0)
        )  # rounding leaves eigenvalues just below 0
        return cls(eigenvectors_a, eigenvectors_b, curvature + damping)

    def solve(self, gradient: Numbers) -> Numbers:
        """Apply the inverse to the flattened gradient of a layer, (out, in)."""
        rotated = self.output_basis.T @ gradient @ self.input_basis
        solution: Numbers = self.output_basis @ (rotated / self.eigenvalues) @ self.input_basis.T
        return solution

    def self_products(self, errors: Numbers, inputs: Numbers) -> Numbers:
        """Compute gᵀ(A ⊗ B + λI)⁻¹g for the gradients g = δxᵀ of n rows.

        Parameters
        ----------
        errors : δ, (n, out) float64
        inputs : x, (n, in) float64

        Returns
        -------
        (n,) float64, at least 0

        Notes
        -----
        Cost: O(n (out² + in² + out in)) time.
        """
        squared_errors, squared_inputs = np.square(errors @ self.output_basis), np.square(inputs @ self.input_basis)
        values: Numbers = np.einsum("ij,ij->i", squared_errors @ (1 / self.eigenvalues), squared_inputs)
        return values


def kronecker_solve(a: Numbers, b: Numbers, gradient: Numbers, damping: float) -> Numbers:
    """Apply (A ⊗ B + λI)⁻¹ to the flattened gradient of a layer.

    With A = U_A Λ_A U_Aᵀ and B = U_B Λ_B U_Bᵀ the result is U_A [(U_Aᵀ G U_B) ⊘ (λ_A λ_Bᵀ + λ)] U_Bᵀ.

    Parameters
    ----------
    a : (out, out) float64, symmetric, eigenvalues >= 0: E[δδᵀ] of the errors at the outputs of a layer
    b : (in, in) float64, symmetric, eigenvalues >= 0: E[xxᵀ] of its inputs
    gradient : (out, in) float64
    damping : λ, above 0

    Returns
    -------
    (out, in) float64

    Notes
    -----
    Cost: O(out³ + in³) time and O(out² + in²) memory; a dense solve takes O(out³ in³).

    References
    ----------
    Martens & Grosse (2015), "Optimizing neural networks with Kronecker-factored approximate curvature", ICML; Grosse et
    al. (2023), arXiv:2308.03296, section 2.2.

    Examples
    --------
    >>> kronecker_solve(np.diag([2.0, 0.0]), np.diag([3.0, 1.0]), np.ones((2, 2)), 2.0).tolist()
    [[0.125, 0.25], [0.5, 0.5]]
    """
    return KroneckerInverse.from_factors(a, b, damping).solve(gradient)
