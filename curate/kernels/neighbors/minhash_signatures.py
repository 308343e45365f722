"""MinHash signatures and their bands, for locality-sensitive hashing."""

from __future__ import annotations

import math

import numpy as np

from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Hashes, Positions, Signatures

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def candidate_probability(similarity: float, bands: int, rows: int) -> float:
    """Compute the probability that two sets of that Jaccard similarity share a band: 1 − (1 − sʳ)ᵇ.

    Parameters
    ----------
    similarity : Jaccard similarity s in [0, 1]
    bands : number of bands b
    rows : number of signature values per band r

    References
    ----------
    Leskovec, Rajaraman & Ullman (2020), Mining of Massive Datasets, section 3.4.2.

    Examples
    --------
    >>> round(candidate_probability(0.8, bands=20, rows=5), 4)
    0.9996
    """
    return 1.0 if similarity >= 1 else -math.expm1(bands * math.log1p(-(similarity**rows)))


def choose_bands(min_similarity: float, num_perm: int, max_miss_rate: float) -> tuple[int, int]:
    """Choose the number of bands, and of rows per band, that find pairs of ``min_similarity`` often enough.

    Of the splits whose miss rate is at most ``max_miss_rate``, return that with the most rows per band, which brings
    the fewest dissimilar sets together.

    Parameters
    ----------
    min_similarity : Jaccard similarity in (0, 1]
    num_perm : number of values in a signature
    max_miss_rate : maximum probability that a pair of ``min_similarity`` shares no band

    Returns
    -------
    bands, rows : number of bands, and number of signature values per band

    Raises
    ------
    ValueError : if even bands of one row miss more often

    Examples
    --------
    >>> choose_bands(0.8, num_perm=128, max_miss_rate=0.01)
    (21, 6)
    """
    for rows in range(num_perm, 0, -1):
        bands = num_perm // rows
        if 1 - candidate_probability(min_similarity, bands, rows) <= max_miss_rate:
            return bands, rows
    min_perm = math.ceil(math.log(max_miss_rate) / math.log1p(-min_similarity))
    raise ValueError(
        f"num_perm: {num_perm} values miss too many pairs of similarity {min_similarity:g}; "
        f"max_miss_rate {max_miss_rate:g} requires at least {min_perm}"
    )


def compute_signatures(hashes: Hashes, offsets: Positions, num_perm: int) -> Signatures:
    """Compute MinHash signatures: the smallest element of each set under each of H random orders.

    Order i is that of h + aᵢ l modulo 2³², where h and l are the halves of an element's hash, and aᵢ odd numbers from
    SplitMix64. For random hashes, any two such orders are nearly independent.

    Parameters
    ----------
    hashes, offsets : n non-empty sets, as from ``hash_shingles``; duplicates do not matter
    num_perm : H

    Returns
    -------
    (H, n) uint32; the share of the H values that two sets have in common is their Jaccard similarity J on average, with
        a standard deviation of √(J (1 − J) / H)

    Notes
    -----
    Cost: O(m H) time for m elements; 12 m bytes plus the result.

    References
    ----------
    Broder, Charikar, Frieze & Mitzenmacher (2000), "Min-wise independent permutations", doi:10.1006/jcss.1999.1690.
    Orders from two hashes: Kirsch & Mitzenmacher (2008), doi:10.1002/rsa.20208. SplitMix64: Steele, Lea & Flood (2014),
    doi:10.1145/2660193.2660195.

    Examples
    --------
    >>> s = compute_signatures(mix_bits(np.array([5, 6, 7, 5, 6, 7, 8], np.uint64)), np.array([0, 3, 7]), 1000)
    >>> bool(abs((s[:, 0] == s[:, 1]).mean() - 0.75) < 0.05)
    True
    """
    high, low = (hashes >> _HALF).astype(np.uint32), hashes.astype(np.uint32)
    factors = (mix_bits(np.arange(1, num_perm + 1, dtype=np.uint64) * _GOLDEN) >> _HALF).astype(np.uint32)
    signatures, values = np.empty((num_perm, len(offsets) - 1), np.uint32), np.empty_like(low)
    if not signatures.size:
        return signatures
    for i, factor in enumerate(factors | np.uint32(1)):
        np.multiply(low, factor, out=values)
        np.add(values, high, out=values)
        np.minimum.reduceat(values, offsets[:-1], out=signatures[i])
    return signatures


def band_keys(signatures: Signatures, bands: int, rows: int) -> Signatures:
    """Hash the values of each band of the signatures.

    Parameters
    ----------
    signatures : (at least bands · rows, n) uint32
    bands, rows : number of bands, and of values per band

    Returns
    -------
    (bands, n) uint32

    Examples
    --------
    >>> band_keys(np.array([[7, 7], [8, 8], [7, 9], [9, 9]], np.uint32), bands=2, rows=2).shape
    (2, 2)
    """
    grouped = signatures[: bands * rows].reshape(bands, rows, -1)
    keys = np.zeros((bands, grouped.shape[2]), np.uint64)
    for row in range(rows):
        keys = mix_bits(keys + grouped[:, row] + _GOLDEN)
    return (keys >> _HALF).astype(np.uint32)
