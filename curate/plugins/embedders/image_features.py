"""Embedder of images by colors, gradients and low frequencies, without a neural network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.images import codec
from curate.kernels.images.features import COLOR_BINS, color_histograms, gradient_histograms, layouts
from curate.kernels.types import Images, Matrix
from curate.plugins.interfaces import embedder

_SIDE = 64  # pixels per side of the images that are compared
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def image_features(images: Images, *, color_weight: float, layout_weight: float) -> Matrix:
    """Embed images so that the cosine of two vectors is the weighted mean of three similarities.

    The similarities are those of the color histograms, of the gradient histograms, and of the low frequencies; an
    image is first resized to 64 × 64 pixels.

    Parameters
    ----------
    images : n encoded images
    color_weight, layout_weight : weights of colors and low frequencies; that of gradients is the rest to 1

    Returns
    -------
    (n, 677) float32 of unit length

    Notes
    -----
    Cost: O(pixels) to decode an image, and some 0.3 ms to embed it; memory: some decoded images per thread.

    Guarantee: the vector of an image does not depend on other images.

    Deviations: the gradients and the low frequencies of two images without structure, such as single colors, have
    similarity 1.

    References
    ----------
    See ``color_histograms`` and ``gradient_histograms``.
    """
    weights = np.sqrt(np.array([color_weight, 1 - color_weight - layout_weight, layout_weight], np.float32))

    def embed(data: bytes) -> Matrix:
        image = codec.decode_image(data, 2 * _SIDE).resize((_SIDE, _SIDE), reducing_gap=2.0)
        pixels = np.asarray(image)[None]
        gray = pixels.astype(np.float32) @ _GRAY
        parts = (color_histograms(pixels), _mark_flat(gradient_histograms(gray)), _mark_flat(layouts(gray)))
        return np.concatenate([weight * part for weight, part in zip(weights, parts, strict=True)], axis=1)

    width = COLOR_BINS + 513 + 64
    return np.concatenate([np.zeros((0, width), np.float32), *codec.map_images(embed, images)])


def _mark_flat(part: Matrix) -> Matrix:
    """Add a dimension that is 1 for rows of zeros and 0 for others."""
    return np.concatenate((part, (~part.any(axis=1, keepdims=True)).astype(np.float32)), axis=1)


@embedder(version=1, reads="image")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFeatures:
    """Colors, gradients and low frequencies of images: fast, without fitted state, download or torch.

    Use it to find near-duplicates and groups of images that look alike: drawings, characters, scans, renderings and
    frames. It does not recognize objects; for photographs by meaning, use ``sentence_transformers`` with a CLIP model.

    The cosine of two images is the weighted mean of the similarities of their color histograms, of their histograms of
    oriented gradients in 8 × 8 cells, and of their lowest 63 frequencies. Images are resized to 64 × 64 pixels, so
    their size and aspect are ignored. Needs the extra ``images``.

    References
    ----------
    Swain & Ballard (1991), doi:10.1007/BF00130487: color histograms; Dalal & Triggs (2005),
    doi:10.1109/CVPR.2005.177: histograms of oriented gradients.
    """

    color_weight: Annotated[float, Ge(0), Le(1)] = 0.3
    """Weight of the colors: 0 ignores them, 1 ignores shapes."""

    layout_weight: Annotated[float, Ge(0), Le(1)] = 0.2
    """Weight of the low frequencies, which represent the layout of light and dark. The rest is that of gradients."""

    def __post_init__(self) -> None:
        if self.color_weight + self.layout_weight > 1:
            raise ValueError(f"layout_weight: must be at most 1 - color_weight; got {self.layout_weight}")

    def encode(self, images: Images) -> Matrix:
        return image_features(images, color_weight=self.color_weight, layout_weight=self.layout_weight)
