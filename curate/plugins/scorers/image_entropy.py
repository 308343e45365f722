"""Entropy of the gray levels of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.images import codec
from curate.kernels.images.features import gray_entropy
from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_LARGEST_SIDE = 1024


@scorer(
    version=1,
    reads={"image"},
    columns=(OutputColumn(higher_is_better=True, unit="bits per pixel", range=(0, 8), higher_means="more varied"),),
    cost="O(pixels)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEntropy:
    """Shannon entropy of the gray levels of an image: 0 for a single color, 8 bits for all 256 levels equally often.

    Use it to drop empty images, placeholders and error pages. The image is reduced to at most 1,024 pixels on its
    longer side.

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x, section 6.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return np.fromiter(codec.map_images(_measure, require(batch.images)), np.float32)


def _measure(data: bytes) -> float:
    image = codec.decode_image(data, _LARGEST_SIDE).convert("L")
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return gray_entropy(np.asarray(image))
