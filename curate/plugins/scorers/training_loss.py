"""Loss of a row during training."""

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
    statistics=("loss",),
    columns=(
        OutputColumn(
            higher_is_better=False,
            unit="nats",
            range=(0, float("inf")),
            higher_means="harder, or mislabeled",
            label_errors="high",
        ),
    ),
    cost="O(n e) for e epochs of all runs",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLoss:
    """Mean cross-entropy loss of a row over the epochs and runs of a proxy.

    Use it with logs that have losses only, or to drop rows of large loss, which are mislabeled more often than others.
    If the log has probabilities, ``aum`` separates wrong labels better.

    Lower counts as better: large losses early in training mark wrong labels. To keep hard rows, invert it:
    ``quality: "-training_loss"``. NaN for a row without a label.

    Notes
    -----
    Deviations: the reference selects rows of small loss in each batch during training; here the selection is made once,
    after it.

    References
    ----------
    Han et al. (2018), Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels,
    arXiv:1804.06872, section 2.
    """

    epochs: Annotated[int, Ge(1), Le(10_000)] | None = None
    """Number of first epochs that are averaged; all of them by default, or if the proxy has fewer."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        loss = require(batch.dynamics).statistic("loss")[:, : self.epochs]
        score: Vector = np.maximum(loss.mean(axis=(0, 1), dtype=np.float64), 0).astype(np.float32)
        return score
