"""Blocked matrix products of two sets of rows, without holding the complete result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.types import Matrix

_ROWS, _COLUMNS = 1024, 4096  # one product: 16 MiB a thread

Transform = Callable[[Matrix], Matrix]
"""Function of some rows that returns the vectors to compare, one for each."""

Float = TypeVar("Float", np.float32, np.float64)


def for_each_product(
    x: NDArray[Float],
    y: NDArray[Float],
    consume: Callable[[NDArray[Float], slice, slice], None],
    *,
    rows: int = _ROWS,
    transform: Callable[[NDArray[Float]], NDArray[Float]] | None = None,
) -> None:
    """Call ``consume(similarities, rows, columns)`` for every block of x yᵀ.

    Blocks of the same rows are passed one after the other, columns ascending, from one thread; blocks of different rows
    from several threads at once. So ``consume`` may add to ``array[rows]``, and the sums do not depend on the number of
    threads. It may overwrite ``similarities``.

    Parameters
    ----------
    x : (n, d) float32 or float64
    y : (m, d) of the same type
    consume : receives a block of products, and the slices of rows of ``x`` and of ``y`` that it belongs to
    rows : number of rows of x per block; a block has 4096 rows of y
    transform : function of a block of rows of ``x`` that returns the rows to multiply

    Notes
    -----
    Cost: O(n m d) time, and 16 MiB of memory a thread, or 32 MiB in double precision.

    Examples
    --------
    >>> total = np.zeros(2, np.float32)
    >>> def add(similarities, rows, columns):
    ...     total[rows] += similarities.sum(axis=1)
    >>> for_each_product(np.eye(2, dtype=np.float32), np.ones((3, 2), np.float32), add)
    >>> total.tolist()
    [3.0, 3.0]
    """

    def block(block_rows: slice) -> None:
        part = x[block_rows] if transform is None else transform(x[block_rows])
        for columns in block_slices(len(y), _COLUMNS):
            consume(part @ y[columns].T, block_rows, columns)

    for _ in map_blocks(block, block_slices(len(x), rows)):
        pass


def similarity_to_nearest(x: Matrix, references: Matrix, transform: Transform | None = None) -> Matrix:
    """Compute the similarity of each row of ``x`` to the most similar row of ``references``.

    Parameters
    ----------
    x : (n, d) float32, rows of unit length
    references : (m, d) float32, rows of unit length, m at least 1
    transform : see ``for_each_product``

    Returns
    -------
    (n,) float32, cosine, in [-1, 1]

    Notes
    -----
    Cost: O(n m d) time and O(n) memory. Exact.

    Examples
    --------
    >>> similarity_to_nearest(np.eye(2, dtype=np.float32), np.array([[1, 0], [0.8, 0.6]], np.float32)) > 0.7
    array([ True, False])
    """
    best = np.full(len(x), -1, np.float32)

    def update(similarities: Matrix, rows: slice, columns: slice) -> None:  # noqa: ARG001 - the position does not matter
        np.maximum(best[rows], similarities.max(axis=1), out=best[rows])

    for_each_product(x, references, update, transform=transform)
    return np.minimum(best, np.float32(1))
