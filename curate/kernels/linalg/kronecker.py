"""Linear solves with the damped Kronecker product of two covariances, without forming the product."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Numbers


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
    eigenvalues_a, eigenvectors_a = np.linalg.eigh(a)
    eigenvalues_b, eigenvectors_b = np.linalg.eigh(b)
    curvature = np.outer(
        np.maximum(eigenvalues_a, 0), np.maximum(eigenvalues_b, 0)
    )  # rounding leaves eigenvalues just below 0
    solution: Numbers = (
        eigenvectors_a @ ((eigenvectors_a.T @ gradient @ eigenvectors_b) / (curvature + damping)) @ eigenvectors_b.T
    )
    return solution
