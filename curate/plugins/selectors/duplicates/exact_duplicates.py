"""Exact duplicates: of rows with the same text, keep one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import pyarrow as pa

from curate.kernels.text.text_differences import Difference
from curate.kernels.text.text_identity import normalize
from curate.kernels.types import Counts, Hashes, Rows, Texts, Vector
from curate.plugins.batches import Pool, PublishedRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

First = Literal["first", "best_quality"]

_HALVES = ("high", "low")


def exact_duplicates(
    texts: Texts,
    quality: Vector,
    *,
    differences: Collection[Difference] = (),
    first: First = "first",
    published: Hashes | None = None,
) -> tuple[Rows, Counts]:
    """Exact deduplication: drop a row if another has the same text and comes first.

    Rows are grouped by a hash of 128 bits of their text, so that no text is held and none is compared with another.

    Parameters
    ----------
    texts : n strings, read in one pass
    quality : (n,) float32, higher = keep; read if ``first`` is "best_quality"
    differences : what texts may differ in and still be the same; see ``normalize``
    first : the row of a group that is kept, ties to the lowest index
    published : (2, m) uint64 of other texts, as ``text_hashes`` gives them, which come before all

    Returns
    -------
    representative : (m + n,) the kept row with the same text, of the published ones followed by the others; -1 for kept
        rows
    copies : (m + n,) how many rows have a kept row's text, itself among them; 0 for dropped rows

    Cost: O(characters + n log n) time; memory O(n), some 65 bytes a row, and one block of texts. Guarantee: exactly
    one row of each text is kept. Two different texts among n are taken for the same with a probability below n² / 2¹²⁹:
    10⁻²¹ for a billion rows.

    References
    ----------
    Aumasson et al. (2013), BLAKE2: simpler, smaller, fast as MD5, ACNS, doi:10.1007/978-3-642-38980-1_8; RFC 7693.

    >>> texts = Texts.from_list(["Same words.", "same  words", "Same words.", "others"])
    >>> exact_duplicates(texts, np.zeros(4, np.float32))[0].tolist()
    [-1, -1, 0, -1]
    >>> exact_duplicates(texts, np.zeros(4, np.float32), differences=["case", "punctuation", "space"])[1].tolist()
    [3, 0, 0, 1]
    """
    before = np.zeros((2, 0), np.uint64) if published is None else published
    hashes = np.concatenate((before, text_hashes(texts, differences)), axis=1)
    n = hashes.shape[1]
    rank = np.concatenate((np.full(before.shape[1], -np.inf, np.float32), -quality))
    order = np.lexsort(hashes if first == "first" else (rank, *hashes))
    hashes = hashes[:, order]
    begins = np.ones(n, np.bool_)
    begins[1:] = (hashes[:, 1:] != hashes[:, :-1]).any(axis=0)
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=n)
    representative, copies = np.empty(n, np.intp), np.zeros(n, np.int64)
    representative[order] = np.repeat(order[starts], sizes)
    representative[order[starts]] = -1
    copies[order[starts]] = sizes
    return representative, copies


def text_hashes(texts: Texts, differences: Collection[Difference]) -> Hashes:
    """Hash each text, without ``differences``, to 128 bits: (2, n) uint64, the two halves.

    Without differences to remove, stored hashes are used where there are any, and no text is read. A lone surrogate is
    a character like any other.
    """
    if not differences and texts.hashes is not None:
        return np.concatenate([np.zeros((0, 2), np.uint64), *map(texts.hashes, range(len(texts.sizes)))]).T
    halves = np.empty((2, texts.rows), np.uint64)
    start = 0
    for block in texts.blocks():
        plain = (normalize(text, differences).encode(errors="surrogatepass") for text in block)
        joined = b"".join(blake2b(one, digest_size=16).digest() for one in plain)
        halves[:, start : start + len(block)] = np.frombuffer(joined, np.uint64).reshape(-1, 2).T
        start += len(block)
    return halves


def _both_halves(sketches: pa.Table) -> Hashes:
    return np.stack([sketches[half].to_numpy() for half in _HALVES])


@selector(
    version=2,
    reads={"text", "quality"},
    budgeted=False,
    random=False,
    sketch=("normalize",),
    cost="O(n log n), and reading the texts once if `normalize` names something",
    guarantee="exactly one row of each text is kept",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuplicates:
    """Drop rows whose text another row has.

    Each dropped row names the row that stands for it, at similarity 1. The gain of a kept row is the number of rows
    that have its text, itself among them. Texts of which ``normalize`` leaves nothing are all the same.

    References
    ----------
    Aumasson et al. (2013), BLAKE2, doi:10.1007/978-3-642-38980-1_8: its 128-bit hash tells texts apart.
    """

    normalize: tuple[Difference, ...] = ()
    """Differences that are ignored: case, punctuation, space (kind and amount of white space), unicode (NFKC form and
    invisible characters). By default none: equal bytes, so that stored hashes are compared and no text is read."""

    keep: First = "first"
    """The row that comes first, and is kept: the earliest in the pool, or the best."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        known = pool.published or PublishedRows.empty(len(pool))
        hashes = [np.zeros((2, 0), np.uint64), *map(_both_halves, known.sketches(*_HALVES))]
        stands, counted = exact_duplicates(
            require(pool.texts).take(known.new_rows),
            pool.quality[known.new_rows],
            differences=self.normalize,
            first=self.keep,
            published=np.concatenate(hashes, axis=1),
        )
        representative, copies = (
            known.to_pool_rows(stands),
            known.expand_to_pool(counted[known.rows :].astype(np.float32), 1),
        )
        but = f", but for {', '.join(self.normalize)}" if self.normalize else ""
        similarity = np.where(copies > 0, np.nan, 1).astype(np.float32)
        return Selection.from_representatives(representative, similarity, copies, f"exact duplicate{but}")

    def sketch(self, pool: Pool) -> pa.Table:
        """The two halves of each text's hash."""
        return pa.table(dict(zip(_HALVES, text_hashes(require(pool.texts), self.normalize), strict=True)))
