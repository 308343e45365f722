"""Top-k: selection of the rows of highest quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def top_k(quality: Vector, budget: int) -> Rows:
    """Return the ``budget`` rows of highest quality, highest first, ties to the lowest index.

    Parameters
    ----------
    quality : (n,) float32, finite, higher = keep
    budget : number of rows to keep, 0 <= budget <= n

    Returns
    -------
    (budget,) rows

    Notes
    -----
    Cost: O(n log n) time, O(n) memory.

    References
    ----------
    Stable sorting: Knuth, The Art of Computer Programming, vol. 3, section 5.

    Examples
    --------
    >>> top_k(np.array([0.1, 0.9, 0.9], np.float32), 2).tolist()
    [1, 2]
    """
    return np.argsort(-quality, kind="stable")[:budget]


@selector(
    version=1,
    scope="merge",
    needs_quality=True,
    reads={"quality"},
    prefix=True,
    equivariant=True,
    random=False,
    cost="O(n log n)",
    guarantee="the rows of highest quality",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """Keep the rows of highest quality.

    Use it if a score alone decides, for example after deduplication and filters. Nothing prevents the loss of complete
    groups of rows: run it ``within`` a group, compare it with a uniform selection, or use ``deita``, ``mmr`` or
    ``ccs``.

    The gain of a row is its quality.

    References
    ----------
    Knuth, The Art of Computer Programming, vol. 3, section 5.
    """

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        indices = top_k(pool.quality, budget)
        return Selection(indices, pool.quality[indices], reasons=("lower quality than the kept rows",))
