"""Scores of images, on images whose score is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.image_aspect import ImageAspect
from curate.plugins.scorers.image_entropy import ImageEntropy
from curate.plugins.scorers.image_sharpness import ImageSharpness
from curate.plugins.scorers.image_size import ImageSize
from tests.encoded_images import encode_png, needs_pillow, to_images

SIZES = [(1, 1), (30, 20), (10, 1000)]


def score(scorer, *pixels):
    images = to_images([encode_png(one) for one in pixels])
    return scorer.score(ScoreBatch(images=images), np.random.default_rng(0)).tolist()


def blank(width, height):
    return np.full((height, width, 3), 255, np.uint8)


def gray(levels):
    return np.repeat(np.asarray(levels, np.uint8)[..., None], 3, axis=2)


def test_sizes_and_aspects_need_no_decoding(monkeypatch):
    monkeypatch.setattr("curate.kernels.images.codec.decode_image", lambda *_: pytest.fail("it was decoded"))
    images = [blank(*size) for size in SIZES]
    assert score(ImageSize(), *images) == [[1, 1], [600, 20], [10_000, 10]]
    assert score(ImageAspect(), *images) == [1, 1.5, 100]


@needs_pillow
def test_blurring_lowers_the_sharpness_and_a_single_color_has_none():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64))
    blurred = [gray(gaussian_filter(noise.astype(float), sigma)) for sigma in (0.5, 1, 3)]
    values = score(ImageSharpness(), gray(noise), *blurred, blank(64, 64))
    assert values == sorted(values, reverse=True)
    assert values[0] > 100 * values[3] > 0 == values[4]


@needs_pillow
def test_the_largest_sharpness_is_in_the_declared_range():
    checkers = gray(np.indices((64, 64)).sum(axis=0) % 2 * 255)
    assert score(ImageSharpness(), checkers) == [pytest.approx(1020**2)]


@needs_pillow
def test_the_entropy_counts_levels():
    halves = np.concatenate((blank(8, 4), np.zeros((4, 8, 3), np.uint8)))
    assert score(ImageEntropy(), blank(8, 8), halves, gray(np.arange(256).reshape(16, 16))) == [0, 1, 8]


@needs_pillow
@pytest.mark.parametrize("scorer", [ImageSharpness(), ImageEntropy()])
def test_huge_and_tiny_images_have_a_score(scorer):
    assert np.isfinite(score(scorer, blank(1, 1), blank(1, 3_000), blank(3_000, 1_500))).all()
