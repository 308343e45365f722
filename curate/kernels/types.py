"""Arrays and streams of rows, as kernels and plugins exchange them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Rows of numbers, (n, d) float32."""

Vector = NDArray[np.float32]
"""One number a row, (n,) float32."""

Rows = NDArray[np.intp]
"""Indices of rows."""

Codes = NDArray[np.int32]
"""A group of each row, (n,) int32; -1 for rows in no group."""

Numbers = NDArray[np.float64]
"""Numbers in double precision."""

Half = NDArray[np.float16]
"""Numbers in half precision, as they are stored."""

Counts = NDArray[np.int64]
"""Integers: counts, offsets, fold numbers."""

Flags = NDArray[np.bool_]
"""True or False for each row."""

Positions = NDArray[np.int64]
"""Positions in an array, and where parts of it begin."""

Positions32 = NDArray[np.int32]
"""Positions in 32 bits."""

Indices = NDArray[np.integer]
"""Integers of any type, where a kernel takes them as they come."""

Hashes = NDArray[np.uint64]
"""Hashes of 64 bits, and pairs of rows packed into as many."""

Signatures = NDArray[np.uint32]
"""Hashes of 32 bits."""

AnyArray = NDArray[Any]
"""Array of any type and shape."""

FittedState = Mapping[str, AnyArray]
"""Fitted parameters of a plugin as named arrays, which can be saved and frozen."""


Array = TypeVar("Array", bound=NDArray[np.generic])


def freeze(array: Array) -> Array:
    """Make an array read-only and return it."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings that can be read block by block, as often as needed, without all being in memory."""

    rows: int
    dimensions: int
    blocks: Callable[[], Iterator[Matrix]]
    """Starts another pass; yields (m, d) float32 blocks in row order, each at most one shard."""

    @classmethod
    def from_array(cls, embeddings: Matrix, block: int = 65_536) -> Vectors:
        """Vectors over an array (n, d) in memory."""

        def blocks() -> Iterator[Matrix]:
            for start in range(0, len(embeddings), block):
                yield embeddings[start : start + block]

        return cls(embeddings.shape[0], embeddings.shape[1], blocks)


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that can be read block by block, as often as needed, without all being in memory."""

    sizes: tuple[int, ...]
    """The rows of each block, at most one shard's."""

    read: Callable[[int], Sequence[str]]
    """Gives the texts of the block of that number, in row order."""

    hashes: Callable[[int], NDArray[np.uint64]] | None = None
    """Gives the two halves (m, 2) of the 128-bit BLAKE2b hash of each of those texts in UTF-8, where they are known."""

    @property
    def rows(self) -> int:
        """The number of texts."""
        return sum(self.sizes)

    def blocks(self) -> Iterator[Sequence[str]]:
        """Starts another pass; yields some texts after the others, in row order, one block at a time."""
        return map(self.read, range(len(self.sizes)))

    @classmethod
    def from_list(cls, texts: Sequence[str], block: int = 65_536) -> Texts:
        """Texts over a list in memory."""
        starts = range(0, len(texts), block)
        sizes = tuple(min(block, len(texts) - start) for start in starts)
        return cls(sizes, lambda number: texts[starts[number] : starts[number] + block])

    def take(self, rows: Rows) -> Texts:
        """The texts of ``rows``, in that order; blocks with none of them are not read.

        If the rows do not ascend, their texts are read in one pass, and held.
        """
        if np.array_equal(rows, np.arange(self.rows)):
            return self
        if (np.diff(rows) < 0).any():
            order = np.argsort(rows, kind="stable")
            ascending = [text for block in self.take(rows[order]).blocks() for text in block]
            back = np.empty(len(rows), np.intp)
            back[order] = np.arange(len(rows))
            return Texts.from_list([ascending[place] for place in back.tolist()])
        starts = np.cumsum([0, *self.sizes])
        cuts = np.searchsorted(rows, starts)
        numbers = np.flatnonzero(np.diff(cuts)).tolist()

        def places(number: int) -> Rows:
            mine = numbers[number]
            own: Rows = rows[cuts[mine] : cuts[mine + 1]] - starts[mine]
            return own

        def read(number: int) -> Sequence[str]:
            block = self.read(numbers[number])
            return [block[place] for place in places(number).tolist()]

        known = self.hashes
        hashes = None if known is None else lambda number: known(numbers[number])[places(number)]
        return Texts(tuple(np.diff(cuts)[numbers].tolist()), read, hashes)
