"""MinHash sketches of texts: band keys, shingle digests, and the shingle sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.arrow_lists import split_lists
from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.minhash_signatures import band_keys, compute_signatures
from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.text.shingles import Unit, hash_shingles
from curate.kernels.text.text_differences import Difference
from curate.kernels.text.text_identity import normalize
from curate.kernels.types import Hashes, Positions, Rows, Signatures, Texts

_TEXTS = 4096  # maximum number of texts in a block
_CHARACTERS = 1 << 18

SKETCH_COLUMNS = ("keys", "high", "low")
"""Columns of a sketch table: band keys, and the two halves of the digest."""

SHINGLES_COLUMN = "shingles"
"""Column of the shingle sets."""


@dataclass(frozen=True, slots=True)
class MinHashSketches:
    """MinHash sketches of n texts."""

    keys: Signatures
    """Band keys (bands, n); texts that share one are compared."""

    digests: Hashes
    """Digests of the shingle sets (2, n); equal for texts with the same shingles."""

    @classmethod
    def concatenate(cls, parts: Sequence[MinHashSketches]) -> MinHashSketches:
        """Concatenate the sketches of all parts."""
        return cls(
            np.concatenate([part.keys for part in parts], axis=1),
            np.concatenate([part.digests for part in parts], axis=1),
        )


@dataclass(frozen=True, slots=True)
class Sketcher:
    """Shingling and banding settings, and the methods that apply them."""

    unit: Unit
    ngram_size: int
    bands: int
    rows: int
    differences: tuple[Difference, ...]
    """Differences between texts that are ignored; see ``normalize``."""

    def sketch(self, texts: Texts) -> MinHashSketches:
        """Compute the sketches of n texts, in one pass."""
        return self._collect(texts, lambda block: (self._sketch_hashes(*self._hash_texts(block)), None))[0]

    def shingle_sets(self, texts: Texts) -> HashSets:
        """Compute the sets of shingles of n texts, in one pass."""
        blocks = map_blocks(lambda block: HashSets.from_lists(*self._hash_texts(block)), _iter_pieces(texts.blocks()))
        return HashSets.concatenate(list(blocks))

    def _collect(
        self, texts: Texts, work: Callable[[Sequence[str]], tuple[MinHashSketches, HashSets | None]]
    ) -> tuple[MinHashSketches, HashSets]:
        """Apply ``work`` to blocks of texts, and concatenate the results."""
        empty = MinHashSketches(np.empty((self.bands, 0), np.uint32), np.empty((2, 0), np.uint64))
        results = list(map_blocks(work, _iter_pieces(texts.blocks())))
        return (
            MinHashSketches.concatenate([empty, *(sketches for sketches, _ in results)]),
            HashSets.concatenate([sets for _, sets in results if sets is not None]),
        )

    def _sketch_hashes(self, hashes: Hashes, offsets: Positions) -> MinHashSketches:
        """Compute the sketches of texts from their shingles."""
        signatures = compute_signatures(hashes, offsets, self.bands * self.rows)
        digests = [np.add.reduceat(values, offsets[:-1]) for values in (hashes, mix_bits(~hashes))]
        return MinHashSketches(band_keys(signatures, self.bands, self.rows), np.stack(digests))

    def _hash_texts(self, texts: Sequence[str]) -> tuple[Hashes, Positions]:
        return hash_shingles([normalize(text, self.differences) for text in texts], self.ngram_size, self.unit)

    # ------------------------------------------------------------ storage

    def to_table(self, texts: Texts) -> pa.Table:
        """Compute the table of sketches and shingle sets of n texts."""

        def work(block: Sequence[str]) -> tuple[MinHashSketches, HashSets]:
            lists = self._hash_texts(block)
            return self._sketch_hashes(*lists), HashSets.from_lists(*lists)

        sketches, sets = self._collect(texts, work)
        keys = pa.FixedSizeListArray.from_arrays(pa.array(sketches.keys.T.ravel()), self.bands)
        elements = pa.LargeListArray.from_arrays(sets.offsets, sets.elements)
        halves = map(pa.array, sketches.digests)
        return pa.table([keys, *halves, elements], names=[*SKETCH_COLUMNS, SHINGLES_COLUMN])

    def read_table(self, parts: Iterable[pa.Table]) -> MinHashSketches:
        """Read sketches back from ``SKETCH_COLUMNS`` of tables that ``to_table`` returned."""
        sketches = [MinHashSketches(np.empty((self.bands, 0), np.uint32), np.empty((2, 0), np.uint64))]
        for part in parts:
            keys = pc.list_flatten(part["keys"]).to_numpy().reshape(-1, self.bands).T
            sketches.append(MinHashSketches(keys, np.stack([part["high"].to_numpy(), part["low"].to_numpy()])))
        return MinHashSketches.concatenate(sketches)


def view_sets(sketches: pa.Table) -> HashSets:
    """Return the shingles of all rows of one table, without a copy if the column is one chunk."""
    lengths, elements = split_lists(sketches[SHINGLES_COLUMN].combine_chunks())
    return HashSets(elements.to_numpy(), np.cumsum(np.concatenate(([0], lengths))))


def read_sets(parts: Iterable[pa.Table], rows: Rows) -> HashSets:
    """Read the shingles of ascending ``rows`` back from the column ``SHINGLES_COLUMN``.

    Parameters
    ----------
    parts : tables that ``Sketcher.to_table`` returned, one after the other
    rows : row indices over all parts

    Returns
    -------
    HashSets of the rows

    Notes
    -----
    Memory: that of one part, and of the result.
    """
    sets, start = [HashSets.concatenate([])], 0
    for part in parts:
        local_rows = rows[(rows >= start) & (rows < start + len(part))] - start
        shingles = part[SHINGLES_COLUMN].take(pa.array(local_rows)).combine_chunks()
        sizes = pc.list_value_length(shingles).to_numpy(zero_copy_only=False)
        sets.append(HashSets(pc.list_flatten(shingles).to_numpy(), np.cumsum([0, *sizes])))
        start += len(part)
    return HashSets.concatenate(sets)


def _iter_pieces(shards: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    for shard in shards:
        for piece in text_blocks(shard, _CHARACTERS):
            for start in range(piece.start, piece.stop, _TEXTS):
                yield shard[start : min(start + _TEXTS, piece.stop)]
