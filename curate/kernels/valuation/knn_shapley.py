"""Shapley values of training rows for a nearest-neighbor classifier, exactly."""

from __future__ import annotations

from typing import Literal

import numpy as np

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Codes, Matrix, Numbers, Rows, Vector

VoteWeight = Literal["none", "similarity"]
"""Weight of a neighbor's vote: 1, or its cosine similarity, at least 0."""

_TESTS = 16  # test rows that a thread sorts at a time
_LOW = np.uint64(0xFFFFFFFF)


def knn_shapley(
    x: Matrix, labels: Codes, test: Matrix, test_labels: Codes, n_neighbors: int, weight: VoteWeight = "none"
) -> Numbers:
    """Compute the Shapley value of each training row for the accuracy of K nearest neighbors.

    The utility of a set of training rows for a test row is the sum of the votes of its K nearest rows in the set,
    divided by K. A vote is the weight of a row that has the label of the test row, and 0 of any other row. Missing
    neighbors count as 0: with a large K, also more than the number of rows. The value is the mean over the test rows.

    Parameters
    ----------
    x : (n, d) float32 training rows of unit length, n from 1 to 2^32
    labels : (n,) int32
    test : (m, d) float32 test rows of unit length, m >= 1
    test_labels : (m,) int32
    n_neighbors : K
    weight : "none" weighs every vote 1, so that the utility is the share of correct neighbors; "similarity" weighs it
        by the cosine similarity, at least 0

    Returns
    -------
    (n,) float64; the sum is the utility of all training rows

    Notes
    -----
    Cost: O(m n (d + log n)) time; memory of 16 n similarities a thread. Ties of the similarity go to the lowest row.

    The utility adds the votes of the nearest rows, so the values of two rows that are adjacent in the order differ by
    their own votes only, and the recursion of the paper holds for any weight that depends on the row alone. It does not
    hold for weights that are normalized over the K neighbors, for which exact values take O(n^K) time in that paper.

    Deviations: the last term is min(K, n) / (n K), which is right for n < K as well; the authors' code has 1 / n.

    References
    ----------
    Jia et al. (2019), Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms, arXiv:1908.08619,
    theorem 1. Normalized weights, which are not offered: Wang et al. (2024), Efficient Data Shapley for Weighted
    Nearest Neighbor Algorithms, arXiv:2401.11103.

    Examples
    --------
    >>> x = np.array([[1, 0], [0.9, 0.436], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    >>> values = knn_shapley(x, np.array([1, 0, 1, 1, 0], np.int32), x[:1], np.array([1], np.int32), 2)
    >>> values.round(4).tolist()
    [0.25, -0.25, 0.25, 0.25, 0.0]
    """
    n, k = len(x), n_neighbors
    places = np.arange(n - 1, 0, -1)
    share = np.minimum(k, places) / (places * k)
    last = min(k, n) / (n * k)

    def of_block(block: slice) -> Numbers:
        total = np.zeros(n)
        values = np.empty(n)
        for similarity, label in zip(test[block] @ x.T, test_labels[block], strict=True):
            order = _farthest_first(similarity)
            votes = (labels[order] == label).astype(np.float64)
            if weight == "similarity":
                votes *= np.maximum(similarity[order], 0)
            values[0] = last * votes[0]
            np.subtract(votes[1:], votes[:-1], out=values[1:])
            values[1:] *= share
            total[order] += np.cumsum(values, out=values)
        return total

    total = np.zeros(n)
    for part in map_blocks(of_block, block_slices(len(test), _TESTS)):
        total += part
    return total / len(test)


def _farthest_first(similarity: Vector) -> Rows:
    """Return the order of ascending float32 values, ties to the highest index: the reverse of nearest first.

    >>> _farthest_first(np.array([0.5, -1, 2, 0.5, -0.0, 0.0], np.float32)).tolist()
    [1, 5, 4, 3, 0, 2]
    """
    bits = (similarity + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    bits ^= (bits >> 31) | np.int32(-(2**31))  # unsigned, they now ascend with the values
    keys = bits.view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= _LOW - np.arange(len(similarity), dtype=np.uint64)
    keys.sort()  # several times faster than a stable order of floats
    return (~keys & _LOW).astype(np.intp)
