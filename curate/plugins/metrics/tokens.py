"""Number of tokens of the selected rows."""

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
    """Tokens of the selected rows: their number, the mean per row, and the share of the pool's.

    Use it with every comparison: for the same number of rows, a selection with longer rows trains longer, which
    explains part of its gain. Set ``keep_tokens`` to compare at equal tokens.

    The share is NaN if the pool has no tokens.

    References
    ----------
    Compute grows with the tokens trained on: Kaplan et al. (2020), arXiv:2001.08361, section 2.1.
    """

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        tokens = require(inputs.tokens)
        n_selected, n_pool = int(tokens[inputs.selected].sum(dtype=np.int64)), int(tokens.sum(dtype=np.int64))
        values = {
            "total": float(n_selected),
            "mean": n_selected / len(inputs.selected),
            "rate": n_selected / n_pool if n_pool else float("nan"),
        }
        return MetricResult(values, notes=() if n_pool else ("the pool has no tokens",))
