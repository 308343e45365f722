"""What earlier runs published, as a de-duplicating selector is told of it: sketches of the rows, in a few columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.types import Flags, Rows, Vector

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Published:
    """Rows that were published before, m of which there is a sketch: they stay, and new rows are held against them."""

    held: Flags
    """(n,) which rows of the pool are among them; they are kept, and their sketches stand for them."""

    sizes: tuple[int, ...] = ()
    """The rows of each part of the sketches; m in all."""

    read: Callable[[int, Sequence[str]], pa.Table] | None = None
    """Gives columns of the part of that number, as the selector's own ``sketch`` wrote them."""

    @classmethod
    def nothing(cls, n: int) -> Published:
        """For a pool of n rows of which none was published."""
        return cls(np.zeros(n, np.bool_))

    @property
    def rows(self) -> int:
        """The number of sketches, m."""
        return sum(self.sizes)

    @property
    def new(self) -> Rows:
        """The rows of the pool that were not published."""
        return np.flatnonzero(~self.held)

    def sketches(self, *columns: str) -> Iterator[pa.Table]:
        """Those columns of all sketches, one part after the other."""
        for number in range(len(self.sizes)):
            if self.read is not None:
                yield self.read(number, columns)

    def take(self, rows: Rows) -> Published:
        """The same for some rows of the pool, beside all that was published."""
        return replace(self, held=self.held[rows])

    def of_pool(self, representative: Rows) -> Rows:
        """Who stands for each row of the pool, from who does among what was published followed by the new rows.

        Parameters
        ----------
        representative : (m + k,) of those, -1 for none; k new rows

        Returns
        -------
        (n,) a row of the pool; n + j for the published row of sketch j; -1 for none

        >>> told = Published(np.array([False, True, False]), (2,)).of_pool(np.array([-1, -1, 1, 2]))
        >>> told.tolist()
        [4, -1, 0]
        """
        n, m, new = len(self.held), self.rows, self.new
        names = np.concatenate((n + np.arange(m), new, [-1]))
        answer = np.full(n, -1, np.intp)
        answer[new] = names[representative[m:]]
        return answer

    def spread(self, values: Vector, held: float) -> Vector:
        """(n,) the ``values`` (k,) of the new rows, and ``held`` for those that were published."""
        answer = np.full(len(self.held), held, np.float32)
        answer[self.new] = values
        return answer
