"""Shapley values of training rows for a nearest-neighbor classifier, exactly."""

from __future__ import annotations

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers

_TESTS = 16  # test rows that a thread sorts at a time
_LOW = np.uint64(0xFFFFFFFF)


def knn_shapley(x: Matrix, labels: Codes, test: Matrix, test_labels: Codes, n_neighbors: int) -> Numbers:
    """Compute the Shapley value of each training row for the accuracy of K nearest neighbors.

    The utility of a set of training rows for a test row is the share of its K nearest rows in the set that have the
    label of the test row, where missing neighbors count as wrong: with a large K, also more than the number of rows.
    The value is the mean over the test rows.

    Parameters
    ----------
    x : (n, d) float32 training rows of unit length, n from 1 to 2^32
    labels : (n,) int32
    test : (m, d) float32 test rows of unit length, m >= 1
    test_labels : (m,) int32
    n_neighbors : K

    Returns
    -------
    (n,) float64; the sum is the utility of all training rows

    Notes
    -----
    Cost: O(m n (d + log n)) time; memory of 16 n similarities a thread. Ties of the similarity go to the lowest row.

    Deviations: the last term is min(K, n) / (n K), which is right for n < K as well; the authors' code has 1 / n.

    References
    ----------
    Jia et al. (2019), Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms, arXiv:1908.08619,
    theorem 1.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.9, 0.436], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    >>> values = knn_shapley(x, np.array([1, 0, 1, 1, 0], np.int32), x[:1], np.array([1], np.int32), 2)
    >>> values.round(4).tolist()
    [0.25, -0.25, 0.25, 0.25, 0.0]
    """
    n, k = len(x), n_neighbors
    places = np.arange(1, n)
    weight = np.minimum(k, places) / (places * k)
    last = min(k, n) / (n * k)

    def of_block(block: slice) -> Numbers:
        total = np.zeros(n)
        values = np.empty(n)
        for similarity, label in zip(test[block] @ x.T, test_labels[block], strict=True):
            order = _descending(similarity)
            matches = (labels[order] == label).astype(np.float64)
            values[-1] = last * matches[-1]
            values[:-1] = (matches[:-1] - matches[1:]) * weight
            total[order] += np.cumsum(values[::-1])[::-1]
        return total

    total = np.zeros(n)
    for part in map_blocks(of_block, block_slices(len(test), _TESTS)):
        total += part
    return total / len(test)


def _descending(values: np.ndarray) -> np.ndarray:
    """Return the order of descending float32 values, ties to the lowest index.

    >>> _descending(np.array([0.5, -1, 2, 0.5, -0.0, 0.0], np.float32)).tolist()
    [2, 0, 3, 4, 5, 1]
    """
    bits = (values + np.float32(0)).view(np.uint32).astype(np.uint64)  # + 0 turns -0 into 0
    sign = np.uint64(1 << 31)
    ascending = np.where(bits & sign, ~bits & _LOW, bits | sign)
    keys = ((_LOW - ascending) << np.uint64(32)) | np.arange(len(values), dtype=np.uint64)
    keys.sort()  # four times faster than a stable order of floats
    return (keys & _LOW).astype(np.intp)
