"""Features of images, against slow and obvious definitions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.images import features

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (3, 64, 64)).astype(np.float32)
LINES = np.zeros((64, 64), np.float32)
LINES[:, 16::16] = 200


def test_low_frequencies_are_those_of_scipy():
    expected = scipy.fft.dctn(GRAY, axes=(1, 2), norm="ortho")[:, 1:9, 1:9].reshape(3, -1)
    np.testing.assert_allclose(features.low_frequencies(GRAY, 8, first=1), expected, atol=0.01)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_bits_are_counted(numbers):
    expected = [number.bit_count() for number in numbers]
    assert features.count_bits(np.array(numbers, np.uint64)).tolist() == expected


def test_a_perceptual_hash_has_half_of_its_bits_set_and_ignores_brightness_and_contrast():
    gray = RNG.random((20, 32, 32)).astype(np.float32) * 200
    hashes, is_flat = features.perceptual_hashes(gray)
    assert features.count_bits(hashes).tolist() == [32.0] * 20
    assert not is_flat.any()
    assert features.perceptual_hashes(gray * 0.5 + 60)[0].tolist() == hashes.tolist()
    assert len(set(hashes.tolist())) == 20


def test_a_hash_is_that_of_the_definition():
    gray = RNG.random((1, 32, 32)).astype(np.float32) * 255
    frequencies = scipy.fft.dctn(gray[0], norm="ortho")[1:9, 1:9].ravel()
    bits = "".join("1" if one > np.median(frequencies) else "0" for one in frequencies)
    assert features.perceptual_hashes(gray)[0].tolist() == [int(bits, 2)]


@pytest.mark.parametrize("level", [0, 7, 255])
def test_images_of_a_single_color_have_no_structure(level):
    gray = np.full((1, 32, 32), level, np.float32)
    assert features.perceptual_hashes(gray)[1].tolist() == [True]
    assert not features.gradient_histograms(np.full((1, 64, 64), level, np.float32)).any()
    assert not features.layouts(gray).any()


def test_color_histograms_are_distributions_and_ignore_positions():
    pixels = RNG.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    histograms = features.color_histograms(pixels)
    np.testing.assert_allclose((histograms**2).sum(axis=1), 1, rtol=1e-6)
    shuffled = pixels.reshape(2, 64, 3)[:, ::-1].reshape(2, 8, 8, 3)
    np.testing.assert_array_equal(features.color_histograms(shuffled), histograms)


def test_grays_are_in_the_neutral_bins():
    levels = np.arange(256, dtype=np.uint8)
    bins = np.flatnonzero(features.color_histograms(np.repeat(levels[None, None, :, None], 3, axis=3))[0])
    assert (bins % 25 == 12).all(), "the middle of 5 × 5 bins of the color axes"
    assert len(bins) == 4


def test_gradients_of_lines_tell_their_direction():
    vertical, horizontal = (features.gradient_histograms(one[None])[0] for one in (LINES, LINES.T.copy()))
    energy = (vertical.reshape(8, -1) ** 2).sum(axis=1)
    assert energy.argmax() == 0
    assert (horizontal.reshape(8, -1) ** 2).sum(axis=1).argmax() == 4
    assert float(vertical @ horizontal) < 0.3


def test_gradient_histograms_change_little_when_an_image_moves_by_a_pixel():
    image = scipy.ndimage.gaussian_filter(RNG.random((66, 66)), 3).astype(np.float32) * 4_000
    first, moved = features.gradient_histograms(np.stack((image[:64, :64], image[1:65, 1:65])))
    other = features.gradient_histograms(image[:64, :64].T.copy()[None])[0]
    assert float(first @ moved) > 0.97 > float(first @ other)


def test_the_laplacian_is_that_of_scipy():
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64)
    expected = scipy.ndimage.convolve(GRAY[0].astype(np.float64), kernel)[1:-1, 1:-1].var()
    assert features.laplacian_variance(GRAY[0]) == pytest.approx(expected, rel=1e-6)
    assert features.laplacian_variance(scipy.ndimage.gaussian_filter(GRAY[0], 2)) < expected / 50
    assert features.laplacian_variance(np.ones((2, 50), np.float32)) == 0


def test_the_entropy_is_that_of_scipy():
    levels = RNG.integers(0, 7, (30, 30)).astype(np.uint8)
    expected = scipy.stats.entropy(np.bincount(levels.ravel()), base=2)
    assert features.gray_entropy(levels) == pytest.approx(expected)
    assert features.gray_entropy(np.arange(256, dtype=np.uint8)[None]) == 8
    assert features.gray_entropy(np.zeros((4, 4), np.uint8)) == 0
