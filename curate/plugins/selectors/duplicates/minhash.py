"""MinHash: of rows whose texts share most of their shingles, keep one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le, Lt

from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.lsh_linkage import Buckets, connected_linkage, direct_linkage, merge_components
from curate.kernels.neighbors.minhash_signatures import candidate_probability, choose_bands
from curate.kernels.neighbors.minhash_sketches import (
    SHINGLES_COLUMN,
    SKETCH_COLUMNS,
    MinHashSketches,
    Sketcher,
    read_sets,
)
from curate.kernels.neighbors.rare_shingles import Profiles
from curate.kernels.neighbors.retention import THRESHOLDS, Retention
from curate.kernels.text.shingles import Unit
from curate.kernels.text.text_differences import Difference
from curate.kernels.types import Hashes, Numbers, Rows, Texts, Vector
from curate.plugins.batches import Pool, PublishedRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

First = Literal["first", "best_quality"]
Linkage = Literal["direct", "connected"]

_CROWD = 256  # members of a bucket that are all compared


def minhash(
    texts: Texts,
    quality: Vector,
    *,
    min_similarity: float,
    ngram_unit: Unit,
    ngram_size: int,
    num_perm: int,
    max_miss_rate: float,
    linkage: Linkage,
    differences: Collection[Difference] = ("case", "space", "unicode"),
    published: PublishedRows | None = None,
) -> tuple[Rows, Vector, Vector]:
    """Fuzzy deduplication: MinHash and banding find pairs of texts, and their true similarity decides.

    The similarity of two texts is the Jaccard similarity of their sets of shingles. Texts are looked at in order of
    quality, ties to the lowest index. Those that share a band of their signatures are compared.

    Parameters
    ----------
    texts : n texts
    quality : (n,) float32, higher = keep
    min_similarity : in (0, 1], from which two texts count as duplicates
    ngram_unit, ngram_size : what is compared, see ``shingles``
    num_perm, max_miss_rate : two texts of exactly ``min_similarity`` share no band with at most that probability,
        and more similar ones more rarely: see ``choose_bands`` and ``candidate_probability``
    linkage : "direct" drops a text if an earlier one that is kept is similar; "connected" (the common practice) keeps
        one of all that a chain of similar pairs joins, though its ends may have nothing in common
    differences : what makes no difference between texts, see ``normalize``
    published : rows that are kept in any case, and m sketches, which come before all other rows

    Returns
    -------
    representative : (n,) the kept row that stands for a dropped one: the most similar earlier one, or the first of the
        chain; n + j for the published row of sketch j; -1 for kept rows
    similarity : (n,) float32 of a dropped row to its representative, NaN for kept rows
    nearest : (n,) float32 of the most similar earlier row that direct linkage keeps and that was compared; 0 for none,
        -1 for published rows

    Cost: O(characters + m H) time for m shingles and H permutations, and one merge of two sets for each pair compared;
    rows with the same shingles are one. Rows that share a band with more than 255 others are narrowed down, and so are
    those of different components for "connected": see ``Profiles.narrowed``. Texts are read twice. Memory: 4
    bytes a row and band, and 8 bytes a shingle of those rows that share a band with another.
    Guarantee: no text is dropped unless another is that similar; with direct linkage, its representative is.

    References
    ----------
    Broder (1997), doi:10.1109/SEQUEN.1997.666900. Bands: Leskovec, Rajaraman & Ullman (2020), Mining of Massive
    Datasets, section 3.4. Crowded bands: Chaudhuri, Ganti & Kaushik (2006), doi:10.1109/ICDE.2006.9. As practised: Lee
    et al. (2022), arXiv:2107.06499, appendix A; Penedo et al. (2024), arXiv:2406.17557, section 3.4.

    Deviations: pairs that share a band are verified; direct linkage; orders of shingles from two hashes of each.

    >>> texts = Texts.from_list(["to be or not to be", "To be or not  to be!", "to be or not to be that is it"])
    >>> arguments = {"ngram_unit": "word", "ngram_size": 2, "num_perm": 64, "max_miss_rate": 0.01, "linkage": "direct"}
    >>> representative, similarity, _ = minhash(texts, np.zeros(3, np.float32), min_similarity=0.5, **arguments)
    >>> representative.tolist(), [round(float(value), 2) for value in similarity]
    ([-1, 0, 0], [nan, 0.8, 0.57])
    """
    known = PublishedRows.empty(texts.rows) if published is None else published
    texts, quality = texts.take(known.new_rows), quality[known.new_rows]
    bands, rows = choose_bands(min_similarity, num_perm, max_miss_rate)
    shingling = Sketcher(ngram_unit, ngram_size, bands, rows, tuple(differences))
    sketches, m = (
        MinHashSketches.concatenate([shingling.read(known.sketches(*SKETCH_COLUMNS)), shingling.sketches(texts)]),
        known.rows,
    )
    rank = np.concatenate((np.full(m, -np.inf, np.float32), -quality))
    firsts, group = _same(sketches.digests, np.argsort(rank, kind="stable"))
    held = int(np.count_nonzero(firsts < m))
    buckets = Buckets.from_keys(sketches.keys[:, firsts]).reaching(held)
    compared = np.unique(buckets.members)
    in_order = np.sort(firsts[compared])
    older, newer = np.split(in_order, [np.searchsorted(in_order, m)])
    sets = HashSets.concatenate(
        [read_sets(known.sketches(SHINGLES_COLUMN), older), shingling.sets(texts.take(newer - m))]
    )
    place = np.zeros(len(firsts), np.intp)
    place[compared] = np.searchsorted(in_order, firsts[compared])
    buckets, crowded = buckets.apart(_CROWD)
    narrow = Profiles.from_sets(sets, place[crowded]).narrowed(min_similarity)
    buckets = buckets.and_those_of(Buckets(crowded[narrow.members], narrow.starts))

    def jaccard(left: Rows, right: Rows) -> Numbers:
        return sets.jaccard(place[left], place[right])

    stands, nearest, links = direct_linkage(len(firsts), buckets, jaccard, min_similarity, held)
    similarity = np.where(stands < 0, 1, nearest)
    if linkage == "connected":
        first = merge_components(np.arange(len(firsts)), links)
        first = _joined(sets, place, buckets.undecided(stands, first), min_similarity, first)
        stands = np.where(first == np.arange(len(first)), -1, first)
        joined = np.flatnonzero(stands >= 0)
        similarity[joined] = jaccard(joined, stands[joined])
    representative, similar, near = _for_all_rows(firsts, group, stands, similarity, nearest)
    return (
        known.to_pool_rows(representative),
        known.expand_to_pool(similar[m:], np.nan),
        known.expand_to_pool(near[m:], -1),
    )


def compared_rates(bands: int, rows: int) -> tuple[float, ...]:
    """Compute the probability with which rows of each similarity in ``THRESHOLDS`` share a band."""
    return tuple(candidate_probability(similarity, bands, rows) for similarity in THRESHOLDS.tolist())


def _joined(sets: HashSets, place: Rows, buckets: Buckets, min_similarity: float, first: Rows) -> Rows:
    """Join the components of ``first`` that a similar pair connects, among the rows of some buckets."""
    rows = np.unique(buckets.members)
    profiles = Profiles.from_sets(sets, place[rows])
    known = np.unique(first[rows], return_index=True)[1]
    own = known[np.unique(first[rows], return_inverse=True)[1]]  # first of each component among these rows
    joined = connected_linkage(own, profiles.narrowed(min_similarity, own), profiles.jaccard, min_similarity)
    pairs = np.stack([first[rows], first[rows[joined]]]).astype(np.uint64)
    return merge_components(first, pairs.max(axis=0) << np.uint64(32) | pairs.min(axis=0))


def _same(digests: Hashes, order: Rows) -> tuple[Rows, Rows]:
    """The first in ``order`` of the rows of each digest, in that order; and the place of its first for each row."""
    by_digest = order[np.lexsort(digests[:, order])]
    new = np.ones(len(order), np.bool_)
    new[1:] = (digests[:, by_digest[1:]] != digests[:, by_digest[:-1]]).any(axis=0)
    first = np.empty(len(order), np.intp)
    first[by_digest] = by_digest[new][np.cumsum(new) - 1]
    firsts = order[first[order] == order]
    place = np.empty(len(order), np.intp)
    place[firsts] = np.arange(len(firsts))
    return firsts, place[first]


def _for_all_rows(
    firsts: Rows, group: Rows, stands: Rows, similarity: Numbers, nearest: Numbers
) -> tuple[Rows, Vector, Vector]:
    """What was found for the first of the rows with the same shingles, for all of them."""
    rows = np.arange(len(group))
    stand = firsts[np.where(stands < 0, np.arange(len(firsts)), stands)][group]
    dropped = stand != rows
    alike = np.where(firsts[group] == rows, nearest[group], 1)
    return (
        np.where(dropped, stand, -1),
        np.where(dropped, similarity[group], np.nan).astype(np.float32),
        alike.astype(np.float32),
    )


@selector(
    version=3,
    reads={"text", "quality"},
    budgeted=False,
    equivariant=True,
    random=False,
    sketch=("min_similarity", "ngram_unit", "ngram_size", "num_perm", "max_miss_rate", "normalize"),
    cost="O(characters + shingles · permutations + pairs that share a band)",
    guarantee="a dropped row is similar to its representative (direct), pairs are missed at a known rate",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MinHash:
    """Drop fuzzy duplicates: rows whose texts share most of their runs of words with one that is kept.

    Pairs that MinHash proposes are verified, so that nothing else is dropped. By default, case, white space, the
    Unicode form of characters and invisible characters make no difference; punctuation does. A character of a script
    written without blanks, such as Chinese, Japanese or Thai, counts as a word. A text too short for a shingle is one,
    so that it has the similarity 1 or 0 to others; texts without a word are the same.

    The gain of a kept row is 1 minus its similarity to the most similar kept row before it that it was compared with.

    References
    ----------
    Broder (1997), doi:10.1109/SEQUEN.1997.666900; Lee et al. (2022), arXiv:2107.06499; Leskovec, Rajaraman & Ullman
    (2020), Mining of Massive Datasets, section 3.4.
    """

    min_similarity: Annotated[float, Gt(0), Le(1)] = 0.8
    """Jaccard similarity of the sets of shingles from which two rows count as duplicates."""

    ngram_unit: Unit = "word"
    """What a shingle is a run of: words, or characters, which suit short texts and typing errors."""

    ngram_size: Annotated[int, Ge(1), Le(100)] = 5
    """Words or characters in a shingle."""

    num_perm: Annotated[int, Ge(1), Le(4096)] = 128
    """Values in a signature; they are cut into bands by what ``min_similarity`` and ``max_miss_rate`` ask for."""

    normalize: tuple[Difference, ...] = ("case", "space", "unicode")
    """Differences that are ignored: case, punctuation, space (kind and amount of white space), unicode (NFKC form and
    invisible characters). Words end at white space, whatever this names."""

    max_miss_rate: Annotated[float, Gt(0), Lt(1)] = 0.01
    """The probability with which a pair of exactly ``min_similarity`` may be missed; more similar ones are rarer."""

    linkage: Linkage = "direct"
    """Whether a row must be similar to the kept row itself, or a chain of similar rows to it is enough: "connected",
    by which a long chain of small changes, as in filled-in templates, is cut to one row."""

    keep: First = "best_quality"
    """The row that comes first, and is kept: the best, ties to the earliest in the pool, or the earliest."""

    def __post_init__(self) -> None:
        choose_bands(self.min_similarity, self.num_perm, self.max_miss_rate)

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        representative, similarity, nearest = minhash(
            require(pool.texts),
            pool.quality if self.keep == "best_quality" else np.zeros_like(pool.quality),
            min_similarity=self.min_similarity,
            ngram_unit=self.ngram_unit,
            ngram_size=self.ngram_size,
            num_perm=self.num_perm,
            max_miss_rate=self.max_miss_rate,
            linkage=self.linkage,
            differences=self.normalize,
            published=pool.published,
        )
        found = compared_rates(*choose_bands(self.min_similarity, self.num_perm, self.max_miss_rate))
        retention = Retention("Jaccard similarity", self.min_similarity, nearest, found)
        chained = "joined to its representative by near-duplicates" if self.linkage == "connected" else "near-duplicate"
        reason = f"{chained} (Jaccard similarity at least {self.min_similarity:g})"
        return Selection.from_representatives(representative, similarity, 1 - nearest, reason, retention)

    def sketch(self, pool: Pool) -> pa.Table:
        """The keys of its bands, a digest, and the shingles of each text."""
        cut = choose_bands(self.min_similarity, self.num_perm, self.max_miss_rate)
        return Sketcher(self.ngram_unit, self.ngram_size, *cut, self.normalize).table(require(pool.texts))
