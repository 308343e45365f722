"""Perceptual hashes: of images that look the same, one is kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from curate.kernels.images import codec
from curate.kernels.images.features import count_bits, perceptual_hashes
from curate.kernels.neighbors.lsh_linkage import Buckets, connected_linkage, direct_linkage, merge_components
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Flags, Hashes, Images, Numbers, Rows, Vector
from curate.plugins.batches import Pool, PublishedRows, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Keep = Literal["first", "best_quality"]
Linkage = Literal["direct", "connected"]

_SIDE = 32  # pixels per side of the images that are hashed
_BITS = 64
_HASH, _FLAT = "hash", "is_flat"


def hash_images(images: Images) -> tuple[Hashes, Flags]:
    """Hash images to 64 bits; see ``perceptual_hashes``.

    Parameters
    ----------
    images : n encoded images

    Returns
    -------
    hashes : (n,) uint64
    is_flat : (n,) whether the image has no structure, and so no meaningful hash
    """

    def shrink(data: bytes) -> tuple[Hashes, Flags]:
        gray = codec.decode_image(data, 4 * _SIDE).convert("L").resize((_SIDE, _SIDE), reducing_gap=2.0)
        return perceptual_hashes(np.asarray(gray, np.float32)[None])

    pairs = list(codec.map_images(shrink, images))
    if not pairs:
        return np.zeros(0, np.uint64), np.zeros(0, np.bool_)
    return np.concatenate([one for one, _ in pairs]), np.concatenate([one for _, one in pairs])


def split_hashes(hashes: Hashes, max_distance: int) -> Hashes:
    """Split hashes into parts, so that two hashes within a distance have an equal part.

    Parameters
    ----------
    hashes : (n,) uint64
    max_distance : largest number of different bits, t

    Returns
    -------
    (max(2, t + 1), n) uint64, consecutive bits of each hash

    Notes
    -----
    Guarantee: t different bits cannot be in all of t + 1 parts.

    Examples
    --------
    >>> split_hashes(np.array([0xFFFF0000AAAA5555], np.uint64), 1).tolist()
    [[2863289685], [4294901760]]
    """
    bounds = np.linspace(0, _BITS, max(2, max_distance + 1) + 1).astype(np.int64).tolist()
    masks = [((1 << (high - low)) - 1, low) for low, high in pairwise(bounds)]
    return np.stack([(hashes >> np.uint64(low)) & np.uint64(mask) for mask, low in masks])


def link_hashes(
    hashes: Hashes,
    is_flat: Flags,
    quality: Vector,
    *,
    max_distance: int,
    linkage: Linkage = "direct",
    n_published: int = 0,
) -> tuple[Rows, Vector, Vector]:
    """Drop a row if the hash of an earlier kept row differs in few bits.

    Rows are processed in order of quality, ties to the lowest index; rows with the same hash are treated as one.

    Parameters
    ----------
    hashes : (n,) uint64
    is_flat : (n,) rows without a meaningful hash, which are kept
    quality : (n,) float32, higher = keep
    max_distance : largest number of different bits of duplicates
    linkage : "direct" drops a row if an earlier kept one is similar; "connected" keeps one row of each chain of similar
        rows
    n_published : number of leading rows that are always kept

    Returns
    -------
    representative : (n,) the kept row with the most similar hash; -1 for kept rows
    similarity : (n,) float32, share of equal bits of a dropped row and its representative; NaN for kept rows
    nearest : (n,) float32, share of equal bits of the most similar earlier kept row that shares a part; 0 for none

    Notes
    -----
    Cost: O(n log n), and a comparison of 64 bits for each pair of different hashes with an equal part.

    Guarantee: exact; no kept row is within ``max_distance`` of an earlier kept row; with connected linkage, neither of
    a dropped one.

    References
    ----------
    Norouzi, Punjani & Fleet (2012), doi:10.1109/CVPR.2012.6248043: equal parts of hashes within a distance.
    """
    n = len(hashes)
    rank = np.concatenate((np.full(n_published, -np.inf, np.float32), -quality[n_published:]))
    order = np.argsort(rank, kind="stable")
    order = order[~is_flat[order]]
    _, position, group = np.unique(hashes[order], return_index=True, return_inverse=True)
    by_order = np.argsort(position)  # the different hashes in the order of their first rows
    first_rows = order[position[by_order]]
    group = np.argsort(by_order)[group]
    different = hashes[first_rows]

    def equal_bits(left: Rows, right: Rows) -> Numbers:
        return 1 - count_bits(different[left] ^ different[right]) / _BITS

    n_fixed = int(np.count_nonzero(first_rows < n_published))
    buckets = Buckets.from_keys(split_hashes(different, max_distance).astype(np.uint32)).reaching_row(n_fixed)
    threshold = 1 - max_distance / _BITS
    linked, similar, pairs = direct_linkage(len(first_rows), buckets, equal_bits, threshold, n_fixed)
    shown = np.where(linked < 0, 1, similar)
    if linkage == "connected":
        component = connected_linkage(
            merge_components(np.arange(len(first_rows)), pairs), buckets, equal_bits, threshold
        )
        linked = np.where(component == np.arange(len(component)), -1, component)
        shown = equal_bits(np.arange(len(component)), component)
    target = first_rows[np.where(linked < 0, np.arange(len(linked)), linked)][group]
    representative, similarity = np.full(n, -1, np.intp), np.full(n, np.nan, np.float32)
    nearest = np.zeros(n, np.float32)
    is_dropped = (target != order) & (order >= n_published)
    representative[order[is_dropped]] = target[is_dropped]
    similarity[order[is_dropped]] = shown[group][is_dropped]
    nearest[order] = similar[group]
    return representative, similarity, nearest


@selector(
    version=1,
    scope="sketch",
    reads={"image", "quality"},
    budgeted=False,
    random=False,
    sketch=(),
    cost="O(pixels + n log n + pairs with an equal part of the hash)",
    guarantee="no two kept images have hashes within `max_distance` of each other",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptualHash:
    """Drop copies of images that have another size, compression, brightness or format.

    Use it after ``exact_duplicates``. For images with another crop, and for different images of the same thing, use
    ``semdedup`` with an embedding of the images.

    The hash has a bit for each of 8 × 8 low frequencies of the gray image, resized to 32 × 32 pixels: whether it is
    above their median. Colors are ignored. Images without structure, such as those of a single color, have no
    meaningful hash and are kept. The similarity is the share of equal bits. With ``max_distance`` above 8, different
    images are dropped as well, and the runtime becomes quadratic. Needs the extra ``images``.

    The gain of a kept row is 1 minus its similarity to the most similar earlier kept row that it was compared with.

    References
    ----------
    Zauner (2010), Implementation and benchmarking of perceptual image hash functions, section 3.2.1; Norouzi, Punjani &
    Fleet (2012), doi:10.1109/CVPR.2012.6248043: search by parts of the hashes.
    """

    max_distance: Annotated[int, Ge(0), Le(16)] = 4
    """Largest number of different bits, of 64, of two images that count as duplicates."""

    keep: Keep = "best_quality"
    """Row to keep: that of best quality, ties to the first in the pool, or the first."""

    linkage: Linkage = "direct"
    """direct: drop a row if an earlier kept one looks the same; connected: keep one row of each chain of such rows."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        published = pool.published or PublishedRows.empty(len(pool))
        new = pool.take(published.new_rows)
        stored = list(published.sketches(_HASH, _FLAT))
        hashes, is_flat = hash_images(require(new.images))
        representative, similarity, nearest = self._link(
            np.concatenate([*(part[_HASH].to_numpy() for part in stored), hashes]),
            np.concatenate([*(part[_FLAT].to_numpy() for part in stored), is_flat]),
            np.concatenate((np.zeros(published.rows, np.float32), new.quality)),
            published.rows,
        )
        m = published.rows
        return self._selection(
            published.to_pool_rows(representative),
            published.expand_to_pool(similarity[m:], np.nan),
            published.expand_to_pool(nearest[m:], 0),
        )

    def sketch(self, pool: Pool) -> pa.Table:
        """Return the hash of each image."""
        return pa.table(dict(zip((_HASH, _FLAT), hash_images(require(pool.images)), strict=True)))

    def keys(self, sketches: pa.Table) -> tuple[Rows, Hashes]:
        """Return the parts of each hash."""
        rows = np.flatnonzero(~sketches[_FLAT].to_numpy())
        parts = split_hashes(sketches[_HASH].to_numpy()[rows], self.max_distance)
        numbered = parts ^ mix_bits(np.arange(len(parts), dtype=np.uint64))[:, None]
        return np.tile(rows, len(parts)), mix_bits(numbered.ravel())

    def link(self, sketches: pa.Table, quality: Vector, n_published: int) -> Selection:
        """Select among sketched rows, of which the first ``n_published`` were published before."""
        return self._selection(
            *self._link(sketches[_HASH].to_numpy(), sketches[_FLAT].to_numpy(), quality, n_published)
        )

    def _link(self, hashes: Hashes, is_flat: Flags, quality: Vector, n_published: int) -> tuple[Rows, Vector, Vector]:
        ranked = quality if self.keep == "best_quality" else np.zeros_like(quality)
        return link_hashes(
            hashes,
            is_flat,
            ranked,
            max_distance=self.max_distance,
            linkage=self.linkage,
            n_published=n_published,
        )

    def _selection(self, representative: Rows, similarity: Vector, nearest: Vector) -> Selection:
        return Selection.from_representatives(representative, similarity, 1 - nearest, "same perceptual hash")
