"""Leading singular values and right singular vectors of a large sparse matrix, by random projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import Matrix, Vector

if TYPE_CHECKING:
    from scipy import sparse


def randomized_svd(
    matrix: sparse.csr_array, count: int, *, n_oversamples: int, n_iter: int, seed: int
) -> tuple[Vector, Matrix]:
    """Compute the leading singular values and right singular vectors of a matrix.

    Parameters
    ----------
    matrix : (n, f) float32
    count : d, the number of singular values, at most min(n, f)
    n_oversamples : number of additional directions, which make the leading ones more accurate
    n_iter : number of power iterations
    seed : seed of the random directions

    Returns
    -------
    values : (d,) float32, descending
    directions : (d, f) float32, orthonormal rows; the row of ``matrix`` with the largest projection on a direction, in
        absolute value, has a positive one

    Notes
    -----
    Cost: O((m + (n + f) r) r) time for m nonzero elements and r = d + ``n_oversamples``, times 2 ``n_iter`` + 2; O((n +
    f) r) memory.

    Guarantee: the same result, bit for bit, as ``sklearn.utils.extmath.randomized_svd`` with the same arguments, whose
    import alone takes a second.

    References
    ----------
    Halko, Martinsson & Tropp (2011), arXiv:0909.4061, algorithms 4.4 and 5.1, with LU instead of QR factorizations
    between the iterations.

    Examples
    --------
    >>> from scipy import sparse
    >>> matrix = sparse.csr_array(np.array([[0, 3, 0], [2, 0, 0]], np.float32))
    >>> values, directions = randomized_svd(matrix, 1, n_oversamples=1, n_iter=2, seed=0)
    >>> values.round(4).tolist(), directions.round(4).tolist()
    ([3.0], [[-0.0, 1.0, 0.0]])
    """
    from scipy import linalg

    is_wide = matrix.shape[0] < matrix.shape[1]
    narrow = matrix.T if is_wide else matrix
    random = np.random.RandomState(seed)
    basis = random.normal(size=(narrow.shape[1], count + n_oversamples)).astype(np.float32)
    with one_blas_thread():
        for _ in range(n_iter):
            basis = linalg.lu(narrow @ basis, permute_l=True, check_finite=False)[0]
            basis = linalg.lu(narrow.T @ basis, permute_l=True, check_finite=False)[0]
        basis = linalg.qr(narrow @ basis, mode="economic", check_finite=False)[0]
        left, values, right = linalg.svd(basis.T @ narrow, full_matrices=False)
        left = basis @ left
    projections, directions = (right, left.T) if is_wide else (left.T, right)
    signs = np.sign(projections[np.arange(len(projections)), np.abs(projections).argmax(axis=1)])
    return values[:count], (directions * signs[:, None])[:count]
