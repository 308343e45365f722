"""Exact deduplication: of rows with the same text and the same image, one is kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import pyarrow as pa

from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.text_differences import Difference
from curate.kernels.text.text_identity import normalize
from curate.kernels.types import Counts, Hashes, Images, Rows, Texts, Vector
from curate.plugins.batches import Pool, PublishedRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Keep = Literal["first", "best_quality"]

_HALVES = ("high", "low")


def exact_duplicates(
    texts: Texts,
    quality: Vector,
    *,
    differences: Collection[Difference] = (),
    keep: Keep = "first",
    published: Hashes | None = None,
) -> tuple[Rows, Counts]:
    """Drop a row if another row with the same text comes first.

    Rows are grouped by a 128-bit hash of their text, so no text is kept in memory or compared with another.

    Parameters
    ----------
    texts : n strings, read in one pass
    quality : (n,) float32, higher = keep; read if ``keep`` is "best_quality"
    differences : differences between texts that are ignored; see ``normalize``
    keep : the row of a group that is kept, ties to the lowest index
    published : (2, m) uint64 hashes of other texts, from ``hash_texts``, which come before all rows

    Returns
    -------
    representative : (m + n,) the kept row with the same text, of the published ones followed by the others; -1 for kept
        rows
    copies : (m + n,) number of rows with a kept row's text, including itself; 0 for dropped rows

    Notes
    -----
    Cost: O(characters + n log n) time; memory O(n), some 65 bytes a row, and one block of texts.

    Guarantee: exactly one row of each text is kept. The probability that two different texts among n are confused is
    below n² / 2¹²⁹: 10⁻²¹ for a billion rows.

    References
    ----------
    Aumasson et al. (2013), BLAKE2: simpler, smaller, fast as MD5, ACNS, doi:10.1007/978-3-642-38980-1_8; RFC 7693.

    Examples
    --------
    >>> texts = Texts.from_list(["Same words.", "same  words", "Same words.", "others"])
    >>> exact_duplicates(texts, np.zeros(4, np.float32))[0].tolist()
    [-1, -1, 0, -1]
    >>> exact_duplicates(texts, np.zeros(4, np.float32), differences=["case", "punctuation", "space"])[1].tolist()
    [3, 0, 0, 1]
    """
    published_hashes = np.zeros((2, 0), np.uint64) if published is None else published
    hashes = np.concatenate((published_hashes, hash_texts(texts, differences)), axis=1)
    m = published_hashes.shape[1]
    return link_equal(hashes, np.concatenate((np.zeros(m, np.float32), quality)), keep, m)


def link_equal(hashes: Hashes, quality: Vector, keep: Keep, n_published: int) -> tuple[Rows, Counts]:
    """Drop a row if another row with the same hash comes first; see ``exact_duplicates``.

    Parameters
    ----------
    hashes : (2, n) uint64
    quality : (n,) float32, higher = keep; read if ``keep`` is "best_quality"
    keep : the row of a group that is kept
    n_published : number of leading rows that come before all others
    """
    n = hashes.shape[1]
    rank = np.concatenate((np.full(n_published, -np.inf, np.float32), -quality[n_published:]))
    order = np.lexsort(hashes if keep == "first" else (rank, *hashes))
    hashes = hashes[:, order]
    starts_group = np.ones(n, np.bool_)
    starts_group[1:] = (hashes[:, 1:] != hashes[:, :-1]).any(axis=0)
    starts = np.flatnonzero(starts_group)
    sizes = np.diff(starts, append=n)
    representative, copies = np.empty(n, np.intp), np.zeros(n, np.int64)
    representative[order] = np.repeat(order[starts], sizes)
    representative[order[starts]] = -1
    copies[order[starts]] = sizes
    return representative, copies


def hash_texts(texts: Texts, differences: Collection[Difference]) -> Hashes:
    """Hash each text, without ``differences``, to 128 bits.

    Without differences, stored hashes are used if available, and no text is read. Lone surrogates are treated like
    other characters.

    Parameters
    ----------
    texts : n texts
    differences : differences to ignore, see ``normalize``

    Returns
    -------
    (2, n) uint64, the two halves of the hashes
    """
    if not differences and texts.hashes is not None:
        return np.concatenate([np.zeros((0, 2), np.uint64), *map(texts.hashes, range(len(texts.sizes)))]).T
    halves = np.empty((2, texts.rows), np.uint64)
    start = 0
    for block in texts.blocks():
        normalized = (normalize(text, differences).encode(errors="surrogatepass") for text in block)
        digests = b"".join(blake2b(text, digest_size=16).digest() for text in normalized)
        halves[:, start : start + len(block)] = np.frombuffer(digests, np.uint64).reshape(-1, 2).T
        start += len(block)
    return halves


def hash_contents(texts: Texts, images: Images | None, differences: Collection[Difference]) -> Hashes:
    """Hash the text of each row, without ``differences``, and its image, if there are images.

    Parameters
    ----------
    texts : n texts, empty in a pool without texts
    images : n images
    differences : differences to ignore, see ``normalize``

    Returns
    -------
    (2, n) uint64, the two halves of the hashes; without differences, the stored hashes if available
    """
    hashes = hash_texts(texts, differences)
    if images is None or (not differences and texts.hashes is not None):  # stored hashes include the image
        return hashes
    return np.stack([mix_bits(half ^ mix_bits(image)) for half, image in zip(hashes, images.hashes.T, strict=True)])


def _read_hashes(sketches: pa.Table) -> Hashes:
    return np.stack([sketches[half].to_numpy() for half in _HALVES])


@selector(
    version=2,
    scope="sketch",
    reads={"text", "image", "quality"},
    budgeted=False,
    random=False,
    sketch=("normalize",),
    cost="O(n log n), and one pass over the texts if `normalize` is not empty",
    guarantee="exactly one row of each text (and image) is kept",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuplicates:
    """Drop rows whose text, or in a pool of images whose image, another row has.

    Use it first in every pipeline: it is cheap, and drops only true copies. Set ``normalize`` to ignore case,
    punctuation or white space. For texts that differ in a few words use ``minhash``, for paraphrases ``semdedup``.

    In a pool of images, two rows are duplicates if the bytes of their images are the same, and their texts, if there
    are any. For images of another size or compression use ``perceptual_hash``.

    Each dropped row names its representative, at similarity 1. The gain of a kept row is the number of rows that have
    its text, including itself. Texts that are empty after normalization are all the same.

    References
    ----------
    Aumasson et al. (2013), BLAKE2, doi:10.1007/978-3-642-38980-1_8: the 128-bit hash of texts.
    """

    normalize: tuple[Difference, ...] = ()
    """Differences to ignore: case, punctuation, space (kind and amount of white space), unicode (NFKC form and
    invisible characters). By default none: stored hashes of the bytes are compared, and no text is read."""

    keep: Keep = "first"
    """Row to keep: the first in the pool, or the one of best quality."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        published = pool.published or PublishedRows.empty(len(pool))
        hashes = [np.zeros((2, 0), np.uint64), *map(_read_hashes, published.sketches(*_HALVES))]
        new, m = pool.take(published.new_rows), published.rows
        representatives, counts = link_equal(
            np.concatenate((*hashes, hash_contents(require(new.texts), new.images, self.normalize)), axis=1),
            np.concatenate((np.zeros(m, np.float32), new.quality)),
            self.keep,
            m,
        )
        representative, copies = (
            published.to_pool_rows(representatives),
            published.expand_to_pool(counts[published.rows :].astype(np.float32), 1),
        )
        return self._selection(representative, copies)

    def _selection(self, representative: Rows, copies: Vector) -> Selection:
        suffix = f", ignoring {', '.join(self.normalize)}" if self.normalize else ""
        similarity = np.where(copies > 0, np.nan, 1).astype(np.float32)
        return Selection.from_representatives(representative, similarity, copies, f"exact duplicate{suffix}")

    def sketch(self, pool: Pool) -> pa.Table:
        """Return the two halves of each row's hash."""
        return pa.table(
            dict(zip(_HALVES, hash_contents(require(pool.texts), pool.images, self.normalize), strict=True))
        )

    def keys(self, sketches: pa.Table) -> tuple[Rows, Hashes]:
        """Return the hash of each row's text in 64 bits."""
        high, low = _read_hashes(sketches)
        return np.arange(len(high)), mix_bits(high) ^ low

    def link(self, sketches: pa.Table, quality: Vector, n_published: int) -> Selection:
        """Select among sketched rows, of which the first ``n_published`` were published before."""
        representative, copies = link_equal(_read_hashes(sketches), quality, self.keep, n_published)
        representative[:n_published] = -1
        copies[:n_published] = 1
        return self._selection(representative, copies.astype(np.float32))
