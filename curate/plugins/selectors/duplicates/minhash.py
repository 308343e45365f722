"""MinHash: of rows whose texts share most of their shingles, one is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le, Lt

from curate.kernels.linalg.centroids import group_rows
from curate.kernels.neighbors.components import find_roots, merge_edges
from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.lsh_linkage import Buckets, connected_linkage, direct_linkage, merge_components
from curate.kernels.neighbors.minhash_signatures import candidate_probability, choose_bands
from curate.kernels.neighbors.minhash_sketches import (
    SHINGLES_COLUMN,
    SKETCH_COLUMNS,
    MinHashSketches,
    Sketcher,
    read_sets,
    view_sets,
)
from curate.kernels.neighbors.rare_shingles import Profiles
from curate.kernels.neighbors.retention import THRESHOLDS, Retention
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.text.shingles import Unit
from curate.kernels.text.text_differences import Difference
from curate.kernels.types import Hashes, Numbers, Rows, Texts, Vector
from curate.plugins.batches import Pool, PublishedRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Keep = Literal["first", "best_quality"]
Linkage = Literal["direct", "connected"]

_CROWD = 256  # buckets of more members are narrowed down


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
    """Run fuzzy deduplication: MinHash and banding propose pairs of texts, and their exact similarity decides.

    The similarity of two texts is the Jaccard similarity of their sets of shingles. Texts are processed in order of
    quality, ties to the lowest index. Those that share a band of their signatures are compared.

    Parameters
    ----------
    texts : n texts
    quality : (n,) float32, higher = keep
    min_similarity : in (0, 1], from which two texts count as duplicates
    ngram_unit, ngram_size : unit and size of shingles, see ``hash_shingles``
    num_perm, max_miss_rate : two texts of exactly ``min_similarity`` share no band with at most that probability, more
        similar ones with a lower probability: see ``choose_bands`` and ``candidate_probability``
    linkage : "direct" drops a text if an earlier kept one is similar; "connected" (the common practice) keeps one text
        of each chain of similar pairs, even if its ends have nothing in common
    differences : differences between texts that are ignored, see ``normalize``
    published : rows that are always kept, and m sketches, which come before all other rows

    Returns
    -------
    representative : (n,) the kept row that represents a dropped one: the most similar earlier one, or the first of the
        chain; n + j for the published row of sketch j; -1 for kept rows
    similarity : (n,) float32 of a dropped row to its representative, NaN for kept rows
    nearest : (n,) float32, similarity to the most similar earlier row that direct linkage keeps and that was compared;
        0 for none, -1 for published rows

    Notes
    -----
    Cost: O(characters + m H) time for m shingles and H permutations, and one merge of two sets for each compared pair;
    rows with the same shingles are treated as one. Rows that share a band with more than 255 others are narrowed down,
    and so are those of different components for "connected": see ``Profiles.narrow``. Texts are read twice. Memory: 4
    bytes a row and band, and 8 bytes a shingle of rows that share a band with another.

    Guarantee: no text is dropped unless another is that similar; with direct linkage, its representative is.

    Deviations: pairs that share a band are verified; direct linkage; orders of shingles from two hashes of each.

    References
    ----------
    Broder (1997), doi:10.1109/SEQUEN.1997.666900. Bands: Leskovec, Rajaraman & Ullman (2020), Mining of Massive
    Datasets, section 3.4. Crowded bands: Chaudhuri, Ganti & Kaushik (2006), doi:10.1109/ICDE.2006.9. In practice: Lee
    et al. (2022), arXiv:2107.06499, appendix A; Penedo et al. (2024), arXiv:2406.17557, section 3.4.

    Examples
    --------
    >>> texts = Texts.from_list(["to be or not to be", "To be or not  to be!", "to be or not to be that is it"])
    >>> arguments = {"ngram_unit": "word", "ngram_size": 2, "num_perm": 64, "max_miss_rate": 0.01, "linkage": "direct"}
    >>> representative, similarity, _ = minhash(texts, np.zeros(3, np.float32), min_similarity=0.5, **arguments)
    >>> representative.tolist(), [round(float(value), 2) for value in similarity]
    ([-1, 0, 0], [nan, 0.8, 0.57])
    """
    published_rows = PublishedRows.empty(texts.rows) if published is None else published
    new_texts, m = texts.take(published_rows.new_rows), published_rows.rows
    bands, rows = choose_bands(min_similarity, num_perm, max_miss_rate)
    sketcher = Sketcher(ngram_unit, ngram_size, bands, rows, tuple(differences))
    sketches = MinHashSketches.concatenate(
        [sketcher.read_table(published_rows.sketches(*SKETCH_COLUMNS)), sketcher.sketch(new_texts)]
    )

    def read_shingles(ascending: Rows) -> tuple[HashSets, Rows]:
        published_part, new_part = np.split(ascending, [np.searchsorted(ascending, m)])
        stored = read_sets(published_rows.sketches(SHINGLES_COLUMN), published_part)
        sets = HashSets.concatenate([stored, sketcher.shingle_sets(new_texts.take(new_part - m))])
        return sets, np.arange(len(ascending))

    representative, similarities, nearest = link_sketches(
        sketches,
        np.concatenate((np.zeros(m, np.float32), quality[published_rows.new_rows])),
        read_shingles,
        min_similarity=min_similarity,
        linkage=linkage,
        n_published=m,
    )
    return (
        published_rows.to_pool_rows(representative),
        published_rows.expand_to_pool(similarities[m:], np.nan),
        published_rows.expand_to_pool(nearest[m:], -1),
    )


def link_sketches(
    sketches: MinHashSketches,
    quality: Vector,
    read_shingles: Callable[[Rows], tuple[HashSets, Rows]],
    *,
    min_similarity: float,
    linkage: Linkage,
    n_published: int = 0,
) -> tuple[Rows, Vector, Vector]:
    """Drop the near-duplicates among sketched texts.

    Texts that share no band, not even through others, have no influence on each other: linking them separately gives
    the same result.

    Parameters
    ----------
    sketches : of n texts
    quality : (n,) float32, higher = keep
    read_shingles : function that returns sets of shingles, and the set of each of some ascending rows
    min_similarity, linkage : see ``minhash``
    n_published : number of leading rows that are always kept

    Returns
    -------
    representative, similarity, nearest : (n,) as ``minhash`` returns them, with rows as numbered here; ``nearest`` is
        -1 for published rows
    """
    rank = np.concatenate((np.full(n_published, -np.inf, np.float32), -quality[n_published:]))
    first_rows, group = _group_equal_digests(sketches.digests, np.argsort(rank, kind="stable"))
    n_fixed = int(np.count_nonzero(first_rows < n_published))
    buckets = Buckets.from_keys(sketches.keys[:, first_rows]).reaching_row(n_fixed)
    compared = np.unique(buckets.members)
    sorted_rows = np.sort(first_rows[compared])
    sets, set_of_row = read_shingles(sorted_rows)
    set_of_group = np.zeros(len(first_rows), np.intp)
    set_of_group[compared] = set_of_row[np.searchsorted(sorted_rows, first_rows[compared])]
    buckets = _narrow_crowded(buckets, sets, set_of_group, min_similarity)

    def jaccard(left: Rows, right: Rows) -> Numbers:
        return sets.jaccard(set_of_group[left], set_of_group[right])

    representatives, nearest, links = direct_linkage(len(first_rows), buckets, jaccard, min_similarity, n_fixed)
    similarity = np.where(representatives < 0, 1, nearest)
    if linkage == "connected":
        component = merge_components(np.arange(len(first_rows)), links)
        component = _merge_similar_components(
            sets, set_of_group, buckets.select_undecided(representatives, component), min_similarity, component
        )
        representatives = np.where(component == np.arange(len(component)), -1, component)
        dropped = np.flatnonzero(representatives >= 0)
        similarity[dropped] = jaccard(dropped, representatives[dropped])
    representative, similarities, nearest_all = _expand_groups(first_rows, group, representatives, similarity, nearest)
    representative[:n_published], similarities[:n_published], nearest_all[:n_published] = -1, np.nan, -1
    return representative, similarities, nearest_all


def _narrow_crowded(buckets: Buckets, sets: HashSets, set_of_group: Rows, min_similarity: float) -> Buckets:
    """Replace the buckets of more than ``_CROWD`` members by smaller ones, in each component of the buckets."""
    small, crowded = buckets.split_by_size(_CROWD)
    if not len(crowded):
        return buckets
    root = np.arange(len(set_of_group))
    merge_edges(root, np.repeat(buckets.members[buckets.starts[:-1]], np.diff(buckets.starts)), buckets.members)
    for rows in group_rows(np.unique(find_roots(root, crowded), return_inverse=True)[1].astype(np.int32)):
        members = crowded[rows]
        narrow = Profiles.from_sets(sets, set_of_group[members]).narrow(min_similarity)
        small = small.concatenate(Buckets(members[narrow.members], narrow.starts))
    return small


def compared_rates(bands: int, rows: int) -> tuple[float, ...]:
    """Compute the probability with which rows of each similarity in ``THRESHOLDS`` share a band.

    Parameters
    ----------
    bands, rows : number of bands, and of signature values per band

    Returns
    -------
    probabilities, one for each threshold
    """
    return tuple(candidate_probability(similarity, bands, rows) for similarity in THRESHOLDS.tolist())


def _merge_similar_components(
    sets: HashSets, set_of_group: Rows, buckets: Buckets, min_similarity: float, first: Rows
) -> Rows:
    """Merge the components of ``first`` that a similar pair connects, among the rows of some buckets."""
    rows = np.unique(buckets.members)
    profiles = Profiles.from_sets(sets, set_of_group[rows])
    first_positions = np.unique(first[rows], return_index=True)[1]
    component_of_row = first_positions[
        np.unique(first[rows], return_inverse=True)[1]
    ]  # first of each component among these rows
    joined = connected_linkage(
        component_of_row, profiles.narrow(min_similarity, component_of_row), profiles.jaccard, min_similarity
    )
    pairs = np.stack([first[rows], first[rows[joined]]]).astype(np.uint64)
    return merge_components(first, pairs.max(axis=0) << np.uint64(32) | pairs.min(axis=0))


def _group_equal_digests(digests: Hashes, order: Rows) -> tuple[Rows, Rows]:
    """Return the first row of each digest, in ``order``; and the position of its first row for each row."""
    by_digest = order[np.lexsort(digests[:, order])]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (digests[:, by_digest[1:]] != digests[:, by_digest[:-1]]).any(axis=0)
    first_of_group = np.empty(len(order), np.intp)
    first_of_group[by_digest] = by_digest[is_new][np.cumsum(is_new) - 1]
    first_rows = order[first_of_group[order] == order]
    group_of_row = np.empty(len(order), np.intp)
    group_of_row[first_rows] = np.arange(len(first_rows))
    return first_rows, group_of_row[first_of_group]


def _expand_groups(
    first_rows: Rows, group: Rows, representatives: Rows, similarity: Numbers, nearest: Numbers
) -> tuple[Rows, Vector, Vector]:
    """Expand results for the first row of each group of equal shingles to all rows."""
    rows = np.arange(len(group))
    representative_rows = first_rows[np.where(representatives < 0, np.arange(len(first_rows)), representatives)][group]
    is_dropped = representative_rows != rows
    nearest_all = np.where(first_rows[group] == rows, nearest[group], 1)
    return (
        np.where(is_dropped, representative_rows, -1),
        np.where(is_dropped, similarity[group], np.nan).astype(np.float32),
        nearest_all.astype(np.float32),
    )


@selector(
    version=4,
    scope="sketch",
    reads={"text", "quality"},
    budgeted=False,
    equivariant=True,
    random=False,
    sketch=("min_similarity", "ngram_unit", "ngram_size", "num_perm", "max_miss_rate", "normalize"),
    cost="O(characters + shingles · permutations + pairs that share a band)",
    guarantee="with direct linkage, dropped rows are similar to their representative; pairs are missed at a known rate",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MinHash:
    """Drop fuzzy duplicates: rows whose texts share most of their word n-grams with a kept row.

    Use it after ``exact_duplicates`` for texts with small edits, such as reposts and templates. Pairs that MinHash
    proposes are verified, so only similar texts are linked. For texts contained in longer ones use ``repeated_spans``,
    for paraphrases ``semdedup``.

    By default, case, white space, the Unicode form of characters and invisible characters are ignored; punctuation is
    not. A character of a script written without blanks, such as Chinese, Japanese or Thai, counts as a word. A text too
    short for a shingle is a single shingle, so its similarity to others is 1 or 0; texts without words are the same.

    The gain of a kept row is 1 minus its similarity to the most similar earlier kept row that it was compared with.

    References
    ----------
    Broder (1997), doi:10.1109/SEQUEN.1997.666900; Lee et al. (2022), arXiv:2107.06499; Leskovec, Rajaraman & Ullman
    (2020), Mining of Massive Datasets, section 3.4.
    """

    min_similarity: Annotated[float, Gt(0), Le(1)] = 0.8
    """Jaccard similarity of shingle sets from which two rows count as duplicates."""

    ngram_unit: Unit = "word"
    """Unit of shingles: words, or characters, which suit short texts and typing errors."""

    ngram_size: Annotated[int, Ge(1), Le(100)] = 5
    """Number of words or characters in a shingle."""

    num_perm: Annotated[int, Ge(1), Le(4096)] = 128
    """Number of values in a signature; ``min_similarity`` and ``max_miss_rate`` determine its bands."""

    normalize: tuple[Difference, ...] = ("case", "space", "unicode")
    """Differences to ignore: case, punctuation, space (kind and amount of white space), unicode (NFKC form and
    invisible characters). White space always separates words."""

    max_miss_rate: Annotated[float, Gt(0), Lt(1)] = 0.01
    """Probability that a pair of exactly ``min_similarity`` is missed; more similar pairs are missed less often."""

    linkage: Linkage = "direct"
    """Linkage: ``direct`` requires a row to be similar to the kept row itself; ``connected`` only a chain of similar
    rows, so that a long chain of small changes, such as filled-in templates, is reduced to one row."""

    keep: Keep = "best_quality"
    """Row to keep: that of best quality, ties to the first in the pool, or the first."""

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
        return self._selection(representative, similarity, nearest)

    def _selection(self, representative: Rows, similarity: Vector, nearest: Vector) -> Selection:
        rates = compared_rates(*choose_bands(self.min_similarity, self.num_perm, self.max_miss_rate))
        retention = Retention("Jaccard similarity", self.min_similarity, nearest, rates)
        kind = "connected to its representative by near-duplicates" if self.linkage == "connected" else "near-duplicate"
        reason = f"{kind} (Jaccard similarity at least {self.min_similarity:g})"
        return Selection.from_representatives(representative, similarity, 1 - nearest, reason, retention)

    def sketch(self, pool: Pool) -> pa.Table:
        """Return the band keys, a digest, and the shingles of each text."""
        return self._sketcher().to_table(require(pool.texts))

    def keys(self, sketches: pa.Table) -> tuple[Rows, Hashes]:
        """Return the digest of each row, and the band keys of the first row with each digest."""
        one = self._sketcher().read_table([sketches])
        digest = mix_bits(one.digests[0]) ^ one.digests[1]
        first = np.sort(np.unique(digest, return_index=True)[1])
        bands = np.arange(len(one.keys), dtype=np.uint64)[:, None] + np.uint64(1)
        band_keys = (bands << np.uint64(32) | one.keys[:, first]).ravel()
        return np.concatenate((np.arange(len(digest)), np.tile(first, len(one.keys)))), np.concatenate(
            (digest, band_keys)
        )

    def link(self, sketches: pa.Table, quality: Vector, n_published: int) -> Selection:
        """Select among sketched rows, of which the first ``n_published`` were published before."""
        linked = link_sketches(
            self._sketcher().read_table([sketches]),
            quality if self.keep == "best_quality" else np.zeros_like(quality),
            lambda rows: (view_sets(sketches), rows),
            min_similarity=self.min_similarity,
            linkage=self.linkage,
            n_published=n_published,
        )
        return self._selection(*linked)

    def _sketcher(self) -> Sketcher:
        bands = choose_bands(self.min_similarity, self.num_perm, self.max_miss_rate)
        return Sketcher(self.ngram_unit, self.ngram_size, *bands, self.normalize)
