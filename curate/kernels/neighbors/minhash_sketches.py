"""MinHash sketches of texts: the keys of their bands, a digest of their shingles, and the shingles themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.minhash_signatures import band_keys, compute_signatures
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import Unit, hash_shingles
from curate.kernels.text.text_differences import Difference
from curate.kernels.text.text_identity import normalize
from curate.kernels.types import Hashes, Positions, Rows, Signatures, Texts

_TEXTS = 4096  # taken apart at once, at most
_CHARACTERS = 1 << 18

SKETCH_COLUMNS = ("keys", "high", "low")
"""Columns of a table of sketches: the keys of the bands, and the two halves of the digest."""

SHINGLES_COLUMN = "shingles"
"""Column of the shingles themselves."""


@dataclass(frozen=True, slots=True)
class MinHashSketches:
    """Of n texts."""

    keys: Signatures
    """(bands, n): texts that share one are compared."""

    digests: Hashes
    """(2, n), the same for texts of the same shingles."""

    @classmethod
    def concatenate(cls, parts: Sequence[MinHashSketches]) -> MinHashSketches:
        """Those of all parts, one part after the other."""
        return cls(
            np.concatenate([part.keys for part in parts], axis=1),
            np.concatenate([part.digests for part in parts], axis=1),
        )


@dataclass(frozen=True, slots=True)
class Sketcher:
    """How texts are taken apart, and their signatures cut."""

    unit: Unit
    length: int
    bands: int
    rows: int
    differences: tuple[Difference, ...]
    """Differences between texts that are ignored; see ``normalize``."""

    def sketches(self, texts: Texts) -> MinHashSketches:
        """Those of n texts; one pass."""
        keys, digests = np.empty((self.bands, texts.rows), np.uint32), np.empty((2, texts.rows), np.uint64)

        def sketch(block: tuple[int, Sequence[str]]) -> None:
            start, some = block
            here = slice(start, start + len(some))
            hashes, offsets = self._shingles(some)
            keys[:, here] = band_keys(
                compute_signatures(hashes, offsets, self.bands * self.rows), self.bands, self.rows
            )
            for half, values in enumerate((hashes, mix_bits(~hashes))):
                digests[half, here] = np.add.reduceat(values, offsets[:-1])

        for _ in map_blocks(sketch, _blocks(texts)):
            pass
        return MinHashSketches(keys, digests)

    def sets(self, texts: Texts) -> HashSets:
        """The sets of shingles of n texts; one pass."""
        return HashSets.concatenate(list(map_blocks(self._set, _blocks(texts))))

    def _set(self, block: tuple[int, Sequence[str]]) -> HashSets:
        return HashSets.from_lists(*self._shingles(block[1]))

    def _shingles(self, texts: Sequence[str]) -> tuple[Hashes, Positions]:
        return hash_shingles([normalize(text, self.differences) for text in texts], self.length, self.unit)

    # ------------------------------------------------------------ as columns

    def table(self, texts: Texts) -> pa.Table:
        """The sketches of n texts and their shingles."""
        sketches, sets = self.sketches(texts), self.sets(texts)
        keys = pa.FixedSizeListArray.from_arrays(pa.array(sketches.keys.T.ravel()), self.bands)
        elements = pa.LargeListArray.from_arrays(sets.offsets, sets.elements)
        halves = map(pa.array, sketches.digests)
        return pa.table([keys, *halves, elements], names=[*SKETCH_COLUMNS, SHINGLES_COLUMN])

    def read(self, parts: Iterable[pa.Table]) -> MinHashSketches:
        """Read sketches back from ``SKETCH_COLUMNS`` of the tables that ``table`` makes."""
        some = [MinHashSketches(np.empty((self.bands, 0), np.uint32), np.empty((2, 0), np.uint64))]
        for part in parts:
            keys = pc.list_flatten(part["keys"]).to_numpy().reshape(-1, self.bands).T
            some.append(MinHashSketches(keys, np.stack([part["high"].to_numpy(), part["low"].to_numpy()])))
        return MinHashSketches.concatenate(some)


def read_sets(parts: Iterable[pa.Table], rows: Rows) -> HashSets:
    """Read the shingles of ``rows``, which ascend, back from the column ``SHINGLES_COLUMN``; memory: that of one part, and theirs.

    Parameters
    ----------
    parts : tables that ``Shingling.table`` made, one after the other
    rows : rows of all parts together
    """
    some, start = [HashSets.concatenate([])], 0
    for part in parts:
        mine = rows[(rows >= start) & (rows < start + len(part))] - start
        chosen = part[SHINGLES_COLUMN].take(pa.array(mine)).combine_chunks()
        sizes = pc.list_value_length(chosen).to_numpy(zero_copy_only=False)
        some.append(HashSets(pc.list_flatten(chosen).to_numpy(), np.cumsum([0, *sizes])))
        start += len(part)
    return HashSets.concatenate(some)


def _blocks(texts: Texts) -> Iterator[tuple[int, Sequence[str]]]:
    """Some texts, and the row of the first."""
    row = 0
    for some in _pieces(texts.blocks()):
        yield row, some
        row += len(some)


def _pieces(shards: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    for shard in shards:
        for piece in text_blocks(shard, _CHARACTERS):
            for start in range(piece.start, piece.stop, _TEXTS):
                yield shard[start : min(start + _TEXTS, piece.stop)]
