"""Influence of examples through linear projections of a network, such as those of attention, by Kronecker factors.

A projection y = Wx is applied to every token. With the input x of a token and the gradient δ of the loss at its output,
the gradient of the loss of an example with respect to W is the sum of δxᵀ over its tokens. The curvature with respect
to W is approximated by the Kronecker product of E[δδᵀ] and E[xxᵀ], means over the tokens, and that with respect to
several projections (queries, keys, values, outputs, and those of an MLP) by one block for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.kernels.linalg.kronecker import kronecker_solve
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers

_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class ProjectionTokens:
    """Inputs and gradients of a projection for t tokens, at least one."""

    inputs: Matrix
    """Input x of the projection for each token, (t, in) float32."""

    gradients: Matrix
    """Gradient δ of the loss of the token's example at the output, (t, out) float32."""

    examples: Codes
    """Number of the example of each token, (t,) int32 from 0."""

    def __len__(self) -> int:
        return len(self.examples)


def projection_factors(tokens: ProjectionTokens) -> tuple[Numbers, Numbers]:
    """Compute the Kronecker factors of the curvature with respect to a projection.

    Parameters
    ----------
    tokens : t tokens

    Returns
    -------
    gradients : (out, out) float64, E[δδᵀ]
    inputs : (in, in) float64, E[xxᵀ]

    Notes
    -----
    Cost: O(t (out² + in²)) time.

    Examples
    --------
    >>> x, delta = np.array([[1, 0], [0, 2]], np.float32), np.array([[1], [3]], np.float32)
    >>> a, b = projection_factors(ProjectionTokens(x, delta, np.zeros(2, np.int32)))
    >>> a.tolist(), b.tolist()
    ([[5.0]], [[0.5, 0.0], [0.0, 2.0]])
    """

    def moments(rows: slice) -> tuple[Numbers, Numbers]:
        delta, x = tokens.gradients[rows].astype(np.float64), tokens.inputs[rows].astype(np.float64)
        return delta.T @ delta, x.T @ x

    a = np.zeros((tokens.gradients.shape[1], tokens.gradients.shape[1]))
    b = np.zeros((tokens.inputs.shape[1], tokens.inputs.shape[1]))
    for gradient_part, input_part in map_blocks(moments, block_slices(len(tokens), _TOKENS)):
        a += gradient_part / len(tokens)
        b += input_part / len(tokens)
    return a, b


def mean_projection_gradient(tokens: ProjectionTokens) -> Numbers:
    """Compute the gradient of the mean loss of the examples with respect to a projection, (out, in) float64."""

    def part(rows: slice) -> Numbers:
        values: Numbers = tokens.gradients[rows].astype(np.float64).T @ tokens.inputs[rows].astype(np.float64)
        return values

    total = np.zeros((tokens.gradients.shape[1], tokens.inputs.shape[1]))
    for values in map_blocks(part, block_slices(len(tokens), _TOKENS)):
        total += values
    return total / (int(tokens.examples.max()) + 1)


def projection_influence(
    rows: Mapping[str, ProjectionTokens], targets: Mapping[str, ProjectionTokens], n: int, damping: float
) -> Numbers:
    """Compute the influence ∇L(targets)ᵀ (H + λI)⁻¹ ∇L(row) of n rows, summed over projections.

    Parameters
    ----------
    rows : tokens of the rows by projection; their examples are numbered 0 … n − 1
    targets : tokens of the target examples for the same projections
    n : number of rows
    damping : λ of each projection, in units of the mean eigenvalue of its Kronecker product, above 0

    Returns
    -------
    (n,) float64; positive if a step on the row lowers the mean loss of the targets; a projection without gradients
    contributes 0, as does a row without tokens

    Notes
    -----
    Cost, for t tokens of the rows: O(t (out² + in² + out in) + out³ + in³) time for each projection; gradients of
    single examples are not formed.

    Deviations: the factors are those of the rows' losses (empirical Fisher matrix). Tokens of an example are treated as
    independent, which scales the curvature of all rows by the same factor, and so does λ.

    References
    ----------
    Zhang et al. (2025), Quad, arXiv:2409.16986; Grosse et al. (2023), arXiv:2308.03296, section 2.2, for the tokens.
    """
    total = np.zeros(n)
    for name, tokens in rows.items():
        a, b = projection_factors(tokens)
        mean_eigenvalue = float(np.trace(a) * np.trace(b)) / (len(a) * len(b))
        if not mean_eigenvalue:
            continue
        solution = kronecker_solve(a, b, mean_projection_gradient(targets[name]), damping * mean_eigenvalue)
        total += _example_products(tokens, solution, n)
    return total


def _example_products(tokens: ProjectionTokens, solution: Numbers, n: int) -> Numbers:
    """Return the inner product of the gradient of each example with a matrix of weights, (n,)."""

    def products(rows: slice) -> Numbers:
        moved = tokens.inputs[rows].astype(np.float64) @ solution.T
        values: Numbers = np.einsum("ij,ij->i", tokens.gradients[rows].astype(np.float64), moved)
        return values

    token_products = np.concatenate(list(map_blocks(products, block_slices(len(tokens), _TOKENS))))
    sums: Numbers = np.bincount(tokens.examples, weights=token_products, minlength=n).astype(np.float64)
    return sums
