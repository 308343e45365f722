"""Area under the margin: preference of a model for the label of a row during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Dynamics
from curate.plugins.interfaces import OutputColumn, scorer


def aum(dynamics: Dynamics, margin: Literal["logits", "probabilities"]) -> Vector:
    """Compute the mean margin of each row over all epochs of all runs; NaN for rows without a label.

    Parameters
    ----------
    dynamics : training dynamics of n rows
    margin : "logits" or "probabilities"

    Returns
    -------
    (n,) float32
    """
    values = dynamics.statistic("margin").astype(np.float64)
    if margin == "probabilities":  # p − q = p (1 − q / p)
        values = np.exp(-dynamics.statistic("loss").astype(np.float64)) * -np.expm1(-values)
    score: Vector = values.mean(axis=(0, 1)).astype(np.float32)
    return score


@scorer(
    version=2,
    reads={"dynamics"},
    statistics=("margin", "loss"),
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="margin of the label",
            higher_means="the label fits better",
            label_errors="low",
        ),
    ),
    cost="O(n e) for e epochs of all runs",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AUM:
    """Area under the margin: mean preference of a proxy for a row's label over the other classes.

    Use it to find mislabeled rows: sort by it, or set ``cutoff_by: aum`` in ``ccs``. To rank rows by difficulty,
    ``el2n`` or ``forgetting`` are the usual scores.

    It is low for hard rows, lowest and negative for rows with a wrong label, and for rows of classes with only a
    handful of rows, which a proxy hardly learns. Higher counts as better. NaN for a row without a label.

    Notes
    -----
    Deviations: the mean is over runs as well. Logits of a log of probabilities are their logarithms, which differ by a
    constant per row, so the margin is the same; probabilities below 1e-38 are clipped to that.

    References
    ----------
    Pleiss, Zhang, Elenberg & Weinberger (2020), Identifying Mislabeled Data using the Area Under the Margin Ranking,
    arXiv:2001.10528, section 3.1. Zheng et al. (2023), Coverage-centric Coreset Selection, arXiv:2210.15809.
    """

    margin: Literal["logits", "probabilities"] = "logits"
    """Basis of the margin: logits, as in the paper on AUM, or probabilities, as in the code of CCS, where it is at most
    1."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return aum(require(batch.dynamics), self.margin)
