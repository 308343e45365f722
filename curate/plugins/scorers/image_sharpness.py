"""Sharpness of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.images import codec
from curate.kernels.images.features import laplacian_variance
from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_LARGEST_SIDE = 1024


@scorer(
    version=1,
    reads={"image"},
    columns=(
        OutputColumn(higher_is_better=True, unit="squared gray levels", range=(0, 1_040_400), higher_means="sharper"),
    ),
    cost="O(pixels)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSharpness:
    """Variance of the Laplacian of an image: low for blurred images and single colors, high for noise.

    Use it to drop blurred images; compare images of similar size and kind, because the variance also depends on the
    content. The image is converted to gray levels, and reduced to at most 1,024 pixels on its longer side.

    References
    ----------
    Pech-Pacheco et al. (2000), doi:10.1109/ICPR.2000.903548.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return np.fromiter(codec.map_images(_measure, require(batch.images)), np.float32)


def _measure(data: bytes) -> float:
    image = codec.decode_image(data, _LARGEST_SIDE).convert("L")
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return laplacian_variance(np.asarray(image, np.float32))
