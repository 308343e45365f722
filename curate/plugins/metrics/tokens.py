"""How many tokens the chosen rows have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult


@metric(
    version=1,
    reads={"tokens"},
    measures=(
        OutputColumn(name="total", higher_is_better=None, unit="tokens", range=(0, float("inf"))),
        OutputColumn(name="mean", higher_is_better=None, unit="tokens a row", range=(0, float("inf"))),
        OutputColumn(name="rate", higher_is_better=None, unit="share of the pool's tokens", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of the chosen rows: their number, the mean of a row, and the share of the pool's.

    At the same number of rows, the choice with longer rows trains longer: see it beside every other figure. The share
    is NaN where the pool has no tokens.

    References
    ----------
    Compute grows with the tokens trained on: Kaplan et al. (2020), arXiv:2001.08361, section 2.1.
    """

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        tokens = require(trial.tokens)
        chosen, pool = int(tokens[trial.chosen].sum(dtype=np.int64)), int(tokens.sum(dtype=np.int64))
        values = {
            "total": float(chosen),
            "mean": chosen / len(trial.chosen),
            "rate": chosen / pool if pool else float("nan"),
        }
        return MetricResult(values, notes=() if pool else ("the pool has no tokens",))
