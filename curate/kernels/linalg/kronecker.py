"""Solves with the damped Kronecker product of two covariances, without ever forming the product."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Numbers


def kronecker_solve(a: Numbers, b: Numbers, gradient: Numbers, damping: float) -> Numbers:
    """(A ⊗ B + λI)⁻¹ applied to a layer's gradient, whose rows are laid end to end.

    With A = U_A Λ_A U_Aᵀ and B = U_B Λ_B U_Bᵀ it is U_A [(U_Aᵀ G U_B) ⊘ (λ_A λ_Bᵀ + λ)] U_Bᵀ.

    Parameters
    ----------
    a : (out, out) float64, symmetric, no eigenvalue below 0: E[δδᵀ] of the errors at a layer's outputs
    b : (in, in) float64, likewise: E[xxᵀ] of its inputs
    gradient : (out, in) float64
    damping : λ, above 0

    Returns
    -------
    (out, in) float64

    Cost: O(out³ + in³) time and O(out² + in²) memory, where the dense solve takes O(out³ in³).

    References
    ----------
    Martens & Grosse (2015), "Optimizing neural networks with Kronecker-factored approximate curvature", ICML; Grosse et
    al. (2023), arXiv:2308.03296, section 2.2.

    >>> kronecker_solve(np.diag([2.0, 0.0]), np.diag([3.0, 1.0]), np.ones((2, 2)), 2.0).tolist()
    [[0.125, 0.25], [0.5, 0.5]]
    """
    of_a, turn_a = np.linalg.eigh(a)
    of_b, turn_b = np.linalg.eigh(b)
    curvature = np.outer(np.maximum(of_a, 0), np.maximum(of_b, 0))  # rounding leaves eigenvalues just below 0
    solved: Numbers = turn_a @ ((turn_a.T @ gradient @ turn_b) / (curvature + damping)) @ turn_b.T
    return solved
