"""Numeric features of images: colors, gradients, low frequencies, perceptual hashes and sharpness."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from curate.kernels.types import Hashes, Indices, Matrix, Numbers

Pixels = NDArray[np.uint8]

COLOR_BINS = 100
"""Length of a color histogram: 4 levels of lightness, and 5 of each of the two color axes."""

ORIENTATIONS = 8
CELLS = 8
"""Number of cells of a gradient histogram per side."""

FREQUENCIES = 8
"""Number of low frequencies per axis."""

_LEVELS = 5  # bits per channel of the quantized colors
_COLOR_RANGE = 0.2  # of the color axes of Oklab; sRGB reaches from -0.31 to 0.28


def color_histograms(pixels: Pixels) -> Matrix:
    """Count the colors of images in bins of the perceptual color space Oklab.

    Parameters
    ----------
    pixels : (n, h, w, 3) uint8, RGB

    Returns
    -------
    (n, 100) float32 of unit length: square roots of the frequencies, so that an inner product is the Bhattacharyya
        coefficient of two histograms

    References
    ----------
    Swain & Ballard (1991), Color indexing, doi:10.1007/BF00130487. Ottosson (2020), A perceptual color space for image
    processing. Bhattacharyya coefficient: Comaniciu, Ramesh & Meer (2003), doi:10.1109/TPAMI.2003.1195991, equation 5.

    Examples
    --------
    >>> colors = np.array([[255, 0, 0], [250, 0, 0], [0, 0, 255]], np.uint8)  # red, darker red, blue
    >>> histograms = color_histograms(np.tile(colors[:, None, None], (1, 2, 2, 1)))
    >>> (histograms @ histograms[0]).tolist()
    [1.0, 1.0, 0.0]
    """
    n = len(pixels)
    levels = (pixels >> (8 - _LEVELS)).astype(np.int32).reshape(n, -1, 3)
    bins = _color_table()[(levels[..., 0] << 2 * _LEVELS) | (levels[..., 1] << _LEVELS) | levels[..., 2]]
    counts = np.bincount((bins + COLOR_BINS * np.arange(n)[:, None]).ravel(), minlength=n * COLOR_BINS)
    shares: Matrix = np.sqrt(counts.reshape(n, COLOR_BINS) / bins.shape[1]).astype(np.float32)
    return shares


@lru_cache(maxsize=1)
def _color_table() -> Indices:
    """Return the bin of each quantized color, (32768,)."""
    levels = (np.arange(1 << _LEVELS) + 0.5) / (1 << _LEVELS)
    srgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(linear @ _CONES.T)
    lightness, *axes = (cones @ _OKLAB.T).T
    bins: Indices = np.clip((lightness * 4).astype(np.intp), 0, 3)
    for axis in axes:
        bins = 5 * bins + np.clip(((axis / _COLOR_RANGE + 1) * 2.5).astype(np.intp), 0, 4)
    return bins


_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def gradient_histograms(gray: Matrix) -> Matrix:
    """Sum up gradients by orientation in a grid of cells, as histograms of oriented gradients do.

    Parameters
    ----------
    gray : (n, s, s) float32 gray levels; s is a multiple of 8

    Returns
    -------
    (n, 512) float32 of unit length; zero for an image of a single gray level

    Notes
    -----
    Deviations: a gradient counts for neighboring orientations by the squared cosine of the double angle, and for
    neighboring cells in proportion to its distance; the histograms of all cells are normalized together, after their
    square roots are taken.

    References
    ----------
    Dalal & Triggs (2005), doi:10.1109/CVPR.2005.177. Square roots: Arandjelović & Zisserman (2012),
    doi:10.1109/CVPR.2012.6248018, section 3.
    """
    n, side, _ = gray.shape
    down, right = np.zeros_like(gray), np.zeros_like(gray)
    down[:, 1:-1] = gray[:, 2:] - gray[:, :-2]
    right[:, :, 1:-1] = gray[:, :, 2:] - gray[:, :, :-2]
    magnitude = np.hypot(down, right)
    safe = np.where(magnitude > _NOISE, magnitude, np.float32(1))
    cosine, sine = (right * right - down * down) / (safe * safe), 2 * right * down / (safe * safe)
    pool = _cell_weights(side)
    cells = np.empty((n, ORIENTATIONS, CELLS, CELLS), np.float32)
    for orientation in range(ORIENTATIONS):
        angle = 2 * np.pi * orientation / ORIENTATIONS
        share = np.maximum(np.float32(np.cos(angle)) * cosine + np.float32(np.sin(angle)) * sine, 0)
        weighted = np.where(magnitude > _NOISE, share * share * magnitude, 0)
        cells[:, orientation] = pool @ (weighted @ pool.T)
    return _to_unit_rows(np.sqrt(cells.reshape(n, -1)))


_NOISE = np.float32(2)  # gradients of up to two gray levels are rounding


@lru_cache(maxsize=4)
def _cell_weights(side: int) -> Matrix:
    """Return the weight of each row of pixels for each row of cells, (8, side), which falls linearly."""
    centers = (np.arange(CELLS) + 0.5) * side / CELLS
    distance = np.abs(np.arange(side) + 0.5 - centers[:, None]) * CELLS / side
    return np.maximum(1 - distance, 0).astype(np.float32)


def low_frequencies(gray: Matrix, size: int, first: int = 0) -> Matrix:
    """Compute the lowest frequencies of the discrete cosine transform of images.

    Parameters
    ----------
    gray : (n, s, s) float32 gray levels
    size : number of frequencies per axis
    first : lowest frequency

    Returns
    -------
    (n, size²) float32, by vertical and then horizontal frequency

    Examples
    --------
    >>> np.abs(low_frequencies(np.full((1, 32, 32), 7, np.float32), 2)).round(3).tolist()
    [[224.0, 0.0, 0.0, 0.0]]
    """
    basis = _cosines(gray.shape[1])[first : first + size]
    frequencies: Matrix = np.matmul(basis, gray @ basis.T).reshape(len(gray), -1)
    return frequencies


@lru_cache(maxsize=4)
def _cosines(side: int) -> Matrix:
    """Return the orthonormal basis of the discrete cosine transform (DCT-II), (side, side)."""
    angles = np.pi * np.arange(side)[:, None] * (2 * np.arange(side) + 1) / (2 * side)
    basis: Matrix = (np.cos(angles) * np.sqrt(2 / side)).astype(np.float32)
    basis[0] /= np.float32(np.sqrt(2))
    return basis


def layouts(gray: Matrix) -> Matrix:
    """Describe the layout of images by the signs and square roots of their low frequencies without the mean.

    Parameters
    ----------
    gray : (n, s, s) float32 gray levels

    Returns
    -------
    (n, 63) float32 of unit length; zero for an image of a single gray level
    """
    frequencies = low_frequencies(gray, FREQUENCIES)[:, 1:]
    frequencies = np.where(np.abs(frequencies) > _FLAT, frequencies, 0)
    return _to_unit_rows(np.sign(frequencies) * np.sqrt(np.abs(frequencies)))


_FLAT = np.float32(1)  # coefficients of gray levels up to this size are rounding


def perceptual_hashes(gray: Matrix) -> tuple[Hashes, NDArray[np.bool_]]:
    """Hash images to 64 bits, so that copies with other sizes, compression or brightness differ in few bits.

    A bit tells whether one of 8 × 8 low frequencies is above their median.

    Parameters
    ----------
    gray : (n, 32, 32) float32 gray levels

    Returns
    -------
    hashes : (n,) uint64
    is_flat : (n,) whether the image has no structure, such as one of a single color, and so no meaningful hash

    References
    ----------
    Zauner (2010), Implementation and benchmarking of perceptual image hash functions, section 3.2.1: frequencies 1–8.

    Examples
    --------
    >>> gray = np.random.default_rng(0).random((32, 32), np.float32) * 255
    >>> hashes, is_flat = perceptual_hashes(np.stack((gray, gray * 0.5 + 9, np.full_like(gray, 3))))
    >>> bool(hashes[0] == hashes[1]), is_flat.tolist()
    (True, [False, False, True])
    """
    frequencies = low_frequencies(gray, 8, first=1)
    above = frequencies > np.median(frequencies, axis=1, keepdims=True)
    hashes = np.packbits(above, axis=1).view(">u8").astype(np.uint64).ravel()
    return hashes, np.abs(frequencies).max(axis=1) < _STRUCTURE


_STRUCTURE = np.float32(16)  # half a gray level, as the amplitude of a wave over 32 × 32 pixels


def count_bits(numbers: Hashes) -> Numbers:
    """Count the bits of each number that are 1.

    Parameters
    ----------
    numbers : (n,) uint64

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> count_bits(np.array([0, 7, 2**64 - 1], np.uint64)).tolist()
    [0.0, 3.0, 64.0]
    """
    bits: NDArray[np.uint8] = _bits_of_16().take(np.ascontiguousarray(numbers).view(np.uint16).reshape(-1, 4))
    totals: Numbers = bits.sum(axis=1, dtype=np.float64)
    return totals


@lru_cache(maxsize=1)
def _bits_of_16() -> NDArray[np.uint8]:
    """Return the number of bits that are 1 of each number of 16 bits."""
    bits = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1)
    totals: NDArray[np.uint8] = bits.sum(axis=1, dtype=np.uint8)
    return totals


def laplacian_variance(gray: Matrix) -> float:
    """Compute the variance of the Laplacian of one image, a measure of its sharpness.

    Parameters
    ----------
    gray : (h, w) float32 gray levels

    Returns
    -------
    the variance, in squared gray levels; 0 for an image of fewer than 3 pixels per side

    References
    ----------
    Pech-Pacheco et al. (2000), doi:10.1109/ICPR.2000.903548: LAPV, "variance of Laplacian".

    Examples
    --------
    >>> laplacian_variance(np.zeros((9, 9), np.float32)), laplacian_variance(np.eye(3, dtype=np.float32))
    (0.0, 0.0)
    """
    if min(gray.shape) < 3:
        return 0.0
    center = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * center
    return float(laplacian.var(dtype=np.float64))


def gray_entropy(levels: Pixels) -> float:
    """Compute the Shannon entropy of the gray levels of one image, in bits from 0 to 8.

    Parameters
    ----------
    levels : (h, w) uint8

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x, section 6.

    Examples
    --------
    >>> gray_entropy(np.array([[0, 255], [255, 0]], np.uint8))
    1.0
    """
    counts = np.bincount(levels.ravel(), minlength=256)
    shares = counts[counts > 0] / levels.size
    return float(max(0.0, -(shares * np.log2(shares)).sum()))


def _to_unit_rows(matrix: Matrix) -> Matrix:
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    units: Matrix = (matrix / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    return units
