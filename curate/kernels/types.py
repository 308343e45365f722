"""Array types and streams of rows that kernels and plugins exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Matrix of numbers, (n, d) float32."""

Vector = NDArray[np.float32]
"""One number per row, (n,) float32."""

Rows = NDArray[np.intp]
"""Row indices."""

Codes = NDArray[np.int32]
"""Group of each row, (n,) int32; -1 for rows in no group."""

Numbers = NDArray[np.float64]
"""Double-precision numbers, float64."""

Half = NDArray[np.float16]
"""Half-precision numbers, float16, as they are stored."""

Counts = NDArray[np.int64]
"""Integers, int64: counts, offsets, fold numbers."""

Flags = NDArray[np.bool_]
"""Booleans, one per row."""

Positions = NDArray[np.int64]
"""Positions in an array, int64; also offsets of its parts."""

Positions32 = NDArray[np.int32]
"""Positions in an array, int32."""

Indices = NDArray[np.integer]
"""Integers of any type."""

Hashes = NDArray[np.uint64]
"""64-bit hashes, and pairs of row indices packed into 64 bits."""

Signatures = NDArray[np.uint32]
"""32-bit hashes."""

AnyArray = NDArray[Any]
"""Array of any type and shape."""

Advance = Callable[[float], None]
"""Report that a share of the work is complete, called from the calling thread; all shares add up to 1."""

FittedState = Mapping[str, AnyArray]
"""Fitted parameters of a plugin as named arrays, which can be saved and frozen."""


Array = TypeVar("Array", bound=NDArray[np.generic])


def freeze(array: Array) -> Array:
    """Make an array read-only and return it."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings that can be read block by block, any number of times, without loading all of them."""

    rows: int
    dimensions: int
    blocks: Callable[[], Iterator[Matrix]]
    """Start a new pass: iterate over (m, d) float32 blocks in row order, each at most one shard."""

    @classmethod
    def from_array(cls, embeddings: Matrix, block: int = 65_536) -> Vectors:
        """Return vectors that read from an array (n, d) in memory."""

        def blocks() -> Iterator[Matrix]:
            for start in range(0, len(embeddings), block):
                yield embeddings[start : start + block]

        return cls(embeddings.shape[0], embeddings.shape[1], blocks)


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that can be read block by block, any number of times, without loading all of them."""

    sizes: tuple[int, ...]
    """Number of rows in each block; a block is at most one shard."""

    read: Callable[[int], Sequence[str]]
    """Read the texts of the block with that number, in row order."""

    hashes: Callable[[int], NDArray[np.uint64]] | None = None
    """Read the two halves, (m, 2), of the 128-bit BLAKE2b hash of the UTF-8 bytes of each text in a block; None if
    unknown."""

    @property
    def rows(self) -> int:
        """Number of texts."""
        return sum(self.sizes)

    def blocks(self) -> Iterator[Sequence[str]]:
        """Return a new iterator over the texts of each block, in row order, one block in memory at a time."""
        return map(self.read, range(len(self.sizes)))

    @classmethod
    def from_list(cls, texts: Sequence[str], block: int = 65_536) -> Texts:
        """Return texts that read from a list in memory."""
        starts = range(0, len(texts), block)
        sizes = tuple(min(block, len(texts) - start) for start in starts)
        return cls(sizes, lambda number: texts[starts[number] : starts[number] + block])

    def take(self, rows: Rows) -> Texts:
        """Return the texts of ``rows``, in that order; blocks without any of them are not read.

        If the rows do not ascend, their texts are read in one pass and kept in memory.
        """
        if np.array_equal(rows, np.arange(self.rows)):
            return self
        if (np.diff(rows) < 0).any():
            order = np.argsort(rows, kind="stable")
            ascending = [text for block in self.take(rows[order]).blocks() for text in block]
            inverse = np.empty(len(rows), np.intp)
            inverse[order] = np.arange(len(rows))
            return Texts.from_list([ascending[position] for position in inverse.tolist()])
        starts = np.cumsum([0, *self.sizes])
        cuts = np.searchsorted(rows, starts)
        numbers = np.flatnonzero(np.diff(cuts)).tolist()

        def local_rows(number: int) -> Rows:
            block_number = numbers[number]
            local: Rows = rows[cuts[block_number] : cuts[block_number + 1]] - starts[block_number]
            return local

        def read(number: int) -> Sequence[str]:
            block = self.read(numbers[number])
            return [block[position] for position in local_rows(number).tolist()]

        stored_hashes = self.hashes
        hashes = None if stored_hashes is None else lambda number: stored_hashes(numbers[number])[local_rows(number)]
        return Texts(tuple(np.diff(cuts)[numbers].tolist()), read, hashes)


@dataclass(frozen=True, slots=True)
class Images:
    """Encoded images that are read one by one, on demand, without loading all of them."""

    hashes: NDArray[np.uint64]
    """Halves of the 128-bit BLAKE2b hash of the bytes of each image, (n, 2)."""

    shapes: NDArray[np.int32]
    """Width and height of each image in pixels, as it is displayed, (n, 2)."""

    read: Callable[[int], bytes]
    """Read the encoded image of a row."""

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, row: int) -> bytes:
        return self.read(row)

    def take(self, rows: Rows) -> Images:
        """Return the images of ``rows``, in that order; nothing is read."""
        read = self.read
        return Images(self.hashes[rows], self.shapes[rows], lambda row: read(int(rows[row])))

    @classmethod
    def concatenate(cls, parts: Sequence[Images]) -> Images:
        """Return the images of all parts, in order."""
        starts = np.cumsum([0, *map(len, parts)])

        def read(row: int) -> bytes:
            part = int(np.searchsorted(starts, row, "right")) - 1
            return parts[part].read(row - int(starts[part]))

        hashes = [np.zeros((0, 2), np.uint64), *(part.hashes for part in parts)]
        shapes = [np.zeros((0, 2), np.int32), *(part.shapes for part in parts)]
        return cls(np.concatenate(hashes), np.concatenate(shapes), read)
