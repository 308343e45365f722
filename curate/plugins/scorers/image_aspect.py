"""Aspect ratio of an image."""

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
        OutputColumn(
            higher_is_better=False,
            unit="longer by shorter side",
            range=(1, float("inf")),
            higher_means="more elongated",
        ),
    ),
    cost="O(n): sizes are known from the input",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAspect:
    """Longer side of an image divided by its shorter side: 1 for a square.

    Use it with ``where`` to drop banners and strips: ``drop: score_image_aspect > 3``. The sizes are stored when the
    input is read, so no image is decoded.

    References
    ----------
    None: a ratio. It is a filter of DataComp: Gadre et al. (2023), arXiv:2304.14108, appendix N: at most 3.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        shapes = require(batch.images).shapes
        ratios: Vector = (shapes.max(axis=1) / shapes.min(axis=1)).astype(np.float32)
        return ratios
