"""Signatures agree at the rate of the similarity, and bands find pairs at the expected rate."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.neighbors.minhash_signatures import (
    band_keys,
    candidate_probability,
    choose_bands,
    compute_signatures,
)
from curate.kernels.stats.hash_sampling import mix_bits

SIZE = 60


def random_pairs(pairs, shared, seed=0):
    """Return pairs of sets with ``shared`` common elements: hashes, offsets and their similarity."""
    common = np.arange(pairs * shared).reshape(pairs, shared)
    own = 10**9 + np.arange(2 * pairs * (SIZE - shared)).reshape(pairs, 2, SIZE - shared)
    both = np.concatenate([np.stack([common, common], axis=1), own], axis=2).reshape(2 * pairs, SIZE)
    hashes = mix_bits(both.ravel().astype(np.uint64) + np.uint64((seed << 40) + 1))
    return hashes, np.arange(0, len(hashes) + 1, SIZE), shared / (2 * SIZE - shared)


@pytest.mark.parametrize("shared", [10, 40, 55])
def test_agreement_is_the_similarity_on_average_with_the_variance_of_independent_orders(shared):
    pairs, num_perm = 4000, 128
    hashes, offsets, similarity = random_pairs(pairs, shared)
    least = compute_signatures(hashes, offsets, num_perm)
    agreement = (least[:, ::2] == least[:, 1::2]).mean(axis=0)
    variance = similarity * (1 - similarity) / num_perm
    assert abs(agreement.mean() - similarity) < 3 * np.sqrt(variance / pairs)
    assert abs(agreement.var() / variance - 1) < 3 * np.sqrt(2 / pairs)


def test_repetitions_and_order_change_no_signature():
    hashes = mix_bits(np.arange(1, 5, dtype=np.uint64))
    least = compute_signatures(np.concatenate([hashes, hashes[[3, 2, 2, 0, 1, 1]]]), np.array([0, 4, 10]), 32)
    assert least[:, 0].tolist() == least[:, 1].tolist()


@pytest.mark.parametrize(("shared", "bands", "rows"), [(45, 16, 8), (40, 32, 4), (30, 20, 5)])
def test_pairs_share_a_band_by_the_curve(shared, bands, rows):
    pairs = 4000
    hashes, offsets, similarity = random_pairs(pairs, shared, seed=1)
    keys = band_keys(compute_signatures(hashes, offsets, bands * rows), bands, rows)
    result = (keys[:, ::2] == keys[:, 1::2]).any(axis=0).mean()
    expected = candidate_probability(similarity, bands, rows)
    assert abs(result - expected) < 3 * np.sqrt(expected * (1 - expected) / pairs)


@pytest.mark.parametrize(("bands", "rows", "middle"), [(20, 5, 0.549), (14, 8, 0.719)])
def test_the_curve_rises_about_the_published_thresholds(bands, rows, middle):
    """(1 / b)^(1 / r), where a pair is found with probability 1 − (1 − 1 / b)ᵇ; the middle one is that of FineWeb."""
    threshold = (1 / bands) ** (1 / rows)
    assert round(threshold, 3) == middle
    assert candidate_probability(threshold, bands, rows) == pytest.approx(1 - (1 - 1 / bands) ** bands)
    assert candidate_probability(1, bands, rows) == 1
    assert candidate_probability(0, bands, rows) == 0


@pytest.mark.parametrize("min_similarity", [0.05, 0.3, 0.5, 0.7, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("miss", [0.2, 0.01, 0.002])
def test_cut_has_the_most_rows_that_miss_seldom_enough(min_similarity, miss):
    bands, rows = choose_bands(min_similarity, 128, miss)
    missed = [1 - candidate_probability(min_similarity, 128 // r, r) for r in range(1, 129)]
    assert bands == 128 // rows
    assert rows == max(r for r in range(1, 129) if missed[r - 1] <= miss)


def test_too_few_permutations_are_an_error_with_the_required_number():
    with pytest.raises(
        ValueError, match=r"num_perm: 16 values miss too many pairs of similarity 0.1; .* requires at least 44"
    ):
        choose_bands(0.1, 16, 0.01)
    assert choose_bands(0.1, 44, 0.01) == (44, 1)
