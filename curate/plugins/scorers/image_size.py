"""Number of pixels of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


@scorer(
    version=1,
    reads={"image"},
    columns=(
        OutputColumn(higher_is_better=True, unit="pixels", range=(1, float("inf")), higher_means="larger"),
        OutputColumn(
            name="shorter_side", higher_is_better=True, unit="pixels", range=(1, float("inf")), higher_means="larger"
        ),
    ),
    cost="O(n): sizes are known from the input",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """Number of pixels of an image, and of its shorter side.

    Use it with ``where`` to drop icons and thumbnails: ``drop: score_image_size_shorter_side < 64``. The sizes are
    stored when the input is read, so no image is decoded.

    References
    ----------
    None: a count. A minimum size is a filter of LAION-5B: Schuhmann et al. (2022), arXiv:2210.08402, section 3.2.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        shapes = require(batch.images).shapes.astype(np.int64)
        return np.stack((shapes.prod(axis=1), shapes.min(axis=1)), axis=1).astype(np.float32)
