"""Exact duplicates: of rows with the same text, keep one."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from sys import maxunicode
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.kernels.normal_form import nfkc
from curate.plugins.kinds import selector
from curate.plugins.pool import Pool, Rows, Selection, Texts, Vector, given
from curate.plugins.published import Published

First = Literal["earliest", "best_quality"]
Difference = Literal["case", "punctuation", "space", "unicode"]

_HALVES = ("high", "low")


def exact_duplicates(
    texts: Texts,
    quality: Vector,
    *,
    normalise: Collection[Difference] = (),
    first: First = "earliest",
    published: NDArray[np.uint64] | None = None,
) -> tuple[Rows, NDArray[np.int64]]:
    """Exact deduplication: drop a row if another has the same text and comes first.

    Rows are grouped by a hash of 128 bits of their text, so that no text is held and none is compared with another.

    Parameters
    ----------
    texts : n strings, read in one pass
    quality : (n,) float32, higher = keep; read if ``first`` is "best_quality"
    normalise : what texts may differ in and still be the same; see ``normalised``
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

    >>> texts = Texts.of(["Same words.", "same  words", "Same words.", "others"])
    >>> exact_duplicates(texts, np.zeros(4, np.float32))[0].tolist()
    [-1, -1, 0, -1]
    >>> exact_duplicates(texts, np.zeros(4, np.float32), normalise=["case", "punctuation", "space"])[1].tolist()
    [3, 0, 0, 1]
    """
    before = np.zeros((2, 0), np.uint64) if published is None else published
    hashes = np.concatenate((before, text_hashes(texts, normalise)), axis=1)
    n = hashes.shape[1]
    rank = np.concatenate((np.full(before.shape[1], -np.inf, np.float32), -quality))
    order = np.lexsort(hashes if first == "earliest" else (rank, *hashes))
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


def normalised(text: str, differences: Collection[Difference]) -> str:
    """The text without some differences; texts of nothing but white space are all one.

    In whatever order they are named: forms of characters are unified (Unicode's NFKC), case is folded, punctuation
    (Unicode's categories P; not symbols such as $ and +) is left out, and each stretch of white space is made one
    space, with none at either end.

    >>> normalised(" Ｆｕｌｌ  width, STRASSE!", ["unicode", "case", "punctuation", "space"])
    'full width strasse'
    """
    if "unicode" in differences:
        text = nfkc(text)
    if "case" in differences:
        text = text.casefold()
    if "punctuation" in differences:
        text = text.translate(_punctuation())
    if "unicode" in differences:  # folding case and leaving characters out can undo it
        text = nfkc(text)
    if "space" in differences:
        text = " ".join(text.split())
    return "" if text.isspace() else text


@cache
def _punctuation() -> dict[int, None]:
    return {code: None for code in range(maxunicode + 1) if unicodedata.category(chr(code)).startswith("P")}


def text_hashes(texts: Texts, normalise: Collection[Difference]) -> NDArray[np.uint64]:
    """(2, n) uint64, the two halves of each text's hash; a lone surrogate is a character like any other.

    Where nothing is normalised and the hashes are known, no text is read; texts of white space are then not all one.
    """
    if not normalise and texts.hashes is not None:
        return np.concatenate([np.zeros((0, 2), np.uint64), *map(texts.hashes, range(len(texts.sizes)))]).T
    halves = np.empty((2, texts.rows), np.uint64)
    start = 0
    for block in texts.blocks():
        plain = (normalised(text, normalise).encode(errors="surrogatepass") for text in block)
        joined = b"".join(blake2b(one, digest_size=16).digest() for one in plain)
        halves[:, start : start + len(block)] = np.frombuffer(joined, np.uint64).reshape(-1, 2).T
        start += len(block)
    return halves


@selector(
    version=1,
    reads={"text", "quality"},
    budgeted=False,
    random=False,
    sketch=("normalise",),
    cost="O(n log n), and reading the texts once if something is normalised",
    guarantee="exactly one row of each text is kept",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuplicates:
    """Drop rows whose text another row has.

    Each dropped row names the row that stands for it, at similarity 1. The gain of a kept row is the number of rows
    that have its text, itself among them. Texts of which normalising leaves nothing but white space are all one.

    References
    ----------
    Aumasson et al. (2013), BLAKE2, doi:10.1007/978-3-642-38980-1_8: its 128-bit hash tells texts apart.
    """

    normalise: tuple[Difference, ...] = ()
    """What texts may differ in and still count as the same: case, punctuation, white space, or the Unicode form of
    characters (NFKC); by default nothing."""

    first: First = "earliest"
    """The row that comes first, and is kept: the earliest in the pool, or the best."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        known = pool.published or Published.nothing(len(pool))
        hashes = [np.zeros((2, 0), np.uint64), *map(_both_halves, known.sketches(*_HALVES))]
        stands, counted = exact_duplicates(
            given(pool.texts).take(known.new),
            pool.quality[known.new],
            normalise=self.normalise,
            first=self.first,
            published=np.concatenate(hashes, axis=1),
        )
        representative, copies = known.of_pool(stands), known.spread(counted[known.rows :].astype(np.float32), 1)
        order = np.flatnonzero(copies)
        but = f", but for {', '.join(self.normalise)}" if self.normalise else ""
        return Selection(
            order,
            copies[order],
            reasons=(f"exact duplicate{but}",),
            representative=representative,
            similarity=np.where(copies > 0, np.nan, 1).astype(np.float32),
        )

    def sketch(self, pool: Pool) -> pa.Table:
        """The two halves of each text's hash."""
        return pa.table(dict(zip(_HALVES, text_hashes(given(pool.texts), self.normalise), strict=True)))


def _both_halves(sketches: pa.Table) -> NDArray[np.uint64]:
    return np.stack([sketches[half].to_numpy() for half in _HALVES])
