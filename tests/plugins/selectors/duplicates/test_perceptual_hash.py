"""Perceptual hashes: exact within the distance, and copies of images are found."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from curate.kernels.images.features import count_bits
from curate.plugins.batches import Pool
from curate.plugins.selectors.duplicates.perceptual_hash import (
    PerceptualHash,
    hash_images,
    link_hashes,
    split_hashes,
)
from tests.encoded_images import encode_png, needs_pillow, picture, pictures, to_images

hashes = st.integers(0, 2**64 - 1)


def near(rng, n, flips):
    """Return n hashes, most of which differ from an earlier one in at most ``flips`` bits."""
    result = [int(rng.integers(2**63))]
    while len(result) < n:
        bits = rng.choice(64, int(rng.integers(flips + 1)), replace=False)
        result.append(result[rng.integers(len(result))] ^ sum(1 << int(bit) for bit in bits))
    return np.array(result, np.uint64)


def brute_force(values, is_flat, quality, limit, n_published):
    """Compare each row with all rows kept before, in order of quality; rows with the same hash share a result."""
    first: dict[int, int] = {}
    kept, representative, similarity = [], np.full(len(values), -1), np.full(len(values), np.nan)
    order = [*range(n_published), *(n_published + np.argsort(-quality[n_published:], kind="stable"))]
    rank = {int(row): number for number, row in enumerate(order)}
    for row in map(int, order):
        same = None if is_flat[row] else first.setdefault(int(values[row]), row)
        if row >= n_published and same not in (None, row):
            representative[row] = same if representative[same] < 0 else representative[same]
            similarity[row] = 1 if representative[same] < 0 else similarity[same]
            continue
        distances = {other: int(values[row] ^ values[other]).bit_count() for other in kept if not is_flat[other]}
        best = min(distances, key=lambda other: (distances[other], rank[other]), default=None)
        if row >= n_published and not is_flat[row] and best is not None and distances[best] <= limit:
            representative[row], similarity[row] = best, 1 - distances[best] / 64
        else:
            kept.append(row)
    return representative, similarity


@given(st.integers(0, 2**16), st.integers(0, 16), st.integers(0, 8))
def test_the_same_as_comparing_all_pairs(seed, limit, n_published):
    rng = np.random.default_rng(seed)
    values, is_flat = near(rng, 40, limit + 2), rng.random(40) < 0.1
    quality = rng.integers(0, 3, 40).astype(np.float32)
    representative, similarity, _ = link_hashes(values, is_flat, quality, max_distance=limit, n_published=n_published)
    expected, shares = brute_force(values, is_flat, quality, limit, n_published)
    assert (representative < 0).tolist() == (expected < 0).tolist()
    np.testing.assert_array_equal(similarity, shares.astype(np.float32))
    distances = count_bits(values[representative >= 0] ^ values[representative[representative >= 0]])
    assert (distances <= limit).all()


@given(st.integers(0, 2**16), st.integers(0, 8))
def test_connected_linkage_keeps_the_first_row_of_each_chain(seed, limit):
    rng = np.random.default_rng(seed)
    values = near(rng, 40, limit + 3)
    near_pairs = np.array([[int(a ^ b).bit_count() <= limit for b in values] for a in values])
    _, component = connected_components(near_pairs, directed=False)
    first = np.unique(component, return_index=True)[1][component]
    expected = np.where(first == np.arange(40), -1, first)
    zeros = np.zeros(40, np.float32)
    representative, similarity, _ = link_hashes(
        values, zeros.astype(bool), zeros, max_distance=limit, linkage="connected"
    )
    assert representative.tolist() == expected.tolist()
    dropped = np.flatnonzero(expected >= 0)
    shares = [1 - int(values[row] ^ values[expected[row]]).bit_count() / 64 for row in dropped]
    np.testing.assert_allclose(similarity[dropped], shares)


@given(hashes, st.integers(0, 16), st.data())
def test_hashes_within_the_distance_have_an_equal_part(value, limit, data):
    bits = data.draw(st.lists(st.integers(0, 63), max_size=limit, unique=True))
    other = value ^ sum(1 << bit for bit in bits)
    parts = split_hashes(np.array([value, other], np.uint64), limit)
    assert (parts[:, 0] == parts[:, 1]).any()
    assert (parts < 2**32).all()


@given(hashes)
def test_no_bit_is_left_out(value):
    for limit in range(17):
        flipped = np.array([value, *(value ^ (1 << bit) for bit in range(64))], np.uint64)
        parts = split_hashes(flipped, limit)
        assert ((parts[:, 1:] != parts[:, :1]).sum(axis=0) == 1).all()


@given(st.integers(0, 2**16), st.integers(0, 6))
def test_linking_the_rows_that_share_keys_is_linking_all(seed, limit):
    """Rows without a common key, not even through others, may be linked in different tasks."""
    rng = np.random.default_rng(seed)
    sketches = pa.table({"hash": near(rng, 30, limit + 3), "is_flat": rng.random(30) < 0.1})
    quality, selector = rng.random(30).astype(np.float32), PerceptualHash(max_distance=limit)
    complete = selector.link(sketches, quality, 0)
    rows, keys = selector.keys(sketches)
    component = np.arange(30)
    for key in np.unique(keys):
        together = component[rows[keys == key]]
        component[np.isin(component, together)] = together.min()
    for number in np.unique(component):
        members = np.flatnonzero(component == number)
        alone = selector.link(sketches.take(members), quality[members], 0)
        assert members[np.sort(alone.indices)].tolist() == sorted(set(members) & set(complete.indices.tolist()))


def pool(encoded, quality=None):
    n = len(encoded)
    empty = np.zeros((n, 0), np.float32)
    values = np.zeros(n, np.float32) if quality is None else np.array(quality, np.float32)
    return Pool(empty, values, np.zeros(n, np.int32), images=to_images(encoded))


def select(encoded, quality=None, **fields):
    selection = PerceptualHash(**fields).select(pool(encoded, quality), None, np.random.default_rng(0))
    return selection.check(len(encoded), None)


@needs_pillow
def test_copies_of_another_size_and_compression_are_dropped_and_other_images_are_kept():
    from PIL import Image

    encoded, n = [picture(number) for number in range(30)], 30
    for data in encoded[:n]:
        image = Image.open(io.BytesIO(data))
        for copy, options in (
            (image.resize((image.width * 3, image.height * 3)), {"format": "PNG"}),
            (image, {"format": "JPEG", "quality": 40}),
        ):
            file = io.BytesIO()
            copy.save(file, **options)
            encoded.append(file.getvalue())
    hashed, _ = hash_images(to_images(encoded))
    distances = count_bits(hashed[n:] ^ np.repeat(hashed[:n], 2))
    assert (distances <= 4).mean() > 0.8, "although these images are tiny"
    apart = [int(count_bits(hashed[:1] ^ other)[0]) for other in hashed[1:n]]
    assert min(apart) > 8
    assert set(range(n)) <= set(select(encoded).indices.tolist())


@needs_pillow
def test_the_row_of_best_quality_stays_unless_the_first_is_requested():
    encoded = [picture(1), picture(2), picture(1)]
    assert sorted(select(encoded, [1, 1, 2]).indices) == [1, 2]
    assert sorted(select(encoded, [1, 1, 2], keep="first").indices) == [0, 1]
    assert select(encoded).representative.tolist() == [-1, -1, 0]


@needs_pillow
def test_images_without_structure_are_kept():
    flat = [encode_png(np.full((8, 8, 3), level, np.uint8)) for level in (0, 255, 255)]
    assert sorted(select(flat, max_distance=16).indices) == [0, 1, 2]


@needs_pillow
def test_no_images_have_no_hashes():
    hashed, is_flat = hash_images(pictures([]))
    assert (len(hashed), len(is_flat)) == (0, 0)
    assert select([]).indices.tolist() == []
