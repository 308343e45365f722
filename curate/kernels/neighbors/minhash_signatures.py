"""MinHash signatures, and the bands they are cut into, so that similar sets meet in a bucket."""

from __future__ import annotations

import math

import numpy as np

from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Hashes, Positions, Signatures

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def candidate_probability(similarity: float, bands: int, rows: int) -> float:
    """The probability that two sets of that Jaccard similarity share a band: 1 − (1 − sʳ)ᵇ.

    References
    ----------
    Leskovec, Rajaraman & Ullman (2020), Mining of Massive Datasets, section 3.4.2.

    >>> round(candidate_probability(0.8, bands=20, rows=5), 4)
    0.9996
    """
    return 1.0 if similarity >= 1 else -math.expm1(bands * math.log1p(-(similarity**rows)))


def choose_bands(min_similarity: float, num_perm: int, max_miss_rate: float) -> tuple[int, int]:
    """How many bands of how many rows find two sets of exactly ``min_similarity`` often enough.

    Of the cuts that miss them with at most ``max_miss_rate``, that with the most rows, which brings the fewest
    dissimilar sets together.

    Raises
    ------
    ValueError : if even bands of one row miss more often

    >>> choose_bands(0.8, num_perm=128, max_miss_rate=0.01)
    (21, 6)
    """
    for rows in range(num_perm, 0, -1):
        bands = num_perm // rows
        if 1 - candidate_probability(min_similarity, bands, rows) <= max_miss_rate:
            return bands, rows
    needed = math.ceil(math.log(max_miss_rate) / math.log1p(-min_similarity))
    raise ValueError(
        f"num_perm: {num_perm} find two rows of similarity {min_similarity:g} too seldom; "
        f"max_miss_rate {max_miss_rate:g} takes {needed}"
    )


def compute_signatures(hashes: Hashes, offsets: Positions, num_perm: int) -> Signatures:
    """The least of each set's elements under each of H random orders: equal in two sets as often as they are similar.

    The order i is that of h + aᵢ l modulo 2³², h and l being the halves of an element's hash, and aᵢ the odd numbers
    that SplitMix64 gives. For random hashes any two such orders are all but independent.

    Parameters
    ----------
    hashes, offsets : of n sets, as from ``shingles``; none empty; repetitions do no harm
    num_perm : H

    Returns
    -------
    (H, n) uint32; the share of the H that two sets have in common is their Jaccard similarity J on average, with a
    standard deviation of √(J (1 − J) / H)

    Cost: O(m H) time for m elements; 12 m bytes beside the result.

    References
    ----------
    Broder, Charikar, Frieze & Mitzenmacher (2000), "Min-wise independent num_perm", doi:10.1006/jcss.1999.1690.
    Orders from two hashes: Kirsch & Mitzenmacher (2008), doi:10.1002/rsa.20208. SplitMix64: Steele, Lea & Flood (2014),
    doi:10.1145/2660193.2660195.

    >>> s = compute_signatures(mix_bits(np.array([5, 6, 7, 5, 6, 7, 8], np.uint64)), np.array([0, 3, 7]), 1000)
    >>> bool(abs((s[:, 0] == s[:, 1]).mean() - 0.75) < 0.05)
    True
    """
    high, low = (hashes >> _HALF).astype(np.uint32), hashes.astype(np.uint32)
    factors = (mix_bits(np.arange(1, num_perm + 1, dtype=np.uint64) * _GOLDEN) >> _HALF).astype(np.uint32)
    least, values = np.empty((num_perm, len(offsets) - 1), np.uint32), np.empty_like(low)
    if not least.size:
        return least
    for i, factor in enumerate(factors | np.uint32(1)):
        np.multiply(low, factor, out=values)
        np.add(values, high, out=values)
        np.minimum.reduceat(values, offsets[:-1], out=least[i])
    return least


def band_keys(least: Signatures, bands: int, rows: int) -> Signatures:
    """(bands, n) uint32: a hash of each set's ``rows`` values in each band of its signature (at least bands · rows, n).

    >>> band_keys(np.array([[7, 7], [8, 8], [7, 9], [9, 9]], np.uint32), bands=2, rows=2).shape
    (2, 2)
    """
    cut = least[: bands * rows].reshape(bands, rows, -1)
    keys = np.zeros((bands, cut.shape[2]), np.uint64)
    for row in range(rows):
        keys = mix_bits(keys + cut[:, row] + _GOLDEN)
    return (keys >> _HALF).astype(np.uint32)
