"""GraNd: norm of the gradient of a row's loss early in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


@scorer(
    version=1,
    reads={"dynamics"},
    statistics=("gradient",),
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="mean norm of the gradient",
            range=(0, float("inf")),
            higher_means="harder, or mislabeled",
        ),
    ),
    cost="O(n e) for e epochs of all runs",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GraNd:
    """GraNd: mean norm of the gradient of a row's loss over the first epochs and all runs of a proxy.

    Use it as a difficulty score like ``el2n``, with a proxy whose features differ in length (``mlp``), or with a log
    that has the gradient norms of your own model. With ``logistic`` on unit vectors it ranks rows exactly as ``el2n``.

    It is high for rows that would change the model most. Higher counts as better, as in the paper, which keeps the
    hardest rows. NaN for a row without a label.

    Notes
    -----
    Deviations: the gradient of a trained proxy is that of its last layer, the length of the error times that of the
    layer's input with its bias; the paper takes all parameters. The mean over the first epochs as well as over runs;
    the paper takes one early epoch, averaged over ten runs.

    References
    ----------
    Paul, Ganguli & Dziugaite (2021), Deep Learning on a Data Diet, arXiv:2107.07075, definition 2.1.
    """

    epochs: Annotated[int, Ge(1), Le(10_000)] = 10
    """Number of first epochs that are averaged; all of them if the proxy has fewer."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        gradient = require(batch.dynamics).statistic("gradient")[:, : self.epochs]
        score: Vector = gradient.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        return score
